//! CREATE INDEX … USING HNSW: validation, and the physical operator that builds the graph.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class CreateHNSWGlobalState;
class DuckTableEntry;
struct PlanIndexInput;

//! Builds an HNSW index: collects the vectors, links them in parallel, catches up with rows that others have committed
//! meanwhile, then publishes the index. DuckDB's own operator would lose those rows; it also shows no progress and
//! never looks at interrupts.
class PhysicalCreateHNSW : public PhysicalOperator {
public:
	static constexpr const PhysicalOperatorType TYPE = PhysicalOperatorType::EXTENSION;

	PhysicalCreateHNSW(PhysicalPlan &physical_plan, vector<LogicalType> types, idx_t estimated_cardinality,
	                   DuckTableEntry &table, unique_ptr<CreateIndexInfo> info, vector<column_t> storage_ids,
	                   vector<unique_ptr<Expression>> unbound_expressions, vss::IndexOptions options);

	//! The indexed expression, over the rows of the scan. The last column of the scan is the row id.
	unique_ptr<Expression> key;
	//! The first list gave the dimensions: a list of another length is an error.
	bool guessed_length = false;

	//! The `create_plan` callback of the index type: checks the statement, then SCAN → this.
	//! Throws a BinderException for whatever HNSW cannot index.
	static PhysicalOperator &Plan(PlanIndexInput &input);

	string GetName() const override {
		return "CREATE_HNSW_INDEX";
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override;

	unique_ptr<GlobalSinkState> GetGlobalSinkState(ClientContext &context) const override;
	unique_ptr<LocalSinkState> GetLocalSinkState(ExecutionContext &context) const override;
	SinkResultType Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const override;
	SinkFinalizeType Finalize(Pipeline &pipeline, Event &event, ClientContext &context,
	                          OperatorSinkFinalizeInput &input) const override;
	ProgressData GetSinkProgress(ClientContext &context, GlobalSinkState &state,
	                             const ProgressData source_progress) const override;
	bool IsSink() const override {
		return true;
	}
	bool ParallelSink() const override {
		return true;
	}

	//! Makes the finished index known to catalog and table, with every row that is committed by then.
	void Publish(ClientContext &context, CreateHNSWGlobalState &state) const;

	bool IsSource() const override {
		return true;
	}

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override {
		return SourceResultType::FINISHED;
	}

private:
	DuckTableEntry &table;
	unique_ptr<CreateIndexInfo> info;
	//! Physical ids of the indexed columns.
	vector<column_t> storage_ids;
	vector<unique_ptr<Expression>> unbound_expressions;
	vss::IndexOptions options;
};

} // namespace duckdb
