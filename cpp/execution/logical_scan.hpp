//! The index search as an operator: replaces the scan of a table below a TOP_N over a vector distance.
//!
//! It emits the same columns as the scan it replaces, for a superset of the rows the TOP_N will keep: candidates of the
//! index that the transaction sees, and all rows the transaction itself has inserted. Whenever the index cannot promise
//! that, it runs the scan.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "execution/search_plan.hpp"

namespace duckdb {

//! HNSW_INDEX_SCAN in a logical plan. Without a child the query vector is a constant of the execution (literal,
//! parameter, variable …). With one, the probes, it is an expression over their columns, and each row is emitted once, whichever probe it
//! is a candidate for. `expressions[0]` is the query vector. With a filter there is another child, before that one.
class LogicalHNSWScan : public LogicalExtensionOperator {
public:
	LogicalHNSWScan(unique_ptr<LogicalGet> get, IndexSearch search, unique_ptr<Expression> query,
	                unique_ptr<LogicalOperator> probes);

	//! The rows wanted are of that many groups, by these expressions over the columns of the table; without any, they are just rows.
	void SetBestGroups(vector<unique_ptr<Expression>> groups);
	//! Only rows whose ids `filter` yields are emitted. It becomes the first child.
	void SetFilter(ClientContext &context, RowFilter filter);

	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;
	vector<ColumnBinding> GetColumnBindings() override;
	vector<TableIndex> GetTableIndex() const override;
	idx_t EstimateCardinality(ClientContext &context) override;
	optional_ptr<const string> GetTypeBindingVerificationIdentifier() const noexcept override;
	string GetName() const override {
		return IndexSearch::SCAN;
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override;
	string GetExtensionName() const override {
		return "vss";
	}
	bool SupportSerialization() const override {
		return false;
	}

protected:
	void ResolveTypes() override;

private:
	//! The child with the query vectors, if there is one.
	optional_ptr<LogicalOperator> Probes() const;

	unique_ptr<LogicalGet> get;
	IndexSearch search;
	//! Not among `expressions`, which are over the children.
	vector<unique_ptr<Expression>> best_groups;
	//! The column of the first child that holds the ids of the rows that qualify; invalid if all do.
	optional_idx row_id_column;
};

} // namespace duckdb
