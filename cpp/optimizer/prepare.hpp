//! The first half of the optimizer rule runs before DuckDB's optimizers. It keeps them from hiding the patterns that
//! the second half looks for.
#pragma once

#include "duckdb/planner/operator/logical_get.hpp"

namespace duckdb {

class ClientContext;
class Optimizer;

//! Switches late materialization off for tables that may be searched, replaces query vectors by parameters, and notes
//! pages.
void Prepare(ClientContext &context, LogicalOperator &plan);
//! Whether `scan` is below an ORDER BY that had an OFFSET, which may be 0, when `Prepare` saw it.
bool IsPaged(ClientContext &context, const LogicalGet &scan);
//! Materializes late those tables in `plan` for which `Prepare` has switched that off, and that are not searched after
//! all.
void RestoreLateMaterialization(Optimizer &optimizer, unique_ptr<LogicalOperator> &plan);

} // namespace duckdb
