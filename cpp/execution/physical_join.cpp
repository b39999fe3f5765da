#include "execution/physical_join.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/parallel/pipeline.hpp"
#include "execution/join_state.hpp"

namespace duckdb {

PhysicalHNSWJoin::PhysicalHNSWJoin(PhysicalPlan &physical_plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                   DuckTableEntry &table_p, vector<StorageIndex> column_ids_p, IndexSearch search_p,
                                   unique_ptr<Expression> query_p, TableScanPlan table_scan_p,
                                   vector<vector<unique_ptr<Expression>>> projections_p, bool table_first_p)
    : PhysicalOperator(physical_plan, TYPE, std::move(types), estimated_cardinality), table(table_p),
      column_ids(std::move(column_ids_p)), search(std::move(search_p)), query(std::move(query_p)),
      table_scan(std::move(table_scan_p)), projections(std::move(projections_p)), table_first(table_first_p) {
}

PhysicalHNSWJoin::~PhysicalHNSWJoin() = default;

InsertionOrderPreservingMap<string> PhysicalHNSWJoin::ParamsToString() const {
	auto result = bounds.empty() ? SearchParameters(table, search) : RangeParameters(table, search, bounds);
	lock_guard<mutex> guard(report_lock);
	if (total.probes.empty()) {
		return result;
	}
	// DuckDB's profiler shows every operator of an extension under the name "Extension"
	result["Operator"] = GetName();
	vector<string> strategies;
	for (auto &entry : total.probes) {
		strategies.push_back(StringUtil::Format("%s (%llu)", string(vss::strategy_name(entry.first)), entry.second));
	}
	result["Strategy"] = StringUtil::Join(strategies, ", ");
	if (filter) {
		result["Qualifying"] = to_string(filter->Rows().stored->size());
	}
	if (bounds.empty()) {
		result["Visited"] = to_string(total.visited);
	}
	result["Distances"] = to_string(total.distances);
	result["Candidates"] = to_string(total.candidates);
	return result;
}

void PhysicalHNSWJoin::BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) {
	op_state.reset();
	sink_state.reset();
	meta_pipeline.GetState().SetPipelineSource(current, *this);
	if (comparison) {
		comparison->BuildPipeline(current, meta_pipeline);
	}
	if (filter) {
		filter->BuildPipeline(current, meta_pipeline);
	}
	meta_pipeline.CreateChildMetaPipeline(current, *this).Build(*probes);
}

vector<const_reference<PhysicalOperator>> PhysicalHNSWJoin::GetSources() const {
	return {*this};
}

void PhysicalHNSWJoin::Report(const JoinReport &report) const {
	lock_guard<mutex> guard(report_lock);
	for (auto &entry : report.probes) {
		total.probes[entry.first] += entry.second;
	}
	total.visited += report.visited;
	total.distances += report.distances;
	total.candidates += report.candidates;
}

//---------------------------------------------------------------------------------------------------------------------
// Sink: the rows with the query vectors
//---------------------------------------------------------------------------------------------------------------------

class HNSWJoinSinkState : public GlobalSinkState {
public:
	HNSWJoinSinkState(ClientContext &context, const vector<LogicalType> &types) : probes(context, types) {
	}

	mutex lock;
	ColumnDataCollection probes;
};

class HNSWJoinLocalSinkState : public LocalSinkState {
public:
	HNSWJoinLocalSinkState(ClientContext &context, const vector<LogicalType> &types) : probes(context, types) {
		probes.InitializeAppend(append_state);
	}

	ColumnDataCollection probes;
	ColumnDataAppendState append_state;
};

unique_ptr<GlobalSinkState> PhysicalHNSWJoin::GetGlobalSinkState(ClientContext &context) const {
	return make_uniq<HNSWJoinSinkState>(context, probes->GetTypes());
}

unique_ptr<LocalSinkState> PhysicalHNSWJoin::GetLocalSinkState(ExecutionContext &context) const {
	return make_uniq<HNSWJoinLocalSinkState>(context.client, probes->GetTypes());
}

SinkResultType PhysicalHNSWJoin::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	auto &state = input.local_state.Cast<HNSWJoinLocalSinkState>();
	state.probes.Append(state.append_state, chunk);
	return SinkResultType::NEED_MORE_INPUT;
}

SinkCombineResultType PhysicalHNSWJoin::Combine(ExecutionContext &context, OperatorSinkCombineInput &input) const {
	auto &gstate = input.global_state.Cast<HNSWJoinSinkState>();
	lock_guard<mutex> guard(gstate.lock);
	gstate.probes.Combine(input.local_state.Cast<HNSWJoinLocalSinkState>().probes);
	return SinkCombineResultType::FINISHED;
}

//---------------------------------------------------------------------------------------------------------------------
// Source
//---------------------------------------------------------------------------------------------------------------------

unique_ptr<GlobalSourceState> PhysicalHNSWJoin::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<HNSWJoinGlobalState>(context, *this, sink_state->Cast<HNSWJoinSinkState>().probes);
}

unique_ptr<LocalSourceState> PhysicalHNSWJoin::GetLocalSourceState(ExecutionContext &context,
                                                                   GlobalSourceState &gstate) const {
	return make_uniq<HNSWJoinLocalState>(context, *this, gstate.Cast<HNSWJoinGlobalState>());
}

ProgressData PhysicalHNSWJoin::GetProgress(ClientContext &context, GlobalSourceState &gstate_p) const {
	auto &gstate = gstate_p.Cast<HNSWJoinGlobalState>();
	ProgressData result;
	result.done = static_cast<double>(gstate.taken.load());
	result.total = static_cast<double>(MaxValue<idx_t>(gstate.probes.Count(), 1));
	return result;
}

SourceResultType PhysicalHNSWJoin::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                   OperatorSourceInput &input) const {
	auto &state = input.local_state.Cast<HNSWJoinLocalState>();
	while (true) {
		if (state.EmitCandidates(chunk)) {
			return SourceResultType::HAVE_MORE_OUTPUT;
		}
		auto result = state.EmitBlock(chunk, input.interrupt_state);
		if (result != SourceResultType::FINISHED) {
			return result;
		}
		if (!state.NextBatch()) {
			state.TellProfiler();
			return SourceResultType::FINISHED;
		}
	}
}

} // namespace duckdb
