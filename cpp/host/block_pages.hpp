//! Where images of indexes are stored: whole blocks of the database file.
#pragma once

#include "duckdb/common/common.hpp"
#include "duckdb/common/mutex.hpp"
#include "duckdb/common/query_context.hpp"
#include "duckdb/storage/block.hpp"
#include "rust/cxx.h"

#include <atomic>

namespace duckdb {
class BlockManager;
} // namespace duckdb

namespace vss {

//! The pages that the Rust core reads and writes. Each page is a block, whose size the block manager knows. DuckDB
//! encrypts and checks these blocks as it does its own.
class HostPages {
public:
	HostPages(duckdb::BlockManager &blocks, duckdb::QueryContext context);
	~HostPages();

	//! Bytes of a block that a page may use.
	size_t page_bytes() const noexcept;
	//! Threads that may read an image together: those of the database.
	size_t readers() const noexcept;
	//! Writes a page to a block that no checkpoint uses, and returns the block's id. The block belongs to the
	//! checkpoint that is being made.
	int64_t write(rust::Slice<const uint8_t> bytes) const;
	//! Reads a page. Several threads may read at once.
	void read(int64_t id, rust::Slice<uint8_t> out) const;
	//! Whether a failed read may succeed later: the system has caused the failure, not what the file holds.
	bool MayBeReadLater() const {
		return may_be_read_later;
	}
	//! The block may be used again after the checkpoint.
	void free(int64_t id) const noexcept;

private:
	//! Memory that a page is written from or read into, and that stands for the block `id`.
	duckdb::unique_ptr<duckdb::Block> Take(int64_t id) const;
	//! Keeps it for the next page.
	void Return(duckdb::unique_ptr<duckdb::Block> block) const;

	duckdb::BlockManager &blocks;
	duckdb::QueryContext context;
	mutable duckdb::mutex lock;
	//! One for each thread that has read or written a page, except while it does so. Guarded by `lock`.
	mutable duckdb::vector<duckdb::unique_ptr<duckdb::Block>> idle;
	mutable std::atomic<bool> may_be_read_later {false};
};

} // namespace vss
