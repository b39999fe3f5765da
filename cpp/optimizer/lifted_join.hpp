//! Joins of a table with query vectors, as cross products under conditions.
#pragma once

#include "optimizer/distance_matcher.hpp"

namespace duckdb {

//! An inner join of a table with query vectors. While this lives there is a cross product in its place, under which a search can be put.
class LiftedJoin {
public:
	//! Looks for the join below the projections at `below`.
	LiftedJoin(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher, const DistanceMatch &match);
	//! Puts the join back.
	~LiftedJoin();

	//! Whether pairs without a distance do not count.
	bool IsGuarded() const {
		return !guards.empty();
	}
	//! Whether the conditions leave only some rows for a query vector: not if they are `t.id <> q.id` and the like.
	bool IsSelective() const {
		return selective;
	}
	//! Rows of the table that pass the conditions for one query vector, as DuckDB estimates; nothing if it does not.
	optional_idx RowsPerProbe(idx_t probes) const;
	//! Conditions over pairs that a search has to heed; none if there is no such join. What only cuts off the farther rows is not among them,
	//! nor is what holds for every row that the index ranks.
	vector<unique_ptr<Expression>> Conditions() const;
	//! Leaves what has been put in the place of the cross product, and all conditions above it.
	void Keep();

private:
	//! Takes the conditions of `op` apart; false if it is another kind of join.
	bool Take(const LogicalOperator &op, const DistanceMatcher &matcher, const DistanceMatch &match);

	reference<unique_ptr<LogicalOperator>> slot;
	unique_ptr<LogicalOperator> join;
	vector<unique_ptr<Expression>> conditions;
	vector<unique_ptr<Expression>> guards;
	vector<unique_ptr<Expression>> bounds;
	bool selective = false;
};

} // namespace duckdb
