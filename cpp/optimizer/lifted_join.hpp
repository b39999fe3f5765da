//! Query vectors that are joined with a table, as cross products under conditions.
#pragma once

#include "optimizer/distance_matcher.hpp"

namespace duckdb {

//! Inner joins of a table with query vectors and with other tables. While this lives the query vectors are in a cross product with all the
//! rest, in the place of these joins, and under it a search can be put.
class LiftedJoin {
public:
	//! Looks for the joins below the projections at `below`.
	LiftedJoin(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher, const DistanceMatch &match);
	//! Puts the joins back.
	~LiftedJoin();

	//! Whether rows that the index does not rank do not count.
	bool IsGuarded() const {
		return join && !guards.empty();
	}
	//! Whether pairs without a distance do not count.
	bool IsMeasured() const {
		return join && measured;
	}
	//! Whether the conditions leave only some rows for a query vector: not if they are `t.id <> q.id` and the like.
	bool IsSelective() const {
		return join && selective;
	}
	//! Rows that pass the conditions for each of so many query vectors, as DuckDB estimates; nothing if it does not.
	optional_idx RowsPerProbe(idx_t probes) const;
	//! Conditions over pairs that a search has to heed; none if there are no such joins. What only cuts off the farther rows is not among
	//! them, nor is what holds for every row that the index ranks.
	vector<unique_ptr<Expression>> Conditions() const;
	//! Leaves what has been put in the place of the joins, and all conditions above it.
	void Keep();

private:
	//! An operator that stays, above what is taken away below its child.
	struct Above {
		reference<LogicalOperator> op;
		idx_t child;
		//! Which columns of the child it passes on.
		vector<ProjectionIndex> map;
	};

	//! Finds the join of the table with the query vectors, and the conditions; false if there is nothing to do, or it cannot be done.
	bool Find();
	//! Takes the conditions of the join that are over the query vectors; false if it cannot do without one.
	bool TakeConditions();
	void Lift();

	const DistanceMatcher &matcher;
	const DistanceMatch &match;
	//! Of the topmost join, and of the one with the query vectors.
	reference<unique_ptr<LogicalOperator>> top;
	reference<unique_ptr<LogicalOperator>> slot;
	vector<Above> above;
	//! The child of the join that has the table.
	idx_t table_child = 0;
	//! The child of the other one that has the query vectors, if that is a cross product with a third table.
	optional_idx probe_child;
	//! What was taken away; nothing if nothing was.
	unique_ptr<LogicalOperator> join;
	unique_ptr<LogicalOperator> product;
	//! The columns of the topmost join.
	vector<ColumnBinding> columns;

	vector<unique_ptr<Expression>> conditions;
	vector<unique_ptr<Expression>> guards;
	vector<unique_ptr<Expression>> bounds;
	bool selective = false;
	bool measured = false;
	//! Conditions between the table and the third one.
	vector<unique_ptr<Expression>> others;
};

} // namespace duckdb
