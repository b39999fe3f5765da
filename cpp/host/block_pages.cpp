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

int64_t HostPages::write(rust::Slice<const uint8_t> bytes) const {
	auto id = blocks.GetFreeBlockIdForCheckpoint();
	Scratch(id);
	memcpy(scratch->GetDataMutable(), bytes.data(), bytes.size());
	blocks.Write(context, *scratch, id);
	return id;
}

void HostPages::read(int64_t id, rust::Slice<uint8_t> out) const {
	try {
		// Past the buffer manager, which would make a new buffer for every page: that would take twice as long.
		Scratch(id);
		blocks.Read(context, *scratch);
	} catch (std::exception &ex) {
		// the error has no errno if the file ends too early
		may_be_read_later = duckdb::ErrorData(ex).ExtraInfo().count("errno") > 0;
		throw;
	}
	memcpy(out.data(), scratch->GetDataMutable(), out.size());
}

void HostPages::free(int64_t id) const noexcept {
	try {
		blocks.MarkBlockAsModified(id);
	} catch (std::exception &) {
		// the block stays in use, and the file is one block larger than it need be
	}
}

} // namespace vss
