//! The indexed vectors of rows, which are an expression over their columns that may fail for some of them.
#pragma once

#include "duckdb/common/types/data_chunk.hpp"

#include <functional>

namespace duckdb {

//! Computes a key, the only column of its result.
using compute_key_t = std::function<void(DataChunk &rows, DataChunk &keys)>;

//! Computes the key of each of `rows` into `keys`, a FLOAT[n]. `columns`: what it is over, if not all columns of `rows` are there. Where
//! that fails because of what is in the row, as a list has another length, or an element is beyond FLOAT, the vector has NULL elements: so
//! it is never ranked, each search hands it on, and DuckDB computes the key itself, and fails, or not, as without an index. Throws what is
//! not the row's fault.
void ComputeKeys(DataChunk &rows, DataChunk &keys, const compute_key_t &compute, const vector<column_t> &columns = {});

} // namespace duckdb
