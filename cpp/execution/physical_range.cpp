#include "execution/physical_range.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "execution/distance_bounds.hpp"
#include "execution/own_rows.hpp"
#include "host/errors.hpp"
#include "host/settings.hpp"
#include "index/hnsw_index.hpp"

#include <chrono>

namespace duckdb {

InsertionOrderPreservingMap<string> PhysicalHNSWRange::PlannedParameters() const {
	return RangeParameters(table, search, bounds);
}

void PhysicalHNSWRange::Report(const vss::SearchReport &report, idx_t certain, idx_t uncertain) const {
	PhysicalHNSWSearch::Report(
	    string(vss::strategy_name(report.strategy)),
	    {{"Distances", report.distances}, {"Within", certain}, {"Candidates", certain + uncertain}});
}

//---------------------------------------------------------------------------------------------------------------------
// Source
//---------------------------------------------------------------------------------------------------------------------

class HNSWRangeLocalState : public ScanningLocalState {
public:
	HNSWRangeLocalState(ClientContext &context, const PhysicalHNSWRange &op) : executor(context, *op.predicate) {
		checked.Initialize(Allocator::Get(context), op.checked_types);
		auto decided_types = op.checked_types;
		decided_types.push_back(LogicalType::ROW_TYPE);
		decided.Initialize(Allocator::Get(context), decided_types);
		decided_ids = op.checked_ids;
		decided_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	}

	vss::RangeRows found;
	ExpressionExecutor executor;
	ColumnFetchState fetch_state;
	//! The emitted columns, and other columns of `predicate`.
	DataChunk checked;
	//! The same, and the row id.
	DataChunk decided;
	vector<StorageIndex> decided_ids;
	//! Number of the batch that is fetched now; own rows come after all others.
	idx_t batch = 0;
	//! This thread reads the transaction's own rows.
	bool reads_own = false;
};

class HNSWRangeGlobalState : public ScanningGlobalState {
public:
	HNSWRangeGlobalState(ClientContext &context, const PhysicalHNSWRange &op);

	idx_t MaxThreads() override {
		return table_scan ? table_scan->MaxThreads() : max_threads;
	}

	//! Phases through which all threads go together.
	enum class Phase { LOOK, FETCH, SCAN };

	//! Looks through some of the index. BLOCKED: other threads are looking through the rest. HAVE_MORE_OUTPUT: there is
	//! more to do.
	SourceResultType Look(ClientContext &context, HNSWRangeLocalState &lstate, const InterruptState &interrupt_state);
	//! Fills `chunk` with the next rows; empty at the end.
	void Fetch(DataChunk &chunk, HNSWRangeLocalState &lstate);

	//! The share of the rows that is fetched, once threads fetch.
	double Fetched() const {
		auto done = static_cast<double>(next_batch.load() * FETCHED_ROWS);
		return rows.empty() ? 1 : MinValue(done / static_cast<double>(rows.size()), 1.0);
	}

	//! Fills `chunk` with those rows of `rows` that pass the predicate. The columns of `rows` begin with those of
	//! `chunk`.
	static void TakePassing(DataChunk &rows, DataChunk &chunk, HNSWRangeLocalState &lstate);

	const PhysicalHNSWRange &op;
	atomic<Phase> phase {Phase::LOOK};

private:
	//! The query vector; empty if the index cannot be searched for it.
	vector<float> EvaluateQuery(ClientContext &context) const;
	//! Begins a search of the range; false if the table has to be scanned.
	bool Begin(ClientContext &context);
	//! Called once all parts were looked through.
	void Finish(ClientContext &context);
	//! From now on the replaced scan yields the rows that pass.
	void Scan(ClientContext &context);
	//! Adds rows that were found. If there is no memory for them, the table will be scanned.
	void Take(vss::RangeRows &found);
	//! Puts those rows of a batch that pass into `ids`.
	void Decide(idx_t first, idx_t count, vector<row_t> &ids, HNSWRangeLocalState &lstate);
	//! Fills `chunk` with the next of the transaction's own rows that pass.
	void FetchOwn(DataChunk &chunk, HNSWRangeLocalState &lstate);

	//! Rows that are fetched together, at most: so threads share even a small answer.
	static constexpr idx_t FETCHED_ROWS = 512;
	//! How often a search of the range is begun, at most.
	static constexpr idx_t BEGINS_MAX = 4;

	vss::RangeRequest request;
	vector<float> query;
	idx_t max_threads = 1;

	// guarded by `lock` while threads look
	struct Range {
		rust::Box<vss::RangeSearch> search;
	};
	shared_ptr<Range> range;
	idx_t begins = 0;
	idx_t looking = 0;

	vector<int64_t> certain;
	vector<int64_t> uncertain;
	//! Once threads fetch: all rows that were found, sorted and each once. `uncertain` is sorted then, too.
	vector<int64_t> rows;
	vss::ReservedMemory rows_memory;
	//! There was no memory for `rows`.
	bool no_memory = false;
	//! The next batch to fetch.
	atomic<idx_t> next_batch {0};
	//! Begun with the phase `FETCH`, before an operator above adds rows. One thread reads them.
	OwnRows own_rows;
	atomic<bool> own_taken {false};
};

HNSWRangeGlobalState::HNSWRangeGlobalState(ClientContext &context, const PhysicalHNSWRange &op_p)
    : ScanningGlobalState(context, op_p), op(op_p), rows_memory(BufferManager::GetBufferManager(context)) {
	auto distances = DistancesWithin(context, op.bounds);
	if (distances) {
		request = *distances;
		query = EvaluateQuery(context);
	}
	request.costs = op.search.costs;
	request.may_scan = SearchStrategy(context) != vss::Strategy::Exact;
	if (query.empty() || !Begin(context)) {
		Scan(context);
	}
}

vector<float> HNSWRangeGlobalState::EvaluateQuery(ClientContext &context) const {
	try {
		return op.QueryVector(op.QueryValue(context));
	} catch (const Exception &) {
		// DuckDB evaluates the query vector only for rows that reach it. The scan fails, too, if there are any.
		return {};
	}
}

bool HNSWRangeGlobalState::Begin(ClientContext &context) {
	auto shared = HNSWIndex::TryShare(*op.search.entry, storage);
	if (!shared) {
		return false; // dropped meanwhile, or out of step with its table
	}
	certain.clear();
	uncertain.clear();
	vss::RangeRows found;
	rust::Slice<const float> vector {query.data(), query.size()};
	range = make_shared_ptr<Range>(
	    Range {Translate([&] { return shared->core->begin_range(vector, request, StoredRows(), found); })});
	Take(found);
	max_threads = MaxValue(max_threads, range->search->parts());
	begins++;
	return !no_memory;
}

void HNSWRangeGlobalState::Scan(ClientContext &context) {
	vss::SearchReport report {vss::Strategy::Scan, 0, 0, 0};
	if (range) {
		report.distances = range->search->report().distances;
	}
	op.Report(report, certain.size(), uncertain.size());
	range.reset();
	BeginScan(context, nullptr, nullptr);
	phase = Phase::SCAN;
}

void HNSWRangeGlobalState::Take(vss::RangeRows &found) {
	auto add = [](vector<int64_t> &rows, rust::Vec<int64_t> &more) {
		rows.insert(rows.end(), more.begin(), more.end());
		more.clear();
	};
	auto needed = certain.size() + uncertain.size() + found.certain.size() + found.uncertain.size();
	try {
		// room for the old and the new rows, while they are moved
		rows_memory.Resize(4 * needed * sizeof(int64_t));
	} catch (const OutOfMemoryException &) {
		no_memory = true;
		found.certain.clear();
		found.uncertain.clear();
		return;
	}
	add(certain, found.certain);
	add(uncertain, found.uncertain);
}

static void SortOnce(vector<int64_t> &rows) {
	std::sort(rows.begin(), rows.end());
	rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
}

void HNSWRangeGlobalState::Finish(ClientContext &context) {
	auto outcome = range->search->outcome();
	if (outcome == vss::RangeOutcome::Again && begins < BEGINS_MAX && Begin(context)) {
		return;
	}
	if (outcome != vss::RangeOutcome::Complete || no_memory) {
		Scan(context);
		return;
	}
	SortOnce(certain);
	SortOnce(uncertain);
	// a row that was linked meanwhile may be in both
	vector<int64_t> others;
	std::set_difference(uncertain.begin(), uncertain.end(), certain.begin(), certain.end(), std::back_inserter(others));
	uncertain = std::move(others);
	op.Report(range->search->report(), certain.size(), uncertain.size());
	rows.resize(certain.size() + uncertain.size());
	std::merge(certain.begin(), certain.end(), uncertain.begin(), uncertain.end(), rows.begin());
	certain = vector<int64_t>();
	if (ScanFound(context, rows, nullptr)) {
		phase = Phase::SCAN;
		return;
	}
	own_rows.Begin(context, storage, op.checked_ids, op.checked_types, OwnRowIds());
	phase = Phase::FETCH;
}

SourceResultType HNSWRangeGlobalState::Look(ClientContext &context, HNSWRangeLocalState &lstate,
                                            const InterruptState &interrupt_state) {
	interrupt.Check();
	shared_ptr<Range> current;
	{
		annotated_lock_guard<annotated_mutex> guard(lock);
		if (phase != Phase::LOOK) {
			return SourceResultType::HAVE_MORE_OUTPUT;
		}
		current = range;
		looking++;
	}
	// the client looks for Ctrl-C only between calls
	auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
	bool more = true;
	while (more && !no_memory && std::chrono::steady_clock::now() < end) {
		more = Translate([&] { return current->search->look(StoredRows(), lstate.found); });
	}
	annotated_lock_guard<annotated_mutex> guard(lock);
	Take(lstate.found);
	looking--;
	if (more) {
		return SourceResultType::HAVE_MORE_OUTPUT;
	}
	if (looking > 0) {
		return BlockSource(interrupt_state);
	}
	Finish(context);
	UnblockTasks();
	return SourceResultType::HAVE_MORE_OUTPUT;
}

void HNSWRangeGlobalState::TakePassing(DataChunk &rows, DataChunk &chunk, HNSWRangeLocalState &lstate) {
	SelectionVector passing(STANDARD_VECTOR_SIZE);
	auto count = lstate.executor.SelectExpression(rows, passing);
	for (idx_t col = 0; col < chunk.ColumnCount(); col++) {
		chunk.data[col].Slice(rows.data[col], passing, count);
	}
	chunk.SetCardinalityUnsafe(count);
}

void HNSWRangeGlobalState::FetchOwn(DataChunk &chunk, HNSWRangeLocalState &lstate) {
	if (!lstate.reads_own && own_taken.exchange(true)) {
		return;
	}
	lstate.reads_own = true;
	auto &own = lstate.checked;
	do {
		own.Reset();
		own_rows.Scan(transaction, own);
		if (own.size() == 0) {
			return;
		}
		chunk.Reset();
		TakePassing(own, chunk, lstate);
	} while (chunk.size() == 0);
}

void HNSWRangeGlobalState::Decide(idx_t first, idx_t count, vector<row_t> &ids, HNSWRangeLocalState &lstate) {
	auto begin = rows.begin() + UnsafeNumericCast<int64_t>(first);
	auto end = begin + UnsafeNumericCast<int64_t>(count);
	// rows that must be checked against the table
	auto open = std::lower_bound(uncertain.begin(), uncertain.end(), *begin);
	auto open_end = std::upper_bound(open, uncertain.end(), *(end - 1));
	std::set_difference(begin, end, open, open_end, std::back_inserter(ids));
	if (open == open_end) {
		return;
	}
	auto open_count = UnsafeNumericCast<idx_t>(open_end - open);
	Vector open_ids(LogicalType::ROW_TYPE, data_ptr_cast(&*open), open_count);
	auto &decided = lstate.decided;
	decided.Reset();
	storage.Fetch(transaction, decided, lstate.decided_ids, open_ids, open_count, lstate.fetch_state);
	if (decided.size() == 0) {
		return;
	}
	SelectionVector passing(STANDARD_VECTOR_SIZE);
	auto passing_count = lstate.executor.SelectExpression(decided, passing);
	auto fetched_ids = FlatVector::GetData<row_t>(decided.data.back());
	auto certain_count = UnsafeNumericCast<int64_t>(ids.size());
	for (idx_t i = 0; i < passing_count; i++) {
		ids.push_back(fetched_ids[passing.get_index(i)]);
	}
	std::inplace_merge(ids.begin(), ids.begin() + certain_count, ids.end());
}

void HNSWRangeGlobalState::Fetch(DataChunk &chunk, HNSWRangeLocalState &lstate) {
	vector<row_t> ids;
	while (chunk.size() == 0) {
		interrupt.Check();
		auto first = next_batch++ * FETCHED_ROWS;
		lstate.batch = first / FETCHED_ROWS;
		if (first >= rows.size()) {
			FetchOwn(chunk, lstate);
			return;
		}
		ids.clear();
		Decide(first, MinValue<idx_t>(FETCHED_ROWS, rows.size() - first), ids, lstate);
		if (!ids.empty()) {
			Vector row_ids(LogicalType::ROW_TYPE, data_ptr_cast(ids.data()), ids.size());
			storage.Fetch(transaction, chunk, op.column_ids, row_ids, ids.size(), lstate.fetch_state);
		}
	}
}

unique_ptr<GlobalSourceState> PhysicalHNSWRange::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<HNSWRangeGlobalState>(context, *this);
}

unique_ptr<LocalSourceState> PhysicalHNSWRange::GetLocalSourceState(ExecutionContext &context,
                                                                    GlobalSourceState &gstate) const {
	return make_uniq<HNSWRangeLocalState>(context.client, *this);
}

ProgressData PhysicalHNSWRange::GetProgress(ClientContext &context, GlobalSourceState &gstate_p) const {
	auto &gstate = gstate_p.Cast<HNSWRangeGlobalState>();
	auto phase = gstate.phase.load();
	if (phase == HNSWRangeGlobalState::Phase::SCAN) {
		return table_scan.scan.GetProgress(context, *gstate.table_scan);
	}
	ProgressData result;
	result.total = 1;
	if (phase == HNSWRangeGlobalState::Phase::FETCH) {
		result.done = gstate.Fetched();
	}
	return result;
}

SourceResultType PhysicalHNSWRange::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                    OperatorSourceInput &input) const {
	auto &gstate = input.global_state.Cast<HNSWRangeGlobalState>();
	auto &lstate = input.local_state.Cast<HNSWRangeLocalState>();
	if (gstate.phase == HNSWRangeGlobalState::Phase::LOOK) {
		auto result = gstate.Look(context.client, lstate, input.interrupt_state);
		// the profiler has noted the parameters before the search
		TellProfiler(context);
		return result;
	}
	if (gstate.phase == HNSWRangeGlobalState::Phase::FETCH) {
		gstate.Fetch(chunk, lstate);
		return chunk.size() > 0 ? SourceResultType::HAVE_MORE_OUTPUT : SourceResultType::FINISHED;
	}
	if (!checks_scan) {
		return lstate.Scan(context, *this, chunk, input);
	}
	lstate.checked.Reset();
	auto result = lstate.Scan(context, *this, lstate.checked, input);
	if (lstate.checked.size() > 0) {
		HNSWRangeGlobalState::TakePassing(lstate.checked, chunk, lstate);
	}
	return result;
}

OperatorPartitionData PhysicalHNSWRange::GetPartitionData(ExecutionContext &context, DataChunk &chunk,
                                                          GlobalSourceState &gstate_p, LocalSourceState &lstate_p,
                                                          const OperatorPartitionInfo &partition_info) const {
	auto &gstate = gstate_p.Cast<HNSWRangeGlobalState>();
	auto &lstate = lstate_p.Cast<HNSWRangeLocalState>();
	if (lstate.table_scan) {
		return table_scan.scan.GetPartitionData(context, chunk, *gstate.table_scan, *lstate.table_scan, partition_info);
	}
	return OperatorPartitionData(lstate.batch);
}

} // namespace duckdb
