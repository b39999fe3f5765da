//! Recognizes order keys that an HNSW index can serve. Every refusal carries its reason.
#pragma once

#include "duckdb/planner/bound_result_modifier.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "scan.hpp"

namespace duckdb {

//! A distance between an indexed column (or expression) of `get` and `query`.
struct DistanceMatch {
	LogicalGet &get;
	IndexSearch search;
	//! Free of columns of `get`.
	unique_ptr<Expression> query;
};

class DistanceMatcher {
public:
	//! What order keys are resolved through.
	enum class Reach {
		//! The projections directly below the ORDER BY, down to a scan or a cross product with one.
		CHAIN,
		//! Every projection of the subtree.
		SUBTREE
	};
	//! `below` is the operator under the ORDER BY.
	DistanceMatcher(ClientContext &context, LogicalOperator &below, Reach reach);

	//! The index that serves `order` for `wanted` rows; nothing if there is none, see `Refusal`.
	unique_ptr<DistanceMatch> Match(const BoundOrderByNode &order, idx_t wanted);
	//! Why the last call returned nothing, in a user's words.
	const string &Refusal() const {
		return refusal;
	}
	//! Replaces references to the projections below by what they stand for.
	unique_ptr<Expression> Resolve(unique_ptr<Expression> expr) const;

private:
	unique_ptr<DistanceMatch> Refuse(const string &reason);
	void Collect(LogicalOperator &op, Reach reach);
	//! Matches `key` against the indexes of its table; `query` is the other argument of the distance.
	unique_ptr<DistanceMatch> MatchKey(const Expression &key, const Expression &query, const string &metric,
	                                   idx_t wanted);

	ClientContext &context;
	unordered_map<idx_t, reference<LogicalOperator>> projections;
	unordered_map<idx_t, reference<LogicalGet>> gets;
	string refusal;
};

//! The tables whose columns `expr` refers to.
unordered_set<idx_t> ReferencedTables(const Expression &expr);

} // namespace duckdb
