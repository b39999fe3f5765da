#include "execution/join_state.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
#include "duckdb/planner/expression/bound_conjunction_expression.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/local_storage.hpp"
#include "execution/measured_query.hpp"
#include "host/errors.hpp"
#include "host/settings.hpp"
#include "host/vector_batch.hpp"

#include <chrono>
#include <numeric>

namespace duckdb {

//! Query vectors that a thread takes at a time, at most: enough to fetch their rows together, few enough to share the
//! work.
static constexpr idx_t MAX_BATCH = 64;
//! The same where all rows within some distance are wanted: rows in the cache are compared with all these query
//! vectors.
static constexpr idx_t MAX_BATCH_WITHIN = 128;
//! Pairs that a thread keeps at a time, unless a single query vector has more.
static constexpr idx_t MAX_BATCH_PAIRS = 1 << 18;
//! A batch that takes longer is followed by smaller ones. Searches for many query vectors together gain by larger
//! batches, so they may take longer.
static constexpr std::chrono::milliseconds MAX_BATCH_TIME(10);
static constexpr std::chrono::milliseconds MAX_BATCH_TIME_TOGETHER(100);
//! Rows to look at beside those wanted, at most, until enough rows pass the conditions.
static constexpr idx_t MAX_WIDENED = 4096;
//! Batches per thread, at least, so that threads end at about the same time.
static constexpr idx_t BATCHES_PER_THREAD = 4;

HNSWJoinGlobalState::HNSWJoinGlobalState(ClientContext &context, const PhysicalHNSWJoin &op,
                                         ColumnDataCollection &probes_p)
    : SearchGlobalState(context, op), index(HNSWIndex::TryShare(*op.search.entry, storage)), probes(probes_p) {
	op.table_scan.wanted->Set(StoredRows(), OwnRowIds());
	vector<unique_ptr<Expression>> conditions;
	for (auto &part : op.conditions) {
		conditions.push_back(part->Copy());
	}
	if (!conditions.empty()) {
		condition = BoundConjunctionExpression::Create(ExpressionType::CONJUNCTION_AND, std::move(conditions));
	}
	if (index && op.bounds.empty()) {
		request = op.search.Request(context, *index);
	} else if (index) {
		auto distances = DistancesWithin(context, op.bounds);
		if (distances) {
			range = *distances;
			range.costs = op.search.costs;
			range.may_scan = SearchStrategy(context) != vss::Strategy::Exact;
		} else {
			index.reset();
		}
	}
	auto batches =
	    UnsafeNumericCast<idx_t>(TaskScheduler::GetScheduler(context).NumberOfThreads()) * BATCHES_PER_THREAD;
	auto batch_max = op.bounds.empty() ? MAX_BATCH : MAX_BATCH_WITHIN;
	batch_size = MaxValue<idx_t>(1, MinValue(batch_max, probes.Count() / batches));
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

bool HNSWJoinLocalState::TakeBatch() {
	gstate.NextBatch(batch, batch_limit);
	dictionaries.clear();
	for (auto &column : batch.data) {
		buffer_ptr<DictionaryEntry> dictionary;
		if (column.GetType().InternalType() != PhysicalType::STRUCT) {
			dictionary = DictionaryVector::CreateReusableDictionary(column.GetType(), batch.size());
			VectorOperations::Copy(column, dictionary->data, batch.size(), 0, 0);
		}
		dictionaries.push_back(std::move(dictionary));
	}
	return batch.size() > 0;
}

bool HNSWJoinLocalState::NextBatch() {
	auto is_open = next_open < open_numbers.size();
	if (!is_open && !TakeBatch()) {
		return false;
	}
	pairs.clear();
	next_pair = 0;
	answered.clear();
	unanswered.clear();
	auto begin = std::chrono::steady_clock::now();
	if (op.bounds.empty()) {
		SearchAll();
	} else {
		SearchWithin();
	}
	auto time = std::chrono::steady_clock::now() - begin;
	auto max_time = op.bounds.empty() && !together ? MAX_BATCH_TIME : MAX_BATCH_TIME_TOGETHER;
	if (time > max_time) {
		batch_limit = MaxValue<idx_t>(1, MinValue(batch_limit, batch.size()) / 2);
	} else if (time < max_time / 4) {
		batch_limit = MinValue(2 * batch_limit, PairsLimit());
	}
	blocks = Blocks::OWN_ROWS;
	block.Reset();
	block_rows = nullptr;
	own_rows.Begin(context.client, gstate.storage, op.column_ids, op.table_scan.scan.GetTypes(), gstate.OwnRowIds());
	scan_global.reset();
	scan_local.reset();
	return true;
}

VectorBatch HNSWJoinLocalState::CastQueries(Vector &values, Vector &queries, Vector &numbers) {
	// DuckDB answers for a query vector that is NULL, has NULL elements, or does not fit FLOAT[n].
	string cast_error;
	VectorOperations::DefaultTryCast(values, queries, batch.size(), &cast_error);
	auto number_data = FlatVector::GetDataMutable<int64_t>(numbers);
	std::iota(number_data, number_data + batch.size(), 0);
	return VectorBatch(queries, numbers, batch.size(), op.search.dimensions);
}

void HNSWJoinLocalState::LeaveToTable(sel_t number, JoinReport &report) {
	unanswered.push_back(number);
	report.probes[vss::Strategy::Scan]++;
}

void HNSWJoinLocalState::SearchAll() {
	Vector values(op.query->GetReturnType(), batch.size());
	Vector queries(LogicalType::ARRAY(LogicalType::FLOAT, op.search.dimensions), batch.size());
	Vector numbers(LogicalType::BIGINT, batch.size());
	query_executor.ExecuteExpression(batch, values);
	auto batched = CastQueries(values, queries, numbers);

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
	// Too few vectors for the limit, or no vector to search with: rows without a vector may have to follow.
	vector<bool> is_answered(batch.size(), false);
	for (auto &probe : answered) {
		is_answered[probe] = true;
	}
	UnifiedVectorFormat format;
	values.ToUnifiedFormat(format);
	for (idx_t probe = 0; probe < batch.size(); probe++) {
		auto has_pairs = !op.search.measured_only || format.validity.RowIsValid(format.sel->get_index(probe));
		if (!is_answered[probe] && has_pairs) {
			LeaveToTable(UnsafeNumericCast<sel_t>(probe), report);
		}
	}
	report.candidates = pairs.size();
	op.Report(report);
	gstate.reported += batch.size();
}

void HNSWJoinLocalState::OpenQueries(JoinReport &report) {
	Vector values(op.query->GetReturnType(), batch.size());
	Vector queries(LogicalType::ARRAY(LogicalType::FLOAT, op.search.dimensions), batch.size());
	Vector numbers(LogicalType::BIGINT, batch.size());
	open_numbers.clear();
	next_open = 0;
	auto leave = [&](idx_t number) { LeaveToTable(UnsafeNumericCast<sel_t>(number), report); };
	try {
		query_executor.ExecuteExpression(batch, values);
	} catch (const Exception &) {
		// DuckDB computes it only for pairs that pass the earlier conditions: what is above fails, too, if there are
		// any
		for (idx_t number = 0; number < batch.size(); number++) {
			leave(number);
		}
		gstate.reported += batch.size();
		return;
	}
	auto batched = CastQueries(values, queries, numbers);
	auto vectors = batched.Values();
	open_queries.assign(vectors.begin(), vectors.end());
	vector<bool> is_open(batch.size(), false);
	for (auto number : batched.RowIds()) {
		open_numbers.push_back(UnsafeNumericCast<sel_t>(number));
		is_open[UnsafeNumericCast<idx_t>(number)] = true;
	}
	UnifiedVectorFormat format;
	values.ToUnifiedFormat(format);
	for (idx_t number = 0; number < batch.size(); number++) {
		// a NULL vector is within no distance
		if (!is_open[number] && format.validity.RowIsValid(format.sel->get_index(number))) {
			leave(number);
		}
	}
	gstate.reported += batch.size() - open_numbers.size();
}

void HNSWJoinLocalState::SearchWithin() {
	JoinReport report;
	if (next_open == open_numbers.size()) {
		OpenQueries(report);
	}
	auto rows = gstate.StoredRows();
	auto count = open_numbers.size() - next_open;
	vss::Pairs found;
	found.outcome = vss::PairsOutcome::Scan;
	while (gstate.index && count > 0 && !gstate.compares_all) {
		count = MinValue(count, batch_limit);
		auto dimensions = op.search.dimensions;
		rust::Slice<const float> queries {open_queries.data() + next_open * dimensions, count * dimensions};
		found = Translate(
		    [&] { return gstate.index->core->pairs(queries, gstate.range, MAX_BATCH_PAIRS, rows, gstate.interrupt); });
		report.distances += found.distances;
		if (found.outcome != vss::PairsOutcome::TooMany) {
			break;
		}
		batch_limit = (count + 1) / 2;
	}
	auto numbers = open_numbers.begin() + UnsafeNumericCast<int64_t>(next_open);
	if (found.outcome == vss::PairsOutcome::Complete) {
		vector<bool> is_ranked(count, true);
		for (auto query : found.unranked) {
			is_ranked[query] = false;
			LeaveToTable(numbers[query], report);
		}
		for (idx_t i = 0; i < count; i++) {
			if (is_ranked[i]) {
				answered.push_back(numbers[UnsafeNumericCast<int64_t>(i)]);
			}
		}
		report.probes[vss::Strategy::Exact] += answered.size();
		// room for the pairs that were found, and their copies
		pairs_memory.Resize(found.row_ids.size() * 3 * sizeof(Pair));
		pairs.reserve(found.row_ids.size());
		for (idx_t i = 0; i < found.row_ids.size(); i++) {
			pairs.push_back(Pair {found.row_ids[i], numbers[found.queries[i]], true});
		}
	} else if (count > 0) {
		// comparing all pairs of the other query vectors takes DuckDB no longer
		gstate.compares_all = true;
		for (idx_t i = 0; i < count; i++) {
			LeaveToTable(numbers[UnsafeNumericCast<int64_t>(i)], report);
		}
	}
	next_open += count;
	report.candidates = pairs.size();
	op.Report(report);
	gstate.reported += count;
}

vector<HNSWJoinLocalState::Probe> HNSWJoinLocalState::SearchRound(vector<Probe> open, idx_t k, JoinReport &report) {
	vector<Pair> found;
	together = SearchTogether(open, k, found, report);
	for (idx_t i = 0; !together && i < open.size(); i++) {
		Search(open[i], k, found, report);
	}
	// in the table's order, fetching takes the fewest jumps
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
	auto rows = qualifying ? &**qualifying : gstate.StoredRows();
	TakeAnswer(op.search.Run(core, vector, request, rows, visibility), probe, found, report);
}

bool HNSWJoinLocalState::SearchTogether(vector<Probe> &open, idx_t k, vector<Pair> &found, JoinReport &report) {
	if (pair_executor) {
		return false;
	}
	vector<float> vectors;
	for (auto &probe : open) {
		vectors.insert(vectors.end(), probe.query, probe.query + op.search.dimensions);
	}
	vss::HostVisibility visibility(gstate.transaction, gstate.storage);
	rust::Slice<const float> queries {vectors.data(), vectors.size()};
	auto request = gstate.request;
	request.k = k;
	auto &core = *gstate.index->core;
	auto rows = gstate.StoredRows();
	auto answers = Translate([&] { return core.search_many(queries, request, rows, visibility, gstate.interrupt); });
	visibility.Rethrow();
	for (idx_t i = 0; i < answers.size(); i++) {
		if (op.search.record) {
			op.search.record->Add(request.ef, vss::exact_recall());
		}
		TakeAnswer(answers[i], open[i], found, report);
	}
	return !answers.empty();
}

void HNSWJoinLocalState::TakeAnswer(const vss::SearchAnswer &answer, Probe &probe, vector<Pair> &found,
                                    JoinReport &report) {
	report.visited += answer.report.visited;
	report.distances += answer.report.distances;
	probe.complete = !answer.scan && answer.complete;
	probe.strategy = answer.report.strategy;
	probe.found = answer.scan ? 0 : answer.row_ids.size();
	probe.passing = probe.found;
	// each new pair is kept here and among the pairs, and both have room to grow
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
	// each row once: pairs with the same row are next to each other
	idx_t row_count = 0;
	for (auto pair = first; pair < first + count; pair++) {
		if (row_count == 0 || row_ids[row_count - 1] != from[pair].row_id) {
			row_ids[row_count++] = from[pair].row_id;
		}
	}
	fetched.Reset();
	gstate.storage.Fetch(gstate.transaction, fetched, fetched_ids, rows, row_count, fetch_state);
	// the fetch may leave rows out, but keeps their order
	auto fetched_rows = FlatVector::GetData<int64_t>(fetched.data.back());
	SelectionVector row_positions(count);
	idx_t paired = 0;
	auto pair = first;
	for (idx_t row = 0; row < fetched.size(); row++) {
		while (from[pair].row_id != fetched_rows[row]) {
			pair++;
		}
		for (; pair < first + count && from[pair].row_id == fetched_rows[row]; pair++, paired++) {
			row_positions.set_index(paired, row);
			probes.set_index(paired, from[pair].probe);
		}
	}
	auto probe_offset = ReferenceRows(chunk, Project(fetched));
	if (paired > fetched.size()) {
		auto first_column = op.table_first ? 0 : batch.ColumnCount();
		for (idx_t col = 0; col < chunk.ColumnCount() - batch.ColumnCount(); col++) {
			chunk.data[first_column + col].Slice(row_positions, paired);
		}
		chunk.SetCardinalityUnsafe(paired);
	}
	for (idx_t col = 0; col < batch.ColumnCount(); col++) {
		auto &column = chunk.data[probe_offset + col];
		if (dictionaries[col]) {
			column.Dictionary(dictionaries[col], probes, paired);
		} else {
			column.Slice(batch.data[col], probes, paired);
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
		// the columns of the chunk refer to the dictionaries
		chunk.Reset();
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
