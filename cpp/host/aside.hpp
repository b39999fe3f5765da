//! Long work of a statement that cannot be done in small steps.
#pragma once

#include "duckdb/common/error_data.hpp"
#include "duckdb/function/table_function.hpp"
#include "host/host.hpp"

#include <condition_variable>
#include <functional>
#include <thread>

namespace duckdb {

//! Does the work on a thread of its own. The client may execute the statement on the thread that looks for Ctrl-C, and
//! looks between two calls only. So a call may last some milliseconds, not as long as the work. An Aside must be made
//! while the statement is executed. The destructor stops the work and waits for its end.
class Aside {
public:
	//! `work` may use only what outlives this object.
	Aside(ClientContext &context, std::function<void(const vss::HostInterrupt &interrupt)> work);
	~Aside();

	//! Waits a little, and returns whether the work is done. Throws what the work threw.
	bool Wait();
	//! The same for a table function. If the work is not done, DuckDB will call the function again.
	bool Done(TableFunctionInput &input);

private:
	void Run(const std::function<void(const vss::HostInterrupt &interrupt)> &work);

	ClientContext &context;
	const vss::HostInterrupt executor_interrupt;
	std::atomic<bool> stop {false};
	mutex lock;
	std::condition_variable finished;
	bool done = false;
	ErrorData error;
	//! Last: it uses all of the above.
	std::thread thread;
};

} // namespace duckdb
