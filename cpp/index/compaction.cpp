#include "index/compaction.hpp"

#include "duckdb/common/string_util.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/storage/storage_manager.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/write_ahead_log.hpp"
#include "host/errors.hpp"
#include "host/log.hpp"

namespace duckdb {

void NoteInLog(AttachedDatabase &db) {
	auto &storage = db.GetStorageManager();
	auto guard = storage.GetWALLock();
	auto log = storage.GetWAL();
	if (log && storage.GetWALSize() == 0) {
		log->Initialize();
		log->Flush();
	}
}

Compaction::Compaction(DataTable &table_p, string index_name_p) : table(table_p), index_name(std::move(index_name_p)) {
}

void Compaction::Run(ClientContext &context, const vss::HostInterrupt &interrupt, rust::Box<vss::IndexHandle> core) {
	auto deleted = Translate([&] { return core->info().deleted; });
	{
		lock_guard<mutex> guard(lock);
		running.push_back(core->share());
	}
	Translate([&] { core->compact(interrupt); });
	NoteInLog(table.db);
	IndexLog(context).Write("compaction", table.GetDataTableInfo()->GetTableName().GetIdentifierName(), index_name,
	                        StringUtil::Format("%llu deleted entries removed", deleted));
}

double Compaction::Progress() const {
	lock_guard<mutex> guard(lock);
	if (running.empty()) {
		return 0;
	}
	auto steps = running[0]->compaction();
	return steps.total > 0 ? double(steps.done) / double(steps.total) : 0;
}

} // namespace duckdb
