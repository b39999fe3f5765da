//! What it costs to read the rows of a table: by their ids, by a scan that skips other rows, or by a scan of all.
#pragma once

#include "duckdb/common/vector.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class LogicalGet;

//! The costs for the rows that `get` emits, by the types of their columns. The cost of columns that `get` filters by is
//! `checked`.
vss::ReadCosts CostsOf(const LogicalGet &get);

//! Whether a scan that skips other rows yields these rows sooner than looking each of them up. `row_ids` may be in any
//! order. `table_rows`: the number of rows of the table.
bool ScanPays(const vss::ReadCosts &costs, const vector<int64_t> &row_ids, idx_t table_rows);

} // namespace duckdb
