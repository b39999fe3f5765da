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

bool Aside::Done(TableFunctionInput &input) {
	constexpr std::chrono::milliseconds A_LITTLE(10);
	unique_lock<mutex> guard(lock);
	do {
		executor_interrupt.Check();
		finished.wait_for(guard, A_LITTLE, [this] { return done; });
		// who executes functions synchronously does not call again for an empty answer
	} while (!done && input.results_execution_mode == AsyncResultsExecutionMode::SYNCHRONOUS);
	if (error.HasError()) {
		error.Throw();
	}
	if (!done) {
		input.async_result = AsyncResultType::HAVE_MORE_OUTPUT;
	}
	return done;
}

} // namespace duckdb
