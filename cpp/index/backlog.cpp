#include "index/backlog.hpp"

#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/planner/operator/logical_delete.hpp"
#include "duckdb/planner/operator/logical_insert.hpp"
#include "duckdb/planner/operator/logical_merge_into.hpp"
#include "duckdb/planner/operator/logical_update.hpp"
#include "duckdb/planner/operator/logical_vacuum.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/meta_transaction.hpp"
#include "host/host.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

//! The table that `op` appends rows to, or deletes rows from, if it does. An UPDATE of an indexed column does both.
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
	case LogicalOperatorType::LOGICAL_VACUUM:
		return op.Cast<LogicalVacuum>().table;
	default:
		return nullptr;
	}
}

void Backlog::Note(ClientContext &context, LogicalOperator &plan) {
	auto table = Target(plan);
	// also of a table without indexes: it may have one when this is committed
	if (table && table->IsDuckTable()) {
		auto vacuumed = plan.type == LogicalOperatorType::LOGICAL_VACUUM;
		context.registered_state->GetOrCreate<Backlog>("vss_backlog")->Add(table->GetStorage(), vacuumed);
	}
	for (auto &child : plan.children) {
		Note(context, *child);
	}
}

void Backlog::Add(DataTable &table, bool vacuumed) {
	// those that are gone are forgotten
	vector<Table> known;
	for (auto &entry : tables) {
		if (entry.info.expired()) {
			continue;
		}
		if (entry.db == &table.db && entry.info.lock() == table.GetDataTableInfo()) {
			vacuumed |= entry.vacuumed;
		} else {
			known.push_back(entry);
		}
	}
	known.push_back(Table {&table.db, table.GetDataTableInfo(), vacuumed});
	tables = std::move(known);
}

void Backlog::AddIndexes(DataTableInfo &info, bool compact) {
	vector<shared_ptr<IndexEntry>> entries;
	for (auto entry : info.GetIndexes().IndexEntries()) {
		entries.push_back(std::move(entry));
	}
	for (auto &entry : entries) {
		HNSWIndex::Visit(*entry, [&](const HNSWIndex &index) {
			auto &core = index.Core();
			indexes.push_back(Index {core.share(), info.GetDB().shared_from_this(), compact, core.take_own()});
		});
	}
}

void Backlog::TransactionCommit(MetaTransaction &transaction, ClientContext &context) {
	for (auto &used : transaction.OpenedTransactions()) {
		auto &db = used.get();
		// what a transaction does to temporary tables it does not note
		auto written = transaction.ModifiedDatabase().get() == &db || db.IsTemporary();
		for (auto &table : tables) {
			auto info = table.db == &db && (written || table.vacuumed) ? table.info.lock() : nullptr;
			if (info) {
				AddIndexes(*info, table.vacuumed);
			}
			table.vacuumed = table.vacuumed && table.db != &db;
		}
	}
}

void Backlog::TransactionRollback(MetaTransaction &transaction, ClientContext &context) {
	for (auto &table : tables) {
		table.vacuumed = false;
	}
}

//! Lets go of the deleted rows that nobody sees any more.
static void Expire(ClientContext &context, const weak_ptr<AttachedDatabase> &written, const vss::IndexHandle &core) {
	auto db = AttachedDatabase::TryGetReference(written);
	if (db) {
		HNSWIndex::Expire(*db, core);
		// it may have been detached meanwhile, and wait for us
		AttachedDatabase::InvokeCloseIfLastReference(db, context);
	}
}

void Backlog::QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) {
	auto left = std::move(indexes);
	indexes.clear();
	vss::HostInterrupt interrupt(context);
	for (auto &index : left) {
		Expire(context, index.db, *index.core);
		try {
			index.core->tend(index.own, PENDING_MAX, interrupt);
			if (index.compact && index.core->info().deleted > 0) {
				index.core->compact(interrupt);
			}
		} catch (const rust::Error &) {
			// Interrupted or out of memory: the work is left to the background, and the statement has done its own. A defect: the
			// index knows, and whoever uses it next makes it anew. The others are looked at all the same.
		}
	}
}

} // namespace duckdb
