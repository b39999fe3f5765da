//! DuckDB's view of an HNSW index: a BoundIndex whose overrides unpack, call the Rust core and translate.
#pragma once

#include "duckdb/common/types/timestamp.hpp"
#include "duckdb/execution/index/bound_index.hpp"
#include "duckdb/storage/index_storage_info.hpp"
#include "index/agreement.hpp"
#include "index/maintenance.hpp"
#include "vss/src/bridge/mod.rs.h"

#include <exception>

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

//! Progress of the comparison of an index with its table. Readers need no lock.
struct ComparisonProgress {
	//! Rows read so far; a row counts once for each scan that reads it.
	atomic<idx_t> done {0};
	//! Rows to read, an estimate that may grow; 0 while no comparison runs.
	atomic<idx_t> total {0};
};

//! What a checkpoint did.
struct CheckpointReport {
	timestamp_t time;
	//! Pages written, and the bytes that they take in the file.
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
	//! Frees the image of an index that was dropped while it was bound.
	~HNSWIndex() override;

	//! An empty core for keys of this type. Throws an OutOfMemoryException.
	static rust::Box<vss::IndexHandle> MakeCore(const vss::IndexOptions &options, const LogicalType &key,
	                                            AttachedDatabase &db);
	//! DuckDB calls this to bind a stored, replayed or copied index. Reads the stored image. If that is not possible
	//! now, the index stays closed. DuckDB holds the entry exclusively, so this takes no lock of the table's index list
	//! and none of the catalog. Never throws because of what is stored, or for want of memory.
	static unique_ptr<BoundIndex> CreateInstance(CreateIndexInput &input);
	//! Asks the catalog for the options of an index that was bound without them. Takes the entry's lock for moments
	//! only. Must not be called while the caller holds that lock, the index list's or the catalog's.
	static void LearnOptions(ClientContext &context, IndexEntry &entry, DataTable &table);
	//! Brings an index in step with its table if it is not. An index that was just bound may be closed, may lack rows
	//! that came without it, or may hold rows that went without it. An index that was just created may hold
	//! rows that went, too. Reads the row ids of the table, and all vectors if they may have changed. Afterwards the index covers the
	//! table, unless memory is short: then queries go on scanning the table, and the next call tries again. The options
	//! of the index must be known (`LearnOptions`). Takes the entry's lock for moments only. Must not be called while
	//! the caller holds that lock or the index list's. Throws only an InterruptException.
	static void Reconcile(ClientContext &context, const vss::HostInterrupt &interrupt, IndexEntry &entry,
	                      DataTable &table);
	//! Whether `Reconcile` has something to do. Takes the entry's lock for a moment.
	static bool ReconcileDue(IndexEntry &entry);
	//! Runs `visit` on the index behind `entry`, with the entry locked (shared). Returns false without a call if there
	//! is no such index: it was dropped, is not bound, or is of another type.
	static bool Visit(IndexEntry &entry, const std::function<void(const HNSWIndex &index)> &visit);
	//! The same for each bound HNSW index of a table, one after the other. First locks the list for a moment. Returns
	//! whether the table has indexes of any kind.
	static bool VisitAll(DataTableInfo &table, const std::function<void(const HNSWIndex &index)> &visit);
	//! Runs `change` on the HNSW index behind `entry`, with the entry locked exclusively. Does nothing if it was
	//! dropped.
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
	//! A handle on the index behind `entry` for a search of `table`; null if the index was dropped or does not cover
	//! the table. Holds the entry's shared lock only for the moment of the call, so a long search never stops a commit.
	static unique_ptr<SharedIndex> TryShare(IndexEntry &entry, DataTable &table);
	//! Whether the index was dropped, also by a commit that the caller's snapshot does not see.
	static bool IsDropped(IndexEntry &entry);
	//! The core, for calls made while the index cannot go away.
	const vss::IndexHandle &Core() const {
		return *core;
	}
	//! Whether the index may answer queries of `table`; if not, queries scan the table.
	bool Covers(DataTable &table) const;
	//! CREATE INDEX is done: `Agreement::PublishedUnsure` if `unsure`, else `Agreement::Published`.
	void Published(idx_t next_row_id, uint64_t last_commit, bool unsure);
	//! For users: whether the index serves queries, and what is or was wrong with it.
	string Status(DataTable &table) const;
	//! Bytes of the database file that hold the newest image.
	idx_t BytesOnDisk() const;
	//! The same for an index that is not bound; nothing if it is bound or dropped. Takes the entry's lock for a moment.
	static optional_idx UnboundBytesOnDisk(IndexEntry &entry);
	//! The last checkpoint since the index was bound, or made; null if there was none.
	optional_ptr<const CheckpointReport> LastCheckpoint() const {
		return last_checkpoint.get();
	}
	//! Maintenance tasks that run, or wait for a background thread.
	idx_t BackgroundTasks() const {
		return maintenance->Tasks();
	}
	//! Progress of the comparison with the table; stays valid after the index is gone.
	shared_ptr<const ComparisonProgress> Comparing() const {
		return comparing;
	}
	//! Tombstones of `core`, an index in `db`, become dead if no snapshot can see them any more. Takes no lock of
	//! DuckDB.
	static void Expire(AttachedDatabase &db, const vss::IndexHandle &core);
	//! Calls `Expire`, then schedules background tasks for the work that is due. Cheap when there is nothing to do.
	//! Takes no lock of DuckDB's storage.
	void Maintain() const;

	//! Appends rows of a table scan to an index that is not in the table's list yet. Errors: out of memory.
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

	//! Computes the keys of a chunk of the table, then calls `TakeKeys`.
	ErrorData TakeRows(vss::RowOrigin origin, DataChunk &chunk, Vector &row_ids);
	//! Hands rows to the core.
	ErrorData TakeKeys(vss::RowOrigin origin, DataChunk &keys, Vector &row_ids);

	//! Opens the stored image. The core is empty if nothing is stored, or nothing that can be used. Throws if memory is
	//! short, or if the file cannot be read, for now.
	static Opened Open(const vss::IndexOptions &options, const LogicalType &key, const IndexStorageInfo &info,
	                   TableIOManager &table_io_manager, AttachedDatabase &db);
	//! The entry must be locked exclusively, so that a delete is told to the old core or to the new one.
	void ReplaceCore(rust::Box<vss::IndexHandle> successor);
	//! Takes over the opened core, its options and what is known of it.
	void Adopt(Opened opened);
	//! An error if DuckDB has not got the memory to hand over the next rows of the log.
	ErrorData RoomForReplay() const;
	//! Marks the blocks of the newest image, or of the stored one, and the useless ones as free from the next checkpoint
	//! on. Does nothing in memory.
	void FreeImage(bool stored_image);
	//! Frees the core and its rows: queries scan the table from now on.
	void Close(Agreement::Reason why, string problem);
	//! A defect may have left the index wrong: closes it, and gives its image up.
	void Discard(Agreement::Reason why);
	//! Opens the index behind `entry` if it is closed and its options are known. Takes the entry's lock for moments
	//! only.
	static void OpenLate(IndexEntry &entry, DataTable &table);
	//! The number of the checkpoint that the database file holds; with `next`, of the one being made. 0 in memory.
	static uint64_t Checkpoint(TableIOManager &table_io_manager, bool next);

	const idx_t dimensions;
	vss::IndexOptions options;
	//! Without rows while the index is closed.
	rust::Box<vss::IndexHandle> core;
	unique_ptr<MaintenanceQueue> maintenance;
	//! How the index and its table stand to each other.
	Agreement agreement;
	//! The newest image in the file; only the name is set if there is none.
	IndexStorageInfo stored;
	//! One comparison runs at a time. It shares the lock, because the index may be dropped meanwhile.
	shared_ptr<mutex> compare_lock = make_shared_ptr<mutex>();
	const shared_ptr<ComparisonProgress> comparing = make_shared_ptr<ComparisonProgress>();
	//! Blocks of images that could not be used; the next checkpoint frees them.
	vector<block_id_t> useless_blocks;
	//! Size of the newest image.
	atomic<idx_t> bytes_on_disk {0};
	unique_ptr<CheckpointReport> last_checkpoint;
	//! Set once a statement has read or changed the index. Until then only DuckDB's replay of the log knows the index,
	//! so a delete is the log's; from then on it is a statement's. The first statement's deletes may be taken for the
	//! log's.
	mutable atomic<bool> replayed {false};
	//! Exceptions under way when the index was made.
	const int exceptions = std::uncaught_exceptions();
};

//! Options of `WITH (…)`, checked by the core. Throws a BinderException that names the option.
vss::IndexOptions ParseIndexOptions(const case_insensitive_map_t<Value> &given);
//! Stored options; the defaults if they are not valid here, as another extension may have stored them. Never throws.
vss::IndexOptions StoredIndexOptions(const case_insensitive_map_t<Value> &stored);

} // namespace duckdb
