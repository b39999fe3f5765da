//! The indexed vectors of rows: an expression over their columns, which may fail for some rows.
#pragma once

#include "duckdb/common/types/data_chunk.hpp"

#include <functional>

namespace duckdb {

//! Computes the keys of `rows` into the only column of `keys`.
using compute_key_t = std::function<void(DataChunk &rows, DataChunk &keys)>;

//! Computes the key of each of `rows` into `keys`, a FLOAT[n]. `columns`: the columns that the key is over, if others
//! of `rows` are not filled. The expression may fail because of a row's values: a list has another length, or an
//! element is beyond FLOAT. The vector of such a row gets NULL elements. So the index never ranks the row, and each
//! search returns it: DuckDB computes the key itself, and fails or not, as without an index. Throws errors that are not
//! the fault of a row.
void ComputeKeys(DataChunk &rows, DataChunk &keys, const compute_key_t &compute, const vector<column_t> &columns = {});

} // namespace duckdb
