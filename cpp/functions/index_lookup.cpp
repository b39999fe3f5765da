#include "functions/index_lookup.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/exception/binder_exception.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/common/string_util.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parser/qualified_name.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "index/binding.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

vector<Value> FoundIndex::Names() const {
	auto &index = entry.get();
	return {Value(index.catalog.GetName().GetIdentifierName()), Value(index.schema.name.GetIdentifierName()),
	        Value(index.name.GetIdentifierName()), Value(index.GetTableName().GetIdentifierName())};
}

void BindColumns(const vector<IndexColumn> &columns, vector<LogicalType> &types, vector<Identifier> &names) {
	for (auto &column : columns) {
		names.emplace_back(column.name);
		types.push_back(column.type);
	}
}

//! Index entries of the catalog, HNSW or not.
static vector<reference<IndexCatalogEntry>> CatalogIndexes(ClientContext &context) {
	vector<reference<IndexCatalogEntry>> result;
	for (auto &schema : Catalog::GetAllSchemas(context)) {
		schema.get().Scan(context, CatalogType::INDEX_ENTRY,
		                  [&](CatalogEntry &entry) { result.push_back(entry.Cast<IndexCatalogEntry>()); });
	}
	return result;
}

static bool IsHNSW(const IndexCatalogEntry &entry) {
	return entry.catalog.IsDuckCatalog() && StringUtil::CIEquals(entry.index_type, HNSWIndex::TYPE_NAME);
}

//! The index of this entry, in the list of its table; null if another transaction has dropped it.
static shared_ptr<IndexEntry> ListedIndex(DataTableInfo &info, const IndexCatalogEntry &entry) {
	shared_ptr<IndexEntry> index;
	for (auto listed : info.GetIndexes().IndexEntries()) {
		if (listed->GetIndexOid() == entry.oid) {
			index = std::move(listed);
		}
	}
	return index;
}

static FoundIndex Open(ClientContext &context, IndexCatalogEntry &entry) {
	auto table_name = entry.schema.GetQualifiedName(entry.GetTableName());
	auto &table = Catalog::GetEntry<TableCatalogEntry>(context, table_name).Cast<DuckTableEntry>();
	auto &storage = table.GetStorage();
	auto &info = *storage.GetDataTableInfo();
	BindUnlessDropped(context, info, entry.index_type);
	auto create_info = entry.GetInfo();
	auto expressions = create_info->Cast<CreateIndexInfo>().ExpressionsToList();
	auto index = ListedIndex(info, entry);
	if (index && index->GetBindState() != IndexBindState::BOUND) {
		index.reset();
	}
	if (index) {
		HNSWIndex::LearnOptions(context, *index, storage);
	}
	return FoundIndex {entry, std::move(index), storage, expressions[0]};
}

//! Those of `entries` that are HNSW indexes.
static vector<FoundIndex> OpenAll(ClientContext &context, const vector<reference<IndexCatalogEntry>> &entries) {
	vector<FoundIndex> result;
	for (auto &entry : entries) {
		if (!IsHNSW(entry)) {
			continue;
		}
		auto found = Open(context, entry);
		if (found.index) {
			result.push_back(std::move(found));
		}
	}
	return result;
}

vector<FoundIndex> FindIndexes(ClientContext &context) {
	return OpenAll(context, CatalogIndexes(context));
}

vector<FoundIndex> ListIndexes(ClientContext &context) {
	vector<FoundIndex> result;
	for (auto &entry_ref : CatalogIndexes(context)) {
		auto &entry = entry_ref.get();
		if (!IsHNSW(entry)) {
			continue;
		}
		// found by its schema: the database may have been detached, and its name may be unknown or another's
		auto &schema = entry.schema;
		auto table =
		    schema.GetEntry(schema.GetCatalogTransaction(context), CatalogType::TABLE_ENTRY, entry.GetTableName());
		if (!table) {
			continue;
		}
		auto &storage = table->Cast<DuckTableEntry>().GetStorage();
		auto index = ListedIndex(*storage.GetDataTableInfo(), entry);
		if (index) {
			result.push_back(FoundIndex {entry, std::move(index), storage, string()});
		}
	}
	return result;
}

vector<FoundIndex> FindIndexes(ClientContext &context, DuckTableEntry &table) {
	vector<reference<IndexCatalogEntry>> entries;
	table.schema.Scan(context, CatalogType::INDEX_ENTRY, [&](CatalogEntry &entry) {
		auto &index = entry.Cast<IndexCatalogEntry>();
		if (index.GetTableName() == table.name) {
			entries.push_back(index);
		}
	});
	std::sort(entries.begin(), entries.end(),
	          [](const IndexCatalogEntry &left, const IndexCatalogEntry &right) { return left.oid < right.oid; });
	return OpenAll(context, entries);
}

//! Whether the whole `path` ends with `part`, the part of it that a user wrote. False if `part` is empty.
static bool EndsWith(const vector<Identifier> &path, const vector<Identifier> &part) {
	return !part.empty() && part.size() <= path.size() && std::equal(part.rbegin(), part.rend(), path.rbegin());
}

//! What to call each of these indexes, quoted: with catalog and schema if several have its name.
static vector<string> NamesOf(const vector<reference<IndexCatalogEntry>> &entries) {
	vector<string> result;
	for (auto &entry_ref : entries) {
		auto &entry = entry_ref.get();
		auto shares_name = [&](const IndexCatalogEntry &other) { return other.name == entry.name; };
		auto is_shared = std::count_if(entries.begin(), entries.end(), shares_name) > 1;
		auto name = is_shared ? entry.schema.GetQualifiedName(entry.name).ToString() : entry.name.GetIdentifierName();
		result.push_back("'" + name + "'");
	}
	return result;
}

[[noreturn]] static void ThrowDropped(const string &name) {
	throw BinderException("there is no index '%s' any more: it was dropped by another connection", name);
}

FoundIndex FindIndex(ClientContext &context, const string &name) {
	auto wanted = QualifiedName::Parse(name);
	vector<reference<IndexCatalogEntry>> named;
	vector<reference<IndexCatalogEntry>> others;
	for (auto &entry_ref : CatalogIndexes(context)) {
		auto &entry = entry_ref.get();
		if (IsHNSW(entry)) {
			others.push_back(entry);
		}
		if (EndsWith(entry.schema.GetQualifiedName(entry.name).Path(), wanted.Path())) {
			named.push_back(entry);
		}
	}
	if (named.empty()) {
		throw BinderException("there is no index '%s'; HNSW indexes: %s", name,
		                      others.empty() ? "none" : StringUtil::Join(NamesOf(others), ", "));
	}
	if (named.size() > 1) {
		throw BinderException("index name '%s' is ambiguous: write it as catalog.schema.index", name);
	}
	auto &entry = named[0].get();
	if (!IsHNSW(entry)) {
		throw BinderException("index '%s' has type %s, not HNSW", name, entry.index_type);
	}
	auto found = Open(context, entry);
	if (!found.index) {
		ThrowDropped(name);
	}
	return found;
}

void Reconcile(ClientContext &context, const vss::HostInterrupt &interrupt, const FoundIndex &found) {
	HNSWIndex::Reconcile(context, interrupt, *found.index, found.storage);
}

unique_ptr<SharedIndex> ShareInStep(ClientContext &context, const vss::HostInterrupt &interrupt,
                                    const FoundIndex &found) {
	Reconcile(context, interrupt, found);
	auto result = HNSWIndex::TryShare(*found.index, found.storage);
	if (!result) {
		auto name = found.entry.get().name.GetIdentifierName();
		if (HNSWIndex::IsDropped(*found.index)) {
			ThrowDropped(name);
		}
		ThrowIncomplete(found);
	}
	return result;
}

bool ReconcileFirst::Done(ClientContext &context, TableFunctionInput &input, const vector<FoundIndex> &indexes) {
	auto due = [](const FoundIndex &found) { return HNSWIndex::ReconcileDue(*found.index); };
	if (!work && !is_done && std::any_of(indexes.begin(), indexes.end(), due)) {
		work = make_uniq<Aside>(context, [&context, &indexes](const vss::HostInterrupt &interrupt) {
			for (auto &found : indexes) {
				Reconcile(context, interrupt, found);
			}
		});
	}
	is_done = is_done || !work || work->Done(input);
	return is_done;
}

void ThrowIncomplete(const FoundIndex &found) {
	auto name = found.entry.get().name.GetIdentifierName();
	if (!found.storage.get().IsMainTable()) {
		throw TransactionException("the table of index '%s' was altered by another connection: run the statement again",
		                           name);
	}
	throw InvalidInputException("index '%s' does not cover its table: its status in pragma_hnsw_index_info() says why",
	                            name);
}

} // namespace duckdb
