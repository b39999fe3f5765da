//! HNSW_FILTER: collects the ids of the rows that qualify for a search.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "execution/pair_filter.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

//! The rows that qualify, once the pipeline of the filter is done.
class RowFilterState : public GlobalSinkState {
public:
	//! `keys`: the types of the columns that are kept of a row besides its id.
	RowFilterState(ClientContext &context, vector<LogicalType> keys);

	//! Committed rows by their ids.
	rust::Box<vss::RowSet> stored;
	//! The transaction's own rows by their ids minus MAX_ROW_ID.
	rust::Box<vss::RowSet> own;
	//! The same rows with their keys, if they have any; a row may come more than once.
	KeyedRows keyed;
	mutex lock;
};

//! A sink without output: the operator above reads its state.
class PhysicalRowFilter : public PhysicalOperator {
public:
	static constexpr const PhysicalOperatorType TYPE = PhysicalOperatorType::EXTENSION;

	//! Column `row_id_column` of `plan` holds row ids; one may come more than once.
	PhysicalRowFilter(PhysicalPlan &physical_plan, PhysicalOperator &plan, idx_t row_id_column,
	                  vector<idx_t> key_columns);

	const idx_t row_id_column;
	//! Columns of `plan` that are kept for each row.
	const vector<idx_t> key_columns;
	//! Expressions over the keys, by which the rows are grouped.
	vector<unique_ptr<Expression>> group_keys;

	//! The rows that qualify. Only valid after the pipeline of this sink.
	const RowFilterState &Rows() const {
		return sink_state->Cast<RowFilterState>();
	}
	//! Makes the pipeline that has to be done before `current` starts.
	void BuildPipeline(Pipeline &current, MetaPipeline &meta_pipeline);

	string GetName() const override {
		return "HNSW_FILTER";
	}
	unique_ptr<GlobalSinkState> GetGlobalSinkState(ClientContext &context) const override;
	unique_ptr<LocalSinkState> GetLocalSinkState(ExecutionContext &context) const override;
	SinkResultType Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const override;
	SinkCombineResultType Combine(ExecutionContext &context, OperatorSinkCombineInput &input) const override;
	SinkFinalizeType Finalize(Pipeline &pipeline, Event &event, ClientContext &context,
	                          OperatorSinkFinalizeInput &input) const override;
	bool IsSink() const override {
		return true;
	}
	bool ParallelSink() const override {
		return true;
	}
	bool SinkOrderDependent() const override {
		return false;
	}
};

} // namespace duckdb
