//! What an order key, or a vector in it, is made of: expressions over a distance, and casts of vectors.
#pragma once

#include "duckdb/planner/expression.hpp"

namespace duckdb {

class ClientContext;
class LogicalOperator;

//! The tables whose columns `expr` refers to.
unordered_set<idx_t> ReferencedTables(const Expression &expr);
//! The expressions that compute the columns of a table index.
using Projections = unordered_map<idx_t, const_reference<vector<unique_ptr<Expression>>>>;
//! Replaces references to the columns of `projections` in `expr` by the expressions behind them, until only other
//! columns are left.
void Resolve(unique_ptr<Expression> &expr, const Projections &projections);
//! The expressions by which `op` computes columns: those of a projection, or the groups of an aggregate; empty for
//! other operators.
Projections ProjectionsOf(const LogicalOperator &op);
//! Replaces references to the columns that `op` computes.
void ResolveIn(unique_ptr<Expression> &expr, const LogicalOperator &op);
//! Replaces references to the columns of `op` and of the projections below it, as long as these are projections. Returns
//! the operator below them.
LogicalOperator &ResolveBelow(unique_ptr<Expression> &expr, LogicalOperator &op);
//! Whether `expr` contains a distance by which an index may rank.
bool HasDistance(const Expression &expr);
//! Whether `expr` contains `part`.
bool Contains(const Expression &expr, const Expression &part);

bool IsCall(const Expression &expr, const char *name, idx_t arguments);
optional_ptr<const Expression> OperatorArgument(const Expression &expr, ExpressionType type);
//! The vector `v` if `expr` compares it with zero by `equal` or `unequal`: `array_inner_product(v, v) = 0`.
optional_ptr<const Expression> ComparedWithZero(ClientContext &context, const Expression &expr, ExpressionType equal,
                                                ExpressionType unequal);

//! How an order key differs from the distance in it.
struct OrderKeyShape {
	explicit OrderKeyShape(bool descending_p) : descending(descending_p) {
	}

	//! Whether the key is NULL for some rows that have a distance, or might have one.
	bool IsGuarded() const {
		return !not_null.empty() || !not_zero.empty() || !finite.empty();
	}

	//! The key descends where the distance ascends.
	bool descending;
	//! Different distances may give equal keys.
	bool rounds = false;
	//! The key is NULL where one of these vectors is NULL, or has only zeros.
	vector<reference<const Expression>> not_null;
	vector<reference<const Expression>> not_zero;
	//! The key is NULL where one of these numbers is not finite, or for some of these.
	vector<reference<const Expression>> finite;
};

//! Peels off a distance what keeps its order (FLOAT → DOUBLE, 2 * d), what reverses it (-d, 1 - d), and what gives NULL
//! for vectors without a distance.
const Expression &PeelOrderKey(ClientContext &context, const Expression &expr, OrderKeyShape &shape);

//! Whether `type` is an array or a list of numbers.
bool IsNumbers(const LogicalType &type);
//! The vector of numbers before any casts to FLOAT or DOUBLE.
const Expression &VectorBase(const Expression &expr);
//! Peels off an argument of a distance the casts that keep its elements: FLOAT[n] to DOUBLE[n], FLOAT[] or DOUBLE[];
//! FLOAT[] to DOUBLE[].
const Expression &PeelVectorCast(const Expression &expr);

} // namespace duckdb
