//! What the operators that search an index have in common, as they run.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/expression.hpp"
#include "duckdb/storage/storage_index.hpp"
#include "execution/physical_comparison.hpp"
#include "execution/physical_row_filter.hpp"
#include "execution/search_plan.hpp"
#include "host/host.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class ColumnDataCollection;
class DataTable;
class DuckTransaction;
class StorageLockKey;

//! What a search operator is made of.
struct SearchInputs {
	vector<LogicalType> types;
	idx_t estimated_cardinality;
	DuckTableEntry &table;
	vector<StorageIndex> column_ids;
	IndexSearch search;
	unique_ptr<Expression> query;
	TableScanPlan table_scan;
};

//! Base of the operators that search: what they are made of, their pipelines, and what EXPLAIN shows. Such an operator
//! is the source of a pipeline, and the sink of the query vectors if a plan yields them. A subclass adds only the
//! search: `GetGlobalSourceState`, `GetLocalSourceState`, `GetDataInternal`.
class PhysicalHNSWSearch : public PhysicalOperator {
public:
	static constexpr const PhysicalOperatorType TYPE = PhysicalOperatorType::EXTENSION;

	PhysicalHNSWSearch(PhysicalPlan &physical_plan, SearchInputs inputs);

	DuckTableEntry &table;
	//! The columns of `table_scan`, in storage terms.
	const vector<StorageIndex> column_ids;
	const IndexSearch search;
	//! The query vector. Without probes it is free of columns; with probes it is over their columns.
	const unique_ptr<Expression> query;
	//! The scan that this operator replaces. It is no child, since it rarely runs.
	const TableScanPlan table_scan;
	//! The child that compares the index with its table, if that is due.
	optional_ptr<PhysicalComparison> comparison;
	//! The child that knows which rows qualify, if not all do.
	optional_ptr<PhysicalRowFilter> filter;
	//! The child that yields query vectors, unless there is only one.
	optional_ptr<PhysicalOperator> probes;

	string GetName() const override {
		return IndexSearch::SCAN;
	}
	//! What was planned or, after the execution, what was done.
	InsertionOrderPreservingMap<string> ParamsToString() const override;

	void BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) override;
	vector<const_reference<PhysicalOperator>> GetSources() const override;
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
	unique_ptr<LocalSinkState> GetLocalSinkState(ExecutionContext &context) const override;
	SinkResultType Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const override;
	SinkCombineResultType Combine(ExecutionContext &context, OperatorSinkCombineInput &input) const override;
	bool IsSink() const override {
		return probes;
	}
	bool ParallelSink() const override {
		return true;
	}

	//! The rows with the query vectors, once the pipeline of `probes` is done.
	ColumnDataCollection &ProbeRows() const;
	//! The value of a query vector that is free of columns.
	Value QueryValue(ClientContext &context) const;
	//! The vector to search for. Empty if `query` is NULL, has NULL elements, or does not fit FLOAT[n]: DuckDB answers
	//! then.
	vector<float> QueryVector(const Value &query) const;

	//! Remembers the strategy, and numbers by their names, for EXPLAIN ANALYZE. They replace those that were reported
	//! under the same names before.
	void Report(const string &strategy, const vector<pair<string, idx_t>> &numbers) const;
	//! The same for any other value.
	void ReportAs(const string &name, const string &value) const;
	//! Gives the profiler of this thread what was reported. If several threads do so, DuckDB shows only the last: all
	//! but one must give nothing (`everything` = false).
	void TellProfiler(ExecutionContext &context, bool everything = true) const;

protected:
	//! What EXPLAIN shows.
	virtual InsertionOrderPreservingMap<string> PlannedParameters() const;

private:
	mutable mutex report_lock;
	mutable InsertionOrderPreservingMap<string> reported;
};

//! What the threads of an operator that searches share.
class SearchGlobalState : public GlobalSourceState {
public:
	SearchGlobalState(ClientContext &context, const PhysicalHNSWSearch &search_op);

	DuckTransaction &transaction;
	DataTable &storage;
	//! While this is held, row ids of a search stand for the same rows.
	unique_ptr<StorageLockKey> vacuum_lock;
	//! The rows that qualify; nothing if all do.
	optional_ptr<const RowFilterState> filter;
	const vss::HostInterrupt interrupt;

	//! The rows that qualify: committed ones (`StoredRows`), and the transaction's own (`OwnRowIds`), see
	//! RowFilterState. Null if all qualify.
	const vss::RowSet *StoredRows() const {
		return filter ? &*filter->stored : nullptr;
	}
	const vss::RowSet *OwnRowIds() const {
		return filter ? &*filter->own : nullptr;
	}
};

//! The same, for an operator whose threads may run the replaced scan together.
class ScanningGlobalState : public SearchGlobalState {
public:
	ScanningGlobalState(ClientContext &context, const PhysicalHNSWSearch &search_op);

	//! The state of the replaced scan; null unless the index cannot answer, or the scan yields what was found.
	unique_ptr<GlobalSourceState> table_scan;

protected:
	//! Begins that scan for these rows: see WantedRows::Set.
	void BeginScan(ClientContext &context, optional_ptr<const vss::RowSet> stored, optional_ptr<const vss::RowSet> own);
	//! Begins that scan for the rows `row_ids` and the transaction's `own`, if that takes less time than looking them
	//! up. True if it did. Looks up a few of them, if they are many, to learn how long that takes.
	bool ScanFound(ClientContext &context, const vector<int64_t> &row_ids, optional_ptr<const vss::RowSet> own);

private:
	//! Nanoseconds to look up one of the rows `row_ids`.
	double MeasureLookUp(ClientContext &context, const vector<int64_t> &row_ids);

	const PhysicalHNSWSearch &search_op;
	//! What was found, if the scan yields it.
	unique_ptr<rust::Box<vss::RowSet>> scanned_rows;
};

//! What each of those threads keeps to itself.
class ScanningLocalState : public LocalSourceState {
public:
	//! Fills `chunk` from the replaced scan.
	SourceResultType Scan(ExecutionContext &context, const PhysicalHNSWSearch &op, DataChunk &chunk,
	                      OperatorSourceInput &input);

	//! The local state of that scan, once this thread has begun it.
	unique_ptr<LocalSourceState> table_scan;
};

} // namespace duckdb
