//! A compaction that a statement asks for: the work, its progress and its entry in the log.
#pragma once

#include "duckdb/common/mutex.hpp"
#include "duckdb/storage/data_table.hpp"
#include "host/host.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

//! DuckDB makes no checkpoint while its log is empty, and nothing else tells it that an index has changed. An empty commit in the log
//! does. Takes the log's lock.
void NoteInLog(AttachedDatabase &db);

//! Of one index, once.
class Compaction {
public:
	//! Of the index of this name over `table`, which both have to be there until it is done.
	Compaction(DataTable &table, string index_name);

	//! Compacts, and sees to it that the next checkpoint stores that. For a thread of its own. Takes the lock of the database's log for a
	//! moment. Throws InterruptException, OutOfMemoryException.
	void Run(ClientContext &context, const vss::HostInterrupt &interrupt, rust::Box<vss::IndexHandle> core);
	//! How much of it is done, 0 to 1; on any thread.
	double Progress() const;

private:
	DataTable &table;
	const string index_name;
	mutable mutex lock;
	//! The index while it is compacted, and after that; set with `lock` held.
	std::vector<rust::Box<vss::IndexHandle>> running;
};

} // namespace duckdb
