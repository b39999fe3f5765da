//! DuckDB's view of an HNSW index: a BoundIndex whose overrides unpack, call the Rust core and translate.
#pragma once

#include "duckdb/common/types/timestamp.hpp"
#include "duckdb/execution/index/bound_index.hpp"
#include "duckdb/storage/index_storage_info.hpp"
#include "index/agreement.hpp"
#include "index/maintenance.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class DataTable;
struct DataTableInfo;
struct CreateIndexInput;
struct IndexType;

//! What a search needs of an index; stays valid after the index entry is retired.
struct SharedIndex {
	rust::Box<vss::IndexHandle> core;
	vss::IndexOptions options;
};

//! How far a comparison of an index with its table is, for readers without a lock.
struct ComparisonProgress {
	//! Rows that were read, some of them twice.
	atomic<idx_t> done {0};
	//! Rows to be read, as far as is known by now; 0 while nothing is compared.
	atomic<idx_t> total {0};
};

//! What a checkpoint did.
struct CheckpointReport {
	timestamp_t time;
	//! That were written, and the bytes of the file that they take.
	idx_t pages;
	idx_t bytes;
};

//! The index of one table column (or expression). Lock order: table index list → index entry → IndexLock → core.
class HNSWIndex : public BoundIndex {
public:
	//! The spelling under which the index type is stored; DuckDB compares it case-sensitively.
	static constexpr const char *TYPE_NAME = "HNSW";

	HNSWIndex(const Identifier &name, IndexConstraintType constraint_type, const vector<column_t> &column_ids,
	          TableIOManager &table_io_manager, const vector<unique_ptr<Expression>> &unbound_expressions,
	          AttachedDatabase &db, const vss::IndexOptions &options, rust::Box<vss::IndexHandle> core,
	          Agreement::State state);

	//! What an index over keys of this type takes its memory from.
	static std::unique_ptr<vss::HostMemory> Memory(const LogicalType &key, AttachedDatabase &db);
	//! The core of an index without rows over keys of this type. Throws an OutOfMemoryException.
	static rust::Box<vss::IndexHandle> MakeCore(const vss::IndexOptions &options, const LogicalType &key,
	                                            AttachedDatabase &db);
	//! DuckDB's way to bind a stored, replayed or copied index. Reads what was stored. An index for which that is not
	//! possible now stays closed. DuckDB holds the entry exclusively: takes no lock of the table's index list and none of
	//! the catalog. Never throws over what is stored, or for want of memory.
	static unique_ptr<BoundIndex> CreateInstance(CreateIndexInput &input);
	//! Asks the catalog for the options of an index that was bound without any. Takes the entry's lock for moments only; must not be
	//! called with it, the index list's or the catalog's held.
	static void LearnOptions(ClientContext &context, IndexEntry &entry, DataTable &table);
	//! Brings an index in step with its table, if it is not: one that was just bound may be closed, lack rows that came, or
	//! hold rows that went, without it, and one that was just made may hold the latter. Reads the row ids of the table, and
	//! all vectors if they may have changed. Afterwards the index covers the table, unless memory is short: then queries
	//! go on scanning the table, and the next call tries again. Its options must have been learnt. Takes the entry's lock for
	//! moments only; must not be called with it or the index list's held. Throws only an InterruptException.
	static void Reconcile(ClientContext &context, const vss::HostInterrupt &interrupt, IndexEntry &entry,
	                      DataTable &table);
	//! Whether `Reconcile` has something to do. Takes the entry's lock for a moment.
	static bool ReconcileDue(IndexEntry &entry);
	//! Runs `visit` with the index behind `entry`, which is locked (shared) meanwhile. False, without a call, if there is
	//! none: it was dropped, is not bound or of another type.
	static bool Visit(IndexEntry &entry, const std::function<void(const HNSWIndex &index)> &visit);
	//! The same with each bound HNSW index of a table, one after the other; the list is locked for a moment before. Returns whether the table
	//! has indexes, of whatever kind.
	static bool VisitAll(DataTableInfo &table, const std::function<void(const HNSWIndex &index)> &visit);
	//! Runs `change` with the index behind `entry`, which is one of ours, and locked exclusively meanwhile, unless it was dropped.
	static void Change(IndexEntry &entry, const std::function<void(HNSWIndex &index)> &change);

	const vss::IndexOptions &Options() const {
		return options;
	}
	//! Elements of the indexed `FLOAT[n]`; 0 if the key has another type, as a damaged catalog may say.
	idx_t Dimensions() const {
		return dimensions;
	}
	//! Whether the index has to be compared with its table, see `Agreement::IsDue`.
	bool ReconcileDue() const;
	//! The index behind `entry` for a search of `table`; nothing if it was dropped or does not cover the table. Holds
	//! the entry's shared lock only for the moment of the call, so a long search never stops a commit.
	static unique_ptr<SharedIndex> TryShare(IndexEntry &entry, DataTable &table);
	//! Whether it was, also by a transaction that is not seen yet.
	static bool IsDropped(IndexEntry &entry);
	//! The core, for calls made while the index cannot go away.
	const vss::IndexHandle &Core() const {
		return *core;
	}
	//! Whether the index may answer queries of `table`; if not they scan it.
	bool Covers(DataTable &table) const;
	//! CREATE INDEX is done, see `Agreement::Published`; `unsure`: and `PublishedUnsure`.
	void Published(idx_t next_row_id, uint64_t last_commit, bool unsure);
	//! For users: whether the index serves queries, and what was wrong with its stored image if something was.
	string Status(DataTable &table) const;
	//! Bytes of the database file that hold the newest image.
	idx_t BytesOnDisk() const;
	//! The same of an index that is not bound; nothing if it is, or was dropped. Takes the entry's lock for a moment.
	static optional_idx UnboundBytesOnDisk(IndexEntry &entry);
	//! The last checkpoint since the index was bound, or made; null if there was none.
	optional_ptr<const CheckpointReport> LastCheckpoint() const {
		return last_checkpoint.get();
	}
	//! Background tasks of its upkeep that run, or wait for a thread.
	idx_t BackgroundTasks() const {
		return links->Tasks();
	}
	//! How far the comparison with its table is; stays valid after the index is gone.
	shared_ptr<const ComparisonProgress> Comparing() const {
		return comparing;
	}
	//! Tombstones of an index in `db` that no snapshot can see any more are dead. Takes no lock of DuckDB.
	static void Expire(AttachedDatabase &db, const vss::IndexHandle &core);
	//! Turns tombstones that no snapshot can see any more into free slots, and schedules linking of pending rows.
	//! Cheap when there is nothing to do. Takes no lock of DuckDB.
	void Maintain() const;

	//! Takes rows that a scan of the table yields, for an index that is not in the table's list yet. Errors: out of memory.
	ErrorData AppendScanned(DataChunk &chunk, Vector &row_ids);
	ErrorData Append(IndexLock &lock, DataChunk &chunk, Vector &row_ids) override;
	ErrorData Append(IndexLock &lock, DataChunk &chunk, Vector &row_ids, IndexAppendInfo &info) override;
	ErrorData Insert(IndexLock &lock, DataChunk &keys, Vector &row_ids) override;
	idx_t TryDelete(IndexLock &lock, DataChunk &entries, Vector &row_ids, optional_ptr<SelectionVector> deleted_sel,
	                optional_ptr<SelectionVector> non_deleted_sel) override;
	void ResetStorage(IndexLock &lock) override;
	bool MergeIndexes(IndexLock &lock, BoundIndex &other) override;
	void Vacuum(IndexLock &lock) override;
	idx_t GetInMemorySize(IndexLock &lock) const override;
	void Verify(IndexLock &lock) override;
	string ToString(IndexLock &lock, bool display_ascii) override;
	void VerifyAllocations(IndexLock &lock) override;
	void VerifyBuffers(IndexLock &lock) override;
	string GetConstraintViolationMessage(VerifyExistenceType verify_type, idx_t failed_index,
	                                     DataChunk &input) const override;
	IndexStorageInfo SerializeToDisk(QueryContext context, const case_insensitive_map_t<Value> &options) override;
	IndexStorageInfo SerializeToWAL(const case_insensitive_map_t<Value> &options) override;

private:
	struct Comparison;
	struct Opened;

	//! The keys of a chunk of the table, then `TakeKeys`.
	ErrorData TakeRows(vss::RowOrigin origin, DataChunk &chunk, Vector &row_ids);
	//! Hands rows to the core.
	ErrorData TakeKeys(vss::RowOrigin origin, DataChunk &keys, Vector &row_ids);

	//! The core for what is stored; without rows if nothing is, or nothing that can be used. Throws an
	//! OutOfMemoryException if there is not enough memory for it now.
	static Opened Open(const vss::IndexOptions &options, const LogicalType &key, const IndexStorageInfo &info,
	                   TableIOManager &table_io_manager, AttachedDatabase &db);
	//! The index has this core from now on. With the entry locked exclusively, as deletes are told to one core or the other.
	void ReplaceCore(rust::Box<vss::IndexHandle> successor);
	//! The index has what was opened from now on.
	void Adopt(Opened opened);
	//! Gives back what the index has, so that queries can scan the table. `FOR_NOW`: there is not enough memory for its rows.
	void Close(Agreement::Reason why, string problem);
	//! The index may have been left wrong by a defect: closes it, and gives its image up.
	void Discard(Agreement::Reason why);
	//! Opens the index behind `entry` if it is closed, and its options are known. Takes the entry's lock for moments only.
	static void OpenLate(IndexEntry &entry, DataTable &table);
	//! The checkpoint that the database file holds, or that is being made.
	static uint64_t Checkpoint(TableIOManager &table_io_manager, bool next);

	const idx_t dimensions;
	vss::IndexOptions options;
	//! One without rows as long as the index is closed.
	rust::Box<vss::IndexHandle> core;
	unique_ptr<MaintenanceQueue> links;
	//! With its table.
	Agreement agreement;
	//! The newest image in the file; a name alone if there is none.
	IndexStorageInfo stored;
	//! One comparison at a time; shared with it, as the index may be dropped meanwhile.
	shared_ptr<mutex> compare_lock = make_shared_ptr<mutex>();
	const shared_ptr<ComparisonProgress> comparing = make_shared_ptr<ComparisonProgress>();
	//! Blocks of an image that could not be used, until the next checkpoint.
	vector<block_id_t> useless_blocks;
	//! What the last checkpoint stored.
	atomic<idx_t> bytes_on_disk {0};
	unique_ptr<CheckpointReport> last_checkpoint;
	//! Somebody has asked the index, or appended to it: deletes are those of statements from now on. What the log tells comes before, while
	//! nobody else knows the index. The first statement's deletes may be taken for the log's.
	mutable atomic<bool> replayed {false};
};

//! Options of `WITH (…)`, checked by the core. Throws a BinderException that names the option.
vss::IndexOptions ParseIndexOptions(const case_insensitive_map_t<Value> &given);
//! Options that were stored, perhaps by another extension that allows others; the defaults if we do not. Never throws.
vss::IndexOptions StoredIndexOptions(const case_insensitive_map_t<Value> &stored);

} // namespace duckdb
