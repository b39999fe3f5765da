#include "index.hpp"

#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/duck_catalog.hpp"
#include "duckdb/common/types/value.hpp"
#include "duckdb/execution/index/index_type.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parser/parsed_data/create_index_info.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/statement/create_statement.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "errors.hpp"
#include "host.hpp"
#include "link.hpp"
#include "vectors.hpp"

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

static rust::Box<vss::Core> MakeCore(const vss::IndexOptions &options, const LogicalType &type, AttachedDatabase &db) {
	auto memory = std::make_unique<vss::HostMemory>(BufferManager::GetBufferManager(db));
	return Translate([&] { return vss::create_core(options, ArrayType::GetSize(type), std::move(memory)); });
}

HNSWIndex::HNSWIndex(const Identifier &name, IndexConstraintType constraint_type, const vector<column_t> &column_ids,
                     TableIOManager &table_io_manager, const vector<unique_ptr<Expression>> &unbound_expressions,
                     AttachedDatabase &db, const vss::IndexOptions &options_p)
    : BoundIndex(name, TYPE_NAME, constraint_type, column_ids, table_io_manager, unbound_expressions, db),
      options(options_p), core(MakeCore(options, logical_types[0], db)),
      links(make_uniq<LinkQueue>(db.GetDatabase(), *core)), covered(0) {
}

//! Options that were stored, perhaps by another extension that allows others; the defaults if we do not. Must not throw:
//! DuckDB would wait for ever for an index whose binding failed.
static vss::IndexOptions StoredOptions(const case_insensitive_map_t<Value> &stored) {
	try {
		return ParseIndexOptions(stored);
	} catch (const BinderException &) {
		return ParseIndexOptions(case_insensitive_map_t<Value>());
	}
}

//! The options in the text of the statement that made an index. DuckDB before 2.0 stores them nowhere else.
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

//! The options of the index that is being bound, as its entry in the catalog has them.
static case_insensitive_map_t<Value> OptionsInCatalog(const CreateIndexInput &input) {
	case_insensitive_map_t<Value> result;
	auto take = [&](CatalogEntry &candidate) {
		if (candidate.name != input.name) {
			return;
		}
		auto &entry = candidate.Cast<DuckIndexEntry>();
		// Indexes in other schemas may have the same name. The entry's lock, and so its name, is taken.
		for (auto index : entry.GetDataTableInfo().GetIndexes().IndexEntries()) {
			if (index->GetBindState() == IndexBindState::BINDING && entry.column_ids == input.column_ids) {
				result = OptionsInStatement(entry.sql);
			}
		}
	};
	input.db.GetCatalog().Cast<DuckCatalog>().ScanSchemas(
	    [&](SchemaCatalogEntry &schema) { schema.Scan(CatalogType::INDEX_ENTRY, take); });
	return result;
}

unique_ptr<BoundIndex> HNSWIndex::CreateInstance(CreateIndexInput &input) {
	auto options = StoredOptions(input.options.empty() ? OptionsInCatalog(input) : input.options);
	auto index = make_uniq<HNSWIndex>(input.name, input.constraint_type, input.column_ids, input.table_io_manager,
	                                  input.unbound_expressions, input.db, options);
	index->Load(input.storage_info);
	return std::move(index);
}

unique_ptr<SharedIndex> HNSWIndex::TryShare(IndexEntry &entry, DataTable &table) {
	if (entry.GetBindState() != IndexBindState::BOUND) {
		return nullptr;
	}
	unique_ptr<SharedIndex> result;
	try {
		auto handle = entry.GetReadHandle<HNSWIndex>();
		if (!handle->Covers(table)) {
			return nullptr;
		}
		handle->Maintain();
		result = make_uniq<SharedIndex>(
		    SharedIndex {handle->core->share(), handle->options.ef_search, handle->LowestVisible()});
	} catch (const InternalException &) {
		// retired between the two lines above
		return nullptr;
	}
	LinkQueue::LinkWithoutThreads(table.db.GetDatabase(), *result->core);
	return result;
}

idx_t HNSWIndex::Dimensions() const {
	return ArrayType::GetSize(logical_types[0]);
}

bool HNSWIndex::Covers(DataTable &table) const {
	// rows reach the index before they reach the table, so a complete index is never behind
	return in_step && table.GetNextRowId() <= covered;
}

//! Raises `value` to at least `least`.
static void Raise(atomic<idx_t> &value, idx_t least) {
	auto before = value.load();
	while (before < least && !value.compare_exchange_weak(before, least)) {
	}
}

void HNSWIndex::InStep(idx_t next_row_id) const {
	Raise(covered, next_row_id);
	in_step = true;
}

uint64_t HNSWIndex::LowestVisible() const {
	auto bound = DuckTransactionManager::Get(db).LowestVisibilityBound();
	// the bound hides its number, but the core needs it as one
	static_assert(sizeof(bound) == sizeof(uint64_t), "VisibilityBound is a transaction_t");
	uint64_t result;
	memcpy(&result, &bound, sizeof(result));
	return result;
}

void HNSWIndex::Maintain() const {
	core->advance(DuckTransactionManager::Get(db).GetLastCommit(), LowestVisible());
	links->Schedule();
}

ErrorData HNSWIndex::Append(IndexLock &lock, DataChunk &chunk, Vector &row_ids) {
	return TakeRows(vss::RowOrigin::Host, chunk, row_ids);
}

ErrorData HNSWIndex::Insert(IndexLock &lock, DataChunk &keys, Vector &row_ids) {
	return TakeKeys(vss::RowOrigin::Host, keys, row_ids);
}

ErrorData HNSWIndex::AppendScanned(DataChunk &chunk, Vector &row_ids) {
	return TakeRows(vss::RowOrigin::Scan, chunk, row_ids);
}

ErrorData HNSWIndex::TakeRows(vss::RowOrigin origin, DataChunk &chunk, Vector &row_ids) {
	DataChunk keys;
	try {
		keys.Initialize(Allocator::Get(db), logical_types);
		ExecuteExpressions(chunk, keys);
	} catch (std::exception &ex) {
		return ErrorData(ex);
	}
	return TakeKeys(origin, keys, row_ids);
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
	Raise(covered, end);
	links->Schedule();
	return ErrorData();
}

idx_t HNSWIndex::TryDelete(IndexLock &lock, DataChunk &entries, Vector &row_ids,
                           optional_ptr<SelectionVector> deleted_sel, optional_ptr<SelectionVector> non_deleted_sel) {
	// Unknown ids count as deleted: rows with NULL vectors, and rows of a failed append, never were in the core.
	auto count = entries.size();
	UnifiedVectorFormat format;
	row_ids.ToUnifiedFormat(format);
	auto rows = UnifiedVectorFormat::GetData<int64_t>(format);
	auto last_commit = DuckTransactionManager::Get(db).GetLastCommit();
	// DuckDB hands over at most a vector of rows, and nothing here may allocate
	int64_t ids[STANDARD_VECTOR_SIZE];
	for (idx_t begin = 0; begin < count; begin += STANDARD_VECTOR_SIZE) {
		auto size = MinValue<idx_t>(count - begin, STANDARD_VECTOR_SIZE);
		for (idx_t i = 0; i < size; i++) {
			ids[i] = rows[format.sel->get_index(begin + i)];
		}
		core->remove({ids, size}, last_commit);
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
	Maintain();
	Translate([&] {
		if (core->info().deleted > 0) {
			core->compact(LowestVisible(), vss::HostInterrupt(nullptr));
		}
	});
}

idx_t HNSWIndex::GetInMemorySize(IndexLock &lock) const {
	return core->memory_used();
}

void HNSWIndex::Verify(IndexLock &lock) {
	// the core checks its own invariants in its tests; the table decides what a query returns
}

string HNSWIndex::ToString(IndexLock &lock, bool display_ascii) {
	return StringUtil::Format("HNSW index %s: %s, %llu dimensions", name.GetIdentifierName(), string(options.metric),
	                          Dimensions());
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
