//! An index in the database file: written at checkpoints, read when it is bound, compared with its table before it is used.
#include "duckdb/common/types/data_chunk.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/execution/index/index_type.hpp"
#include "duckdb/execution/index/index_lock.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/single_file_block_manager.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/storage/table/row_group_collection.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/storage/table_io_manager.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "errors.hpp"
#include "host.hpp"
#include "index.hpp"
#include "pages.hpp"
#include "vectors.hpp"

namespace duckdb {

//! Where the root of an image stands among the options that DuckDB stores for an index.
static constexpr const char *ROOT_OPTION = "vss_root";

//---------------------------------------------------------------------------------------------------------------------
// Checkpoint
//---------------------------------------------------------------------------------------------------------------------

uint64_t HNSWIndex::Checkpoint(bool next) const {
	auto &blocks = table_io_manager.GetIndexBlockManager();
	if (blocks.InMemory()) {
		return 0;
	}
	// files are the only storage DuckDB has besides memory
	auto iteration = static_cast<SingleFileBlockManager &>(blocks).GetCheckpointIteration();
	return iteration + (next ? 1 : 0);
}

IndexStorageInfo HNSWIndex::SerializeToDisk(QueryContext context, const case_insensitive_map_t<Value> &given) {
	IndexLock lock(*this);
	auto &blocks = table_io_manager.GetIndexBlockManager();
	vss::HostPages pages(blocks, context);
	for (auto &block : useless_blocks) {
		pages.free(block);
	}
	useless_blocks.clear();
	IndexStorageInfo info(name);
	info.options = given;
	info.root = 0;
	auto verified = in_step ? Checkpoint(true) : 0;
	auto image = Translate([&] { return core->store(pages, covered, verified); });
	info.options[ROOT_OPTION] = Value::BLOB(image.root.data(), image.root.size());
	FixedSizeAllocatorInfo allocator;
	// the fields that DuckDB reads for every index; to it a page is a buffer
	allocator.segment_size = pages.page_bytes();
	for (idx_t i = 0; i < image.pages.size(); i++) {
		allocator.buffer_ids.push_back(i);
		allocator.block_pointers.emplace_back(image.pages[i], 0);
		allocator.segment_counts.push_back(1);
		allocator.allocation_sizes.push_back(pages.page_bytes());
	}
	info.allocator_infos.push_back(std::move(allocator));
	bytes_on_disk = image.pages.size() * blocks.GetBlockAllocSize();
	return info;
}

IndexStorageInfo HNSWIndex::SerializeToWAL(const case_insensitive_map_t<Value> &given) {
	// Only that the index exists: a log with all its pages would be a second copy in memory, and whoever replays the
	// log has the table to take the rows from.
	IndexStorageInfo info(name);
	info.options = given;
	info.root = 0;
	return info;
}

void HNSWIndex::ResetStorage(IndexLock &lock) {
	// Searches may be running on the core, so it is not emptied but abandoned: without covered rows nobody asks it any
	// more, and its memory goes with the last handle.
	covered = 0;
	in_step = false;
	auto &blocks = table_io_manager.GetIndexBlockManager();
	if (blocks.InMemory()) {
		return;
	}
	vss::HostPages pages(blocks, QueryContext());
	for (auto &page : core->forget_pages()) {
		pages.free(page);
	}
	for (auto &block : useless_blocks) {
		pages.free(block);
	}
	useless_blocks.clear();
}

//---------------------------------------------------------------------------------------------------------------------
// Load
//---------------------------------------------------------------------------------------------------------------------

void HNSWIndex::Load(const IndexStorageInfo &info) {
	if (!info.IsValid()) {
		return; // created by the log alone, or copied: the table has its rows
	}
	vector<int64_t> ids;
	for (auto &allocator : info.allocator_infos) {
		for (auto &pointer : allocator.block_pointers) {
			if (pointer.IsValid()) {
				ids.push_back(pointer.block_id);
			}
		}
	}
	try {
		auto stored = info.options.find(ROOT_OPTION);
		if (stored == info.options.end() || stored->second.type().id() != LogicalTypeId::BLOB) {
			throw InvalidInputException("the stored index cannot be used: it was written by another extension");
		}
		auto &root = StringValue::Get(stored->second);
		auto &blocks = table_io_manager.GetIndexBlockManager();
		vss::HostPages pages(blocks, QueryContext());
		auto loaded = Translate([&] {
			return vss::load_core(options, Dimensions(),
			                      std::make_unique<vss::HostMemory>(BufferManager::GetBufferManager(db)),
			                      {const_data_ptr_cast(root.data()), root.size()}, {ids.data(), ids.size()}, pages);
		});
		links.reset();
		core = std::move(loaded.core);
		links = make_uniq<LinkQueue>(db.GetDatabase(), *core);
		covered = loaded.covered;
		trusted = loaded.verified != 0 && loaded.verified == Checkpoint(false);
		bytes_on_disk = ids.size() * blocks.GetBlockAllocSize();
	} catch (std::exception &ex) {
		problem = ErrorData(ex).RawMessage();
		for (auto &id : ids) {
			useless_blocks.push_back(id);
		}
	}
}

idx_t HNSWIndex::BytesOnDisk() const {
	return bytes_on_disk;
}

string HNSWIndex::Status(DataTable &table) const {
	lock_guard<mutex> guard(problem_lock);
	if (Covers(table)) {
		return problem.empty() ? "ready" : "ready: built again from the table, as " + problem;
	}
	return "incomplete: queries scan the table" + (problem.empty() ? string() : "; " + problem);
}

//---------------------------------------------------------------------------------------------------------------------
// Comparison with the table
//---------------------------------------------------------------------------------------------------------------------

//! Scans columns of the committed rows of a table, and their row ids behind them.
static void ScanRows(DataTable &table, const vector<column_t> &columns, TableScanType type,
                     const std::function<void(DataChunk &chunk)> &consume) {
	auto &rows = *table.GetRowGroupCollection();
	auto table_types = rows.GetTypes();
	vector<StorageIndex> column_ids;
	vector<LogicalType> types;
	for (auto &column : columns) {
		column_ids.emplace_back(column);
		types.push_back(table_types[column]);
	}
	column_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	types.push_back(LogicalType::ROW_TYPE);
	DataChunk chunk;
	chunk.Initialize(Allocator::Get(table.db), types);
	CreateIndexScanState state;
	state.Initialize(column_ids, nullptr);
	rows.InitializeScan(QueryContext(), state.table_state, column_ids, nullptr);
	rows.InitializeCreateIndexScan(state);
	while (true) {
		chunk.Reset();
		state.table_state.Scan(chunk, type, state.segment_lock);
		if (chunk.size() == 0) {
			return;
		}
		consume(chunk);
	}
}

//! Row ids of a chunk of `ScanRows`.
static rust::Slice<const int64_t> RowIds(DataChunk &chunk) {
	auto &row_ids = chunk.data.back();
	row_ids.Flatten();
	return {FlatVector::GetData<int64_t>(row_ids), chunk.size()};
}

//! What a comparison needs of an index, which may be dropped meanwhile.
struct HNSWIndex::Comparison {
	Comparison(ClientContext &context_p, const HNSWIndex &index, AttachedDatabase &db_p)
	    : context(context_p), db(db_p), core(index.core->share()), vectors(!index.trusted), dimensions(index.Dimensions()),
	      complete(index.in_step), types(index.logical_types), columns(index.column_ids), key(index.CopyUnboundExpression(0)) {
		// over the scanned columns
		ExpressionIterator::VisitExpressionMutable<BoundColumnRefExpression>(
		    key, [](BoundColumnRefExpression &column, unique_ptr<Expression> &expr) {
			    auto position = idx_t(column.Binding().column_index);
			    expr = make_uniq<BoundReferenceExpression>(expr->GetReturnType(), position);
		    });
	}

	void Run(DataTable &table);
	void AppendVectors(DataTable &table);

	ClientContext &context;
	AttachedDatabase &db;
	rust::Box<vss::Core> core;
	bool vectors;
	const idx_t dimensions;
	//! No row is missing.
	const bool complete;
	const vector<LogicalType> types;
	const vector<column_t> columns;
	unique_ptr<Expression> key;
};

//! Rows in `core` whose deletion from `table` is committed become tombstones.
static void ForgetDeleted(const vss::Core &core, DataTable &table) {
	Translate([&] { core.begin_comparison(table.GetNextRowId()); });
	ScanRows(table, {}, TableScanType::TABLE_SCAN_COMMITTED_ROWS, [&](DataChunk &chunk) { core.saw(RowIds(chunk)); });
	core.end_comparison(DuckTransactionManager::Get(table.db).GetLastCommit());
}

void HNSWIndex::Comparison::Run(DataTable &table) {
	// row ids stand for the same rows while this is held
	auto vacuum_lock = DuckTransactionManager::Get(db).SharedVacuumLock();
	if (complete) {
		ForgetDeleted(*core, table);
		return;
	}
	Translate([&] { core->begin_comparison(table.GetNextRowId()); });
	// A row that a commit has deleted may still be seen by older snapshots, so the vectors of all that anybody sees are
	// taken; which rows are left is what the last scan says.
	if (!vectors) {
		ScanRows(table, {}, TableScanType::TABLE_SCAN_OMIT_PERMANENTLY_DELETED,
		         [&](DataChunk &chunk) { vectors = core->saw(RowIds(chunk)) || vectors; });
	}
	if (vectors) {
		AppendVectors(table);
	}
	ForgetDeleted(*core, table);
}

void HNSWIndex::Comparison::AppendVectors(DataTable &table) {
	ExpressionExecutor executor(context, *key);
	DataChunk keys;
	keys.Initialize(Allocator::Get(db), types);
	ScanRows(table, columns, TableScanType::TABLE_SCAN_OMIT_PERMANENTLY_DELETED, [&](DataChunk &chunk) {
		context.InterruptCheck();
		keys.Reset();
		executor.Execute(chunk, keys);
		VectorBatch batch(keys.data[0], chunk.data.back(), chunk.size(), dimensions);
		Translate([&] { core->append(vss::RowOrigin::Scan, batch.RowIds(), batch.Values()); });
		core->without_vector(vss::RowOrigin::Scan, batch.NullRowIds());
	});
}

//! Runs `call` with the index behind an entry, unless it was dropped.
template <class CALL>
static bool WithIndex(IndexEntry &entry, CALL &&call) {
	if (entry.GetBindState() != IndexBindState::BOUND) {
		return false;
	}
	try {
		auto handle = entry.GetReadHandle<HNSWIndex>();
		call(*handle.operator->());
		return true;
	} catch (const InternalException &) {
		// retired between the two lines above
		return false;
	}
}

void HNSWIndex::RecheckAfter(uint64_t last_commit) const {
	recheck_after = last_commit;
}

bool HNSWIndex::ComparisonDue() const {
	return !in_step || recheck_after < DuckTransactionManager::Get(db).GetLastCommit();
}

void HNSWIndex::CatchUp(ClientContext &context, IndexEntry &entry, DataTable &table) {
	shared_ptr<mutex> compare_lock;
	WithIndex(entry, [&](const HNSWIndex &index) {
		if (index.ComparisonDue()) {
			compare_lock = index.compare_lock;
		}
	});
	if (!compare_lock) {
		return;
	}
	lock_guard<mutex> guard(*compare_lock);
	unique_ptr<Comparison> comparison;
	WithIndex(entry, [&](const HNSWIndex &index) {
		if (index.ComparisonDue()) {
			comparison = make_uniq<Comparison>(context, index, table.db);
		}
	});
	if (!comparison) {
		return;
	}
	string failure;
	try {
		// no lock of the entry is held: commits go on
		comparison->Run(table);
	} catch (InterruptException &) {
		throw;
	} catch (std::exception &ex) {
		failure = ErrorData(ex).RawMessage();
	}
	WithIndex(entry, [&](const HNSWIndex &index) {
		if (failure.empty()) {
			index.InStep(table.GetNextRowId());
			index.recheck_after = NumericLimits<uint64_t>::Maximum();
			index.links->Schedule();
		} else {
			lock_guard<mutex> problem_guard(index.problem_lock);
			index.problem = failure;
		}
	});
}

} // namespace duckdb
