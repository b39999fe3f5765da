//! The optimizer rule: ORDER BY distance LIMIT k over a table becomes a search of its HNSW index.
#pragma once

namespace duckdb {

struct DBConfig;

//! Registers both halves: before DuckDB's optimizers, late materialization is switched off for tables that will be
//! searched (it would hide the pattern); after them, their scans are replaced.
void RegisterRewrite(DBConfig &config);

} // namespace duckdb
