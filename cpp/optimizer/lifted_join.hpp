//! Query vectors that are joined with a table: the join as a cross product with conditions above.
#pragma once

#include "optimizer/distance_matcher.hpp"

namespace duckdb {

//! Inner joins of a table with query vectors and with other tables. While this object lives, a cross product of the
//! query vectors with all the rest stands in the place of these joins. A search can be put under it.
class LiftedJoin {
public:
	//! Looks for the joins below the projections at `below`.
	LiftedJoin(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher, const DistanceMatch &match);
	//! Puts the joins back.
	~LiftedJoin();

	//! Whether rows that the index does not rank are dropped anyway.
	bool IsGuarded() const {
		return join && !guards.empty();
	}
	//! Whether pairs without a distance are dropped anyway.
	bool IsMeasured() const {
		return join && measured;
	}
	//! Whether NaN passes a bound among the conditions.
	bool NaNPassesBound() const {
		return join && nan_passes;
	}
	//! Whether the conditions leave only some rows for a query vector. `t.id <> q.id` and the like do not.
	bool IsSelective() const {
		return join && selective;
	}
	//! DuckDB's estimate of the rows that pass the conditions for each of `probes` query vectors; nothing if it has
	//! none that holds.
	optional_idx RowsPerProbe(idx_t probes) const;
	//! Conditions over pairs that a search has to heed; none if there are no such joins. Those that only cut off
	//! farther rows, or that hold for every row that the index ranks, are not among them.
	vector<unique_ptr<Expression>> Conditions() const;
	//! Makes the change last: the cross product stays, with all conditions above.
	void Keep();

private:
	//! An operator that stays. A join below one of its children is taken away.
	struct Above {
		reference<LogicalOperator> op;
		idx_t child;
		//! Which columns of the child it passes on.
		vector<ProjectionIndex> map;
	};

	//! Finds the join of the table with the query vectors, and its conditions. False if there is none, or if it cannot
	//! be lifted.
	bool Find();
	//! Takes the conditions over the query vectors from the join. False if the join cannot do without one.
	bool TakeConditions();
	void Lift();

	const DistanceMatcher &matcher;
	const DistanceMatch &match;
	//! The slots of the topmost join, and of the join with the query vectors.
	reference<unique_ptr<LogicalOperator>> top;
	reference<unique_ptr<LogicalOperator>> slot;
	vector<Above> above;
	//! The child of the join that has the table.
	idx_t table_child = 0;
	//! If the other child is a cross product with a third table: the child of that product with the query vectors.
	optional_idx probe_child;
	//! What was taken away; null if nothing was.
	unique_ptr<LogicalOperator> join;
	unique_ptr<LogicalOperator> product;
	//! The columns of the topmost join.
	vector<ColumnBinding> columns;

	vector<unique_ptr<Expression>> conditions;
	vector<unique_ptr<Expression>> guards;
	vector<unique_ptr<Expression>> bounds;
	bool selective = false;
	bool nan_passes = false;
	bool measured = false;
	//! Conditions between the table and the third table.
	vector<unique_ptr<Expression>> others;
};

} // namespace duckdb
