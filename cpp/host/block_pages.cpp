#include "host/block_pages.hpp"

#include "duckdb/common/error_data.hpp"
#include "duckdb/storage/block_manager.hpp"
#include "duckdb/storage/buffer/buffer_handle.hpp"
#include "duckdb/storage/buffer_manager.hpp"

namespace vss {

HostPages::HostPages(duckdb::BlockManager &blocks_p, duckdb::QueryContext context_p)
    : blocks(blocks_p), context(context_p) {
}

HostPages::~HostPages() = default;

size_t HostPages::page_bytes() const noexcept {
	return blocks.GetBlockSize();
}

void HostPages::Scratch(int64_t id) const {
	if (!scratch) {
		scratch = blocks.CreateBlock(id, nullptr);
	}
	scratch->id = id;
}

rust::String HostPages::write(rust::Slice<const uint8_t> bytes, int64_t &id) const noexcept {
	try {
		id = blocks.GetFreeBlockIdForCheckpoint();
		Scratch(id);
		memcpy(scratch->GetDataMutable(), bytes.data(), bytes.size());
		blocks.Write(context, *scratch, id);
		return rust::String();
	} catch (std::exception &ex) {
		return rust::String::lossy(duckdb::ErrorData(ex).RawMessage());
	}
}

rust::String HostPages::read(int64_t id, rust::Slice<uint8_t> out) const noexcept {
	try {
		// Past the buffer manager, which would make a new buffer for every page: reading would take twice as long.
		Scratch(id);
		blocks.Read(context, *scratch);
		memcpy(out.data(), scratch->GetDataMutable(), out.size());
		return rust::String();
	} catch (std::exception &ex) {
		duckdb::ErrorData error(ex);
		// a file that ends too early has no number of the system's
		may_be_read_later =
		    error.Type() == duckdb::ExceptionType::OUT_OF_MEMORY || error.ExtraInfo().count("errno") > 0;
		return rust::String::lossy(error.RawMessage());
	}
}

void HostPages::free(int64_t id) const noexcept {
	try {
		blocks.MarkBlockAsModified(id);
	} catch (std::exception &) {
		// the block stays in use: the file is a block larger than it need be
	}
}

} // namespace vss
