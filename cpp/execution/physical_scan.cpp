#include "execution/physical_scan.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/parallel/pipeline.hpp"
#include "duckdb/parallel/thread_context.hpp"
#include "duckdb/planner/expression/bound_parameter_data.hpp"
#include "duckdb/planner/expression/bound_parameter_expression.hpp"
#include "duckdb/execution/executor.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "duckdb/transaction/local_storage.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"
#include "index/hnsw_index.hpp"
#include "host/settings.hpp"
#include "host/vector_batch.hpp"

#include <chrono>

namespace duckdb {

PhysicalHNSWScan::PhysicalHNSWScan(PhysicalPlan &physical_plan, vector<LogicalType> types, idx_t estimated_cardinality,
                                   DuckTableEntry &table_p, vector<LogicalType> table_types_p,
                                   vector<StorageIndex> column_ids_p, IndexSearch search_p,
                                   unique_ptr<Expression> query_p, PhysicalOperator &table_scan_p, bool get_first_p)
    : PhysicalOperator(physical_plan, TYPE, std::move(types), estimated_cardinality), table(table_p),
      table_types(std::move(table_types_p)), column_ids(std::move(column_ids_p)), search(std::move(search_p)),
      query(std::move(query_p)), table_scan(table_scan_p), get_first(get_first_p) {
}

InsertionOrderPreservingMap<string> PhysicalHNSWScan::ParamsToString() const {
	auto result = SearchParameters(table, search);
	lock_guard<mutex> guard(report_lock);
	for (auto &entry : last_report) {
		result[entry.first] = entry.second;
	}
	return result;
}

void PhysicalHNSWScan::Report(const vss::SearchAnswer &answer) const {
	auto &report = answer.report;
	lock_guard<mutex> guard(report_lock);
	// DuckDB's profiler shows every operator of an extension under the name "Extension"
	last_report["Operator"] = GetName();
	last_report["Strategy"] = string(report.strategy);
	if (filter) {
		last_report["Qualifying"] = to_string(filter->Rows().stored->size());
	}
	last_report["Visited"] = to_string(report.visited);
	last_report["Distances"] = to_string(report.distances);
	last_report["Candidates"] = to_string(report.candidates);
}

void PhysicalHNSWScan::BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) {
	op_state.reset();
	sink_state.reset();
	meta_pipeline.GetState().SetPipelineSource(current, *this);
	if (filter) {
		filter->BuildPipeline(current, meta_pipeline);
	}
	if (probes) {
		meta_pipeline.CreateChildMetaPipeline(current, *this).Build(*probes);
	}
}

vector<const_reference<PhysicalOperator>> PhysicalHNSWScan::GetSources() const {
	return {*this};
}

//---------------------------------------------------------------------------------------------------------------------
// Sink: the rows that hold query vectors
//---------------------------------------------------------------------------------------------------------------------

class HNSWScanSinkState : public GlobalSinkState {
public:
	HNSWScanSinkState(ClientContext &context, const PhysicalHNSWScan &op) : probes(context, op.probes->GetTypes()) {
	}

	ColumnDataCollection probes;
};

unique_ptr<GlobalSinkState> PhysicalHNSWScan::GetGlobalSinkState(ClientContext &context) const {
	return make_uniq<HNSWScanSinkState>(context, *this);
}

SinkResultType PhysicalHNSWScan::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	input.global_state.Cast<HNSWScanSinkState>().probes.Append(chunk);
	return SinkResultType::NEED_MORE_INPUT;
}

//---------------------------------------------------------------------------------------------------------------------
// Source
//---------------------------------------------------------------------------------------------------------------------

//! Runs one search after the other: one without probes, else one for each. If the probes are not emitted, all of them
//! together are answered like one.
class HNSWScanGlobalState : public GlobalSourceState {
public:
	HNSWScanGlobalState(ClientContext &context, const PhysicalHNSWScan &op);

	//! Several threads only where the table is scanned for a single query vector.
	idx_t MaxThreads() override {
		auto answered_once = probe_count == 1 || !op.search.emit_probes;
		return answered_once && table_scan ? table_scan->MaxThreads() : 1;
	}

	//! Moves to the next query vector; false if there is none.
	bool NextProbe(ClientContext &context);
	//! Searches for some of all query vectors that are answered together; false if there are more. Takes some ten
	//! milliseconds: the client looks for Ctrl-C between calls only.
	bool AnswerTogether(ClientContext &context);
	//! Fills `chunk` with the next candidates, then with the transaction's own rows; empty at the end. `scanned` is for
	//! rows with their ids.
	void Fetch(DataChunk &chunk, DataChunk &scanned);
	//! Fills `chunk` with the rows of `scanned` that qualify; the row id is its last column.
	void TakeQualifying(DataChunk &scanned, DataChunk &chunk) const;

	const PhysicalHNSWScan &op;
	DuckTransaction &transaction;
	DataTable &storage;
	//! Row ids of a search and the rows they stand for stay paired while this is held.
	unique_ptr<StorageLockKey> vacuum_lock;
	idx_t probe_count = 1;
	idx_t next_probe = 0;
	//! The child's row that is being answered.
	vector<Value> probe_row;
	//! The state of the replaced scan, if the present probe has to be answered by it.
	unique_ptr<GlobalSourceState> table_scan;
	//! All query vectors that are answered together have been searched for.
	bool together = false;

private:
	//! Sorts the candidates, each once.
	void Unite();

	//! Searches the index for `query`; false if the table has to be scanned.
	bool Search(ClientContext &context, const Value &query);
	vss::SearchAnswer SearchIndex(ClientContext &context, const vector<float> &query);

	optional_ptr<const RowFilterState> filter;
	unique_ptr<ColumnDataRowCollection> probes;
	const vss::HostInterrupt interrupt;
	vector<int64_t> row_ids;
	idx_t fetched = 0;
	//! Of the query vectors so far that are answered together; up to `united` sorted, each once.
	vector<int64_t> candidates;
	idx_t united = 0;
	vss::ReservedMemory candidates_memory;
	ColumnFetchState fetch_state;
	TableScanState local_scan;
	//! What it reads: the columns to emit and, with a filter, the row id.
	vector<StorageIndex> local_columns;
};

class HNSWScanLocalState : public LocalSourceState {
public:
	//! Belongs to the global state's `table_scan` of the probe `probe`.
	unique_ptr<LocalSourceState> table_scan;
	idx_t probe = 0;
	//! The table's columns, where those of the probes are emitted beside them.
	DataChunk table_chunk;
	//! The table's columns with the row id, where rows are compared with those that qualify.
	DataChunk scanned;
};

HNSWScanGlobalState::HNSWScanGlobalState(ClientContext &context, const PhysicalHNSWScan &op_p)
    : op(op_p), transaction(DuckTransaction::Get(context, op.table.GetStorage().db)), storage(op.table.GetStorage()),
      vacuum_lock(DuckTransactionManager::Get(storage.db).SharedVacuumLock()),
      interrupt(context, Executor::Get(context)), candidates_memory(BufferManager::GetBufferManager(context)),
      local_columns(op.column_ids) {
	if (op.filter) {
		filter = op.filter->Rows();
		local_columns.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	}
	if (op.probes) {
		auto &collection = op.sink_state->Cast<HNSWScanSinkState>().probes;
		probe_count = collection.Count();
		probes = make_uniq<ColumnDataRowCollection>(collection.GetRows());
		if (!op.search.emit_probes && op.search.one_probe && probe_count > 1) {
			table_scan = op.table_scan.GetGlobalSourceState(context);
			together = true;
		}
		return;
	}
	NextProbe(context);
}

bool HNSWScanGlobalState::AnswerTogether(ClientContext &context) {
	//! Candidates that are kept more than once, at least, until they are united.
	constexpr idx_t UNITED_MIN = 1 << 16;
	auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
	while (!table_scan && NextProbe(context)) {
		auto needed = candidates.size() + row_ids.size();
		if (needed > candidates.capacity()) {
			auto room = 2 * needed;
			// both the old and the new ones, while they are moved
			candidates_memory.Resize((candidates.capacity() + room) * sizeof(int64_t));
			candidates.reserve(room);
			candidates_memory.Resize(room * sizeof(int64_t));
		}
		candidates.insert(candidates.end(), row_ids.begin(), row_ids.end());
		if (candidates.size() > MaxValue(2 * united, UNITED_MIN)) {
			Unite();
		}
		if (std::chrono::steady_clock::now() >= end) {
			return false;
		}
	}
	Unite();
	row_ids = std::move(candidates);
	together = true;
	return true;
}

void HNSWScanGlobalState::Unite() {
	std::sort(candidates.begin(), candidates.end());
	candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
	united = candidates.size();
}

bool HNSWScanGlobalState::NextProbe(ClientContext &context) {
	if (next_probe >= probe_count) {
		return false;
	}
	interrupt.Check();
	Value query;
	if (probes) {
		auto &types = op.probes->GetTypes();
		DataChunk row;
		row.Initialize(Allocator::Get(context), types, 1);
		probe_row.clear();
		for (idx_t col = 0; col < types.size(); col++) {
			probe_row.push_back((*probes)[next_probe].GetValue(col));
			row.SetValue(col, 0, probe_row.back());
		}
		row.SetChildCardinality(1);
		ExpressionExecutor executor(context, *op.query);
		Vector result(op.query->GetReturnType(), 1);
		executor.ExecuteExpression(row, result);
		query = result.GetValue(0);
	} else if (op.query->GetExpressionClass() == ExpressionClass::BOUND_PARAMETER) {
		// as it is: through a vector, element by element, takes longer than a tenth of the search
		query = op.query->Cast<BoundParameterExpression>().ParameterData()->GetValue();
	} else {
		query = ExpressionExecutor::EvaluateScalar(context, *op.query, true);
	}
	next_probe++;
	fetched = 0;
	table_scan.reset();
	if (!Search(context, query)) {
		table_scan = op.table_scan.GetGlobalSourceState(context);
		return true;
	}
	local_scan.Initialize(local_columns, context, nullptr);
	LocalStorage::Get(transaction).InitializeScan(storage, local_scan.local_state, nullptr);
	return true;
}

bool HNSWScanGlobalState::Search(ClientContext &context, const Value &query) {
	// A query vector that is NULL, has NULL elements, or does not fit FLOAT[n] is DuckDB's business.
	auto casted = query.DefaultTryCastAs(LogicalType::ARRAY(LogicalType::FLOAT, op.search.dimensions));
	if (!casted) {
		return false;
	}
	auto vector = VectorFromValue(*casted);
	if (vector.empty()) {
		return false;
	}
	auto answer = SearchIndex(context, vector);
	op.Report(answer);
	row_ids.assign(answer.row_ids.begin(), answer.row_ids.end());
	// Too few vectors for the limit: rows without a vector may have to follow them.
	return !answer.scan && (answer.complete || row_ids.size() >= op.search.wanted);
}

vss::SearchAnswer HNSWScanGlobalState::SearchIndex(ClientContext &context, const vector<float> &query) {
	auto shared = HNSWIndex::TryShare(*op.search.entry, storage);
	if (!shared) {
		// dropped meanwhile, or not in step with its table
		vss::SearchAnswer answer;
		answer.scan = true;
		answer.report.strategy = vss::scan_strategy();
		return answer;
	}
	auto ef = EfSearch(context);
	vss::SearchRequest request;
	request.want = op.search.wanted;
	request.ef = ef.IsValid() ? ef.GetIndex() : shared->ef_search;
	if (op.search.paged) {
		request.ef = shared->core->ef_of_pages(request.ef);
	}
	request.ties = op.search.ties;
	request.rescore = Rescore(context);
	request.ranked_only = op.search.ranked_only;
	request.strategy = SearchStrategy(context);
	rust::Slice<const float> vector {query.data(), query.size()};
	if (filter) {
		return Translate([&] { return shared->core->search_rows(vector, request, *filter->stored); });
	}
	vss::HostVisibility visibility(transaction, storage);
	auto answer = Translate([&] { return shared->core->search_all(vector, request, visibility); });
	visibility.Rethrow();
	return answer;
}

void HNSWScanGlobalState::Fetch(DataChunk &chunk, DataChunk &scanned) {
	while (fetched < row_ids.size()) {
		auto count = MinValue<idx_t>(STANDARD_VECTOR_SIZE, row_ids.size() - fetched);
		Vector rows(LogicalType::ROW_TYPE, data_ptr_cast(row_ids.data() + fetched), count);
		fetched += count;
		storage.Fetch(transaction, chunk, op.column_ids, rows, count, fetch_state);
		if (chunk.size() > 0) {
			return;
		}
	}
	auto &local_storage = LocalStorage::Get(transaction);
	if (!filter) {
		local_storage.Scan(local_scan.local_state, local_columns, chunk);
		return;
	}
	do {
		scanned.Reset();
		local_storage.Scan(local_scan.local_state, local_columns, scanned);
		TakeQualifying(scanned, chunk);
	} while (chunk.size() == 0 && scanned.size() > 0);
}

void HNSWScanGlobalState::TakeQualifying(DataChunk &scanned, DataChunk &chunk) const {
	UnifiedVectorFormat format;
	scanned.data.back().ToUnifiedFormat(format);
	auto row_ids = UnifiedVectorFormat::GetData<row_t>(format);
	SelectionVector qualifying(scanned.size());
	idx_t count = 0;
	for (idx_t i = 0; i < scanned.size(); i++) {
		if (filter->Contains(row_ids[format.sel->get_index(i)])) {
			qualifying.set_index(count++, i);
		}
	}
	for (idx_t col = 0; col < chunk.ColumnCount(); col++) {
		chunk.data[col].Slice(scanned.data[col], qualifying, count);
	}
	chunk.SetCardinalityUnsafe(count);
}

unique_ptr<GlobalSourceState> PhysicalHNSWScan::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<HNSWScanGlobalState>(context, *this);
}

unique_ptr<LocalSourceState> PhysicalHNSWScan::GetLocalSourceState(ExecutionContext &context,
                                                                   GlobalSourceState &gstate) const {
	auto result = make_uniq<HNSWScanLocalState>();
	result->table_chunk.Initialize(Allocator::Get(context.client), table_types);
	if (filter) {
		result->scanned.Initialize(Allocator::Get(context.client), table_scan.GetTypes());
	}
	return std::move(result);
}

void PhysicalHNSWScan::TellProfiler(ExecutionContext &context) const {
	auto &profiler = context.thread.profiler;
	if (profiler.OperatorMetricsIsInitialized(*this)) {
		// it has noted the parameters before the probes were there
		profiler.GetOperatorMetrics(*this).SetExtraInfo(ParamsToString());
	}
}

SourceResultType PhysicalHNSWScan::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                   OperatorSourceInput &input) const {
	auto &gstate = input.global_state.Cast<HNSWScanGlobalState>();
	auto &lstate = input.local_state.Cast<HNSWScanLocalState>();
	auto emit_probes = probes && search.emit_probes;
	auto &output = emit_probes ? lstate.table_chunk : chunk;
	if (probes && !emit_probes && gstate.probe_count == 0) {
		return SourceResultType::FINISHED;
	}
	if (probes && !emit_probes && !gstate.together) {
		auto answered = gstate.AnswerTogether(context.client);
		TellProfiler(context);
		if (!answered) {
			return SourceResultType::HAVE_MORE_OUTPUT;
		}
	}
	if (emit_probes && gstate.next_probe == 0) {
		auto found = gstate.NextProbe(context.client);
		TellProfiler(context);
		if (!found) {
			return SourceResultType::FINISHED;
		}
	}
	while (true) {
		output.Reset();
		if (gstate.table_scan) {
			if (!lstate.table_scan || lstate.probe != gstate.next_probe) {
				lstate.table_scan = table_scan.GetLocalSourceState(context, *gstate.table_scan);
				lstate.probe = gstate.next_probe;
			}
			auto &scanned = filter ? lstate.scanned : output;
			scanned.Reset();
			OperatorSourceInput scan_input {*gstate.table_scan, *lstate.table_scan, input.interrupt_state};
			auto result = table_scan.GetData(context, scanned, scan_input);
			if (result == SourceResultType::BLOCKED || (!emit_probes && scanned.size() == 0)) {
				return result;
			}
			if (filter) {
				gstate.TakeQualifying(scanned, output);
			}
			if (result == SourceResultType::HAVE_MORE_OUTPUT && output.size() == 0) {
				continue;
			}
		} else {
			gstate.Fetch(output, lstate.scanned);
		}
		if (output.size() > 0) {
			break;
		}
		if (!emit_probes || !gstate.NextProbe(context.client)) {
			return SourceResultType::FINISHED;
		}
	}
	if (emit_probes) {
		// the table's columns beside the constant columns of the probe
		auto table_offset = get_first ? 0 : gstate.probe_row.size();
		auto probe_offset = get_first ? output.ColumnCount() : 0;
		for (idx_t col = 0; col < output.ColumnCount(); col++) {
			chunk.data[table_offset + col].Reference(output.data[col]);
		}
		for (idx_t col = 0; col < gstate.probe_row.size(); col++) {
			chunk.data[probe_offset + col].Reference(gstate.probe_row[col], count_t(output.size()));
		}
		chunk.SetCardinalityUnsafe(output.size());
	}
	return SourceResultType::HAVE_MORE_OUTPUT;
}

} // namespace duckdb
