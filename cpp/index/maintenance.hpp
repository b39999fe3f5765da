//! Linking of pending rows into the graph, and consolidation of the links around dead ones, on DuckDB's background threads,
//! outside every commit lock.
#pragma once

#include "duckdb/common/atomic.hpp"
#include "duckdb/common/mutex.hpp"
#include "duckdb/parallel/task_executor.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class DatabaseInstance;

//! Schedules the link tasks of one index. Destroying it cancels them and waits for the step they are in.
class MaintenanceQueue {
public:
	//! Pending rows are searched exactly; from this many on that costs more than a graph search.
	static constexpr idx_t LINK_FROM = 512;
	//! Rows linked before a thread is given back: some 10 ms of work.
	static constexpr idx_t ROWS_PER_STEP = 64;

	//! Nodes consolidated, or visited, meanwhile: about as much.
	static constexpr idx_t NODES_PER_STEP = 256;
	//! Exact searches meanwhile, or walks that take as long, if the index measures itself.
	static constexpr idx_t SEARCHES_PER_STEP = 16;

	MaintenanceQueue(DatabaseInstance &db, const vss::IndexHandle &core);
	~MaintenanceQueue();

	//! Starts tasks if many rows are pending: at most one a background thread. Takes no lock of DuckDB's storage.
	void Schedule();
	//! Tasks that run, or wait for a thread.
	idx_t Tasks() const {
		return *running;
	}
	//! With `SET threads = 1` no thread would run tasks: links a few rows on the caller's. Not to be called under locks.
	static void LinkWithoutThreads(DatabaseInstance &db, const vss::IndexHandle &core);

private:
	class MaintenanceTask;

	DatabaseInstance &db;
	const vss::IndexHandle &core;
	mutex schedule_lock;
	//! Tasks that exist; theirs, too.
	shared_ptr<atomic<idx_t>> running;
	//! The index goes away: tasks end after the step they are in.
	atomic<bool> stopping {false};
	//! Last: its destructor waits for the tasks, which use all of the above.
	unique_ptr<TaskExecutor> executor;
};

} // namespace duckdb
