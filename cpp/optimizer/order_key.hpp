//! What an order key, or a vector inside, is made of: expressions over a distance, and casts of vectors.
#pragma once

#include "duckdb/planner/expression.hpp"

namespace duckdb {

class ClientContext;
class LogicalOperator;

//! The tables whose columns `expr` refers to.
unordered_set<idx_t> ReferencedTables(const Expression &expr);
//! What columns are computed by, by their table index.
using Projections = unordered_map<idx_t, const_reference<vector<unique_ptr<Expression>>>>;
//! Replaces references to the columns of `projections` in `expr` by what they stand for, down to those of others.
void Resolve(unique_ptr<Expression> &expr, const Projections &projections);
//! What `op` computes columns by: the expressions of a projection, the groups of an aggregate; nothing if it is another operator.
Projections ProjectionsOf(const LogicalOperator &op);
//! Replaces references to these columns.
void ResolveIn(unique_ptr<Expression> &expr, const LogicalOperator &op);
//! Whether `part` is computed in `expr`.
bool Contains(const Expression &expr, const Expression &part);

bool IsCall(const Expression &expr, const char *name, idx_t arguments);
optional_ptr<const Expression> OperatorArgument(const Expression &expr, ExpressionType type);
//! The vector that `expr`, a comparison with zero by `equal` or `unequal`, asks about: `array_inner_product(v, v) = 0`.
optional_ptr<const Expression> ComparedWithZero(ClientContext &context, const Expression &expr, ExpressionType equal,
                                                ExpressionType unequal);

//! How an order key differs from the distance inside.
struct OrderKeyShape {
	//! The key descends where the distance ascends.
	bool descending;
	//! Different distances may give equal keys.
	bool rounds;
	//! The key is NULL where one of these vectors is NULL, or has only zeros.
	vector<reference<const Expression>> not_null;
	vector<reference<const Expression>> not_zero;
};

//! Peels what does not change an order off a distance (FLOAT → DOUBLE, 2 * d) and what reverses it (-d, 1 - d).
//! Also what gives NULL for vectors without a distance.
const Expression &PeelOrderKey(ClientContext &context, const Expression &expr, OrderKeyShape &shape);

//! Whether `type` is an array or a list of numbers.
bool IsNumbers(const LogicalType &type);
//! What a vector of numbers was before it was cast to FLOAT or DOUBLE.
const Expression &VectorBase(const Expression &expr);
//! Peels casts off an argument of a distance that keep its elements: FLOAT[n] to DOUBLE[n], FLOAT[] or DOUBLE[]; FLOAT[] to DOUBLE[].
const Expression &PeelVectorCast(const Expression &expr);

} // namespace duckdb
