//! The one place where vectors leave DuckDB's chunks for the Rust core.
#pragma once

#include "duckdb/common/types/vector.hpp"
#include "duckdb/common/vector.hpp"
#include "rust/cxx.h"

namespace duckdb {

//! The rows of a chunk whose vector is not NULL, as two flat arrays: row ids and `[rows × dimensions]` floats. Borrows
//! from the chunk when it is flat and free of NULLs, copies otherwise. Must not outlive the chunk.
//!
//! If an element is NULL, all elements of its vector become the greatest float. The core keeps such rows out of the
//! graph and returns them from every search, so that DuckDB's own distance function decides (it refuses them).
class VectorBatch {
public:
	//! `vectors`: FLOAT[dimensions], `row_ids`: BIGINT; any vector type, `count` rows each.
	VectorBatch(Vector &vectors, Vector &row_ids, idx_t count, idx_t dimensions);

	rust::Slice<const int64_t> RowIds() const {
		return {row_data, size};
	}
	rust::Slice<const float> Values() const {
		return {value_data, size * dimensions};
	}
	//! The rows whose vector is NULL.
	rust::Slice<const int64_t> NullRowIds() const {
		return {null_rows.data(), null_rows.size()};
	}
	idx_t Size() const {
		return size;
	}

private:
	idx_t dimensions;
	idx_t size = 0;
	const int64_t *row_data = nullptr;
	const float *value_data = nullptr;
	vector<int64_t> owned_rows;
	vector<int64_t> null_rows;
	vector<float> owned_values;
};

//! The elements of a constant `FLOAT[n]`; empty if the value or one of its elements is NULL.
vector<float> VectorFromValue(const Value &value);

} // namespace duckdb
