#include "index/binding.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/duck_catalog.hpp"
#include "duckdb/common/string_util.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "index/hnsw_index.hpp"

#include <chrono>
#include <thread>

namespace duckdb {

vector<shared_ptr<IndexEntry>> ListedIndexes(DataTableInfo &table) {
	vector<shared_ptr<IndexEntry>> result;
	for (auto entry : table.GetIndexes().IndexEntries()) {
		result.push_back(std::move(entry));
	}
	return result;
}

//---------------------------------------------------------------------------------------------------------------------
// Indexes that could not be bound
//---------------------------------------------------------------------------------------------------------------------

template <class T, class = void>
struct CanDisown : std::false_type {};
template <class T>
struct CanDisown<T, decltype(std::declval<T &>().DisownStorage())> : std::true_type {};

//! Whether this DuckDB leaves an index that it could not bind in the state BINDING, as 2.0.0 does. 2.0.1, which has
//! `DisownStorage` for that case, does not.
static constexpr bool BINDING_STICKS = !CanDisown<BoundIndex>::value;

//! How many HNSW indexes this thread has begun to bind.
static thread_local idx_t instances = 0;

void NoteInstance() {
	instances++;
}

//! Whether an HNSW index is marked as being bound. Waits until nobody binds it.
static bool IsMarkedAsBinding(const IndexEntry &entry) {
	if (entry.GetBindState() != IndexBindState::BINDING) {
		return false;
	}
	try {
		return StringUtil::CIEquals(entry.GetIndexType(), HNSWIndex::TYPE_NAME) &&
		       entry.GetBindState() == IndexBindState::BINDING;
	} catch (const InternalException &) {
		return false; // dropped between two of these lines
	}
}

//! This thread has failed to bind an HNSW index of the table.
static void ReleaseOwn(DataTableInfo &table) {
	for (auto &entry : ListedIndexes(table)) {
		// Whoever binds indexes of this type, this thread included, binds the first of them that is not bound.
		if (IsMarkedAsBinding(*entry)) {
			entry->SetBindState(IndexBindState::UNBOUND);
			return;
		}
	}
}

static vector<shared_ptr<IndexEntry>> StuckIndexes(DatabaseInstance &db) {
	vector<shared_ptr<IndexEntry>> result;
	auto collect = [&](CatalogEntry &entry) {
		if (entry.type != CatalogType::TABLE_ENTRY || !entry.Cast<TableCatalogEntry>().IsDuckTable()) {
			return; // a view
		}
		for (auto &index : ListedIndexes(*entry.Cast<DuckTableEntry>().GetStorage().GetDataTableInfo())) {
			if (IsMarkedAsBinding(*index)) {
				result.push_back(index);
			}
		}
	};
	for (auto &database : DatabaseManager::Get(db).GetDatabases()) {
		auto &catalog = database->GetCatalog();
		if (catalog.IsDuckCatalog()) {
			catalog.Cast<DuckCatalog>().ScanSchemas(
			    [&](SchemaCatalogEntry &schema) { schema.Scan(CatalogType::TABLE_ENTRY, collect); });
		}
	}
	return result;
}

void ReleaseStuckIndexes(DatabaseInstance &db) {
	//! A thread that has bound an index says so long before.
	constexpr std::chrono::milliseconds STUCK_AFTER(500);
	if (!BINDING_STICKS) {
		return;
	}
	auto stuck = StuckIndexes(db);
	if (stuck.empty()) {
		return;
	}
	std::this_thread::sleep_for(STUCK_AFTER);
	for (auto &index : stuck) {
		if (IsMarkedAsBinding(*index)) {
			index->SetBindState(IndexBindState::UNBOUND);
		}
	}
}

//---------------------------------------------------------------------------------------------------------------------
// Binding
//---------------------------------------------------------------------------------------------------------------------

void BindUnlessDropped(ClientContext &context, DataTableInfo &table, const optional<string> &index_type) {
	while (table.GetIndexes().HasUnbound()) {
		auto before = ListedIndexes(table);
		auto instances_before = instances;
		try {
			table.BindIndexes(context, index_type);
			return;
		} catch (std::exception &ex) {
			// One that was dropped has left the list before its entry is emptied.
			auto listed = ListedIndexes(table);
			auto has_left = [&](const shared_ptr<IndexEntry> &entry) {
				return std::find(listed.begin(), listed.end(), entry) == listed.end();
			};
			if (ErrorData(ex).Type() == ExceptionType::INTERNAL &&
			    std::any_of(before.begin(), before.end(), has_left)) {
				continue; // the others are still to be bound
			}
			if (BINDING_STICKS && instances > instances_before) {
				ReleaseOwn(table);
			}
			throw;
		}
	}
}

void TryBind(ClientContext &context, DataTableInfo &table) {
	try {
		BindUnlessDropped(context, table, HNSWIndex::TYPE_NAME);
	} catch (const OutOfMemoryException &) {
		// the rows of the log do not fit in memory now
	} catch (const CatalogException &) {
		// DuckDB looks a table up by its new name, which this transaction does not know
	}
}

} // namespace duckdb
