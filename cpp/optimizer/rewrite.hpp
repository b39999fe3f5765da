//! The optimizer rule: ORDER BY distance LIMIT k over a table becomes a search of its HNSW index.
#pragma once

#include "duckdb/planner/operator/logical_get.hpp"

namespace duckdb {

struct DBConfig;

//! Registers both halves: before DuckDB's optimizers, late materialization is switched off for tables that will be
//! searched (it would hide the pattern); after them, their scans are replaced.
void RegisterRewrite(DBConfig &config);

//! Why the scan of `get` cannot be replaced although an index fits; empty if it can.
string RefuseGet(const LogicalGet &get);
//! Whether every column in `expr` comes from `op`.
bool HasBindingsOf(LogicalOperator &op, const Expression &expr);
//! The scans below `op`.
void CollectScans(LogicalOperator &op, vector<reference<LogicalGet>> &scans);

} // namespace duckdb
