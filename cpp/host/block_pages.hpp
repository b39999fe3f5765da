//! Where images of indexes are stored: whole blocks of the database file.
#pragma once

#include "duckdb/common/common.hpp"
#include "duckdb/common/query_context.hpp"
#include "duckdb/storage/block.hpp"
#include "rust/cxx.h"

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
	//! Writes a page to a block that no checkpoint uses, and returns the block's id. The block belongs to the
	//! checkpoint that is being made.
	int64_t write(rust::Slice<const uint8_t> bytes) const;
	//! Reads a page.
	void read(int64_t id, rust::Slice<uint8_t> out) const;
	//! Whether a failed read may succeed later: the system has caused the failure, not what the file holds.
	bool MayBeReadLater() const {
		return may_be_read_later;
	}
	//! The block may be used again after the checkpoint.
	void free(int64_t id) const noexcept;

private:
	//! Makes `scratch` stand for the block `id`.
	void Scratch(int64_t id) const;

	duckdb::BlockManager &blocks;
	duckdb::QueryContext context;
	//! The memory that pages are written from and read into.
	mutable duckdb::unique_ptr<duckdb::Block> scratch;
	mutable bool may_be_read_later = false;
};

} // namespace vss
