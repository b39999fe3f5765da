#include "backlog.hpp"

#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/planner/operator/logical_insert.hpp"
#include "duckdb/planner/operator/logical_merge_into.hpp"
#include "duckdb/planner/operator/logical_update.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "host.hpp"
#include "index.hpp"

namespace duckdb {

//! The table that `op` appends rows to, if it does. An UPDATE of an indexed column appends, too.
static optional_ptr<TableCatalogEntry> Target(LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_INSERT:
		return op.Cast<LogicalInsert>().table;
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
	auto &info = table.GetDataTableInfo();
	vector<weak_ptr<DataTableInfo>> known;
	for (auto &entry : tables) {
		auto other = entry.lock();
		if (other && other != info) {
			known.push_back(entry);
		}
	}
	known.push_back(info);
	tables = std::move(known);
}

//! Handles on the cores of a table's indexes. Holds their locks for moments only.
static std::vector<rust::Box<vss::Core>> Cores(DataTableInfo &info) {
	vector<shared_ptr<IndexEntry>> entries;
	for (auto entry : info.GetIndexes().IndexEntries()) {
		if (entry->GetBindState() == IndexBindState::BOUND) {
			entries.push_back(std::move(entry));
		}
	}
	std::vector<rust::Box<vss::Core>> cores;
	for (auto &entry : entries) {
		try {
			if (entry->GetIndexType() == HNSWIndex::TYPE_NAME) {
				auto index = entry->GetReadHandle<HNSWIndex>();
				cores.push_back(index->Core().share());
			}
		} catch (const InternalException &) {
			// retired meanwhile
		}
	}
	return cores;
}

void Backlog::QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) {
	vss::HostInterrupt interrupt(context);
	for (auto &entry : tables) {
		auto info = entry.lock();
		if (!info) {
			continue;
		}
		for (auto &core : Cores(*info)) {
			try {
				while (core->pending() > PENDING_MAX && core->link(LinkQueue::ROWS_PER_STEP, interrupt) > 0) {
				}
			} catch (const rust::Error &) {
				return;
			}
		}
	}
}

} // namespace duckdb
