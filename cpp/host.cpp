#include "host.hpp"

#include "duckdb/main/client_context.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

namespace vss {

HostMemory::HostMemory(duckdb::BufferManager &buffers_p) : buffers(buffers_p) {
}

rust::String HostMemory::reserve(size_t bytes) const {
	try {
		buffers.ReserveMemory(bytes);
		return rust::String();
	} catch (std::exception &ex) {
		return rust::String::lossy(duckdb::ErrorData(ex).RawMessage());
	}
}

void HostMemory::release(size_t bytes) const noexcept {
	buffers.FreeReservedMemory(bytes);
}

HostInterrupt::HostInterrupt(duckdb::optional_ptr<duckdb::ClientContext> context_p) : context(context_p) {
}

bool HostInterrupt::interrupted() const noexcept {
	if (!context) {
		return false;
	}
	try {
		// also notices a statement timeout
		context->InterruptCheck();
		return false;
	} catch (...) {
		return true;
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
