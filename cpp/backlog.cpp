#include "backlog.hpp"

#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/planner/operator/logical_delete.hpp"
#include "duckdb/planner/operator/logical_insert.hpp"
#include "duckdb/planner/operator/logical_merge_into.hpp"
#include "duckdb/planner/operator/logical_update.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/meta_transaction.hpp"
#include "host.hpp"
#include "index.hpp"

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
	default:
		return nullptr;
	}
}

void Backlog::Note(ClientContext &context, LogicalOperator &plan) {
	auto table = Target(plan);
	if (table && table->IsDuckTable() && !table->GetStorage().GetDataTableInfo()->GetIndexes().Empty()) {
		context.registered_state->GetOrCreate<Backlog>("vss_backlog")->Add(table->GetStorage());
	}
	for (auto &child : plan.children) {
		Note(context, *child);
	}
}

void Backlog::Add(DataTable &table) {
	// those that are gone are forgotten
	vector<Table> known;
	for (auto &entry : tables) {
		if (!entry.info.expired() && (entry.db != &table.db || entry.info.lock() != table.GetDataTableInfo())) {
			known.push_back(entry);
		}
	}
	known.push_back(Table {&table.db, table.GetDataTableInfo()});
	tables = std::move(known);
}

//! Handles on the cores of a table's indexes. Holds their locks for moments only.
static void AddCores(DataTableInfo &info, std::vector<rust::Box<vss::Core>> &cores) {
	vector<shared_ptr<IndexEntry>> entries;
	for (auto entry : info.GetIndexes().IndexEntries()) {
		entries.push_back(std::move(entry));
	}
	for (auto &entry : entries) {
		HNSWIndex::Visit(*entry, [&](const HNSWIndex &index) { cores.push_back(index.Core().share()); });
	}
}

void Backlog::TransactionCommit(MetaTransaction &transaction, ClientContext &context) {
	auto written = transaction.ModifiedDatabase();
	for (auto &table : tables) {
		if (table.db != written.get()) {
			continue;
		}
		auto info = table.info.lock();
		if (!info) {
			continue;
		}
		std::vector<rust::Box<vss::Core>> cores;
		AddCores(*info, cores);
		for (auto &core : cores) {
			indexes.push_back(Written {std::move(core), info->GetDB().shared_from_this()});
		}
	}
}

//! Lets go of the deleted rows that nobody sees any more.
static void Expire(ClientContext &context, const weak_ptr<AttachedDatabase> &written, const vss::Core &core) {
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
			index.core->tend(PENDING_MAX, interrupt);
		} catch (const rust::Error &) {
			return;
		}
	}
}

} // namespace duckdb
