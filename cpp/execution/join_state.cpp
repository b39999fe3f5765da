#include "execution/join_state.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/executor.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
#include "duckdb/parallel/thread_context.hpp"
#include "duckdb/planner/expression/bound_conjunction_expression.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "duckdb/transaction/local_storage.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"
#include "host/vector_batch.hpp"

#include <chrono>
#include <numeric>

namespace duckdb {

//! Query vectors a thread takes at a time, at most: enough to fetch their rows together, few enough to share the work.
static constexpr idx_t MAX_BATCH = 64;
//! Pairs a thread keeps at a time, unless there are more for a single query vector.
static constexpr idx_t MAX_BATCH_PAIRS = 1 << 18;
//! A batch that takes longer is followed by smaller ones.
static constexpr std::chrono::milliseconds MAX_BATCH_TIME(10);
//! Rows to look at beside those wanted, at most, until enough of them pass the conditions.
static constexpr idx_t MAX_WIDENED = 4096;
//! Batches for each thread, at least, so that threads end at about the same time.
static constexpr idx_t BATCHES_PER_THREAD = 4;

HNSWJoinGlobalState::HNSWJoinGlobalState(ClientContext &context, const PhysicalHNSWJoin &op,
                                         ColumnDataCollection &probes_p)
    : transaction(DuckTransaction::Get(context, op.table.GetStorage().db)), storage(op.table.GetStorage()),
      vacuum_lock(DuckTransactionManager::Get(storage.db).SharedVacuumLock()),
      index(HNSWIndex::TryShare(*op.search.entry, storage)), interrupt(context, Executor::Get(context)),
      probes(probes_p) {
	if (op.filter) {
		filter = op.filter->Rows();
		op.table_scan.wanted->Set(&*filter->stored, &*filter->own);
	}
	for (auto &part : op.conditions) {
		condition = condition ? make_uniq<BoundConjunctionExpression>(ExpressionType::CONJUNCTION_AND,
		                                                              std::move(condition), part->Copy())
		                      : part->Copy();
	}
	if (index) {
		request = op.search.Request(context, *index);
	}
	auto batches =
	    UnsafeNumericCast<idx_t>(TaskScheduler::GetScheduler(context).NumberOfThreads()) * BATCHES_PER_THREAD;
	batch_size = MaxValue<idx_t>(1, MinValue(MAX_BATCH, probes.Count() / batches));
	probes.InitializeScan(scan_state);
	probes.InitializeScanChunk(scan_state, current);
}

void HNSWJoinGlobalState::NextBatch(DataChunk &batch, idx_t limit) {
	batch.Reset();
	lock_guard<mutex> guard(lock);
	if (offset == current.size()) {
		offset = 0;
		if (!probes.Scan(scan_state, current)) {
			current.Reset();
			return;
		}
	}
	auto count = MinValue(MinValue(batch_size, limit), current.size() - offset);
	for (idx_t col = 0; col < current.ColumnCount(); col++) {
		VectorOperations::Copy(current.data[col], batch.data[col], offset + count, offset, 0);
	}
	batch.SetChildCardinality(count);
	offset += count;
	taken += count;
}

HNSWJoinLocalState::HNSWJoinLocalState(ExecutionContext &context_p, const PhysicalHNSWJoin &op_p,
                                       HNSWJoinGlobalState &gstate_p)
    : context(context_p), op(op_p), gstate(gstate_p), query_executor(context.client, *op.query),
      condition_executor(context.client), batch_limit(PairsLimit()),
      pairs_memory(BufferManager::GetBufferManager(context.client)), fetched_ids(op.column_ids) {
	auto &allocator = Allocator::Get(context.client);
	if (!op.conditions.empty()) {
		condition_executor.AddExpression(*gstate.condition);
		checked.Initialize(allocator, op.GetTypes());
	}
	auto types = op.table_scan.scan.GetTypes();
	block.Initialize(allocator, types);
	types.push_back(LogicalType::ROW_TYPE);
	fetched.Initialize(allocator, types);
	fetched_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	batch.Initialize(allocator, op.probes->GetTypes());
	if (op.pairs) {
		pair_executor = make_uniq<PairFilterExecutor>(context.client, *op.pairs, gstate.filter->keyed,
		                                              *gstate.filter->stored, gstate.qualifying);
	}
	for (auto &projection : op.projections) {
		executors.push_back(make_uniq<ExpressionExecutor>(context.client, projection));
		vector<LogicalType> projected_types;
		for (auto &expr : projection) {
			projected_types.push_back(expr->GetReturnType());
		}
		projected.push_back(make_uniq<DataChunk>());
		projected.back()->Initialize(allocator, projected_types);
	}
}

idx_t HNSWJoinLocalState::PairsLimit() const {
	return MaxValue<idx_t>(1, MAX_BATCH_PAIRS / MaxValue<idx_t>(op.search.k, 1));
}

bool HNSWJoinLocalState::NextBatch() {
	gstate.NextBatch(batch, batch_limit);
	if (batch.size() == 0) {
		return false;
	}
	pairs.clear();
	next_pair = 0;
	answered.clear();
	unanswered.clear();
	dictionaries.clear();
	for (auto &column : batch.data) {
		buffer_ptr<DictionaryEntry> dictionary;
		if (column.GetType().InternalType() != PhysicalType::STRUCT) {
			dictionary = DictionaryVector::CreateReusableDictionary(column.GetType(), batch.size());
			VectorOperations::Copy(column, dictionary->data, batch.size(), 0, 0);
		}
		dictionaries.push_back(std::move(dictionary));
	}
	auto begin = std::chrono::steady_clock::now();
	SearchAll();
	auto time = std::chrono::steady_clock::now() - begin;
	if (time > MAX_BATCH_TIME) {
		batch_limit = MaxValue<idx_t>(1, batch.size() / 2);
	} else if (time < MAX_BATCH_TIME / 4) {
		batch_limit = MinValue(2 * batch_limit, PairsLimit());
	}
	blocks = Blocks::OWN_ROWS;
	block.Reset();
	block_rows = nullptr;
	own_rows.Begin(context.client, gstate.storage, op.column_ids, op.table_scan.scan.GetTypes(),
	               gstate.filter ? &*gstate.filter->own : nullptr);
	scan_global.reset();
	scan_local.reset();
	return true;
}

void HNSWJoinLocalState::SearchAll() {
	Vector values(op.query->GetReturnType(), batch.size());
	query_executor.ExecuteExpression(batch, values);
	// A query vector that is NULL, has NULL elements, or does not fit FLOAT[n] is DuckDB's business.
	Vector queries(LogicalType::ARRAY(LogicalType::FLOAT, op.search.dimensions), batch.size());
	string cast_error;
	VectorOperations::DefaultTryCast(values, queries, batch.size(), &cast_error);
	Vector numbers(LogicalType::BIGINT, batch.size());
	auto number_data = FlatVector::GetDataMutable<int64_t>(numbers);
	std::iota(number_data, number_data + batch.size(), 0);
	VectorBatch batched(queries, numbers, batch.size(), op.search.dimensions);

	JoinReport report;
	vector<Probe> open;
	for (idx_t i = 0; gstate.index && i < batched.Size(); i++) {
		auto number = UnsafeNumericCast<sel_t>(batched.RowIds()[i]);
		open.push_back(
		    Probe {number, batched.Values().data() + i * op.search.dimensions, 0, 0, false, vss::Strategy::Scan});
	}
	auto k = op.search.k;
	if (!op.conditions.empty()) {
		k += MaxValue<idx_t>(1, k / 4);
	}
	while (!open.empty() && (op.conditions.empty() || k <= op.search.k + MAX_WIDENED)) {
		open = SearchRound(std::move(open), k, report);
		k *= 4;
	}
	// Too few vectors for the limit, or none to search with: rows without a vector may have to follow them.
	vector<bool> is_answered(batch.size(), false);
	for (auto &probe : answered) {
		is_answered[probe] = true;
	}
	UnifiedVectorFormat format;
	values.ToUnifiedFormat(format);
	for (idx_t probe = 0; probe < batch.size(); probe++) {
		auto has_pairs = !op.search.measured_only || format.validity.RowIsValid(format.sel->get_index(probe));
		if (!is_answered[probe] && has_pairs) {
			unanswered.push_back(UnsafeNumericCast<sel_t>(probe));
			report.probes[vss::Strategy::Scan]++;
		}
	}
	report.candidates = pairs.size();
	op.Report(report);
	gstate.reported += batch.size();
}

void HNSWJoinLocalState::TellProfiler() {
	// it has noted the parameters when this thread began, and the last thread's count: those of an earlier one must be empty
	duckdb::TellProfiler(context, op, [&] {
		auto is_last = gstate.reported == gstate.probes.Count();
		return is_last ? op.ParamsToString() : InsertionOrderPreservingMap<string>();
	});
}

vector<HNSWJoinLocalState::Probe> HNSWJoinLocalState::SearchRound(vector<Probe> open, idx_t k, JoinReport &report) {
	vector<Pair> found;
	for (auto &probe : open) {
		Search(probe, k, found, report);
	}
	// in the table's order rows are fetched with the fewest jumps
	std::sort(found.begin(), found.end(),
	          [](const Pair &left, const Pair &right) { return left.row_id < right.row_id; });
	if (!op.conditions.empty()) {
		CountPassing(found, open);
	}
	vector<bool> done(batch.size(), false);
	vector<Probe> short_of_rows;
	for (auto &probe : open) {
		if (probe.complete || probe.passing >= op.search.k) {
			done[probe.number] = true;
			answered.push_back(probe.number);
			report.probes[probe.strategy]++;
		} else if (probe.found >= k) {
			short_of_rows.push_back(probe);
		}
	}
	for (auto &pair : found) {
		if (done[pair.probe]) {
			pairs.push_back(pair);
		}
	}
	return short_of_rows;
}

void HNSWJoinLocalState::Search(Probe &probe, idx_t k, vector<Pair> &found, JoinReport &report) {
	gstate.interrupt.Check();
	vss::HostVisibility visibility(gstate.transaction, gstate.storage);
	rust::Slice<const float> vector {probe.query, op.search.dimensions};
	auto request = gstate.request;
	request.k = k;
	auto &core = *gstate.index->core;
	auto qualifying = pair_executor ? pair_executor->Qualifying(batch, probe.number, gstate.interrupt)
	                                : shared_ptr<QualifyingRows::Set>();
	auto rows = qualifying ? &**qualifying : gstate.filter ? &*gstate.filter->stored : nullptr;
	auto answer = Translate([&] { return core.search(vector, request, rows, visibility); });
	visibility.Rethrow();
	report.visited += answer.report.visited;
	report.distances += answer.report.distances;
	probe.complete = !answer.scan && answer.complete;
	probe.strategy = answer.report.strategy;
	probe.found = answer.scan ? 0 : answer.row_ids.size();
	probe.passing = probe.found;
	// those to come once here and once among the pairs, with room to grow in both
	pairs_memory.Resize((pairs.capacity() + 4 * (found.size() + probe.found)) * sizeof(Pair));
	for (idx_t i = 0; i < probe.found; i++) {
		found.push_back(Pair {answer.row_ids[i], probe.number, i < answer.certain});
	}
}

void HNSWJoinLocalState::CountPassing(const vector<Pair> &found, vector<Probe> &open) {
	vector<Pair> certain;
	std::copy_if(found.begin(), found.end(), std::back_inserter(certain),
	             [](const Pair &pair) { return pair.certain; });
	vector<idx_t> passing(batch.size(), 0);
	SelectionVector probes(STANDARD_VECTOR_SIZE);
	SelectionVector passed(STANDARD_VECTOR_SIZE);
	for (idx_t next = 0; next < certain.size();) {
		checked.Reset();
		next += FetchPairs(certain, next, checked, probes);
		auto count = condition_executor.SelectExpression(checked, passed);
		for (idx_t i = 0; i < count; i++) {
			passing[probes.get_index(passed.get_index(i))]++;
		}
	}
	for (auto &probe : open) {
		probe.passing = passing[probe.number];
	}
}

DataChunk &HNSWJoinLocalState::Project(DataChunk &rows) {
	reference<DataChunk> result(rows);
	for (idx_t i = 0; i < executors.size(); i++) {
		projected[i]->Reset();
		executors[i]->Execute(result.get(), *projected[i]);
		result = *projected[i];
	}
	return result;
}

idx_t HNSWJoinLocalState::ReferenceRows(DataChunk &chunk, DataChunk &rows) const {
	auto probe_columns = batch.ColumnCount();
	auto row_columns = chunk.ColumnCount() - probe_columns;
	auto offset = op.table_first ? 0 : probe_columns;
	for (idx_t col = 0; col < row_columns; col++) {
		chunk.data[offset + col].Reference(rows.data[col]);
	}
	chunk.SetCardinalityUnsafe(rows.size());
	return op.table_first ? row_columns : 0;
}

idx_t HNSWJoinLocalState::FetchPairs(const vector<Pair> &from, idx_t first, DataChunk &chunk, SelectionVector &probes) {
	auto count = MinValue<idx_t>(STANDARD_VECTOR_SIZE, from.size() - first);
	Vector rows(LogicalType::ROW_TYPE, count);
	auto row_ids = FlatVector::GetDataMutable<int64_t>(rows);
	for (idx_t i = 0; i < count; i++) {
		row_ids[i] = from[first + i].row_id;
	}
	fetched.Reset();
	gstate.storage.Fetch(gstate.transaction, fetched, fetched_ids, rows, count, fetch_state);
	// rows may be left out, but their order is kept
	auto fetched_rows = FlatVector::GetData<int64_t>(fetched.data.back());
	auto pair = first;
	for (idx_t i = 0; i < fetched.size(); i++, pair++) {
		while (from[pair].row_id != fetched_rows[i]) {
			pair++;
		}
		probes.set_index(i, from[pair].probe);
	}
	auto probe_offset = ReferenceRows(chunk, Project(fetched));
	for (idx_t col = 0; col < batch.ColumnCount(); col++) {
		auto &column = chunk.data[probe_offset + col];
		if (dictionaries[col]) {
			column.Dictionary(dictionaries[col], probes, fetched.size());
		} else {
			column.Slice(batch.data[col], probes, fetched.size());
		}
	}
	return count;
}

bool HNSWJoinLocalState::EmitCandidates(DataChunk &chunk) {
	while (next_pair < pairs.size()) {
		SelectionVector probes(STANDARD_VECTOR_SIZE);
		next_pair += FetchPairs(pairs, next_pair, chunk, probes);
		if (chunk.size() > 0) {
			return true;
		}
	}
	return false;
}

SourceResultType HNSWJoinLocalState::NextBlock(InterruptState &interrupt_state) {
	if (blocks == Blocks::OWN_ROWS) {
		block.Reset();
		if (!answered.empty()) {
			own_rows.Scan(gstate.transaction, block);
		}
		if (block.size() > 0) {
			return SourceResultType::HAVE_MORE_OUTPUT;
		}
		blocks = unanswered.empty() ? Blocks::NONE : Blocks::TABLE;
	}
	while (blocks == Blocks::TABLE) {
		if (!scan_global) {
			scan_global = op.table_scan.scan.GetGlobalSourceState(context.client);
			scan_local = op.table_scan.scan.GetLocalSourceState(context, *scan_global);
		}
		block.Reset();
		OperatorSourceInput input {*scan_global, *scan_local, interrupt_state};
		auto result = op.table_scan.scan.GetData(context, block, input);
		if (result == SourceResultType::BLOCKED) {
			return result;
		}
		if (result == SourceResultType::FINISHED && block.size() == 0) {
			blocks = Blocks::NONE;
			break;
		}
		if (block.size() > 0) {
			return SourceResultType::HAVE_MORE_OUTPUT;
		}
	}
	return SourceResultType::FINISHED;
}

SourceResultType HNSWJoinLocalState::EmitBlock(DataChunk &chunk, InterruptState &interrupt_state) {
	auto all_paired = [&]() { return next_probe == (blocks == Blocks::OWN_ROWS ? answered : unanswered).size(); };
	if (!block_rows || all_paired()) {
		auto result = NextBlock(interrupt_state);
		if (result != SourceResultType::HAVE_MORE_OUTPUT) {
			return result;
		}
		block_rows = Project(block);
		next_probe = 0;
	}
	gstate.interrupt.Check();
	auto probe = (blocks == Blocks::OWN_ROWS ? answered : unanswered)[next_probe++];
	auto probe_offset = ReferenceRows(chunk, *block_rows);
	for (idx_t col = 0; col < batch.ColumnCount(); col++) {
		ConstantVector::Reference(chunk.data[probe_offset + col], count_t(block_rows->size()), batch.data[col], probe,
		                          batch.size());
	}
	return SourceResultType::HAVE_MORE_OUTPUT;
}

} // namespace duckdb
