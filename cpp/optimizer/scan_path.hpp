//! Which rows of a table a query asks for. The filters and joins between a scan and the ORDER BY above become a plan of
//! their own, the child of an HNSW_INDEX_SCAN. It yields the ids of the rows that qualify.
#pragma once

#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "optimizer/distance_matcher.hpp"
#include "optimizer/plan_parts.hpp"

#include <functional>

namespace duckdb {

class Binder;
class LogicalAggregate;

//! A path taken apart: all that is left to do is to put a search into `slot`.
struct SplitPath {
	//! Where the search is to yield the rows of the table.
	reference<unique_ptr<LogicalOperator>> slot;
	//! The scan without filters; `slot` must yield the same columns.
	unique_ptr<LogicalGet> get;
	//! It has no plan if every row qualifies.
	RowFilter filter;
	//! Predicates that only cut off the farther rows, or rows that the index does not rank. They are to be applied
	//! above the search.
	vector<unique_ptr<Expression>> bounds;
	//! One of them holds for no row that the index does not rank.
	bool ranked_only = false;
};

//! The operators from below an ORDER BY down to the scan of a table whose nearest rows are wanted.
class ScanPath {
public:
	//! The path from `below` to the scan of `match`. Every operator on it passes rows of the scan on as they are; it
	//! may drop some, pair them with rows of other tables, and compute columns. `partial`: an aggregate on the path
	//! that keeps what is needed of the rows.
	static OrRefusal<ScanPath> Of(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher,
	                              const DistanceMatch &match, optional_ptr<LogicalAggregate> partial = nullptr);

	//! Whether anything on the path drops rows.
	bool HasFilter() const;
	//! Whether a bound, or with `guards` a guard, will be checked above the search, and not for the rows that are
	//! searched.
	bool HasBounds(bool guards) const;
	//! Whether NaN passes a bound on the path, so that rows without a distance may be wanted: `1 - distance > 0.5`.
	bool NaNPassesBound() const;
	//! The cross product with the query vectors above the slot that Split() will return. Nothing above it may drop
	//! rows. Between it and the slot there may be only projections, or only joins and filters below which the product
	//! can stand as well.
	optional_idx Product() const;
	//! What the product `step` will be of, beside the query vectors: its child, or the scan if joins lie between.
	LogicalOperator &TableOf(idx_t step) const;
	//! Whether there are no such joins: only projections lie between.
	bool IsDirectlyBelow(idx_t product) const;
	//! Moves the cross product `product` down to `scan`, the slot that Split() has returned. Returns where the product
	//! is now; the scan is its first child.
	unique_ptr<LogicalOperator> &Descend(idx_t product, unique_ptr<LogicalOperator> &scan);
	//! The operator of the step. `child`: the child with which the path continues.
	unique_ptr<LogicalOperator> &At(idx_t step, idx_t &child) const {
		child = steps[step].child;
		return steps[step].op;
	}
	//! The step where rows are paired with their query vectors: its other side has the columns of `query`.
	optional_idx FindProbes(const Expression &query) const;
	//! Whether the step `probes`, or one above, drops rows: then which rows qualify may depend on the query vector.
	bool FiltersByProbe(idx_t probes) const;
	//! A plan that yields the values of `query`, for use elsewhere. Refused if these values may differ from those at
	//! step `probes`, or if there may be several and `only_one` is asked for.
	OrRefusal<LogicalOperator> CopyProbes(Binder &binder, idx_t probes, const Expression &query, bool only_one) const;
	//! Turns `expr`, over the columns of the scan, into an expression over the columns of `op` above. Only projections
	//! may lie between. Null if `op` lacks a column.
	unique_ptr<Expression> Lift(unique_ptr<Expression> expr, LogicalOperator &op) const;
	//! Whether all guards of the scan can be lifted to `op`.
	bool CanLiftGuards(LogicalOperator &op) const;
	//! From now on guards count as filters (`restrict`), or do not.
	void LetGuardsRestrict(bool restrict);
	//! `conditions` between rows of the scan and of `probes`. Refused if one is over columns of other tables, too.
	OrRefusal<PairConditions> ConditionsOfPairs(vector<unique_ptr<Expression>> conditions,
	                                            LogicalOperator &probes) const;
	//! Takes the filters off the path. The filter of the split path also yields the columns `keys` of the scan.
	//! Refused, with nothing changed, if a part of the plan would have to be run twice and cannot be.
	OrRefusal<SplitPath> Split(Binder &binder, const vector<ProjectionIndex> &keys);
	//! The same, but the filter also yields `groups`, expressions over the columns of the uppermost step. It yields a
	//! row of the table as often as the joins of the path pair that row.
	OrRefusal<SplitPath> SplitWithGroups(Binder &binder, const vector<unique_ptr<Expression>> &groups);

private:
	struct Step {
		reference<unique_ptr<LogicalOperator>> op;
		//! The child with which the path continues.
		idx_t child;
	};

	ScanPath(const DistanceMatcher &matcher, const DistanceMatch &match, optional_ptr<LogicalAggregate> partial)
	    : matcher(matcher), match(match), partial(partial) {
	}

	//! Collects the steps from `op` down, the uppermost last; false if the scan is not below. `refusal`: what stands in
	//! the way.
	bool Collect(unique_ptr<LogicalOperator> &op, Refusal &refusal);
	void FindTop();
	//! Whether something above the partial aggregate uses more of it than its groups.
	bool UsesAggregates() const;
	//! Whether the cross product `product` can be moved down to the scan.
	bool CanDescend(idx_t product) const;
	//! Whether `predicate`, wherever it is on the path, only cuts off the farther rows, or rows that the index does not
	//! rank.
	bool IsBound(const Expression &predicate) const;
	bool Restricts(const Step &step) const;
	//! Whether the operators from the topmost filter down only drop rows: then they can be moved as they are.
	bool CanMove() const;
	//! The step that Split() will replace.
	idx_t Slot() const;
	//! Whether `predicate`, a filter of `op`, is applied above the search.
	bool IsTaken(const Expression &predicate, const LogicalOperator &op) const;
	//! The lowest step, no deeper than the topmost that drops rows, whose columns suffice to compute `groups`.
	//! Afterwards `groups` are over the columns of this step.
	idx_t StepOfGroups(vector<unique_ptr<Expression>> &groups) const;
	//! A copy of the part of the path from `source` down, in which the partial aggregate lets all rows pass. Refused if
	//! the copy may yield other rows.
	OrRefusal<LogicalOperator> CopyFrom(ClientContext &context, LogicalOperator &source) const;
	//! A plan of the ids of the rows that reach the step `first`. It also yields the columns `keys` of the scan, or
	//! `groups`, which are over the columns of the step.
	OrRefusal<RowFilter> CopyFilter(Binder &binder, idx_t first, const vector<ProjectionIndex> &keys,
	                                vector<unique_ptr<Expression>> groups) const;
	//! Whether a filter on the path, or of the scan, is one.
	bool HasPredicate(const std::function<bool(const Expression &, const LogicalOperator &)> &is_one) const;
	//! For a search that takes the place of the scan itself: everything above stays.
	unique_ptr<SplitPath> SplitAtScan(RowFilter filter);
	//! Removes the bounds from the filters of `op`, and returns them. Sets `ranked_only`, see `SplitPath`, if a bound
	//! holds for no row that the index does not rank.
	vector<unique_ptr<Expression>> TakeBounds(LogicalOperator &op, bool &ranked_only) const;

	const DistanceMatcher &matcher;
	const DistanceMatch &match;
	const optional_ptr<LogicalAggregate> partial;
	//! From top to bottom; the last is the scan.
	vector<Step> steps;
	//! The topmost step that drops rows.
	optional_idx top;
	bool guards_restrict = false;
};

} // namespace duckdb
