#include "execution/physical_search.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/execution/execution_context.hpp"
#include "duckdb/execution/executor.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/query_profiler.hpp"
#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/parallel/pipeline.hpp"
#include "duckdb/parallel/thread_context.hpp"
#include "duckdb/planner/expression/bound_parameter_data.hpp"
#include "duckdb/planner/expression/bound_parameter_expression.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "execution/read_costs.hpp"
#include "host/errors.hpp"
#include "host/vector_batch.hpp"

#include <chrono>

namespace duckdb {

PhysicalHNSWSearch::PhysicalHNSWSearch(PhysicalPlan &physical_plan, SearchInputs inputs)
    : PhysicalOperator(physical_plan, TYPE, std::move(inputs.types), inputs.estimated_cardinality), table(inputs.table),
      column_ids(std::move(inputs.column_ids)), search(std::move(inputs.search)), query(std::move(inputs.query)),
      table_scan(std::move(inputs.table_scan)) {
}

InsertionOrderPreservingMap<string> PhysicalHNSWSearch::PlannedParameters() const {
	return SearchParameters(table, search);
}

void PhysicalHNSWSearch::BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) {
	op_state.reset();
	sink_state.reset();
	meta_pipeline.GetState().SetPipelineSource(current, *this);
	if (comparison) {
		comparison->BuildPipeline(current, meta_pipeline);
	}
	if (filter) {
		filter->BuildPipeline(current, meta_pipeline);
	}
	if (probes) {
		meta_pipeline.CreateChildMetaPipeline(current, *this).Build(*probes);
	}
}

vector<const_reference<PhysicalOperator>> PhysicalHNSWSearch::GetSources() const {
	return {*this};
}

//---------------------------------------------------------------------------------------------------------------------
// What it did
//---------------------------------------------------------------------------------------------------------------------

InsertionOrderPreservingMap<string> PhysicalHNSWSearch::ParamsToString() const {
	auto result = PlannedParameters();
	lock_guard<mutex> guard(report_lock);
	for (auto &entry : reported) {
		result[entry.first] = entry.second;
	}
	return result;
}

void PhysicalHNSWSearch::Report(const string &strategy, const vector<pair<string, idx_t>> &numbers) const {
	lock_guard<mutex> guard(report_lock);
	// DuckDB's profiler shows every operator of an extension under the name "Extension"
	reported["Operator"] = GetName();
	reported["Strategy"] = strategy;
	if (filter) {
		reported["Qualifying"] = to_string(filter->Rows().stored->size());
	}
	for (auto &number : numbers) {
		reported[number.first] = to_string(number.second);
	}
}

void PhysicalHNSWSearch::ReportAs(const string &name, const string &value) const {
	lock_guard<mutex> guard(report_lock);
	reported[name] = value;
}

void PhysicalHNSWSearch::TellProfiler(ExecutionContext &context, bool everything) const {
	auto &profiler = context.thread.profiler;
	// only if somebody asks for them
	if (profiler.OperatorMetricsIsInitialized(*this)) {
		auto parameters = everything ? ParamsToString() : InsertionOrderPreservingMap<string>();
		profiler.GetOperatorMetrics(*this).SetExtraInfo(std::move(parameters));
	}
}

//---------------------------------------------------------------------------------------------------------------------
// Query vectors
//---------------------------------------------------------------------------------------------------------------------

class ProbeSinkState : public GlobalSinkState {
public:
	ProbeSinkState(ClientContext &context, const vector<LogicalType> &types) : rows(context, types) {
	}

	mutex lock;
	ColumnDataCollection rows;
};

class ProbeLocalSinkState : public LocalSinkState {
public:
	ProbeLocalSinkState(ClientContext &context, const vector<LogicalType> &types) : rows(context, types) {
		rows.InitializeAppend(append_state);
	}

	ColumnDataCollection rows;
	ColumnDataAppendState append_state;
};

unique_ptr<GlobalSinkState> PhysicalHNSWSearch::GetGlobalSinkState(ClientContext &context) const {
	return make_uniq<ProbeSinkState>(context, probes->GetTypes());
}

unique_ptr<LocalSinkState> PhysicalHNSWSearch::GetLocalSinkState(ExecutionContext &context) const {
	return make_uniq<ProbeLocalSinkState>(context.client, probes->GetTypes());
}

SinkResultType PhysicalHNSWSearch::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	auto &state = input.local_state.Cast<ProbeLocalSinkState>();
	state.rows.Append(state.append_state, chunk);
	return SinkResultType::NEED_MORE_INPUT;
}

SinkCombineResultType PhysicalHNSWSearch::Combine(ExecutionContext &context, OperatorSinkCombineInput &input) const {
	auto &gstate = input.global_state.Cast<ProbeSinkState>();
	lock_guard<mutex> guard(gstate.lock);
	gstate.rows.Combine(input.local_state.Cast<ProbeLocalSinkState>().rows);
	return SinkCombineResultType::FINISHED;
}

ColumnDataCollection &PhysicalHNSWSearch::ProbeRows() const {
	return sink_state->Cast<ProbeSinkState>().rows;
}

Value PhysicalHNSWSearch::QueryValue(ClientContext &context) const {
	if (query->GetExpressionClass() == ExpressionClass::BOUND_PARAMETER) {
		// the value itself: through a DuckDB vector, element by element, it would take longer than a tenth of the
		// search
		return query->Cast<BoundParameterExpression>().ParameterData()->GetValue();
	}
	return ExpressionExecutor::EvaluateScalar(context, *query, true);
}

vector<float> PhysicalHNSWSearch::QueryVector(const Value &query_value) const {
	auto casted = query_value.DefaultTryCastAs(LogicalType::ARRAY(LogicalType::FLOAT, search.dimensions));
	return casted ? VectorFromValue(*casted) : vector<float>();
}

//---------------------------------------------------------------------------------------------------------------------
// States of the source
//---------------------------------------------------------------------------------------------------------------------

SearchGlobalState::SearchGlobalState(ClientContext &context, const PhysicalHNSWSearch &search_op)
    : transaction(DuckTransaction::Get(context, search_op.table.GetStorage().db)),
      storage(search_op.table.GetStorage()), vacuum_lock(DuckTransactionManager::Get(storage.db).SharedVacuumLock()),
      interrupt(context, Executor::Get(context)) {
	if (search_op.filter) {
		filter = search_op.filter->Rows();
	}
}

ScanningGlobalState::ScanningGlobalState(ClientContext &context, const PhysicalHNSWSearch &search_op_p)
    : SearchGlobalState(context, search_op_p), search_op(search_op_p) {
}

void ScanningGlobalState::BeginScan(ClientContext &context, optional_ptr<const vss::RowSet> stored,
                                    optional_ptr<const vss::RowSet> own) {
	table_scan = search_op.table_scan.Begin(context, stored, own);
}

bool ScanningGlobalState::ScanFound(ClientContext &context, const vector<int64_t> &row_ids,
                                    optional_ptr<const vss::RowSet> own) {
	//! From so many rows on it is worth a few of them to learn what they cost.
	constexpr idx_t MEASURED_FROM = 256;
	auto &costs = search_op.search.costs;
	auto scan_time = ScanTime(costs, row_ids, storage.GetTotalRows());
	auto found = static_cast<double>(row_ids.size());
	auto pays = scan_time < found * costs.looked_up;
	if (!pays && row_ids.size() >= MEASURED_FROM) {
		pays = scan_time < found * MeasureLookUp(context, row_ids);
	}
	if (!pays) {
		return false;
	}
	scanned_rows = make_uniq<rust::Box<vss::RowSet>>(MakeRowSet(context));
	Translate([&] { (*scanned_rows)->insert({row_ids.data(), row_ids.size()}); });
	BeginScan(context, **scanned_rows, own);
	return true;
}

double ScanningGlobalState::MeasureLookUp(ClientContext &context, const vector<int64_t> &row_ids) {
	auto count = MinValue<idx_t>(8, row_ids.size());
	// from all of them, as the place in a segment may matter
	vector<int64_t> few;
	for (idx_t i = 0; i < count; i++) {
		few.push_back(row_ids[i * row_ids.size() / count]);
	}
	Vector ids(LogicalType::ROW_TYPE, data_ptr_cast(few.data()), count);
	DataChunk rows;
	rows.Initialize(Allocator::Get(context), search_op.GetTypes());
	auto least = NumericLimits<double>::Maximum();
	// the first time may have to read blocks from the file
	for (idx_t attempt = 0; attempt < 2; attempt++) {
		rows.Reset();
		ColumnFetchState state;
		auto begin = std::chrono::steady_clock::now();
		storage.Fetch(transaction, rows, search_op.column_ids, ids, count, state);
		std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - begin;
		least = MinValue(least, time.count());
	}
	return least / static_cast<double>(count);
}

SourceResultType ScanningLocalState::Scan(ExecutionContext &context, const PhysicalHNSWSearch &op, DataChunk &chunk,
                                          OperatorSourceInput &input) {
	auto &scan = op.table_scan.scan;
	auto &gstate = *input.global_state.Cast<ScanningGlobalState>().table_scan;
	if (!table_scan) {
		table_scan = scan.GetLocalSourceState(context, gstate);
	}
	OperatorSourceInput scan_input {gstate, *table_scan, input.interrupt_state};
	return scan.GetData(context, chunk, scan_input);
}

} // namespace duckdb
