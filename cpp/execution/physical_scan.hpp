//! Execution of HNSW_INDEX_SCAN: search, then fetch through the transaction; or the table scan it replaces.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/expression.hpp"
#include "duckdb/storage/storage_index.hpp"
#include "execution/physical_comparison.hpp"
#include "execution/physical_row_filter.hpp"
#include "execution/search_plan.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class PhysicalHNSWScan : public PhysicalOperator {
public:
	static constexpr const PhysicalOperatorType TYPE = PhysicalOperatorType::EXTENSION;

	//! `table_scan` is the scan this operator replaces, without its filters; it is no child, since it rarely runs.
	PhysicalHNSWScan(PhysicalPlan &physical_plan, vector<LogicalType> types, idx_t estimated_cardinality,
	                 DuckTableEntry &table, vector<StorageIndex> column_ids, IndexSearch search,
	                 unique_ptr<Expression> query, TableScanPlan table_scan);

	DuckTableEntry &table;
	//! The columns to emit, in storage terms.
	const vector<StorageIndex> column_ids;
	const IndexSearch search;
	//! The query vector: free of columns without probes, over their columns with them.
	const unique_ptr<Expression> query;
	const TableScanPlan table_scan;
	//! If the best groups of rows are wanted: the expressions that make the groups, over `group_columns`.
	vector<unique_ptr<Expression>> groups;
	vector<StorageIndex> group_columns;
	vector<LogicalType> group_types;
	//! The child that compares the index with its table, if it has to be.
	optional_ptr<PhysicalComparison> comparison;
	//! The child that knows which rows qualify, if not all do.
	optional_ptr<PhysicalRowFilter> filter;
	//! The child that yields query vectors, unless there is only one.
	optional_ptr<PhysicalOperator> probes;

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

	unique_ptr<GlobalSinkState> GetGlobalSinkState(ClientContext &context) const override;
	SinkResultType Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const override;
	bool IsSink() const override {
		return probes;
	}

	void BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) override;
	vector<const_reference<PhysicalOperator>> GetSources() const override;

	//! Remembers what a search did, for EXPLAIN ANALYZE.
	void Report(const vss::SearchAnswer &answer) const;
	//! The same of how the rows are read that were found.
	void ReportRead(bool scanned) const;

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;

private:
	mutable mutex report_lock;
	mutable InsertionOrderPreservingMap<string> last_report;
};

} // namespace duckdb
