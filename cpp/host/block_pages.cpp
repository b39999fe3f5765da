#include "host/block_pages.hpp"

#include "duckdb/common/error_data.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
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

size_t HostPages::readers() const noexcept {
	try {
		auto &scheduler = duckdb::TaskScheduler::GetScheduler(blocks.GetBufferManager().GetDatabase());
		return size_t(scheduler.NumberOfThreads());
	} catch (std::exception &) {
		// the database is about to end
		return 1;
	}
}

duckdb::unique_ptr<duckdb::Block> HostPages::Take(int64_t id) const {
	duckdb::unique_ptr<duckdb::Block> block;
	{
		duckdb::lock_guard<duckdb::mutex> guard(lock);
		if (!idle.empty()) {
			block = std::move(idle.back());
			idle.pop_back();
		}
	}
	if (!block) {
		return blocks.CreateBlock(id, nullptr);
	}
	block->id = id;
	return block;
}

void HostPages::Return(duckdb::unique_ptr<duckdb::Block> block) const {
	duckdb::lock_guard<duckdb::mutex> guard(lock);
	idle.push_back(std::move(block));
}

int64_t HostPages::write(rust::Slice<const uint8_t> bytes) const {
	auto id = blocks.GetFreeBlockIdForCheckpoint();
	auto block = Take(id);
	memcpy(block->GetDataMutable(), bytes.data(), bytes.size());
	blocks.Write(context, *block, id);
	Return(std::move(block));
	return id;
}

void HostPages::read(int64_t id, rust::Slice<uint8_t> out) const {
	try {
		// Past the buffer manager, which would make a new buffer for every page: that would take twice as long.
		auto block = Take(id);
		blocks.Read(context, *block);
		memcpy(out.data(), block->GetDataMutable(), out.size());
		Return(std::move(block));
	} catch (std::exception &ex) {
		// the error has no errno if the file ends too early
		if (duckdb::ErrorData(ex).ExtraInfo().count("errno") > 0) {
			may_be_read_later = true;
		}
		throw;
	}
}

void HostPages::free(int64_t id) const noexcept {
	try {
		blocks.MarkBlockAsModified(id);
	} catch (std::exception &) {
		// the block stays in use, and the file is one block larger than it need be
	}
}

} // namespace vss
