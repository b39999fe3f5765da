//! The index search as an operator: replaces the scan of a table below a TOP_N over a vector distance.
//!
//! It emits the same columns as the scan it replaces, for a superset of the rows the TOP_N will keep: candidates of the
//! index that the transaction sees, and all rows the transaction itself has inserted. Whenever the index cannot promise
//! that, it runs the scan.
#pragma once

#include "execution/logical_search.hpp"

namespace duckdb {

//! HNSW_INDEX_SCAN in a logical plan. With probes each row is emitted once, whichever probe it is a candidate for.
class LogicalHNSWScan : public LogicalHNSWSearch {
public:
	LogicalHNSWScan(unique_ptr<LogicalGet> get, IndexSearch search, unique_ptr<Expression> query,
	                unique_ptr<LogicalOperator> probes);

	//! What the groups that are wanted are made of: expressions over the columns of the table. Without any the filter yields them, if
	//! groups are wanted.
	void SetBestGroups(vector<unique_ptr<Expression>> groups);
	//! Only rows whose ids `filter` yields are emitted.
	void SetFilter(ClientContext &context, RowFilter filter);

	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;

private:
	//! Not among `expressions`, which are over the children.
	vector<unique_ptr<Expression>> best_groups;
};

} // namespace duckdb
