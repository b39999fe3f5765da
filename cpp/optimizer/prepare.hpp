//! The first half of the optimizer rule, before DuckDB's optimizers: it keeps them from hiding the patterns that the second half looks for.
#pragma once

#include "duckdb/planner/operator/logical_get.hpp"

namespace duckdb {

class ClientContext;
class Optimizer;

//! Switches late materialization off for tables that will be searched, puts parameters in the place of query vectors, and notes pages.
void Prepare(ClientContext &context, LogicalOperator &plan);
//! Whether `scan` is below an ORDER BY that had an OFFSET when `Prepare` saw it, be it 0.
bool IsPaged(ClientContext &context, const LogicalGet &scan);
//! Late materialization of the tables in `plan` for which `Prepare` has switched it off, and that are not searched after all.
void RestoreLateMaterialization(Optimizer &optimizer, unique_ptr<LogicalOperator> &plan);

} // namespace duckdb
