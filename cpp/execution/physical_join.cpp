#include "execution/physical_join.hpp"

#include "execution/join_state.hpp"

namespace duckdb {

PhysicalHNSWJoin::PhysicalHNSWJoin(PhysicalPlan &physical_plan, SearchInputs inputs,
                                   vector<vector<unique_ptr<Expression>>> projections_p, bool table_first_p)
    : PhysicalHNSWSearch(physical_plan, std::move(inputs)), projections(std::move(projections_p)),
      table_first(table_first_p) {
}

PhysicalHNSWJoin::~PhysicalHNSWJoin() = default;

InsertionOrderPreservingMap<string> PhysicalHNSWJoin::PlannedParameters() const {
	return bounds.empty() ? PhysicalHNSWSearch::PlannedParameters() : RangeParameters(table, search, bounds);
}

void PhysicalHNSWJoin::Report(const JoinReport &report) const {
	lock_guard<mutex> guard(total_lock);
	for (auto &entry : report.probes) {
		total.probes[entry.first] += entry.second;
	}
	total.visited += report.visited;
	total.distances += report.distances;
	total.candidates += report.candidates;
	if (total.probes.empty()) {
		return;
	}
	vector<string> strategies;
	for (auto &entry : total.probes) {
		strategies.push_back(StringUtil::Format("%s (%llu)", string(vss::strategy_name(entry.first)), entry.second));
	}
	vector<pair<string, idx_t>> numbers {{"Distances", total.distances}, {"Candidates", total.candidates}};
	if (bounds.empty()) {
		numbers.insert(numbers.begin(), {"Visited", total.visited});
	}
	PhysicalHNSWSearch::Report(StringUtil::Join(strategies, ", "), numbers);
}

unique_ptr<GlobalSourceState> PhysicalHNSWJoin::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<HNSWJoinGlobalState>(context, *this, ProbeRows());
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
			// the profiler has noted the parameters when this thread began, before the searches
			TellProfiler(context, input.global_state.Cast<HNSWJoinGlobalState>().AllReported());
			return SourceResultType::FINISHED;
		}
	}
}

} // namespace duckdb
