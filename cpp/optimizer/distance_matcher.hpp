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
	//! Free of columns of `get`.
	unique_ptr<Expression> query;
	//! The indexed vector, as the distance has it.
	unique_ptr<Expression> key;
	//! The distance function, without what the order key applies to it.
	unique_ptr<Expression> distance;
	//! Whether the farthest come first in ascending order of `distance` (a similarity).
	bool descending;
	//! The order key can be equal where the distance is not: `1 - distance`, rounded.
	bool rounds;
};

//! Whether `index`, on `table`, ranks the vectors `key`, which are over the columns of `get`, a scan of that table.
bool IsKeyOf(ClientContext &context, const HNSWIndex &index, const Expression &key, const LogicalGet &get,
             const DuckTableEntry &table);

//! Which rows pass a predicate that compares a distance with what is the same for all rows.
enum class BoundSide : uint8_t {
	//! It is no such predicate.
	NONE,
	//! With a row all that are nearer.
	NEAR,
	//! With a row all that are farther.
	FAR
};

class DistanceMatcher {
public:
	//! For keys over any table below `below`, the operator under the ORDER BY.
	DistanceMatcher(ClientContext &context, LogicalOperator &below);
	//! For keys over the table of `scan` alone: columns of others stay what they are on the way from it to `below`.
	DistanceMatcher(ClientContext &context, LogicalOperator &below, LogicalGet &scan);

	//! The index that serves `order` for `k` rows, and how.
	OrRefusal<DistanceMatch> Match(const BoundOrderByNode &order, idx_t k) const;
	//! The index that tells by its own metric which rows are near enough to pass `comparison`: `distance < r`.
	OrRefusal<DistanceMatch> MatchBound(const Expression &comparison) const;
	//! What `comparison`, resolved, says of the distance of `match`.
	BoundSide SideOf(const DistanceMatch &match, const Expression &comparison) const;
	//! Replaces references to the projections below by what they stand for.
	unique_ptr<Expression> Resolve(unique_ptr<Expression> expr) const;
	//! Whether `predicate`, resolved, holds for a row if it holds for one that is farther away: `distance < constant`.
	bool IsBound(const DistanceMatch &match, const Expression &predicate) const;
	//! Whether `predicate`, resolved, holds for every row that the index ranks: `v IS NOT NULL`, `isfinite(distance)`.
	bool IsGuard(const DistanceMatch &match, const Expression &predicate) const;
	//! Whether `expr` can be NULL for no row of `get`.
	bool NeverNull(const Expression &expr, LogicalGet &get) const;

private:
	//! Whether `expr` orders rows as the distance of `match` does; `shape`: how.
	bool IsOrderKey(const DistanceMatch &match, const Expression &expr, OrderKeyShape &shape) const;
	void Collect(LogicalOperator &op);
	//! False if `scan` is not below `op`.
	bool CollectPath(LogicalOperator &op, LogicalGet &scan);
	//! Matches `key` against the indexes of its table; `query` is the other argument of the distance.
	OrRefusal<DistanceMatch> MatchKey(const Expression &key, const Expression &query, vss::Metric metric, idx_t k,
	                                  bool own_metric_only) const;
	//! `own_metric_only`: not by an index with another metric that ranks alike.
	OrRefusal<DistanceMatch> Match(const BoundOrderByNode &order, idx_t k, bool own_metric_only) const;

	ClientContext &context;
	Projections projections;
	unordered_map<idx_t, reference<LogicalGet>> gets;
};

} // namespace duckdb
