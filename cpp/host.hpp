//! The services of the host that the Rust core may call: memory, interruption and row visibility.
//! Nothing here throws: an exception must not unwind through Rust frames, so each class keeps or returns it.
#pragma once

#include "duckdb/common/common.hpp"
#include "duckdb/common/optional_ptr.hpp"
#include "duckdb/common/error_data.hpp"
#include "rust/cxx.h"

namespace duckdb {
class BufferManager;
class ClientContext;
class DataTable;
class DuckTransaction;
} // namespace duckdb

namespace vss {

//! Memory of one index, reserved from DuckDB's buffer manager: `memory_limit` holds and `duckdb_memory()` shows it
//! under EXTENSION.
class HostMemory {
public:
	explicit HostMemory(duckdb::BufferManager &buffers);

	//! Reserves `bytes`, evicting buffers if needed. Returns the text of the error, empty on success.
	rust::String reserve(size_t bytes) const;
	//! Gives `bytes` back.
	void release(size_t bytes) const noexcept;

private:
	duckdb::BufferManager &buffers;
};

//! Whether the running statement was interrupted or its time is up.
class HostInterrupt {
public:
	//! Without a context (background work) the answer is always no.
	explicit HostInterrupt(duckdb::optional_ptr<duckdb::ClientContext> context);

	bool interrupted() const noexcept;

private:
	duckdb::optional_ptr<duckdb::ClientContext> context;
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
