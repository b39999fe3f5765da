//! Recognizes order keys that an HNSW index can serve.
#pragma once

#include "duckdb/planner/bound_result_modifier.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "optimizer/order_key.hpp"
#include "optimizer/refusal.hpp"
#include "execution/search_plan.hpp"

namespace duckdb {

class DuckTableEntry;
class HNSWIndex;

//! A distance between an indexed column (or expression) of `get` and `query`.
struct DistanceMatch {
	LogicalGet &get;
	IndexSearch search;
	//! It refers to no column of `get`.
	unique_ptr<Expression> query;
	//! The indexed vector, as it is in the distance.
	unique_ptr<Expression> key;
	//! The distance function alone, without what the order key does to its result.
	unique_ptr<Expression> distance;
	//! Ascending by `distance`, the farthest rows come first: it is a similarity.
	bool descending;
	//! Order keys can be equal where distances are not: `1 - distance`, rounded.
	bool rounds;
};

//! Whether `index`, on `table`, ranks the vectors `key`, an expression over the columns of `get`, a scan of that table.
bool IsKeyOf(ClientContext &context, const HNSWIndex &index, const Expression &key, const LogicalGet &get,
             const DuckTableEntry &table);

//! Which rows pass a predicate that compares a distance with a value that is the same for all rows.
enum class BoundSide : uint8_t {
	//! The predicate is of another kind.
	NONE,
	//! If a row passes, all nearer rows pass.
	NEAR,
	//! If a row passes, all farther rows pass.
	FAR
};

class DistanceMatcher {
public:
	//! For keys over any table below `below`, the operator under the ORDER BY.
	DistanceMatcher(ClientContext &context, LogicalOperator &below);
	//! For keys over the table of `scan` alone. Columns of other tables on the way to `below` are not resolved.
	DistanceMatcher(ClientContext &context, LogicalOperator &below, LogicalGet &scan);

	//! The index that serves `order` for `k` rows, and how.
	OrRefusal<DistanceMatch> Match(const BoundOrderByNode &order, idx_t k) const;
	//! The index that tells, by its own metric, which rows are near enough to pass `comparison`: `distance < r`.
	OrRefusal<DistanceMatch> MatchBound(const Expression &comparison) const;
	//! Which rows pass `comparison`, resolved, by the distance of `match`.
	BoundSide SideOf(const DistanceMatch &match, const Expression &comparison) const;
	//! Replaces references to columns of the projections below by the expressions behind them.
	unique_ptr<Expression> Resolve(unique_ptr<Expression> expr) const;
	//! Whether `predicate`, resolved, holds for every row that is nearer than one for which it holds: `distance <
	//! constant`.
	bool IsBound(const DistanceMatch &match, const Expression &predicate) const;
	//! Whether `predicate`, resolved, holds for every row that the index ranks: `v IS NOT NULL`, `isfinite(distance)`.
	bool IsGuard(const DistanceMatch &match, const Expression &predicate) const;
	//! Whether NaN passes `bound`, resolved: it is greater than any number.
	bool NaNPasses(const Expression &bound) const;
	//! Whether `predicate`, resolved, holds for every distance that comes before one for which it holds, in the order of
	//! `match`. NaN and infinite distances have their places in that order, too.
	bool KeepsFirst(const DistanceMatch &match, const Expression &predicate) const;
	//! Whether `expr` is NULL for no row of `get`.
	bool NeverNull(const Expression &expr, LogicalGet &get) const;

private:
	//! Whether `expr` orders rows as the distance of `match` does. `shape`: how the two differ.
	bool IsOrderKey(const DistanceMatch &match, const Expression &expr, OrderKeyShape &shape) const;
	void Collect(LogicalOperator &op);
	//! False if `scan` is not below `op`.
	bool CollectPath(LogicalOperator &op, LogicalGet &scan);
	//! Matches `key` against the indexes of its table; `query` is the other argument of the distance.
	OrRefusal<DistanceMatch> MatchKey(const Expression &key, const Expression &query, vss::Metric metric, idx_t k,
	                                  bool own_metric_only) const;
	//! `own_metric_only`: indexes with another metric do not count, even if they rank alike.
	OrRefusal<DistanceMatch> Match(const BoundOrderByNode &order, idx_t k, bool own_metric_only) const;

	ClientContext &context;
	Projections projections;
	unordered_map<idx_t, reference<LogicalGet>> gets;
};

} // namespace duckdb
