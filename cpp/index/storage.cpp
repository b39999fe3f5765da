//! How an index lies in the database file: checkpoints write it, binding reads it.
#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/index_catalog_entry.hpp"
#include "duckdb/execution/index/index_type.hpp"
#include "duckdb/execution/index/index_lock.hpp"
#include "duckdb/execution/index/unbound_index.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/statement/create_statement.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/single_file_block_manager.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/storage/table_io_manager.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"
#include "host/log.hpp"
#include "index/binding.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

//! The option, among those that DuckDB stores for an index, that holds the root of an image.
static constexpr const char *ROOT_OPTION = "vss_root";
//! The same for the norms of the vectors; this record may be missing.
static constexpr const char *NORMS_OPTION = "vss_norms";
//! The same for what was measured of the search widths.
static constexpr const char *WIDTHS_OPTION = "vss_widths";
//! Is there if the user gave `ef_search`. Earlier versions store an `ef_search` in any case.
static constexpr const char *EF_GIVEN_OPTION = "vss_ef_given";
//! Prefix of each stored option of WITH; the option's name follows.
static const string WITH_OPTION = "vss_with_";

//---------------------------------------------------------------------------------------------------------------------
// Checkpoint
//---------------------------------------------------------------------------------------------------------------------

uint64_t HNSWIndex::Checkpoint(TableIOManager &table_io_manager, bool next) {
	auto &blocks = table_io_manager.GetIndexBlockManager();
	if (blocks.InMemory()) {
		return 0;
	}
	// files are the only storage DuckDB has besides memory
	auto iteration = static_cast<SingleFileBlockManager &>(blocks).GetCheckpointIteration();
	return iteration + (next ? 1 : 0);
}

//! A copy, for an index that a checkpoint leaves as it is.
static IndexStorageInfo CopyOf(const IndexStorageInfo &info) {
	IndexStorageInfo result(info.name);
	// without an image, `root` may be unset
	result.root = info.IsValid() ? info.root : 0;
	result.options = info.options;
	result.allocator_infos = info.allocator_infos;
	result.root_block_ptr = info.root_block_ptr;
	return result;
}

static vector<block_id_t> BlocksOf(const IndexStorageInfo &info) {
	vector<block_id_t> result;
	for (auto &allocator : info.allocator_infos) {
		for (auto &pointer : allocator.block_pointers) {
			if (pointer.IsValid()) {
				result.push_back(pointer.block_id);
			}
		}
	}
	return result;
}

//! A BLOB among the options that DuckDB stores for an index; empty if there is none.
static rust::Slice<const uint8_t> StoredBlob(const IndexStorageInfo &info, const char *option) {
	auto stored = info.options.find(option);
	if (stored == info.options.end() || stored->second.type().id() != LogicalTypeId::BLOB || stored->second.IsNull()) {
		return {};
	}
	auto &blob = StringValue::Get(stored->second);
	return {const_data_ptr_cast(blob.data()), blob.size()};
}

//! The pages of the newest image. The core forgets them.
static vector<block_id_t> PagesOf(const vss::IndexHandle &core) {
	auto ids = core.forget_pages();
	return vector<block_id_t>(ids.begin(), ids.end());
}

//! Stores the options, so that the next binding need not look for them in the catalog.
static void StoreOptions(const vss::IndexOptions &options, case_insensitive_map_t<Value> &stored) {
	stored[WITH_OPTION + "metric"] = Value(string(vss::metric_name(options.metric)));
	if (options.quantization != vss::Quantization::None) {
		// versions that know no codes can read the options of indexes without
		stored[WITH_OPTION + "quantization"] = Value(string(vss::quantization_name(options.quantization)));
	}
	if (options.target_recall > 0) {
		stored[WITH_OPTION + "target_recall"] = Value::DOUBLE(options.target_recall);
	}
	if (options.ef_given) {
		stored[EF_GIVEN_OPTION] = Value::BOOLEAN(true);
		stored[WITH_OPTION + "ef_search"] = Value::BIGINT(NumericCast<int64_t>(options.ef_search));
	}
	for (auto &number : std::initializer_list<std::pair<const char *, size_t>> {
	         {"m", options.m}, {"m0", options.m0}, {"ef_construction", options.ef_construction}}) {
		stored[WITH_OPTION + number.first] = Value::BIGINT(NumericCast<int64_t>(number.second));
	}
}

//! The options that `StoreOptions` has written; empty if there are none.
static case_insensitive_map_t<Value> OptionsOf(const IndexStorageInfo &info) {
	case_insensitive_map_t<Value> result;
	for (auto &entry : info.options) {
		if (StringUtil::StartsWith(entry.first, WITH_OPTION)) {
			result[entry.first.substr(WITH_OPTION.size())] = entry.second;
		}
	}
	auto ef_search = result.find("ef_search");
	if (ef_search != result.end() && info.options.find(EF_GIVEN_OPTION) == info.options.end() &&
	    StoredIndexOptions({{"ef_search", ef_search->second}}).ef_search == vss::default_ef_search()) {
		result.erase(ef_search);
	}
	return result;
}

IndexStorageInfo HNSWIndex::SerializeToDisk(QueryContext context, const case_insensitive_map_t<Value> &given) {
	IndexLock lock(*this);
	auto &blocks = table_io_manager.GetIndexBlockManager();
	vss::HostPages pages(blocks, context);
	for (auto &block : useless_blocks) {
		pages.free(block);
	}
	useless_blocks.clear();
	if (agreement.IsClosed() || !core->is_sound()) {
		return CopyOf(stored);
	}
	IndexStorageInfo info(name);
	info.options = given;
	info.root = 0;
	StoreOptions(options, info.options);
	auto verified = agreement.IsComplete() ? Checkpoint(table_io_manager, true) : 0;
	vss::StoredImage image;
	try {
		image = Translate([&] { return core->store(pages, agreement.Covered(), verified); });
	} catch (std::exception &ex) {
		if (core->is_sound()) {
			throw;
		}
		// A checkpoint that fails would invalidate the database. The old image is intact: its pages are freed only
		// after the new one is written.
		return CopyOf(stored);
	}
	info.options[ROOT_OPTION] = Value::BLOB(image.root.data(), image.root.size());
	info.options[NORMS_OPTION] = Value::BLOB(image.norms.data(), image.norms.size());
	if (!image.widths.empty()) {
		info.options[WIDTHS_OPTION] = Value::BLOB(image.widths.data(), image.widths.size());
	}
	FixedSizeAllocatorInfo allocator;
	// DuckDB reads these fields for every index; it takes each page for a buffer
	allocator.segment_size = pages.page_bytes();
	for (idx_t i = 0; i < image.pages.size(); i++) {
		allocator.buffer_ids.push_back(i);
		allocator.block_pointers.emplace_back(image.pages[i], 0);
		allocator.segment_counts.push_back(1);
		allocator.allocation_sizes.push_back(pages.page_bytes());
	}
	info.allocator_infos.push_back(std::move(allocator));
	bytes_on_disk = image.pages.size() * blocks.GetBlockAllocSize();
	auto written = image.written / pages.page_bytes();
	last_checkpoint = make_uniq<CheckpointReport>(
	    CheckpointReport {Timestamp::GetCurrentTimestamp(), written, written * blocks.GetBlockAllocSize()});
	stored = CopyOf(info);
	return info;
}

IndexStorageInfo HNSWIndex::SerializeToWAL(const case_insensitive_map_t<Value> &given) {
	// Stores only that the index exists. A log with all its pages would be a second copy in memory, and a replay can
	// take the rows from the table.
	IndexStorageInfo info(name);
	info.options = given;
	info.root = 0;
	return info;
}

void HNSWIndex::ResetStorage(IndexLock &lock) {
	// Searches may still run on the core, so it is not emptied but abandoned: no new search reaches it, and the last
	// handle frees its memory.
	auto trusts_stored = agreement.IsClosed() || !core->is_sound();
	agreement.Dropped();
	FreeImage(trusts_stored);
}

HNSWIndex::~HNSWIndex() {
	// An index that was dropped while it was bound has taken over the blocks of its image, and nobody has seen it. If
	// binding failed, the blocks still belong to the index that is not bound.
	auto binding_failed = std::uncaught_exceptions() > exceptions;
	if (replayed || binding_failed || agreement.IsDropped()) {
		return;
	}
	try {
		FreeImage(agreement.IsClosed() || !core->is_sound());
	} catch (const std::exception &) {
		// no memory to note what is free
	}
}

void HNSWIndex::FreeImage(bool stored_image) {
	auto &blocks = table_io_manager.GetIndexBlockManager();
	if (blocks.InMemory()) {
		return;
	}
	vss::HostPages pages(blocks, QueryContext());
	auto ids = stored_image ? BlocksOf(stored) : PagesOf(*core);
	for (auto &id : ids) {
		pages.free(id);
	}
	for (auto &block : useless_blocks) {
		pages.free(block);
	}
	useless_blocks.clear();
}

//---------------------------------------------------------------------------------------------------------------------
// Load
//---------------------------------------------------------------------------------------------------------------------

//! An opened core, and what is known of it.
struct HNSWIndex::Opened {
	Opened(rust::Box<vss::IndexHandle> core_p, vss::IndexOptions options_p)
	    : core(std::move(core_p)), options(std::move(options_p)) {
	}

	rust::Box<vss::IndexHandle> core;
	vss::IndexOptions options;
	//! The core was read from an image.
	bool has_image = false;
	idx_t covered = 0;
	bool trusted = false;
	idx_t bytes_on_disk = 0;
	//! If there was an image that could not be used: why, and its blocks.
	string problem;
	vector<block_id_t> useless_blocks;
};

HNSWIndex::Opened HNSWIndex::Open(const vss::IndexOptions &options, const LogicalType &key,
                                  const IndexStorageInfo &info, TableIOManager &table_io_manager,
                                  AttachedDatabase &db) {
	if (!info.IsValid()) {
		// the index is in the log alone, or was copied: its rows come from the table
		return Opened(MakeCore(options, key, db), options);
	}
	auto ids = BlocksOf(info);
	auto &blocks = table_io_manager.GetIndexBlockManager();
	vss::HostPages pages(blocks, QueryContext());
	IndexLog log(db.GetDatabase());
	auto &name = info.name.GetIdentifierName();
	unique_ptr<Opened> opened;
	string problem;
	try {
		auto memory = std::make_unique<vss::HostMemory>(BufferManager::GetBufferManager(db));
		auto loaded = Translate([&] {
			vss::ImageParts image {StoredBlob(info, ROOT_OPTION),
			                       StoredBlob(info, NORMS_OPTION),
			                       StoredBlob(info, WIDTHS_OPTION),
			                       {ids.data(), ids.size()}};
			return vss::load_core(options, ArrayType::GetSize(key), std::move(memory), image, pages);
		});
		opened = make_uniq<Opened>(std::move(loaded.core), options);
		opened->has_image = true;
		opened->covered = loaded.covered;
		opened->trusted = loaded.verified != 0 && loaded.verified == Checkpoint(table_io_manager, false);
		opened->bytes_on_disk = ids.size() * blocks.GetBlockAllocSize();
	} catch (std::exception &ex) {
		ErrorData error(ex);
		if (error.Type() == ExceptionType::OUT_OF_MEMORY || pages.MayBeReadLater()) {
			throw;
		}
		problem = error.RawMessage();
	}
	// outside the `try`: an entry that cannot be written says nothing about the image
	if (opened) {
		if (log.IsOn()) {
			auto rows = Translate([&] { return opened->core->info().count; });
			auto size = StringUtil::BytesToHumanReadableString(opened->bytes_on_disk);
			log.Write("load", string(), name, StringUtil::Format("%llu rows, %s", rows, size));
		}
		return std::move(*opened);
	}
	log.Write("damage", string(), name, problem);
	Opened result(MakeCore(options, key, db), options);
	result.problem = std::move(problem);
	result.useless_blocks = std::move(ids);
	return result;
}

void HNSWIndex::ReplaceCore(rust::Box<vss::IndexHandle> successor) {
	maintenance.reset();
	core = std::move(successor);
	maintenance = make_uniq<MaintenanceQueue>(db.GetDatabase(), *core);
}

void HNSWIndex::Adopt(Opened opened) {
	ReplaceCore(std::move(opened.core));
	options = std::move(opened.options);
	agreement.Opened(opened.covered, opened.trusted);
	bytes_on_disk = opened.bytes_on_disk;
	if (!opened.useless_blocks.empty()) {
		useless_blocks.insert(useless_blocks.end(), opened.useless_blocks.begin(), opened.useless_blocks.end());
		stored = IndexStorageInfo(name);
	}
	if (opened.has_image || !opened.problem.empty()) {
		agreement.SetProblem(std::move(opened.problem));
	}
}

void HNSWIndex::Close(Agreement::Reason why, string problem) {
	agreement.Closed(why);
	ReplaceCore(vss::idle_core());
	bytes_on_disk = 0;
	agreement.SetProblem(std::move(problem));
}

void HNSWIndex::Discard(Agreement::Reason why) {
	auto ids = BlocksOf(stored);
	useless_blocks.insert(useless_blocks.end(), ids.begin(), ids.end());
	stored = IndexStorageInfo(name);
	Close(why, string(core->defect()));
}

unique_ptr<BoundIndex> HNSWIndex::CreateInstance(CreateIndexInput &input) {
	NoteInstance();
	auto given = input.options.empty() ? OptionsOf(input.storage_info) : input.options;
	auto index = make_uniq<HNSWIndex>(input.name, input.constraint_type, input.column_ids, input.table_io_manager,
	                                  input.unbound_expressions, input.db, StoredIndexOptions(given), vss::idle_core(),
	                                  Agreement::State::CLOSED);
	auto &agreement = index->agreement;
	auto root = input.storage_info.options.find(ROOT_OPTION);
	if (root != input.storage_info.options.end() && root->second.type().id() == LogicalTypeId::BLOB) {
		index->stored = CopyOf(input.storage_info);
	} else if (input.storage_info.IsValid()) {
		agreement.SetProblem("the stored index cannot be used: it was written by another extension");
		index->useless_blocks = BlocksOf(input.storage_info);
	}
	index->stored.name = input.name;
	auto options_known = !given.empty();
	if (index->Dimensions() == 0) {
		agreement.Closed(Agreement::Reason::FOR_GOOD);
		agreement.SetProblem("its key has not the type FLOAT[n]");
	} else if (!options_known) {
		// the catalog must not be asked now
		agreement.Closed(Agreement::Reason::OPTIONS_UNKNOWN);
	} else {
		try {
			index->Adopt(
			    Open(index->options, index->logical_types[0], index->stored, input.table_io_manager, input.db));
		} catch (std::exception &ex) {
			agreement.SetProblem(ErrorData(ex).RawMessage());
		}
	}
	return std::move(index);
}

//! The options in the text of the CREATE INDEX statement. DuckDB before 2.0 stores them nowhere else.
static case_insensitive_map_t<Value> OptionsInStatement(const string &sql) {
	try {
		auto parser = Parser::GetBuiltinParser();
		parser.ParseQuery(sql);
		auto &statement = parser.statements.at(0)->Cast<CreateStatement>();
		return statement.info->Cast<CreateIndexInfo>().options;
	} catch (std::exception &) {
		return case_insensitive_map_t<Value>();
	}
}

//! The index's entry in the catalog, as the transaction sees it; null if the index was dropped meanwhile.
static optional_ptr<IndexCatalogEntry> CatalogEntryOf(ClientContext &context, DataTableInfo &info,
                                                      const Identifier &name, idx_t index_oid) {
	auto path = QualifiedName::FromCatalogSchema(info.GetDB().GetCatalog().GetName(), info.GetSchemaPath(), name);
	auto entry = Catalog::GetEntry<IndexCatalogEntry>(context, path, OnEntryNotFound::RETURN_NULL);
	return entry && entry->oid == index_oid ? entry : nullptr;
}

void HNSWIndex::LearnOptions(ClientContext &context, IndexEntry &entry, DataTable &table) {
	auto known = true;
	Identifier name;
	Visit(entry, [&](const HNSWIndex &index) {
		known = index.agreement.OptionsKnown();
		name = index.name;
	});
	if (known) {
		return;
	}
	auto catalog_entry = CatalogEntryOf(context, *table.GetDataTableInfo(), name, entry.GetIndexOid());
	if (!catalog_entry) {
		return;
	}
	auto learnt = StoredIndexOptions(OptionsInStatement(catalog_entry->sql));
	Change(entry, [&](HNSWIndex &index) {
		if (!index.agreement.OptionsKnown()) {
			index.options = learnt;
			index.agreement.OptionsLearnt();
		}
	});
}

void HNSWIndex::OpenLate(IndexEntry &entry, DataTable &table) {
	auto &info = *table.GetDataTableInfo();
	auto is_closed = false;
	LogicalType key;
	vss::IndexOptions options;
	IndexStorageInfo stored;
	Visit(entry, [&](const HNSWIndex &index) {
		if (index.agreement.IsClosed() && index.agreement.OptionsKnown()) {
			is_closed = true;
			key = index.logical_types[0];
			options = index.options;
			stored = CopyOf(index.stored);
		}
	});
	if (!is_closed) {
		return;
	}
	auto opened = Open(options, key, stored, info.GetIOManager(), info.GetDB());
	Change(entry, [&](HNSWIndex &index) { index.Adopt(std::move(opened)); });
}

idx_t HNSWIndex::BytesOnDisk() const {
	return bytes_on_disk;
}

optional_idx HNSWIndex::UnboundBytesOnDisk(IndexEntry &entry) {
	try {
		auto handle = entry.GetReadHandle<Index>();
		auto &index = *handle.operator->();
		if (index.IsBound()) {
			return optional_idx();
		}
		auto &info = index.Cast<UnboundIndex>().GetStorageInfo();
		return BlocksOf(info).size() * index.table_io_manager.GetIndexBlockManager().GetBlockAllocSize();
	} catch (const InternalException &) {
		return optional_idx(); // dropped
	}
}

string HNSWIndex::Status(DataTable &table) const {
	if (!core->is_sound()) {
		return "incomplete: queries scan the table; " + string(core->defect());
	}
	return agreement.Describe(table.GetNextRowId());
}

} // namespace duckdb
