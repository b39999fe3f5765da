#include "execution/physical_row_filter.hpp"

#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"

namespace duckdb {

static rust::Box<vss::RowSet> MakeRowSet(ClientContext &context) {
	auto memory = std::make_unique<vss::HostMemory>(BufferManager::GetBufferManager(context));
	return Translate([&] { return vss::create_row_set(std::move(memory)); });
}

RowFilterState::RowFilterState(ClientContext &context) : stored(MakeRowSet(context)), own(MakeRowSet(context)) {
}

bool RowFilterState::Contains(row_t row_id) const {
	return row_id < MAX_ROW_ID ? stored->contains(row_id) : own->contains(row_id - MAX_ROW_ID);
}

class RowFilterLocalState : public LocalSinkState {
public:
	explicit RowFilterLocalState(ClientContext &context) : stored(MakeRowSet(context)), own(MakeRowSet(context)) {
	}

	rust::Box<vss::RowSet> stored;
	rust::Box<vss::RowSet> own;
	//! Of one chunk.
	vector<int64_t> stored_rows;
	vector<int64_t> own_rows;
};

PhysicalRowFilter::PhysicalRowFilter(PhysicalPlan &physical_plan, PhysicalOperator &plan, idx_t row_id_column_p)
    : PhysicalOperator(physical_plan, TYPE, {LogicalType::ROW_TYPE}, plan.estimated_cardinality),
      row_id_column(row_id_column_p) {
	children.push_back(plan);
}

void PhysicalRowFilter::BuildPipeline(Pipeline &current, MetaPipeline &meta_pipeline) {
	op_state.reset();
	sink_state.reset();
	meta_pipeline.CreateChildMetaPipeline(current, *this).Build(children[0]);
}

unique_ptr<GlobalSinkState> PhysicalRowFilter::GetGlobalSinkState(ClientContext &context) const {
	return make_uniq<RowFilterState>(context);
}

unique_ptr<LocalSinkState> PhysicalRowFilter::GetLocalSinkState(ExecutionContext &context) const {
	return make_uniq<RowFilterLocalState>(context.client);
}

SinkResultType PhysicalRowFilter::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	auto &lstate = input.local_state.Cast<RowFilterLocalState>();
	UnifiedVectorFormat format;
	chunk.data[row_id_column].ToUnifiedFormat(format);
	auto row_ids = UnifiedVectorFormat::GetData<row_t>(format);
	lstate.stored_rows.clear();
	lstate.own_rows.clear();
	for (idx_t i = 0; i < chunk.size(); i++) {
		auto row_id = row_ids[format.sel->get_index(i)];
		if (row_id < MAX_ROW_ID) {
			lstate.stored_rows.push_back(row_id);
		} else {
			lstate.own_rows.push_back(row_id - MAX_ROW_ID);
		}
	}
	Translate([&] {
		lstate.stored->insert({lstate.stored_rows.data(), lstate.stored_rows.size()});
		lstate.own->insert({lstate.own_rows.data(), lstate.own_rows.size()});
	});
	return SinkResultType::NEED_MORE_INPUT;
}

SinkCombineResultType PhysicalRowFilter::Combine(ExecutionContext &context, OperatorSinkCombineInput &input) const {
	auto &gstate = input.global_state.Cast<RowFilterState>();
	auto &lstate = input.local_state.Cast<RowFilterLocalState>();
	lock_guard<mutex> guard(gstate.lock);
	Translate([&] {
		gstate.stored->merge(*lstate.stored);
		gstate.own->merge(*lstate.own);
	});
	return SinkCombineResultType::FINISHED;
}

} // namespace duckdb
