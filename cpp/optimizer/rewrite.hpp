//! The optimizer rule: a search of an index takes the place of a scan whose nearest rows are wanted.
#pragma once

namespace duckdb {

struct DBConfig;

//! Registers both halves: `Prepare` before DuckDB's optimizers, `ServeNearest` for every operator after them.
void RegisterRewrite(DBConfig &config);

} // namespace duckdb
