//! HNSW_COMPARISON: brings an index in step with its table before it is searched.
#pragma once

#include "duckdb/execution/physical_operator.hpp"

namespace duckdb {

class DuckTableEntry;
class IndexEntry;
class PhysicalPlanGenerator;
struct IndexSearch;

//! A pipeline of its own, without rows. The comparison is part of the execution, not of the planning, because clients
//! can only stop what is executed.
class PhysicalComparison : public PhysicalOperator {
public:
	static constexpr const PhysicalOperatorType TYPE = PhysicalOperatorType::EXTENSION;

	//! Compares the index of `search`, if a comparison is still due when this runs.
	PhysicalComparison(PhysicalPlan &physical_plan, DuckTableEntry &table, const IndexSearch &search);

	DuckTableEntry &table;
	const shared_ptr<IndexEntry> entry;
	const string index_name;

	//! If the index of `search` has to be compared, gives `search_operator` a child that does so. Null if not.
	static optional_ptr<PhysicalComparison> Plan(PhysicalPlanGenerator &planner, PhysicalOperator &search_operator,
	                                             DuckTableEntry &table, const IndexSearch &search);
	//! Makes the pipeline that has to be done before `current` starts.
	void BuildPipeline(Pipeline &current, MetaPipeline &meta_pipeline);

	string GetName() const override {
		return "HNSW_COMPARISON";
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override;
	void BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) override;
	vector<const_reference<PhysicalOperator>> GetSources() const override;
	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override;
	bool IsSource() const override {
		return true;
	}
	ProgressData GetProgress(ClientContext &context, GlobalSourceState &gstate) const override;
	//! Counted in rows of the table, as for the pipelines beside it.
	ProgressData GetSinkProgress(ClientContext &context, GlobalSinkState &gstate,
	                             const ProgressData source_progress) const override;
	//! Gets no rows: the pipeline ends here.
	SinkResultType Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const override;
	bool IsSink() const override {
		return true;
	}

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;
};

} // namespace duckdb
