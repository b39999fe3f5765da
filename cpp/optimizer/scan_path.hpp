//! Which rows of a table a query asks for: the filters and joins between a scan and the ORDER BY above it become a plan
//! of their own, which yields the ids of the rows that qualify, and is the child of an HNSW_INDEX_SCAN.
#pragma once

#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "optimizer/distance_matcher.hpp"
#include "optimizer/plan_parts.hpp"

namespace duckdb {

class Binder;
class LogicalAggregate;

//! A path taken apart: what is left to do is to put a search into `slot`.
struct SplitPath {
	//! Where the rows of the table are to come from.
	reference<unique_ptr<LogicalOperator>> slot;
	//! The scan without filters; its columns are those that `slot` must yield.
	unique_ptr<LogicalGet> get;
	//! Without a plan if every row qualifies.
	RowFilter filter;
	//! Predicates that only cut off the farther rows, or those that the index does not rank: to be applied above the search.
	vector<unique_ptr<Expression>> bounds;
	//! Among them is one that holds for no row that the index does not rank.
	bool ranked_only = false;
};

//! The operators from below an ORDER BY down to the scan of a table whose nearest rows are wanted.
class ScanPath {
public:
	//! The path from `below` to the scan of `match`: every operator on it passes on rows of the scan as they are. It may drop some, pair
	//! them with rows of other tables, and compute columns. `partial`: an aggregate that keeps of them what is needed.
	static OrRefusal<ScanPath> Of(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher,
	                              const DistanceMatch &match, optional_ptr<LogicalAggregate> partial = nullptr);

	//! Whether anything on the path drops rows.
	bool HasFilter() const;
	//! Whether something on the path is applied above the search, and not to the rows that are searched.
	bool HasBounds() const;
	//! The cross product with the query vectors above the slot that Split() will return: if nothing above it drops rows, and between there
	//! are only projections, or only joins and filters, below which it can stand as well.
	optional_idx Product() const;
	//! What the product `step` would be of, below these joins.
	LogicalOperator &TableOf(idx_t step) const;
	//! Whether there are none.
	bool IsDirectlyBelow(idx_t product) const;
	//! Moves the cross product `product` down to `scan`, the slot that Split() has returned, and returns where it is now; the scan is
	//! its first child.
	unique_ptr<LogicalOperator> &Descend(idx_t product, unique_ptr<LogicalOperator> &scan);
	//! The step, and the child with which the path continues there.
	unique_ptr<LogicalOperator> &At(idx_t step, idx_t &child) const {
		child = steps[step].child;
		return steps[step].op;
	}
	//! Where the rows are paired with their query vectors: the step whose other side has the columns of `query`.
	optional_idx FindProbes(const Expression &query) const;
	//! Whether the step `probes`, or one above it, drops rows: which rows qualify may then depend on the query vector.
	bool FiltersByProbe(idx_t probes) const;
	//! A plan that yields the values of `query`, for other places than the one above. Refused if they may differ from
	//! those at step `probes`, or if there are several and `only_one` is asked for.
	OrRefusal<LogicalOperator> CopyProbes(Binder &binder, idx_t probes, const Expression &query, bool only_one) const;
	//! `expr` over the columns of the scan, over those of `op` above it instead, between which there are only projections; nothing if
	//! `op` does not have them all.
	unique_ptr<Expression> Lift(unique_ptr<Expression> expr, LogicalOperator &op) const;
	//! Whether all guards of the scan can be lifted to `op`.
	bool CanLiftGuards(LogicalOperator &op) const;
	//! From now on guards count as filters, or not.
	void LetGuardsRestrict(bool restrict);
	//! `conditions` between rows of the scan and of `probes`. Refused if they are over others, too.
	OrRefusal<PairConditions> ConditionsOfPairs(vector<unique_ptr<Expression>> conditions,
	                                            LogicalOperator &probes) const;
	//! Takes the filters off the path. The filter of the split path yields the columns `keys` of the scan, too. Refused, and nothing is
	//! changed, if a part of the plan that has to be run twice cannot be.
	OrRefusal<SplitPath> Split(Binder &binder, const vector<ProjectionIndex> &keys);
	//! The same, with a filter that yields `groups`, too: expressions over the columns of the uppermost step. A row of the table comes as
	//! often as the joins of the path pair it.
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

	//! Collects the steps from `op` down, the lowest first; false if the scan is not below. `refusal`: of what stands in the way.
	bool Collect(unique_ptr<LogicalOperator> &op, Refusal &refusal);
	void FindTop();
	//! Whether something above the partial aggregate depends on more of it than its groups.
	bool UsesAggregates() const;
	//! Whether a cross product can be moved from there down to the scan.
	bool CanDescend(idx_t product) const;
	//! Whether `predicate`, at any place of the path, only cuts off the farther rows, or those that the index does not rank.
	bool IsBound(const Expression &predicate) const;
	bool Restricts(const Step &step) const;
	//! Whether the operators from the topmost filter down do nothing but drop rows: they can be moved as they are.
	bool CanMove() const;
	//! The step that Split() will replace.
	idx_t Slot() const;
	//! Whether `predicate`, a filter of `op`, is applied above the search.
	bool IsTaken(const Expression &predicate, const LogicalOperator &op) const;
	//! Goes down from the uppermost step, to that which drops rows at most, as long as all columns of `groups` are there. These are
	//! over the columns of the step that is returned then.
	idx_t StepOfGroups(vector<unique_ptr<Expression>> &groups) const;
	//! A copy of a part of the path, from `source` down, in which the partial aggregate passes all rows on. Refused if it may differ.
	OrRefusal<LogicalOperator> CopyFrom(ClientContext &context, LogicalOperator &source) const;
	//! A plan of the row ids that get to the step `first`. It yields the columns `keys` of the scan, too, or `groups`, over the columns of
	//! the step.
	OrRefusal<RowFilter> CopyFilter(Binder &binder, idx_t first, const vector<ProjectionIndex> &keys,
	                                vector<unique_ptr<Expression>> groups) const;
	//! The search takes the place of the scan itself, and everything above it stays.
	unique_ptr<SplitPath> SplitAtScan(RowFilter filter);
	//! Removes such predicates from the filters of `op` and returns them. `ranked_only`: see `SplitPath`, set if one says so.
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
