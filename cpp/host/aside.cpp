#include "host/aside.hpp"

#include "duckdb/execution/executor.hpp"
#include "duckdb/main/client_context.hpp"

namespace duckdb {

Aside::Aside(ClientContext &context_p, std::function<void(const vss::HostInterrupt &interrupt)> work)
    : context(context_p), executor_interrupt(context, Executor::Get(context)),
      thread([this, work = std::move(work)] { Run(work); }) {
}

Aside::~Aside() {
	stop = true;
	thread.join();
}

void Aside::Run(const std::function<void(const vss::HostInterrupt &interrupt)> &work) {
	ErrorData failure;
	try {
		work(vss::HostInterrupt(context, stop));
	} catch (std::exception &ex) {
		failure = ErrorData(ex);
	}
	lock_guard<mutex> guard(lock);
	error = std::move(failure);
	done = true;
	finished.notify_all();
}

bool Aside::Wait() {
	// a task waits 50 times before the client looks for Ctrl-C
	constexpr std::chrono::milliseconds A_LITTLE(2);
	executor_interrupt.Check();
	unique_lock<mutex> guard(lock);
	finished.wait_for(guard, A_LITTLE, [this] { return done; });
	if (error.HasError()) {
		error.Throw();
	}
	return done;
}

bool Aside::Done(TableFunctionInput &input) {
	auto is_done = Wait();
	// a synchronous executor does not call again after an empty answer
	while (!is_done && input.results_execution_mode == AsyncResultsExecutionMode::SYNCHRONOUS) {
		is_done = Wait();
	}
	if (!is_done) {
		input.async_result = AsyncResultType::HAVE_MORE_OUTPUT;
	}
	return is_done;
}

} // namespace duckdb
