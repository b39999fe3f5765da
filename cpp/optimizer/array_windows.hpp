//! Rewrites running totals of arrays into a form that DuckDB computes right.
#pragma once

namespace duckdb {

struct DBConfig;

//! Registers a rewrite after binding of windows over arrays: a frame from the beginning of the partition to the current
//! row now ends 0 rows after the current row. That is the same frame, but DuckDB does not compute it while rows stream
//! by. If it did, it would give the aggregate the array of the chunk's first row for every row
//! (`StreamingWindowState::AggregateState::Execute` slices the chunk once, and slices of arrays are copies).
void RegisterArrayWindows(DBConfig &config);

} // namespace duckdb
