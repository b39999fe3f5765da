#include "index/maintenance.hpp"

#include "duckdb/main/database.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
#include "host/host.hpp"

namespace duckdb {

//! Consolidates and links a little, then measures with up to so many exact searches; true if there may be more to do. Consolidation comes
//! first: it frees slots for the rows.
static bool MaintenanceStep(const vss::IndexHandle &core, idx_t searches, const vss::HostInterrupt &stop) {
	try {
		auto done = core.consolidate(MaintenanceQueue::NODES_PER_STEP, stop);
		done += core.link(MaintenanceQueue::ROWS_PER_STEP, stop);
		return done > 0 || core.reconnect(MaintenanceQueue::NODES_PER_STEP, stop) > 0 ||
		       core.measure_step(searches, stop);
	} catch (const rust::Error &) {
		// Out of memory: rows stay pending, which the index shows and searches exactly, and slots dead; the next one to use the
		// index tries again. A defect: the index knows, and whoever uses it next makes it anew. Or stopped while it measured itself.
		return false;
	}
}

//! Makes a graph small again that has many more slots than rows; true if it did. That may take long, but ends soon after `stop`.
static bool Shrink(const vss::IndexHandle &core, const atomic<bool> &stop) {
	try {
		return core.shrink_if_oversize(vss::HostInterrupt(stop));
	} catch (const rust::Error &) {
		// Stopped or out of memory: it stays as large as it is. A defect: as above.
		return false;
	}
}

//! How many threads there is work for.
static idx_t WorkFor(const vss::IndexHandle &core) {
	return core.pending() / MaintenanceQueue::LINK_FROM +
	       (core.consolidate_due() || core.reconnect_due() || core.oversize() || core.measurement_due() ? 1 : 0);
}

//! While somebody copies the graph nothing can be done to it, and nobody would schedule us anew at the end: waits a moment, if there is
//! work, and returns true.
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

void MaintenanceQueue::LinkWithoutThreads(DatabaseInstance &db, const vss::IndexHandle &core) {
	if (WorkFor(core) > 0 && BackgroundThreads(TaskScheduler::GetScheduler(db)) == 0) {
		// the thread is the user's
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
