//! Execution of HNSW_INDEX_SCAN for a range: several threads look through the index, then they fetch; or the table scan it replaces.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/expression.hpp"
#include "duckdb/storage/storage_index.hpp"
#include "execution/physical_comparison.hpp"
#include "execution/physical_row_filter.hpp"
#include "execution/search_plan.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class PhysicalHNSWRange : public PhysicalOperator {
public:
	static constexpr const PhysicalOperatorType TYPE = PhysicalOperatorType::EXTENSION;

	//! `table_scan` is the scan this operator replaces, with its filters; it is no child, since it rarely runs.
	PhysicalHNSWRange(PhysicalPlan &physical_plan, vector<LogicalType> types, idx_t estimated_cardinality,
	                  DuckTableEntry &table, vector<StorageIndex> column_ids, IndexSearch search,
	                  unique_ptr<Expression> query, TableScanPlan table_scan);

	DuckTableEntry &table;
	//! The columns to emit, in storage terms.
	const vector<StorageIndex> column_ids;
	const IndexSearch search;
	//! The query vector, free of columns.
	const unique_ptr<Expression> query;
	const TableScanPlan table_scan;
	//! The same columns, and what else `predicate` needs.
	vector<StorageIndex> checked_ids;
	vector<LogicalType> checked_types;
	//! What rows must pass that are not certain.
	unique_ptr<Expression> predicate;
	vector<DistanceBound> bounds;
	//! The child that compares the index with its table, if it has to be.
	optional_ptr<PhysicalComparison> comparison;
	//! The child that knows which rows qualify, if not all do.
	optional_ptr<PhysicalRowFilter> filter;

	string GetName() const override {
		return IndexSearch::SCAN;
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override;

	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override;
	unique_ptr<LocalSourceState> GetLocalSourceState(ExecutionContext &context,
	                                                 GlobalSourceState &gstate) const override;
	OrderPreservationType SourceOrder() const override {
		return OrderPreservationType::NO_ORDER;
	}
	bool IsSource() const override {
		return true;
	}
	bool ParallelSource() const override {
		return true;
	}

	void BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) override;
	vector<const_reference<PhysicalOperator>> GetSources() const override;

	//! Remembers what a search did, for EXPLAIN ANALYZE.
	void Report(const vss::SearchReport &report, idx_t certain, idx_t uncertain) const;

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;

private:
	mutable mutex report_lock;
	mutable InsertionOrderPreservingMap<string> last_report;
};

} // namespace duckdb
