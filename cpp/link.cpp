#include "link.hpp"

#include "duckdb/main/database.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
#include "host.hpp"

namespace duckdb {

//! Links a few rows; true if there may be more. Errors (out of memory) leave the rows pending and searched exactly.
static bool LinkStep(const vss::Core &core) {
	try {
		return core.link(LinkQueue::ROWS_PER_STEP, vss::HostInterrupt(nullptr)) > 0;
	} catch (const rust::Error &) {
		return false;
	}
}

class LinkQueue::LinkTask : public BaseExecutorTask {
public:
	explicit LinkTask(LinkQueue &queue_p) : BaseExecutorTask(*queue_p.executor), queue(queue_p) {
		++queue.running;
	}
	~LinkTask() override {
		--queue.running;
	}

	TaskExecutionResult ExecuteTaskStep() override {
		return LinkStep(queue.core) ? TaskExecutionResult::TASK_NOT_FINISHED : TaskExecutionResult::TASK_FINISHED;
	}

	string TaskType() const override {
		return "HNSWLinkTask";
	}

private:
	LinkQueue &queue;
};

LinkQueue::LinkQueue(DatabaseInstance &db_p, const vss::Core &core_p) : db(db_p), core(core_p), running(0) {
}

static idx_t BackgroundThreads(TaskScheduler &scheduler) {
	// one of the threads is the user's own
	return NumericCast<idx_t>(scheduler.NumberOfThreads()) - 1;
}

void LinkQueue::LinkWithoutThreads(DatabaseInstance &db, const vss::Core &core) {
	if (core.pending() >= LINK_FROM && BackgroundThreads(TaskScheduler::GetScheduler(db)) == 0) {
		LinkStep(core);
	}
}

void LinkQueue::Schedule() {
	auto pending = core.pending();
	if (pending < LINK_FROM) {
		return;
	}
	auto &scheduler = TaskScheduler::GetScheduler(db);
	auto background = BackgroundThreads(scheduler);
	auto wanted = MinValue<idx_t>(background, pending / LINK_FROM);
	if (running >= wanted) {
		return;
	}
	lock_guard<mutex> guard(schedule_lock);
	if (!executor) {
		executor = make_uniq<TaskExecutor>(scheduler);
	}
	while (running < wanted) {
		executor->ScheduleTask(make_uniq<LinkTask>(*this));
	}
}

} // namespace duckdb
