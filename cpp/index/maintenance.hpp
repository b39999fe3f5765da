//! Upkeep of a graph on DuckDB's background threads, outside every commit lock: links pending rows, repairs links
//! around dead ones, reconnects nodes, shrinks the graph, and measures search widths.
#pragma once

#include "duckdb/common/atomic.hpp"
#include "duckdb/common/mutex.hpp"
#include "duckdb/parallel/task_executor.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class DatabaseInstance;

//! Schedules the tasks of one index. The destructor stops them and waits for the steps they are in.
class MaintenanceQueue {
public:
	//! Pending rows are searched exactly; from this many on, that costs more than a graph search.
	static constexpr idx_t LINK_FROM = 512;
	//! Rows that a task links in one step: some 10 ms of work.
	static constexpr idx_t ROWS_PER_STEP = 64;

	//! Nodes that a task consolidates, or visits, in one step: about as much work.
	static constexpr idx_t NODES_PER_STEP = 256;
	//! Exact searches in one step, or walks that take as long, when the index measures itself.
	static constexpr idx_t SEARCHES_PER_STEP = 16;

	MaintenanceQueue(DatabaseInstance &db, const vss::IndexHandle &core);
	~MaintenanceQueue();

	//! Starts tasks if there is work: at most one per background thread. Takes no lock of DuckDB's storage.
	void Schedule();
	//! Tasks that run, or wait for a thread.
	idx_t Tasks() const {
		return *running;
	}
	//! With `SET threads = 1` no thread would run tasks: does one step on the caller's thread. Not to be called under
	//! locks.
	static void WorkWithoutThreads(DatabaseInstance &db, const vss::IndexHandle &core);

private:
	class MaintenanceTask;

	DatabaseInstance &db;
	const vss::IndexHandle &core;
	mutex schedule_lock;
	//! Tasks that exist. Shared with them, as they may outlive the queue.
	shared_ptr<atomic<idx_t>> running;
	//! The index goes away: tasks end after the step they are in.
	atomic<bool> stopping {false};
	//! Last: its destructor waits for the tasks, which use all of the above.
	unique_ptr<TaskExecutor> executor;
};

} // namespace duckdb
