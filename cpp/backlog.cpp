#include "backlog.hpp"

#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/connection_manager.hpp"
#include "duckdb/planner/extension_callback.hpp"
#include "duckdb/planner/operator/logical_vacuum.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/transaction/meta_transaction.hpp"
#include "host.hpp"
#include "index.hpp"

namespace duckdb {

namespace {

//! Connections to come.
class BacklogForAll : public ExtensionCallback {
public:
	void OnConnectionOpened(ClientContext &context) override {
		context.registered_state->GetOrCreate<Backlog>("vss_backlog");
	}
};

} // namespace

void Backlog::Register(DatabaseInstance &db) {
	auto for_all = make_shared_ptr<BacklogForAll>();
	for (auto &connection : ConnectionManager::Get(db).GetConnectionList()) {
		for_all->OnConnectionOpened(*connection);
	}
	ExtensionCallback::Register(DBConfig::GetConfig(db), std::move(for_all));
}

void Backlog::NoteVacuum(ClientContext &context, LogicalOperator &plan) {
	if (plan.type == LogicalOperatorType::LOGICAL_VACUUM) {
		auto table = plan.Cast<LogicalVacuum>().table;
		if (table && table->IsDuckTable() && !table->GetStorage().GetDataTableInfo()->GetIndexes().Empty()) {
			auto &storage = table->GetStorage();
			auto backlog = context.registered_state->GetOrCreate<Backlog>("vss_backlog");
			backlog->vacuumed.push_back(Vacuumed {&storage.db, storage.GetDataTableInfo()});
		}
	}
	for (auto &child : plan.children) {
		NoteVacuum(context, *child);
	}
}

std::vector<Backlog::Index> &Backlog::Changed() {
	static thread_local std::vector<Index> changed;
	return changed;
}

void Backlog::NoteChange(const HNSWIndex &index, AttachedDatabase &db, const vss::Core &core) noexcept {
	try {
		auto &changed = Changed();
		for (auto &known : changed) {
			if (known.index == &index) {
				return;
			}
		}
		changed.push_back(Index {&index, core.share(), db.shared_from_this(), false});
	} catch (...) {
		// the background threads do it
	}
}

void Backlog::TakeChanged() {
	for (auto &index : Changed()) {
		indexes.push_back(std::move(index));
	}
	Changed().clear();
}

void Backlog::TransactionCommit(MetaTransaction &transaction, ClientContext &context) {
	TakeChanged();
	for (auto &used : transaction.OpenedTransactions()) {
		for (auto &table : vacuumed) {
			auto info = table.db == &used.get() ? table.table.lock() : nullptr;
			if (!info) {
				continue;
			}
			vector<shared_ptr<IndexEntry>> entries;
			for (auto entry : info->GetIndexes().IndexEntries()) {
				entries.push_back(std::move(entry));
			}
			for (auto &entry : entries) {
				HNSWIndex::Visit(*entry, [&](const HNSWIndex &index) {
					indexes.push_back(Index {&index, index.Core().share(), info->GetDB().shared_from_this(), true});
				});
			}
		}
	}
	vacuumed.clear();
}

void Backlog::TransactionRollback(MetaTransaction &transaction, ClientContext &context) {
	TakeChanged();
	vacuumed.clear();
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
			if (index.compact && index.core->info().deleted > 0) {
				index.core->compact(interrupt);
			}
		} catch (const rust::Error &) {
			// interrupted, or out of memory: the others are looked at all the same
		}
	}
}

} // namespace duckdb
