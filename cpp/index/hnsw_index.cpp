#include "index/hnsw_index.hpp"

#include "duckdb/common/types/value.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"
#include "index/binding.hpp"
#include "index/keys.hpp"
#include "index/maintenance.hpp"
#include "host/vector_batch.hpp"

namespace duckdb {

vss::IndexOptions ParseIndexOptions(const case_insensitive_map_t<Value> &given) {
	std::vector<vss::GivenOption> options;
	for (auto &entry : given) {
		vss::GivenOption option;
		auto &value = entry.second;
		option.name = rust::String::lossy(entry.first);
		option.integer = 0;
		option.type_name = value.type().ToString();
		option.text = rust::String::lossy(value.ToString());
		if (value.IsNull()) {
			option.kind = vss::OptionKind::Missing;
		} else if (value.type().IsIntegral()) {
			// values beyond BIGINT are out of any range: clamp
			auto integer = value.DefaultTryCastAs(LogicalType::BIGINT);
			option.kind = vss::OptionKind::Integer;
			option.integer = integer ? BigIntValue::Get(*integer) : NumericLimits<int64_t>::Maximum();
		} else if (value.type().id() == LogicalTypeId::VARCHAR) {
			option.kind = vss::OptionKind::Text;
		} else {
			option.kind = vss::OptionKind::Other;
		}
		options.push_back(std::move(option));
	}
	return Translate([&] { return vss::parse_options({options.data(), options.size()}); });
}

vss::IndexOptions StoredIndexOptions(const case_insensitive_map_t<Value> &stored) {
	try {
		return ParseIndexOptions(stored);
	} catch (const BinderException &) {
		return ParseIndexOptions(case_insensitive_map_t<Value>());
	}
}

rust::Box<vss::IndexHandle> HNSWIndex::MakeCore(const vss::IndexOptions &options, const LogicalType &key,
                                                AttachedDatabase &db) {
	auto memory = std::make_unique<vss::HostMemory>(BufferManager::GetBufferManager(db));
	return Translate([&] { return vss::create_core(options, ArrayType::GetSize(key), std::move(memory)); });
}

//! Elements of an indexed vector; 0 unless the index has exactly one key, a FLOAT[n].
static idx_t KeyDimensions(const vector<LogicalType> &keys) {
	auto is_vector = keys.size() == 1 && keys[0].id() == LogicalTypeId::ARRAY &&
	                 ArrayType::GetChildType(keys[0]).id() == LogicalTypeId::FLOAT;
	return is_vector ? ArrayType::GetSize(keys[0]) : 0;
}

HNSWIndex::HNSWIndex(const Identifier &name, IndexConstraintType constraint_type, const vector<column_t> &column_ids,
                     TableIOManager &table_io_manager, const vector<unique_ptr<Expression>> &unbound_expressions,
                     AttachedDatabase &db, const vss::IndexOptions &options_p, rust::Box<vss::IndexHandle> core_p,
                     Agreement::State state)
    : BoundIndex(name, TYPE_NAME, constraint_type, column_ids, table_io_manager, unbound_expressions, db),
      dimensions(KeyDimensions(logical_types)), options(options_p), core(std::move(core_p)),
      maintenance(make_uniq<MaintenanceQueue>(db.GetDatabase(), *core)), agreement(state) {
}

bool HNSWIndex::Visit(IndexEntry &entry, const std::function<void(const HNSWIndex &index)> &visit) {
	if (entry.GetBindState() != IndexBindState::BOUND) {
		return false;
	}
	unique_ptr<IndexReadHandle<HNSWIndex>> handle;
	try {
		if (entry.GetIndexType() != TYPE_NAME) {
			return false;
		}
		handle = make_uniq<IndexReadHandle<HNSWIndex>>(entry.GetReadHandle<HNSWIndex>());
	} catch (const InternalException &) {
		// dropped between two of these lines; DuckDB would invalidate the database over the exception
		return false;
	}
	auto &index = *handle->operator->();
	if (!index.replayed && !index.replayed.exchange(true)) {
		index.Maintain(); // nothing was linked beside the replay
	}
	visit(index);
	return true;
}

bool HNSWIndex::VisitAll(DataTableInfo &table, const std::function<void(const HNSWIndex &index)> &visit) {
	auto entries = ListedIndexes(table);
	for (auto &entry : entries) {
		Visit(*entry, visit);
	}
	return !entries.empty();
}

void HNSWIndex::Change(IndexEntry &entry, const std::function<void(HNSWIndex &index)> &change) {
	unique_ptr<IndexWriteHandle<HNSWIndex>> handle;
	try {
		handle = make_uniq<IndexWriteHandle<HNSWIndex>>(entry.GetWriteHandle<HNSWIndex>());
	} catch (const InternalException &) {
		return; // dropped
	}
	auto &index = *handle->operator->();
	index.replayed = true;
	change(index);
}

unique_ptr<SharedIndex> HNSWIndex::TryShare(IndexEntry &entry, DataTable &table) {
	unique_ptr<SharedIndex> result;
	Visit(entry, [&](const HNSWIndex &index) {
		if (index.Covers(table)) {
			index.Maintain();
			result = make_uniq<SharedIndex>(SharedIndex {index.core->share(), index.options});
		}
	});
	if (result) {
		MaintenanceQueue::WorkWithoutThreads(table.db.GetDatabase(), *result->core);
	}
	return result;
}

bool HNSWIndex::IsDropped(IndexEntry &entry) {
	auto dropped = true;
	Visit(entry, [&](const HNSWIndex &index) { dropped = index.agreement.IsDropped(); });
	return dropped;
}

bool HNSWIndex::Covers(DataTable &table) const {
	return core->is_sound() && agreement.Serves(table.GetNextRowId());
}

//! No snapshot sees rows that commits below this have deleted.
static uint64_t LowestVisible(AttachedDatabase &db) {
	auto bound = DuckTransactionManager::Get(db).LowestVisibilityBound();
	// the bound hides its number, which the core needs
	static_assert(sizeof(bound) == sizeof(uint64_t), "VisibilityBound is a transaction_t");
	uint64_t result;
	memcpy(&result, &bound, sizeof(result));
	return result;
}

//! The commits of a database.
class CommitsOf : public Agreement::Commits {
public:
	explicit CommitsOf(AttachedDatabase &db_p) : db(db_p) {
	}
	uint64_t LowestVisible() const override {
		return duckdb::LowestVisible(db);
	}
	uint64_t Last() const override {
		return DuckTransactionManager::Get(db).GetLastCommit();
	}

private:
	AttachedDatabase &db;
};

void HNSWIndex::Published(idx_t next_row_id, uint64_t last_commit, bool unsure) {
	if (unsure) {
		agreement.PublishedUnsure(next_row_id, last_commit);
	} else {
		agreement.Published(next_row_id, last_commit);
	}
}

bool HNSWIndex::ReconcileDue() const {
	if (!core->is_sound()) {
		return true;
	}
	return agreement.IsDue(CommitsOf(db));
}

bool HNSWIndex::ReconcileDue(IndexEntry &entry) {
	auto due = false;
	Visit(entry, [&](const HNSWIndex &index) { due = index.ReconcileDue(); });
	return due;
}

void HNSWIndex::Expire(AttachedDatabase &db, const vss::IndexHandle &core) {
	// the last commit first: a snapshot that begins in between sees that commit
	auto last_commit = DuckTransactionManager::Get(db).GetLastCommit();
	core.expire(last_commit, LowestVisible(db));
}

void HNSWIndex::Maintain() const {
	Expire(db, *core);
	maintenance->Schedule();
}

ErrorData HNSWIndex::Append(IndexLock &lock, DataChunk &chunk, Vector &row_ids) {
	replayed = true;
	return TakeRows(vss::RowOrigin::Host, chunk, row_ids);
}

ErrorData HNSWIndex::Insert(IndexLock &lock, DataChunk &keys, Vector &row_ids) {
	return TakeKeys(vss::RowOrigin::Host, keys, row_ids);
}

ErrorData HNSWIndex::AppendScanned(DataChunk &chunk, Vector &row_ids) {
	return TakeRows(vss::RowOrigin::Scan, chunk, row_ids);
}

ErrorData HNSWIndex::TakeRows(vss::RowOrigin origin, DataChunk &chunk, Vector &row_ids) {
	if (agreement.Missed()) {
		return ErrorData();
	}
	DataChunk keys;
	try {
		keys.Initialize(Allocator::Get(db), logical_types);
		ComputeKeys(
		    chunk, keys, [&](DataChunk &rows, DataChunk &computed) { ExecuteExpressions(rows, computed); }, column_ids);
	} catch (std::exception &ex) {
		return ErrorData(ex);
	}
	return TakeKeys(origin, keys, row_ids);
}

ErrorData HNSWIndex::Append(IndexLock &lock, DataChunk &chunk, Vector &row_ids, IndexAppendInfo &info) {
	if (info.append_mode != IndexAppendMode::INSERT_DUPLICATES) {
		return Append(lock, chunk, row_ids);
	}
	// DuckDB uses this mode when it replays its log while it binds the index, and for rows that a vacuum has moved. If
	// binding failed, DuckDB would try it again for ever, or invalidate the database. So the index closes instead: the
	// table has the rows.
	auto error = TakeRows(vss::RowOrigin::Log, chunk, row_ids);
	if (!error.HasError() && !replayed) {
		error = RoomForReplay();
	}
	if (error.HasError()) {
		Close(Agreement::Reason::FOR_NOW, error.RawMessage());
	}
	return ErrorData();
}

ErrorData HNSWIndex::RoomForReplay() const {
	// DuckDB copies each vector of rows, and frees the last copy only after it has made the next one. If it cannot,
	// the statement that has asked for the index fails, though a scan of the table would answer it.
	constexpr idx_t COPIES = 2;
	constexpr idx_t PINNED_BLOCKS = 2;
	try {
		vss::ReservedMemory room(BufferManager::GetBufferManager(db));
		room.Resize(COPIES * STANDARD_VECTOR_SIZE * Dimensions() * sizeof(float) +
		            PINNED_BLOCKS * DEFAULT_BLOCK_ALLOC_SIZE);
	} catch (std::exception &ex) { // also what is evicted for it may have no place to go
		auto reason = ErrorData(ex).RawMessage();
		return ErrorData(ExceptionType::OUT_OF_MEMORY,
		                 "an HNSW index leaves too little to read the next rows of the log: " + reason);
	}
	return ErrorData();
}

ErrorData HNSWIndex::TakeKeys(vss::RowOrigin origin, DataChunk &keys, Vector &row_ids) {
	auto count = keys.size();
	if (count == 0) {
		return ErrorData();
	}
	try {
		VectorBatch batch(keys.data[0], row_ids, count, Dimensions());
		Translate([&] { core->append(origin, batch.RowIds(), batch.Values()); });
		core->without_vector(origin, batch.NullRowIds());
	} catch (std::exception &ex) {
		return ErrorData(ex);
	}
	UnifiedVectorFormat format;
	row_ids.ToUnifiedFormat(format);
	auto rows = UnifiedVectorFormat::GetData<int64_t>(format);
	idx_t end = 0;
	for (idx_t i = 0; i < count; i++) {
		end = MaxValue(end, UnsafeNumericCast<idx_t>(rows[format.sel->get_index(i)]) + 1);
	}
	agreement.Took(end);
	if (origin != vss::RowOrigin::Log) {
		Maintain(); // not beside a replay, which needs the memory; the first use of the index does
	}
	return ErrorData();
}

idx_t HNSWIndex::TryDelete(IndexLock &lock, DataChunk &entries, Vector &row_ids,
                           optional_ptr<SelectionVector> deleted_sel, optional_ptr<SelectionVector> non_deleted_sel) {
	// Unknown ids count as deleted: rows with NULL vectors, and rows of a failed append, never were in the core.
	auto count = entries.size();
	agreement.Missed();
	UnifiedVectorFormat format;
	row_ids.ToUnifiedFormat(format);
	auto rows = UnifiedVectorFormat::GetData<int64_t>(format);
	auto last_commit = DuckTransactionManager::Get(db).GetLastCommit();
	agreement.Deletes(last_commit);
	// DuckDB hands over at most a vector of rows, and nothing here may allocate
	int64_t ids[STANDARD_VECTOR_SIZE];
	for (idx_t begin = 0; begin < count; begin += STANDARD_VECTOR_SIZE) {
		auto size = MinValue<idx_t>(count - begin, STANDARD_VECTOR_SIZE);
		for (idx_t i = 0; i < size; i++) {
			ids[i] = rows[format.sel->get_index(begin + i)];
		}
		core->remove(replayed ? vss::RowOrigin::Host : vss::RowOrigin::Log, {ids, size}, last_commit);
	}
	if (deleted_sel) {
		for (idx_t i = 0; i < count; i++) {
			deleted_sel->set_index(i, i);
		}
	}
	return count;
}

bool HNSWIndex::MergeIndexes(IndexLock &lock, BoundIndex &other) {
	// only transaction-local twins of unique indexes are ever merged
	return false;
}

void HNSWIndex::Vacuum(IndexLock &lock) {
	// No compaction here: the list and the entry are locked, and nobody could interrupt it. HNSW_VACUUM compacts.
	Maintain();
}

idx_t HNSWIndex::GetInMemorySize(IndexLock &lock) const {
	return core->memory_used();
}

void HNSWIndex::Verify(IndexLock &lock) {
	// the core checks its own invariants in its tests; the table decides what a query returns
}

string HNSWIndex::ToString(IndexLock &lock, bool display_ascii) {
	return StringUtil::Format("HNSW index %s: %s, %llu dimensions", name.GetIdentifierName(),
	                          string(vss::metric_name(options.metric)), Dimensions());
}

void HNSWIndex::VerifyAllocations(IndexLock &lock) {
}

void HNSWIndex::VerifyBuffers(IndexLock &lock) {
}

string HNSWIndex::GetConstraintViolationMessage(VerifyExistenceType verify_type, idx_t failed_index,
                                                DataChunk &input) const {
	return "an HNSW index has no constraint that could be violated";
}

} // namespace duckdb
