#include "execution/physical_range.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/executor.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parallel/meta_pipeline.hpp"
#include "duckdb/parallel/pipeline.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "execution/distance_bounds.hpp"
#include "execution/own_rows.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"
#include "host/settings.hpp"
#include "host/vector_batch.hpp"
#include "index/hnsw_index.hpp"

#include <chrono>
#include <limits>

namespace duckdb {

PhysicalHNSWRange::PhysicalHNSWRange(PhysicalPlan &physical_plan, vector<LogicalType> types,
                                     idx_t estimated_cardinality, DuckTableEntry &table_p,
                                     vector<StorageIndex> column_ids_p, IndexSearch search_p,
                                     unique_ptr<Expression> query_p, TableScanPlan table_scan_p)
    : PhysicalOperator(physical_plan, TYPE, std::move(types), estimated_cardinality), table(table_p),
      column_ids(std::move(column_ids_p)), search(std::move(search_p)), query(std::move(query_p)),
      table_scan(std::move(table_scan_p)) {
}

InsertionOrderPreservingMap<string> PhysicalHNSWRange::ParamsToString() const {
	auto result = RangeParameters(table, search, bounds);
	lock_guard<mutex> guard(report_lock);
	for (auto &entry : last_report) {
		result[entry.first] = entry.second;
	}
	return result;
}

void PhysicalHNSWRange::Report(const vss::SearchReport &report, idx_t certain, idx_t uncertain) const {
	lock_guard<mutex> guard(report_lock);
	// DuckDB's profiler shows every operator of an extension under the name "Extension"
	last_report["Operator"] = GetName();
	last_report["Strategy"] = string(vss::strategy_name(report.strategy));
	if (filter) {
		last_report["Qualifying"] = to_string(filter->Rows().stored->size());
	}
	last_report["Distances"] = to_string(report.distances);
	last_report["Within"] = to_string(certain);
	last_report["Candidates"] = to_string(certain + uncertain);
}

void PhysicalHNSWRange::BuildPipelines(Pipeline &current, MetaPipeline &meta_pipeline) {
	op_state.reset();
	sink_state.reset();
	meta_pipeline.GetState().SetPipelineSource(current, *this);
	if (comparison) {
		comparison->BuildPipeline(current, meta_pipeline);
	}
	if (filter) {
		filter->BuildPipeline(current, meta_pipeline);
	}
}

vector<const_reference<PhysicalOperator>> PhysicalHNSWRange::GetSources() const {
	return {*this};
}

//---------------------------------------------------------------------------------------------------------------------
// Source
//---------------------------------------------------------------------------------------------------------------------

//! What it costs to fetch a row without its vector, in rows that are scanned with vectors of 384 elements meanwhile.
static double FetchCost(const vector<LogicalType> &types) {
	double result = 0.1;
	for (auto &type : types) {
		if (type.id() == LogicalTypeId::ARRAY || type.IsNested()) {
			return 6;
		}
		result += type.InternalType() == PhysicalType::VARCHAR ? 1 : 0.3;
	}
	return result;
}

class HNSWRangeLocalState : public LocalSourceState {
public:
	HNSWRangeLocalState(ClientContext &context, const PhysicalHNSWRange &op) : executor(context, *op.predicate) {
		checked.Initialize(Allocator::Get(context), op.checked_types);
	}

	vss::RangeRows found;
	ExpressionExecutor executor;
	ColumnFetchState fetch_state;
	//! The columns of `predicate`, and what is emitted.
	DataChunk checked;
	//! It is this thread that reads the transaction's own rows.
	bool reads_own = false;
	unique_ptr<LocalSourceState> table_scan;
};

class HNSWRangeGlobalState : public GlobalSourceState {
public:
	HNSWRangeGlobalState(ClientContext &context, const PhysicalHNSWRange &op);

	idx_t MaxThreads() override {
		return table_scan ? table_scan->MaxThreads() : max_threads;
	}

	//! What the threads do together, one after the other.
	enum class Phase { LOOK, FETCH, SCAN };

	//! Looks through some of the index. BLOCKED: until others have looked through the rest; HAVE_MORE_OUTPUT: more is to be done.
	SourceResultType Look(ClientContext &context, HNSWRangeLocalState &lstate, const InterruptState &interrupt_state);
	//! Fills `chunk` with the next rows; empty at the end.
	void Fetch(DataChunk &chunk, HNSWRangeLocalState &lstate);

	const PhysicalHNSWRange &op;
	atomic<Phase> phase {Phase::LOOK};
	//! The state of the replaced scan, if the index cannot answer.
	unique_ptr<GlobalSourceState> table_scan;

private:
	//! Empty if there is none that the index can be searched for.
	vector<float> EvaluateQuery(ClientContext &context) const;
	//! Begins a range; false if the table has to be scanned.
	bool Begin(ClientContext &context);
	//! All parts were looked through.
	void Finish(ClientContext &context);
	//! The replaced scan yields the rows that pass.
	void Scan(ClientContext &context);
	//! The same of these rows of the table, if not all may pass.
	void Scan(ClientContext &context, optional_ptr<const vss::RowSet> rows);
	void Take(vss::RangeRows &found);
	const vss::RowSet *Rows() const {
		return filter ? &*filter->stored : nullptr;
	}
	//! Fills `chunk` with rows of `rows`, whose columns begin with those of `chunk`, that pass the predicate.
	static void TakePassing(DataChunk &rows, DataChunk &chunk, HNSWRangeLocalState &lstate);
	//! Fills `chunk` with the next of the transaction's own rows that pass.
	void FetchOwn(DataChunk &chunk, HNSWRangeLocalState &lstate);

	//! Rows that are fetched together, at most: threads share a small answer.
	static constexpr idx_t FETCHED_ROWS = 512;
	//! Times that a range is begun again.
	static constexpr idx_t BEGINS_MAX = 4;

	DuckTransaction &transaction;
	DataTable &storage;
	//! Row ids of a search and the rows they stand for stay paired while this is held.
	unique_ptr<StorageLockKey> vacuum_lock;
	optional_ptr<const RowFilterState> filter;
	const vss::HostInterrupt interrupt;
	vss::RangeRequest request;
	vector<float> query;
	idx_t max_threads = 1;

	// with `lock` held, as long as threads look
	struct Range {
		rust::Box<vss::RangeSearch> search;
	};
	shared_ptr<Range> range;
	idx_t begins = 0;
	idx_t looking = 0;

	//! Sorted from when threads fetch; each row once.
	vector<int64_t> certain;
	vector<int64_t> uncertain;
	vss::ReservedMemory rows_memory;
	//! Both, where the table is scanned for them.
	unique_ptr<rust::Box<vss::RowSet>> scanned_rows;
	//! To be fetched: first of the one, then of the other kind.
	atomic<idx_t> next_batch {0};
	//! Begun with `FETCH`, before an operator above adds rows; one thread reads them.
	OwnRows own_rows;
	atomic<bool> own_taken {false};
};

HNSWRangeGlobalState::HNSWRangeGlobalState(ClientContext &context, const PhysicalHNSWRange &op_p)
    : op(op_p), transaction(DuckTransaction::Get(context, op.table.GetStorage().db)), storage(op.table.GetStorage()),
      vacuum_lock(DuckTransactionManager::Get(storage.db).SharedVacuumLock()),
      interrupt(context, Executor::Get(context)), rows_memory(BufferManager::GetBufferManager(context)) {
	if (op.filter) {
		filter = op.filter->Rows();
	}
	auto distances = DistancesWithin(context, op.bounds);
	if (distances) {
		request = *distances;
		query = EvaluateQuery(context);
	}
	request.fetch_cost = FetchCost(op.types);
	request.may_scan = SearchStrategy(context) != vss::Strategy::Exact;
	if (query.empty() || !Begin(context)) {
		Scan(context);
	}
}

vector<float> HNSWRangeGlobalState::EvaluateQuery(ClientContext &context) const {
	try {
		// A query vector that is NULL, has NULL elements, or does not fit FLOAT[n] is DuckDB's business.
		auto value = ExpressionExecutor::EvaluateScalar(context, *op.query, true);
		auto casted = value.DefaultTryCastAs(LogicalType::ARRAY(LogicalType::FLOAT, op.search.dimensions));
		return casted ? VectorFromValue(*casted) : vector<float>();
	} catch (const Exception &) {
		// DuckDB evaluates it only for rows that get there: the scan fails, too, if there are any
		return {};
	}
}

bool HNSWRangeGlobalState::Begin(ClientContext &context) {
	auto shared = HNSWIndex::TryShare(*op.search.entry, storage);
	if (!shared) {
		return false; // dropped meanwhile, or not in step with its table
	}
	certain.clear();
	uncertain.clear();
	vss::RangeRows found;
	rust::Slice<const float> vector {query.data(), query.size()};
	range = make_shared_ptr<Range>(
	    Range {Translate([&] { return shared->core->begin_range(vector, request, Rows(), found); })});
	Take(found);
	max_threads = MaxValue(max_threads, range->search->parts());
	begins++;
	return true;
}

void HNSWRangeGlobalState::Scan(ClientContext &context) {
	vss::SearchReport report {vss::Strategy::Scan, 0, 0, 0};
	if (range) {
		report.distances = range->search->report().distances;
	}
	op.Report(report, certain.size(), uncertain.size());
	range.reset();
	Scan(context, nullptr);
}

void HNSWRangeGlobalState::Scan(ClientContext &context, optional_ptr<const vss::RowSet> rows) {
	table_scan = op.table_scan.Begin(context, rows, nullptr);
	phase = Phase::SCAN;
}

void HNSWRangeGlobalState::Take(vss::RangeRows &found) {
	auto add = [](vector<int64_t> &rows, rust::Vec<int64_t> &more) {
		rows.insert(rows.end(), more.begin(), more.end());
		more.clear();
	};
	auto needed = certain.size() + uncertain.size() + found.certain.size() + found.uncertain.size();
	// both the old and the new ones, while they are moved
	rows_memory.Resize(4 * needed * sizeof(int64_t));
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
	if (outcome != vss::RangeOutcome::Complete) {
		Scan(context);
		return;
	}
	SortOnce(certain);
	SortOnce(uncertain);
	// a row that was linked meanwhile may have been found twice
	vector<int64_t> others;
	std::set_difference(uncertain.begin(), uncertain.end(), certain.begin(), certain.end(), std::back_inserter(others));
	uncertain = std::move(others);
	op.Report(range->search->report(), certain.size(), uncertain.size());
	auto found = certain;
	found.insert(found.end(), uncertain.begin(), uncertain.end());
	if (ScanPays(op.types, found, storage.GetTotalRows())) {
		scanned_rows = make_uniq<rust::Box<vss::RowSet>>(MakeRowSet(context));
		Translate([&] { (*scanned_rows)->insert({found.data(), found.size()}); });
		Scan(context, **scanned_rows);
		return;
	}
	own_rows.Begin(context, storage, op.checked_ids, op.checked_types, filter ? &*filter->own : nullptr);
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
	// the client looks for Ctrl-C between calls only
	auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
	bool more = true;
	while (more && std::chrono::steady_clock::now() < end) {
		more = Translate([&] { return current->search->look(Rows(), lstate.found); });
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

void HNSWRangeGlobalState::Fetch(DataChunk &chunk, HNSWRangeLocalState &lstate) {
	auto batches = [](const vector<int64_t> &rows) { return (rows.size() + FETCHED_ROWS - 1) / FETCHED_ROWS; };
	while (chunk.size() == 0) {
		interrupt.Check();
		auto batch = next_batch++;
		auto is_certain = batch < batches(certain);
		if (!is_certain) {
			batch -= batches(certain);
		}
		auto &rows = is_certain ? certain : uncertain;
		if (batch >= batches(rows)) {
			FetchOwn(chunk, lstate);
			return;
		}
		auto first = batch * FETCHED_ROWS;
		auto count = MinValue<idx_t>(FETCHED_ROWS, rows.size() - first);
		Vector ids(LogicalType::ROW_TYPE, data_ptr_cast(rows.data() + first), count);
		if (is_certain) {
			storage.Fetch(transaction, chunk, op.column_ids, ids, count, lstate.fetch_state);
			continue;
		}
		lstate.checked.Reset();
		storage.Fetch(transaction, lstate.checked, op.checked_ids, ids, count, lstate.fetch_state);
		if (lstate.checked.size() > 0) {
			TakePassing(lstate.checked, chunk, lstate);
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

SourceResultType PhysicalHNSWRange::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                    OperatorSourceInput &input) const {
	auto &gstate = input.global_state.Cast<HNSWRangeGlobalState>();
	auto &lstate = input.local_state.Cast<HNSWRangeLocalState>();
	if (gstate.phase == HNSWRangeGlobalState::Phase::LOOK) {
		auto result = gstate.Look(context.client, lstate, input.interrupt_state);
		// it has noted the parameters before the search
		TellProfiler(context, *this, [&] { return ParamsToString(); });
		return result;
	}
	if (gstate.phase == HNSWRangeGlobalState::Phase::FETCH) {
		gstate.Fetch(chunk, lstate);
		return chunk.size() > 0 ? SourceResultType::HAVE_MORE_OUTPUT : SourceResultType::FINISHED;
	}
	if (!lstate.table_scan) {
		lstate.table_scan = table_scan.scan.GetLocalSourceState(context, *gstate.table_scan);
	}
	OperatorSourceInput scan_input {*gstate.table_scan, *lstate.table_scan, input.interrupt_state};
	return table_scan.scan.GetData(context, chunk, scan_input);
}

} // namespace duckdb
