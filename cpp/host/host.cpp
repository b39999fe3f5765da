#include "host/host.hpp"

#include "duckdb/execution/executor.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace vss {

std::string ErrorText(const std::exception &exception) {
	duckdb::ErrorData error(exception);
	auto kind = ErrorKind::Storage;
	if (error.Type() == duckdb::ExceptionType::OUT_OF_MEMORY) {
		kind = ErrorKind::OutOfMemory;
	} else if (error.Type() == duckdb::ExceptionType::INTERRUPT) {
		kind = ErrorKind::Interrupted;
	}
	return std::to_string(static_cast<int>(kind)) + error.RawMessage();
}

HostMemory::HostMemory(duckdb::BufferManager &buffers_p) : buffers(buffers_p) {
}

//! Memory that indexes leave to the rest of the host, however large they grow. What they hold cannot be evicted. A
//! commit that is taken back has to pin blocks; if it cannot, DuckDB invalidates the database.
static duckdb::idx_t Headroom(duckdb::BufferManager &buffers) {
	constexpr duckdb::idx_t HEADROOM_MAX = 8 << 20;
	return duckdb::MinValue(buffers.GetMaxMemory() / 16, HEADROOM_MAX);
}

void HostMemory::reserve(size_t bytes) const {
	auto headroom = Headroom(buffers);
	if (buffers.GetUsedMemory() + bytes + headroom <= buffers.GetMaxMemory()) {
		buffers.ReserveMemory(bytes);
	} else {
		// both at once, so that enough is evicted for both
		buffers.ReserveMemory(bytes + headroom);
		buffers.FreeReservedMemory(headroom);
	}
}

void HostMemory::release(size_t bytes) const noexcept {
	buffers.FreeReservedMemory(bytes);
}

HostInterrupt::HostInterrupt(duckdb::optional_ptr<duckdb::ClientContext> context_p) : context(context_p) {
}

ReservedMemory::ReservedMemory(duckdb::BufferManager &buffers_p) : buffers(buffers_p) {
}

ReservedMemory::~ReservedMemory() {
	buffers.FreeReservedMemory(reserved);
}

void ReservedMemory::Resize(size_t bytes) {
	if (bytes > reserved) {
		buffers.ReserveMemory(bytes - reserved);
	} else {
		buffers.FreeReservedMemory(reserved - bytes);
	}
	reserved = bytes;
}

//! When an executor is cancelled, it drops the buffer of its result first. It has none if the client collects the
//! result by itself.
static bool HasResultBuffer(duckdb::Executor &executor) {
	return executor.GetResultBuffer() != nullptr;
}

HostInterrupt::HostInterrupt(duckdb::ClientContext &context_p, duckdb::Executor &executor_p) : context(context_p) {
	if (HasResultBuffer(executor_p)) {
		executor = &executor_p;
	}
}

HostInterrupt::HostInterrupt(duckdb::ClientContext &context_p, const std::atomic<bool> &stop_p)
    : context(context_p), stop(&stop_p) {
}

HostInterrupt::HostInterrupt(const std::atomic<bool> &stop_p) : stop(&stop_p) {
}

bool HostInterrupt::interrupted() const noexcept {
	try {
		Check();
		return false;
	} catch (...) {
		return true;
	}
}

void HostInterrupt::Check() const {
	if (context) {
		// `InterruptCheck` looks at the clock only every 256th time, and a whole search may lie between two of our
		// checks.
		context->BlockingInterruptCheck();
	}
	if ((stop && *stop) || (executor && !HasResultBuffer(*executor))) {
		throw duckdb::InterruptException();
	}
}

HostVisibility::HostVisibility(duckdb::DuckTransaction &transaction_p, duckdb::DataTable &table_p)
    : transaction(transaction_p), table(table_p) {
}

bool HostVisibility::visible(int64_t row_id) const noexcept {
	if (error.HasError()) {
		return false;
	}
	try {
		return table.CanFetch(transaction, row_id);
	} catch (std::exception &ex) {
		error = duckdb::ErrorData(ex);
		return false;
	}
}

void HostVisibility::Rethrow() const {
	if (error.HasError()) {
		error.Throw();
	}
}

} // namespace vss
