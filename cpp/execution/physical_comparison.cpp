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
	explicit ComparisonState(shared_ptr<const ComparisonProgress> progress_p) : progress(std::move(progress_p)) {
	}

	//! Null if the index was dropped.
	const shared_ptr<const ComparisonProgress> progress;
	atomic<bool> done {false};
	unique_ptr<Aside> work;
};

unique_ptr<GlobalSourceState> PhysicalComparison::GetGlobalSourceState(ClientContext &context) const {
	shared_ptr<const ComparisonProgress> progress;
	HNSWIndex::Visit(*entry, [&](const HNSWIndex &index) { progress = index.Comparing(); });
	return make_uniq<ComparisonState>(std::move(progress));
}

ProgressData PhysicalComparison::GetProgress(ClientContext &context, GlobalSourceState &gstate) const {
	auto &state = gstate.Cast<ComparisonState>();
	ProgressData result;
	result.total = 1;
	if (state.done) {
		result.done = 1;
	} else if (state.progress && state.progress->total > 0) {
		result.total = static_cast<double>(state.progress->total.load());
		result.done = MinValue(static_cast<double>(state.progress->done.load()), result.total);
	}
	return result;
}

ProgressData PhysicalComparison::GetSinkProgress(ClientContext &context, GlobalSinkState &gstate,
                                                 const ProgressData source_progress) const {
	auto result = source_progress;
	result.Normalize(static_cast<double>(MaxValue<idx_t>(table.GetStorage().GetTotalRows(), 1)));
	return result;
}

SourceResultType PhysicalComparison::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                     OperatorSourceInput &input) const {
	auto &state = input.global_state.Cast<ComparisonState>();
	if (!state.work) {
		if (!HNSWIndex::ReconcileDue(*entry)) {
			state.done = true;
			return SourceResultType::FINISHED;
		}
		auto &client = context.client;
		state.work = make_uniq<Aside>(client, [this, &client](const vss::HostInterrupt &interrupt) {
			HNSWIndex::Reconcile(client, interrupt, *entry, table.GetStorage());
		});
	}
	state.done = state.work->Wait();
	return state.done ? SourceResultType::FINISHED : SourceResultType::HAVE_MORE_OUTPUT;
}

} // namespace duckdb
