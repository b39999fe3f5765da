//! Execution of HNSW_INDEX_JOIN: collects the query vectors, then searches for many of them on every thread.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/expression.hpp"
#include "duckdb/storage/storage_index.hpp"
#include "execution/physical_comparison.hpp"
#include "execution/search_plan.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class PairFilter;
class PhysicalRowFilter;

//! What the searches of a join did, summed up.
struct JoinReport {
	//! Query vectors by the strategy that answered them.
	map<vss::Strategy, idx_t> probes;
	idx_t visited = 0;
	idx_t distances = 0;
	idx_t candidates = 0;
};

class PhysicalHNSWJoin : public PhysicalOperator {
public:
	static constexpr const PhysicalOperatorType TYPE = PhysicalOperatorType::EXTENSION;

	//! `table_scan` is the scan of the table, with the row id as last column if there is a filter. It is for query vectors
	//! the index cannot answer, and no child, since it rarely runs. `projections` lie between it and the join, lowest first.
	PhysicalHNSWJoin(PhysicalPlan &physical_plan, vector<LogicalType> types, idx_t estimated_cardinality,
	                 DuckTableEntry &table, vector<StorageIndex> column_ids, IndexSearch search,
	                 unique_ptr<Expression> query, TableScanPlan table_scan,
	                 vector<vector<unique_ptr<Expression>>> projections, bool table_first);
	~PhysicalHNSWJoin() override;

	DuckTableEntry &table;
	//! The columns of `table_scan`, in storage terms.
	const vector<StorageIndex> column_ids;
	const IndexSearch search;
	//! The query vector, over the child's columns.
	const unique_ptr<Expression> query;
	const TableScanPlan table_scan;
	const vector<vector<unique_ptr<Expression>>> projections;
	const bool table_first;
	//! Over the columns of this operator; see LogicalHNSWJoin::SetConditions.
	vector<unique_ptr<Expression>> conditions;
	//! All pairs are wanted whose distance passes these; none: the nearest are.
	vector<DistanceBound> bounds;
	//! Compares the index with its table, if it has to be. Also a child.
	optional_ptr<PhysicalComparison> comparison;
	//! Yields the rows that qualify; nothing if all do. Also a child.
	optional_ptr<PhysicalRowFilter> filter;
	//! Which of these qualify for which query vector; nothing if all do for all.
	unique_ptr<PairFilter> pairs;
	//! Yields the query vectors. Also the last child.
	optional_ptr<PhysicalOperator> probes;

	string GetName() const override {
		return search.JoinName();
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override;

	void BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) override;
	vector<const_reference<PhysicalOperator>> GetSources() const override;

	unique_ptr<GlobalSinkState> GetGlobalSinkState(ClientContext &context) const override;
	unique_ptr<LocalSinkState> GetLocalSinkState(ExecutionContext &context) const override;
	SinkResultType Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const override;
	SinkCombineResultType Combine(ExecutionContext &context, OperatorSinkCombineInput &input) const override;
	bool IsSink() const override {
		return true;
	}
	bool ParallelSink() const override {
		return true;
	}

	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override;
	unique_ptr<LocalSourceState> GetLocalSourceState(ExecutionContext &context,
	                                                 GlobalSourceState &gstate) const override;
	ProgressData GetProgress(ClientContext &context, GlobalSourceState &gstate) const override;
	OrderPreservationType SourceOrder() const override {
		return OrderPreservationType::NO_ORDER;
	}
	bool IsSource() const override {
		return true;
	}
	bool ParallelSource() const override {
		return true;
	}

	//! Adds what some searches did, for EXPLAIN ANALYZE.
	void Report(const JoinReport &report) const;

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;

private:
	mutable mutex report_lock;
	mutable JoinReport total;
};

} // namespace duckdb
