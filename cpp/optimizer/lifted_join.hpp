//! Joins that are cross products but for some pairs.
#pragma once

#include "optimizer/distance_matcher.hpp"

namespace duckdb {

//! An inner join whose conditions let nearly all pairs through: `t.id <> q.id`, or guards such as `distance IS NOT NULL`, which DuckDB
//! adds to `JOIN … NEAREST`. While this lives there is a cross product in its place, under which a search can be put.
class LiftedJoin {
public:
	//! Looks for the join below the projections at `below`.
	LiftedJoin(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher, const DistanceMatch &match);
	//! Puts the join back.
	~LiftedJoin();

	//! Whether there is no such join, or one with guards alone.
	bool HasNoConditions() const {
		return conditions.empty();
	}
	//! Whether pairs without a distance do not count.
	bool IsGuarded() const {
		return !guards.empty();
	}
	//! Conditions over pairs that a search has to heed; none if there is no such join.
	vector<unique_ptr<Expression>> Conditions() const;
	//! Leaves what has been put in the place of the cross product, and the conditions above it.
	void Keep();

private:
	//! Takes the conditions of `op` apart; false if it is another kind of join.
	bool Take(const LogicalOperator &op, const DistanceMatcher &matcher, const DistanceMatch &match);

	reference<unique_ptr<LogicalOperator>> slot;
	unique_ptr<LogicalOperator> join;
	vector<unique_ptr<Expression>> conditions;
	vector<unique_ptr<Expression>> guards;
};

} // namespace duckdb
