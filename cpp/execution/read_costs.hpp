//! What it costs to read the rows of a table: by their ids, by a scan that skips other rows, or by a scan of all.
#pragma once

#include "duckdb/common/vector.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class LogicalGet;

//! The costs for a row that `get` emits, by the types of its columns. `checked` also counts the columns that `get`
//! filters by.
vss::ReadCosts CostsOf(const LogicalGet &get);

//! The nanoseconds in which a scan that skips other rows yields these rows. `row_ids` may be in any order. `table_rows`:
//! the number of rows of the table.
double ScanTime(const vss::ReadCosts &costs, const vector<int64_t> &row_ids, idx_t table_rows);

} // namespace duckdb
