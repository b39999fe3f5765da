#include "index/backlog.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parser/parsed_data/alter_info.hpp"
#include "duckdb/planner/operator/logical_alter.hpp"
#include "duckdb/planner/operator/logical_delete.hpp"
#include "duckdb/planner/operator/logical_insert.hpp"
#include "duckdb/planner/operator/logical_merge_into.hpp"
#include "duckdb/planner/operator/logical_update.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/transaction/meta_transaction.hpp"
#include "host/host.hpp"
#include "index/binding.hpp"
#include "index/hnsw_index.hpp"

#include <algorithm>

namespace duckdb {

//! The table that `op` appends rows to or deletes rows from; null if there is none. An UPDATE of an indexed column does
//! both.
static optional_ptr<TableCatalogEntry> Target(LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_INSERT:
		return op.Cast<LogicalInsert>().table;
	case LogicalOperatorType::LOGICAL_DELETE:
		return op.Cast<LogicalDelete>().table;
	case LogicalOperatorType::LOGICAL_UPDATE:
		return op.Cast<LogicalUpdate>().table;
	case LogicalOperatorType::LOGICAL_MERGE_INTO:
		return op.Cast<LogicalMergeInto>().table;
	default:
		return nullptr;
	}
}

//! The table that `op` alters; null if it does not alter a table of DuckDB.
static optional_ptr<DuckTableEntry> Altered(ClientContext &context, LogicalOperator &op) {
	if (op.type != LogicalOperatorType::LOGICAL_ALTER) {
		return nullptr;
	}
	auto &info = *op.Cast<LogicalAlter>().info;
	if (info.GetCatalogType() != CatalogType::TABLE_ENTRY) {
		return nullptr;
	}
	EntryLookupInfo table(CatalogType::TABLE_ENTRY, info.GetQualifiedName());
	auto entry = Catalog::GetEntry(context, table, OnEntryNotFound::RETURN_NULL);
	auto is_table = entry && entry->type == CatalogType::TABLE_ENTRY && entry->Cast<TableCatalogEntry>().IsDuckTable();
	return is_table ? &entry->Cast<DuckTableEntry>() : nullptr;
}

void Backlog::Note(ClientContext &context, LogicalOperator &plan) {
	auto table = Target(plan);
	// also a table without indexes: it may have one at the commit
	if (table && table->IsDuckTable()) {
		// DuckDB binds the indexes before it changes the table, but invalidates the database if one is dropped meanwhile
		BindUnlessDropped(context, *table->GetStorage().GetDataTableInfo(), HNSWIndex::TYPE_NAME);
		auto backlog = context.registered_state->GetOrCreate<Backlog>("vss_backlog");
		backlog->Add(table->GetStorage());
		// the state may not have existed when the statement began
		backlog->QueryBegin(context);
	}
	if (auto altered = Altered(context, plan)) {
		TryBind(context, *altered->GetStorage().GetDataTableInfo()); // for the same reason
	}
	for (auto &child : plan.children) {
		Note(context, *child);
	}
}

void Backlog::Add(DataTable &table) {
	auto &info = table.GetDataTableInfo();
	auto is_it = [&](const Table &entry) { return entry.address == info.get() && !entry.info.expired(); };
	if (std::none_of(tables.begin(), tables.end(), is_it)) {
		tables.push_back(Table {&table.db, info.get(), info});
	}
}

bool Backlog::AddIndexes(DataTableInfo &info) {
	return HNSWIndex::VisitAll(info, [&](const HNSWIndex &index) {
		auto &core = index.Core();
		auto own = core.take_own();
		// work that nobody owes is shared among the transactions that change the same index
		if (own.appended + own.deleted > 0) {
			indexes.push_back(Index {core.share(), info.GetDB().shared_from_this(), own});
		}
	});
}

void Backlog::TakeIndexes(MetaTransaction &transaction) {
	for (auto &used : transaction.OpenedTransactions()) {
		auto &db = used.get();
		// a transaction does not note changes of temporary tables
		auto written = transaction.ModifiedDatabase().get() == &db || db.IsTemporary();
		vector<Table> left;
		for (auto &table : tables) {
			auto info = written && table.db == &db ? table.info.lock() : nullptr;
			// A table without indexes is forgotten: CREATE INDEX has its statements planned anew, prepared ones
			// included.
			auto forgotten = info ? !AddIndexes(*info) : table.info.expired();
			if (!forgotten) {
				left.push_back(std::move(table));
			}
		}
		tables = std::move(left);
	}
}

void Backlog::TransactionCommit(MetaTransaction &transaction, ClientContext &context) {
	try {
		TakeIndexes(transaction);
	} catch (const std::exception &) {
		// No memory for the handles. The commit must not seem to have failed, so the background does the work.
		tables.clear();
		indexes.clear();
	}
}

//! Deleted rows that no snapshot sees any more become dead.
static void Expire(ClientContext &context, const weak_ptr<AttachedDatabase> &written, const vss::IndexHandle &core) {
	auto db = AttachedDatabase::TryGetReference(written);
	if (db) {
		HNSWIndex::Expire(*db, core);
		// the database may have been detached meanwhile, and wait for this reference
		AttachedDatabase::InvokeCloseIfLastReference(db, context);
	}
}

void Backlog::QueryBegin(ClientContext &context) {
	deadline = context.query_deadline;
}

void Backlog::QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) {
	auto left = std::move(indexes);
	indexes.clear();
	if (left.empty()) {
		return;
	}
	// the statement is over, so DuckDB has already forgotten its deadline
	context.query_deadline = deadline;
	vss::HostInterrupt interrupt(context);
	for (auto &index : left) {
		try {
			Expire(context, index.db, *index.core);
			index.core->tend(index.own, PENDING_MAX, interrupt);
		} catch (const std::exception &) {
			// Interrupted or out of memory: the background does the work, and the statement has done its own. A defect:
			// the index knows, and its next user makes it anew. The database was closed and the checkpoint failed: the
			// log has what is not stored. In each case the other indexes are looked at all the same.
		}
	}
	context.query_deadline.SetInvalid();
}

} // namespace duckdb
