//! Running totals of arrays, in a form that DuckDB computes right.
#pragma once

namespace duckdb {

struct DBConfig;

//! Registers what is done after binding: a frame that ends at the current row ends 0 rows after it, if it begins with the partition and the
//! argument is an array. The frame is the same, but it is not computed while rows stream by: then DuckDB gives the aggregate the array of
//! the chunk's first row for every row (`StreamingWindowState::AggregateState::Execute` slices the chunk once, and slices of arrays are
//! copies).
void RegisterArrayWindows(DBConfig &config);

} // namespace duckdb
