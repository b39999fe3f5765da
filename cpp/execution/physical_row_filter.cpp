#include "execution/physical_row_filter.hpp"

#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "execution/wanted_rows.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"

namespace duckdb {

RowFilterState::RowFilterState(ClientContext &context, vector<LogicalType> keys)
    : stored(MakeRowSet(context)), own(MakeRowSet(context)), keyed(context, std::move(keys)) {
}

class RowFilterLocalState : public LocalSinkState {
public:
	RowFilterLocalState(ClientContext &context, const vector<LogicalType> &keyed_types)
	    : stored(MakeRowSet(context)), own(MakeRowSet(context)), keyed(context, keyed_types) {
		keyed.InitializeAppend(append_state);
		keyed_chunk.InitializeEmpty(keyed_types);
	}

	rust::Box<vss::RowSet> stored;
	rust::Box<vss::RowSet> own;
	//! Row ids of one chunk.
	vector<int64_t> stored_rows;
	vector<int64_t> own_rows;
	ColumnDataCollection keyed;
	ColumnDataAppendState append_state;
	DataChunk keyed_chunk;
};

PhysicalRowFilter::PhysicalRowFilter(PhysicalPlan &physical_plan, PhysicalOperator &plan, idx_t row_id_column_p,
                                     vector<idx_t> key_columns_p)
    : PhysicalOperator(physical_plan, TYPE, {LogicalType::ROW_TYPE}, plan.estimated_cardinality),
      row_id_column(row_id_column_p), key_columns(std::move(key_columns_p)) {
	children.push_back(plan);
}

void PhysicalRowFilter::BuildPipeline(Pipeline &current, MetaPipeline &meta_pipeline) {
	op_state.reset();
	sink_state.reset();
	meta_pipeline.CreateChildMetaPipeline(current, *this).Build(children[0]);
}

unique_ptr<GlobalSinkState> PhysicalRowFilter::GetGlobalSinkState(ClientContext &context) const {
	vector<LogicalType> keys;
	for (auto column : key_columns) {
		keys.push_back(children[0].get().types[column]);
	}
	return make_uniq<RowFilterState>(context, std::move(keys));
}

unique_ptr<LocalSinkState> PhysicalRowFilter::GetLocalSinkState(ExecutionContext &context) const {
	return make_uniq<RowFilterLocalState>(context.client, sink_state->Cast<RowFilterState>().keyed.rows.Types());
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
	if (!key_columns.empty()) {
		for (idx_t i = 0; i < key_columns.size(); i++) {
			lstate.keyed_chunk.data[i].Reference(chunk.data[key_columns[i]]);
		}
		lstate.keyed_chunk.data.back().Reference(chunk.data[row_id_column]);
		lstate.keyed_chunk.SetCardinalityUnsafe(chunk.size());
		lstate.keyed.Append(lstate.append_state, lstate.keyed_chunk);
	}
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
	gstate.keyed.rows.Combine(lstate.keyed);
	return SinkCombineResultType::FINISHED;
}

SinkFinalizeType PhysicalRowFilter::Finalize(Pipeline &pipeline, Event &event, ClientContext &context,
                                             OperatorSinkFinalizeInput &input) const {
	input.global_state.Cast<RowFilterState>().keyed.Group(context, group_keys);
	return SinkFinalizeType::READY;
}

} // namespace duckdb
