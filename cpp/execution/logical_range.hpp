//! The search of an index for all rows within some distance, as an operator: replaces the scan of a table, and the filter on the distance.
//!
//! It emits exactly the rows that pass its predicates. The index tells which do for certain; of the others the table decides.
#pragma once

#include "duckdb/planner/operator/logical_extension_operator.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "execution/search_plan.hpp"

namespace duckdb {

//! HNSW_INDEX_SCAN in a logical plan, for a range. `expressions[0]` is the query vector: a constant of the execution. With a filter it
//! has a child.
class LogicalHNSWRange : public LogicalExtensionOperator {
public:
	//! `stand_in`: the scan that runs where the index cannot answer, with all filters; its columns are those of this operator.
	//! `predicates`: over the columns of that scan. `bounds`: what they say of the distance.
	LogicalHNSWRange(unique_ptr<LogicalGet> stand_in, IndexSearch search, unique_ptr<Expression> query,
	                 vector<unique_ptr<Expression>> predicates, vector<DistanceBound> bounds);

	//! Only rows whose ids `filter` yields are emitted. It becomes the child.
	void SetFilter(RowFilter filter);

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
	unique_ptr<LogicalGet> get;
	IndexSearch search;
	//! Not among `expressions`, which are over the children.
	vector<unique_ptr<Expression>> predicates;
	vector<DistanceBound> bounds;
	//! The column of the child that holds the ids of the rows that qualify; invalid if all do.
	optional_idx row_id_column;
};

} // namespace duckdb
