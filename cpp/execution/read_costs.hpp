//! What it costs to read the rows of a table: by their ids, by a scan that skips the others, or by a scan of all.
#pragma once

#include "duckdb/common/vector.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class LogicalGet;

//! Of the rows that `get` emits, by the types of their columns. Those that it filters by are `checked`.
vss::ReadCosts CostsOf(const LogicalGet &get);

//! Whether a scan that skips what is not wanted yields these rows of a table sooner than looking each of them up. `row_ids`: in any
//! order; `table_rows`: all there are.
bool ScanPays(const vss::ReadCosts &costs, const vector<int64_t> &row_ids, idx_t table_rows);

} // namespace duckdb
