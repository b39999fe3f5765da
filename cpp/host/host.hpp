//! The services of the host that the Rust core may call: memory, interruption and row visibility. An exception must not
//! unwind through Rust frames. cxx turns the exceptions of functions with a Result into text (`ErrorText`); the other
//! functions keep theirs.
#pragma once

#include "duckdb/common/common.hpp"
#include "duckdb/common/optional_ptr.hpp"
#include "duckdb/common/error_data.hpp"
#include "rust/cxx.h"

#include <atomic>
#include <exception>
#include <string>

namespace duckdb {
class BufferManager;
class ClientContext;
class DataTable;
class DuckTransaction;
class Executor;
} // namespace duckdb

namespace vss {

//! An exception on its way to Rust: the digit of its kind, and its message, see src/bridge/guard.rs.
std::string ErrorText(const std::exception &exception);

} // namespace vss

namespace rust {
namespace behavior {

//! How cxx calls a function that Rust sees with a Result.
template <class CALL, class FAIL>
static void trycatch(CALL &&call, FAIL &&fail) noexcept {
	try {
		call();
	} catch (const std::exception &ex) {
		fail(vss::ErrorText(ex));
	}
}

} // namespace behavior
} // namespace rust

namespace vss {

//! Memory of one index, reserved from DuckDB's buffer manager: it counts for `memory_limit`, and `duckdb_memory()`
//! shows it under EXTENSION.
class HostMemory {
public:
	explicit HostMemory(duckdb::BufferManager &buffers);

	//! Reserves `bytes`, evicting buffers if needed. Throws if `bytes` and the host's headroom do not both fit.
	void reserve(size_t bytes) const;
	//! Gives `bytes` back.
	void release(size_t bytes) const noexcept;

private:
	duckdb::BufferManager &buffers;
};

//! Memory that an operator takes beside an index, also reserved from DuckDB's buffer manager.
class ReservedMemory {
public:
	explicit ReservedMemory(duckdb::BufferManager &buffers);
	~ReservedMemory();
	ReservedMemory(const ReservedMemory &) = delete;

	//! Throws an OutOfMemoryException; the reservation is then as before.
	void Resize(size_t bytes);

private:
	duckdb::BufferManager &buffers;
	size_t reserved = 0;
};

//! Whether the running statement was interrupted, its time is up, or nobody waits for its result any more.
class HostInterrupt {
public:
	//! Without a context (background work) the answer is always no.
	explicit HostInterrupt(duckdb::optional_ptr<duckdb::ClientContext> context);
	//! For work that an executor does; must be made while the executor runs. A client may cancel it without an
	//! interrupt, as Python's does after Ctrl-C. DuckDB then waits for the tasks that run, and does not tell them.
	HostInterrupt(duckdb::ClientContext &context, duckdb::Executor &executor);
	//! For work on another thread, until `stop` is true.
	HostInterrupt(duckdb::ClientContext &context, const std::atomic<bool> &stop);
	//! For background work, until `stop` is true.
	explicit HostInterrupt(const std::atomic<bool> &stop);

	bool interrupted() const noexcept;
	//! Throws an InterruptException if the statement was interrupted.
	void Check() const;

private:
	duckdb::optional_ptr<duckdb::ClientContext> context;
	//! Null if the executor does not show whether it was cancelled.
	duckdb::Executor *executor = nullptr;
	const std::atomic<bool> *stop = nullptr;
};

//! Which committed rows of a table one transaction sees.
class HostVisibility {
public:
	HostVisibility(duckdb::DuckTransaction &transaction, duckdb::DataTable &table);

	//! False for rows that do not exist, and for every row once an error has occurred.
	bool visible(int64_t row_id) const noexcept;
	//! Throws what went wrong inside `visible`, if anything did. Call it after the search.
	void Rethrow() const;

private:
	duckdb::DuckTransaction &transaction;
	duckdb::DataTable &table;
	mutable duckdb::ErrorData error;
};

} // namespace vss
