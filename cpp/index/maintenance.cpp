#include "index/maintenance.hpp"

#include "duckdb/main/database.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
#include "host/host.hpp"

namespace duckdb {

//! One step: consolidates and links a little; without such work, reconnects; without that, measures with up to
//! `searches` exact searches. Returns whether there may be more to do. Consolidation comes first, because it frees
//! slots for the rows.
static bool MaintenanceStep(const vss::IndexHandle &core, idx_t searches, const vss::HostInterrupt &stop) {
	try {
		auto done = core.consolidate(MaintenanceQueue::NODES_PER_STEP, stop);
		done += core.link(MaintenanceQueue::ROWS_PER_STEP, stop);
		return done > 0 || core.reconnect(MaintenanceQueue::NODES_PER_STEP, stop) > 0 ||
		       core.measure_step(searches, stop);
	} catch (const rust::Error &) {
		// Out of memory: rows stay pending and slots stay dead. The index shows both, and the next one to use it tries
		// again. A defect: the index knows, and its next user makes it anew. Stopped: the task ends.
		return false;
	}
}

//! Shrinks a graph that has many more slots than rows; true if it did. That may take long, but ends soon after `stop`.
static bool Shrink(const vss::IndexHandle &core, const atomic<bool> &stop) {
	try {
		return core.shrink_if_oversize(vss::HostInterrupt(stop));
	} catch (const rust::Error &) {
		// Stopped or out of memory: the graph stays as large as it is. A defect: as above.
		return false;
	}
}

//! How many threads have something to do.
static idx_t WorkFor(const vss::IndexHandle &core) {
	return core.pending() / MaintenanceQueue::LINK_FROM +
	       (core.consolidate_due() || core.reconnect_due() || core.oversize() || core.measurement_due() ? 1 : 0);
}

//! While a thread copies the graph, no task can change it, and nobody would schedule a new task afterwards. So if there
//! is work, this waits a moment and returns true.
static bool AwaitCopy(const vss::IndexHandle &core, const atomic<bool> &stop) {
	try {
		return WorkFor(core) > 0 && core.await_copy(vss::HostInterrupt(stop));
	} catch (const rust::Error &) {
		return false; // stopped
	}
}

class MaintenanceQueue::MaintenanceTask : public BaseExecutorTask {
public:
	explicit MaintenanceTask(MaintenanceQueue &queue_p)
	    : BaseExecutorTask(*queue_p.executor), queue(queue_p), running(queue_p.running) {
		++*running;
	}
	~MaintenanceTask() override {
		// a finished task may outlive the queue
		--*running;
	}

	TaskExecutionResult ExecuteTaskStep() override {
		auto more = !queue.stopping && (Shrink(queue.core, queue.stopping) ||
		                                MaintenanceStep(queue.core, MaintenanceQueue::SEARCHES_PER_STEP,
		                                                vss::HostInterrupt(queue.stopping)) ||
		                                AwaitCopy(queue.core, queue.stopping));
		return more ? TaskExecutionResult::TASK_NOT_FINISHED : TaskExecutionResult::TASK_FINISHED;
	}

	string TaskType() const override {
		return "HNSWMaintenanceTask";
	}

private:
	MaintenanceQueue &queue;
	shared_ptr<atomic<idx_t>> running;
};

MaintenanceQueue::MaintenanceQueue(DatabaseInstance &db_p, const vss::IndexHandle &core_p)
    : db(db_p), core(core_p), running(make_shared_ptr<atomic<idx_t>>(0)) {
}

MaintenanceQueue::~MaintenanceQueue() {
	stopping = true;
}

static idx_t BackgroundThreads(TaskScheduler &scheduler) {
	// one of the threads is the user's own
	return NumericCast<idx_t>(scheduler.NumberOfThreads()) - 1;
}

void MaintenanceQueue::WorkWithoutThreads(DatabaseInstance &db, const vss::IndexHandle &core) {
	if (WorkFor(core) > 0 && BackgroundThreads(TaskScheduler::GetScheduler(db)) == 0) {
		// one search only: the thread is the user's
		MaintenanceStep(core, 1, vss::HostInterrupt(nullptr));
	}
}

void MaintenanceQueue::Schedule() {
	auto work = WorkFor(core);
	if (work == 0) {
		return;
	}
	auto &scheduler = TaskScheduler::GetScheduler(db);
	auto background = BackgroundThreads(scheduler);
	auto wanted = MinValue<idx_t>(background, work);
	if (*running >= wanted) {
		return;
	}
	lock_guard<mutex> guard(schedule_lock);
	if (!executor) {
		executor = make_uniq<TaskExecutor>(scheduler);
	}
	while (*running < wanted) {
		executor->ScheduleTask(make_uniq<MaintenanceTask>(*this));
	}
}

} // namespace duckdb
