#include "execution/physical_comparison.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/parallel/pipeline.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "execution/search_plan.hpp"
#include "host/aside.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

PhysicalComparison::PhysicalComparison(PhysicalPlan &physical_plan, DuckTableEntry &table_p, const IndexSearch &search)
    : PhysicalOperator(physical_plan, TYPE, {LogicalType::BOOLEAN}, 0), table(table_p), entry(search.entry),
      index_name(search.index_name) {
}

InsertionOrderPreservingMap<string> PhysicalComparison::ParamsToString() const {
	InsertionOrderPreservingMap<string> result;
	result["Compares"] = StringUtil::Format("index '%s' with table '%s'", index_name, table.name.GetIdentifierName());
	return result;
}

optional_ptr<PhysicalComparison> PhysicalComparison::Plan(PhysicalPlanGenerator &planner,
                                                          PhysicalOperator &search_operator, DuckTableEntry &table,
                                                          const IndexSearch &search) {
	if (!search.compare) {
		return nullptr;
	}
	auto &comparison = planner.Make<PhysicalComparison>(table, search);
	search_operator.children.push_back(comparison);
	return comparison.Cast<PhysicalComparison>();
}

void PhysicalComparison::BuildPipeline(Pipeline &current, MetaPipeline &meta_pipeline) {
	sink_state.reset();
	meta_pipeline.CreateChildMetaPipeline(current, *this).Build(*this);
}

void PhysicalComparison::BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) {
	op_state.reset();
	meta_pipeline.GetState().SetPipelineSource(current, *this);
}

vector<const_reference<PhysicalOperator>> PhysicalComparison::GetSources() const {
	return {*this};
}

SinkResultType PhysicalComparison::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	return SinkResultType::NEED_MORE_INPUT;
}

class ComparisonState : public GlobalSourceState {
public:
	unique_ptr<Aside> work;
};

unique_ptr<GlobalSourceState> PhysicalComparison::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<ComparisonState>();
}

SourceResultType PhysicalComparison::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                     OperatorSourceInput &input) const {
	auto &state = input.global_state.Cast<ComparisonState>();
	if (!state.work) {
		if (!HNSWIndex::CatchUpDue(*entry)) {
			return SourceResultType::FINISHED;
		}
		auto &client = context.client;
		state.work = make_uniq<Aside>(client, [this, &client](const vss::HostInterrupt &interrupt) {
			HNSWIndex::CatchUp(client, interrupt, *entry, table.GetStorage());
		});
	}
	return state.work->Wait() ? SourceResultType::FINISHED : SourceResultType::HAVE_MORE_OUTPUT;
}

} // namespace duckdb
