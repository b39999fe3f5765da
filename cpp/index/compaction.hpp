//! A compaction that a statement asks for: the work, its progress and its entry in the log.
#pragma once

#include "duckdb/common/mutex.hpp"
#include "duckdb/storage/data_table.hpp"
#include "host/host.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

//! Has DuckDB make a checkpoint although its log is empty: nothing else tells DuckDB that an index has changed. Writes
//! an empty commit to an empty log. Takes the log's lock.
void NoteInLog(AttachedDatabase &db);

//! One compaction of one index.
class Compaction {
public:
	//! The index and `table` have to be there until the compaction is done.
	Compaction(DataTable &table, string index_name);

	//! Compacts, and sees to it that the next checkpoint stores the result. Meant for a thread of its own. Takes the
	//! lock of the database's log for a moment. Throws InterruptException, OutOfMemoryException.
	void Run(ClientContext &context, const vss::HostInterrupt &interrupt, rust::Box<vss::IndexHandle> core);
	//! The share that is done, 0 to 1. Any thread may ask.
	double Progress() const;

private:
	DataTable &table;
	const string index_name;
	mutable mutex lock;
	//! The index, once the compaction has begun. Guarded by `lock`.
	std::vector<rust::Box<vss::IndexHandle>> running;
};

} // namespace duckdb
