#include "execution/physical_scan.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "execution/own_rows.hpp"
#include "host/errors.hpp"
#include "index/hnsw_index.hpp"

#include <chrono>

namespace duckdb {

void PhysicalHNSWScan::Report(const vss::SearchAnswer &answer) const {
	auto &report = answer.report;
	PhysicalHNSWSearch::Report(
	    string(vss::strategy_name(report.strategy)),
	    {{"Visited", report.visited}, {"Distances", report.distances}, {"Candidates", report.candidates}});
}

struct GroupHash {
	size_t operator()(const vector<Value> &group) const {
		hash_t result = 0;
		for (auto &value : group) {
			result = CombineHash(result, value.Hash());
		}
		return result;
	}
};

struct GroupEquality {
	bool operator()(const vector<Value> &left, const vector<Value> &right) const {
		return std::equal(left.begin(), left.end(), right.begin(), Value::NotDistinctFrom);
	}
};

//! The groups that rows belong to, up to as many as are wanted.
class MetGroups {
public:
	explicit MetGroups(idx_t wanted) : wanted(wanted) {
	}

	//! Adds the groups of `rows`, which are made of the first `columns` columns. True once there are enough groups.
	bool Add(const DataChunk &rows, idx_t columns) {
		for (idx_t row = 0; row < rows.size() && seen.size() < wanted; row++) {
			vector<Value> group;
			for (idx_t col = 0; col < columns; col++) {
				group.push_back(rows.data[col].GetValue(row));
			}
			seen.insert(std::move(group));
		}
		return seen.size() >= wanted;
	}
	idx_t Count() const {
		return seen.size();
	}

private:
	const idx_t wanted;
	unordered_set<vector<Value>, GroupHash, GroupEquality> seen;
};

//! Searches for the one query vector or, with probes, for each of them, and emits every candidate once.
class HNSWScanGlobalState : public ScanningGlobalState {
public:
	HNSWScanGlobalState(ClientContext &context, const PhysicalHNSWScan &op);

	//! Several threads only if the table is scanned.
	idx_t MaxThreads() override {
		return table_scan ? table_scan->MaxThreads() : 1;
	}

	//! Searches for some of the probes; false if there are more. Takes some ten milliseconds, since the client looks
	//! for Ctrl-C only between calls.
	bool SearchSome(ClientContext &context);
	//! Fills `chunk` with the next candidates, then with the transaction's own rows; empty at the end.
	void Fetch(DataChunk &chunk);

	const PhysicalHNSWScan &op;
	idx_t probe_count = 1;
	atomic<idx_t> next_probe {0};
	//! All searches are done.
	bool searched = false;

private:
	//! The query vector of the probe at `next_probe`.
	Value ProbeQuery(ClientContext &context);
	//! Sorts the candidates and keeps each once.
	void Unite();
	//! From now on the candidates and the transaction's own rows can be fetched or scanned.
	void StartFetching(ClientContext &context);
	//! From now on the table can be scanned, for all rows that qualify.
	void StartScan(ClientContext &context);

	//! Searches the index for `query`, and leaves candidates in `row_ids`; false if the table has to be scanned.
	bool Search(ClientContext &context, const Value &query);
	vss::SearchAnswer SearchIndex(ClientContext &context, const vector<float> &query, idx_t k);
	//! How many groups the first `count` rows of `row_ids` belong to. Stops counting once there are as many as are
	//! wanted.
	idx_t CountGroups(ClientContext &context, idx_t count);
	//! The same, for groups that the filter has kept.
	idx_t CountKept(idx_t count);

	unique_ptr<ColumnDataRowCollection> probes;
	vector<int64_t> row_ids;
	idx_t fetched = 0;
	//! Candidates of the probes so far. The first `united` are sorted, each once.
	vector<int64_t> candidates;
	idx_t united = 0;
	vss::ReservedMemory candidates_memory;
	ColumnFetchState fetch_state;
	//! Those of the transaction's own rows that qualify.
	OwnRows own_rows;
};

HNSWScanGlobalState::HNSWScanGlobalState(ClientContext &context, const PhysicalHNSWScan &op_p)
    : ScanningGlobalState(context, op_p), op(op_p), candidates_memory(BufferManager::GetBufferManager(context)) {
	if (op.probes) {
		auto &collection = op.ProbeRows();
		probe_count = collection.Count();
		probes = make_uniq<ColumnDataRowCollection>(collection.GetRows());
		if (op.search.one_probe && probe_count > 1) {
			StartScan(context);
			searched = true;
		}
		return;
	}
	searched = true;
	if (Search(context, op.QueryValue(context))) {
		StartFetching(context);
	} else {
		StartScan(context);
	}
}

bool HNSWScanGlobalState::SearchSome(ClientContext &context) {
	//! New candidates, at least, before they are united with the others.
	constexpr idx_t UNITED_MIN = 1 << 16;
	auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
	for (; next_probe < probe_count; next_probe++) {
		if (std::chrono::steady_clock::now() >= end) {
			return false;
		}
		if (!Search(context, ProbeQuery(context))) {
			StartScan(context);
			searched = true;
			return true;
		}
		auto needed = candidates.size() + row_ids.size();
		if (needed > candidates.capacity()) {
			auto room = 2 * needed;
			// room for the old and the new candidates, while they are moved
			candidates_memory.Resize((candidates.capacity() + room) * sizeof(int64_t));
			candidates.reserve(room);
			candidates_memory.Resize(room * sizeof(int64_t));
		}
		candidates.insert(candidates.end(), row_ids.begin(), row_ids.end());
		if (candidates.size() > MaxValue(2 * united, UNITED_MIN)) {
			Unite();
		}
	}
	Unite();
	row_ids = std::move(candidates);
	searched = true;
	StartFetching(context);
	return true;
}

void HNSWScanGlobalState::Unite() {
	std::sort(candidates.begin(), candidates.end());
	candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
	united = candidates.size();
}

Value HNSWScanGlobalState::ProbeQuery(ClientContext &context) {
	auto &types = op.probes->GetTypes();
	DataChunk row;
	row.Initialize(Allocator::Get(context), types, 1);
	for (idx_t col = 0; col < types.size(); col++) {
		row.SetValue(col, 0, (*probes)[next_probe].GetValue(col));
	}
	row.SetChildCardinality(1);
	ExpressionExecutor executor(context, *op.query);
	Vector result(op.query->GetReturnType(), 1);
	executor.ExecuteExpression(row, result);
	return result.GetValue(0);
}

void HNSWScanGlobalState::StartFetching(ClientContext &context) {
	auto scanned = ScanFound(context, row_ids, OwnRowIds());
	op.ReportAs("Rows Read", scanned ? "by a scan" : "by their ids");
	if (!scanned) {
		own_rows.Begin(context, storage, op.column_ids, op.types, OwnRowIds());
	}
}

void HNSWScanGlobalState::StartScan(ClientContext &context) {
	BeginScan(context, StoredRows(), OwnRowIds());
}

bool HNSWScanGlobalState::Search(ClientContext &context, const Value &query) {
	interrupt.Check();
	auto vector = op.QueryVector(query);
	// of the transaction's own rows, too, some may have no distance
	if (vector.empty() || (op.search.undefined_groups_first && OwnRows::Exist(context, storage))) {
		return false;
	}
	//! Rows to look at for each group, at first: a document has several chunks.
	constexpr idx_t ROWS_PER_GROUP = 4;
	//! Rows to look at, at most; beyond that the table is read.
	constexpr idx_t ROWS_MAX = 1 << 13;
	auto k = op.search.k;
	if (op.search.best_groups) {
		if (k > ROWS_MAX) {
			return false;
		}
		k *= ROWS_PER_GROUP;
	}
	idx_t groups_before = 0;
	while (true) {
		auto answer = SearchIndex(context, vector, k);
		op.Report(answer);
		row_ids.assign(answer.row_ids.begin(), answer.row_ids.end());
		// too few vectors for the limit: rows without a vector may have to follow
		if (answer.scan || (!answer.complete && row_ids.size() < k)) {
			return false;
		}
		// the other rows of their groups were not all found
		if (answer.undefined && !answer.complete && op.search.undefined_groups_first) {
			return false;
		}
		if (answer.complete || !op.search.best_groups) {
			return true;
		}
		auto groups = CountGroups(context, answer.certain);
		if (groups >= op.search.k) {
			return true;
		}
		if (groups > 0 && groups == groups_before) {
			return false; // no new group among so many more rows: perhaps there are none
		}
		groups_before = groups;
		interrupt.Check();
		k *= ROWS_PER_GROUP;
		if (k > ROWS_MAX) {
			return false;
		}
	}
}

idx_t HNSWScanGlobalState::CountKept(idx_t row_count) {
	auto wanted = filter->stored->beside();
	Translate([&] { wanted->insert({row_ids.data(), row_count}); });
	auto &rows = filter->keyed.rows;
	auto columns = rows.ColumnCount() - 1;
	MetGroups groups(op.search.k);
	DataChunk chunk;
	rows.InitializeScanChunk(chunk);
	SelectionVector selected(STANDARD_VECTOR_SIZE);
	for (idx_t number = 0; number < rows.ChunkCount(); number++) {
		interrupt.Check();
		rows.FetchChunk(number, chunk);
		UnifiedVectorFormat format;
		chunk.data.back().ToUnifiedFormat(format);
		auto ids = UnifiedVectorFormat::GetData<row_t>(format);
		idx_t count = 0;
		for (idx_t row = 0; row < chunk.size(); row++) {
			auto id = ids[format.sel->get_index(row)];
			if (id < MAX_ROW_ID && wanted->contains(id)) {
				selected.set_index(count++, row);
			}
		}
		if (count == 0) {
			continue;
		}
		chunk.Slice(selected, count);
		if (groups.Add(chunk, columns)) {
			break;
		}
	}
	return groups.Count();
}

idx_t HNSWScanGlobalState::CountGroups(ClientContext &context, idx_t row_count) {
	if (op.groups.empty()) {
		return CountKept(row_count);
	}
	ExpressionExecutor executor(context, op.groups);
	vector<LogicalType> types;
	for (auto &group : op.groups) {
		types.push_back(group->GetReturnType());
	}
	DataChunk rows;
	DataChunk groups;
	rows.Initialize(Allocator::Get(context), op.group_types);
	groups.Initialize(Allocator::Get(context), types);
	MetGroups met(op.search.k);
	ColumnFetchState state;
	for (idx_t first = 0; first < row_count; first += STANDARD_VECTOR_SIZE) {
		auto count = MinValue<idx_t>(STANDARD_VECTOR_SIZE, row_count - first);
		Vector ids(LogicalType::ROW_TYPE, data_ptr_cast(row_ids.data() + first), count);
		rows.Reset();
		groups.Reset();
		storage.Fetch(transaction, rows, op.group_columns, ids, count, state);
		executor.Execute(rows, groups);
		if (met.Add(groups, groups.ColumnCount())) {
			break;
		}
	}
	return met.Count();
}

vss::SearchAnswer HNSWScanGlobalState::SearchIndex(ClientContext &context, const vector<float> &query, idx_t k) {
	auto shared = HNSWIndex::TryShare(*op.search.entry, storage);
	if (!shared) {
		// dropped meanwhile, or out of step with its table
		vss::SearchAnswer answer;
		answer.scan = true;
		answer.report.strategy = vss::Strategy::Scan;
		return answer;
	}
	auto request = op.search.Request(context, *shared);
	request.k = k;
	rust::Slice<const float> vector {query.data(), query.size()};
	vss::HostVisibility visibility(transaction, storage);
	return op.search.Run(*shared->core, vector, request, StoredRows(), visibility);
}

void HNSWScanGlobalState::Fetch(DataChunk &chunk) {
	while (fetched < row_ids.size()) {
		auto count = MinValue<idx_t>(STANDARD_VECTOR_SIZE, row_ids.size() - fetched);
		Vector rows(LogicalType::ROW_TYPE, data_ptr_cast(row_ids.data() + fetched), count);
		fetched += count;
		storage.Fetch(transaction, chunk, op.column_ids, rows, count, fetch_state);
		if (chunk.size() > 0) {
			return;
		}
	}
	own_rows.Scan(transaction, chunk);
}

unique_ptr<GlobalSourceState> PhysicalHNSWScan::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<HNSWScanGlobalState>(context, *this);
}

unique_ptr<LocalSourceState> PhysicalHNSWScan::GetLocalSourceState(ExecutionContext &context,
                                                                   GlobalSourceState &gstate) const {
	return make_uniq<ScanningLocalState>();
}

ProgressData PhysicalHNSWScan::GetProgress(ClientContext &context, GlobalSourceState &gstate_p) const {
	auto &gstate = gstate_p.Cast<HNSWScanGlobalState>();
	// with probes, another thread may be about to begin the scan
	if (!probes && gstate.table_scan) {
		return table_scan.scan.GetProgress(context, *gstate.table_scan);
	}
	ProgressData result;
	result.total = static_cast<double>(MaxValue<idx_t>(gstate.probe_count, 1));
	result.done = MinValue(static_cast<double>(gstate.next_probe.load()), result.total);
	return result;
}

SourceResultType PhysicalHNSWScan::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                   OperatorSourceInput &input) const {
	auto &gstate = input.global_state.Cast<HNSWScanGlobalState>();
	if (gstate.probe_count == 0) {
		return SourceResultType::FINISHED;
	}
	if (!gstate.searched) {
		auto searched = gstate.SearchSome(context.client);
		// the profiler has noted the parameters before there were probes
		TellProfiler(context);
		if (!searched) {
			return SourceResultType::HAVE_MORE_OUTPUT;
		}
	}
	if (!gstate.table_scan) {
		gstate.Fetch(chunk);
		return chunk.size() > 0 ? SourceResultType::HAVE_MORE_OUTPUT : SourceResultType::FINISHED;
	}
	return input.local_state.Cast<ScanningLocalState>().Scan(context, *this, chunk, input);
}

} // namespace duckdb
