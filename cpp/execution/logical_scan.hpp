//! The index search as an operator. It replaces the scan of a table below a TOP_N over a vector distance.
//!
//! It emits the same columns as that scan, for a superset of the rows that the TOP_N will keep: candidates of the index
//! that the transaction sees, and all rows that the transaction itself has inserted. If the index cannot promise that,
//! the operator runs the scan.
#pragma once

#include "execution/logical_search.hpp"

namespace duckdb {

//! HNSW_INDEX_SCAN in a logical plan. With probes, a row is emitted once, however many probes it is a candidate for.
class LogicalHNSWScan : public LogicalHNSWSearch {
public:
	LogicalHNSWScan(unique_ptr<LogicalGet> get, IndexSearch search, unique_ptr<Expression> query,
	                unique_ptr<LogicalOperator> probes);

	//! If groups are wanted: the expressions that make them, over the columns of the table. If there are none, the
	//! filter yields the groups.
	void SetBestGroups(vector<unique_ptr<Expression>> groups);
	//! Only rows whose ids `filter` yields are emitted.
	void SetFilter(ClientContext &context, RowFilter filter);

	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;

private:
	//! Not among `expressions`, which are over the children.
	vector<unique_ptr<Expression>> best_groups;
};

} // namespace duckdb
