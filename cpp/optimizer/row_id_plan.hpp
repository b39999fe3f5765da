//! Plans that yield the ids of the rows that qualify, made from parts of a query's plan.
#pragma once

#include "duckdb/planner/logical_operator.hpp"
#include "execution/search_plan.hpp"
#include "optimizer/refusal.hpp"

namespace duckdb {

//! Whether an expression of `op` itself may have another value each time.
bool IsVolatile(const LogicalOperator &op);
//! Whether a plan yields the same rows each time it runs within one transaction.
bool IsRepeatable(const LogicalOperator &op);
//! A copy of a plan, if each of its operators can be copied.
OrRefusal<LogicalOperator> CopyPlan(ClientContext &context, const LogicalOperator &op);
//! Adapts `map`, the columns of a child that an operator passes on. The columns were at the positions of `before`;
//! those that are left are at the positions of `after`. Adds those of `more` that the child has.
void RemapColumns(vector<ProjectionIndex> &map, const vector<ColumnBinding> &before, const vector<ColumnBinding> &after,
                  const vector<ColumnBinding> &more);
//! Makes a plan that yields rows of a scan yield their row ids instead, and read only the columns needed for that.
//! `path`: the operators from `plan` down to the scan, each by the child that leads there. `keys`: columns of the scan
//! that the plan yields, too. `and_columns`: the plan is a projection, and yields its columns before the others.
RowFilter YieldRowIds(unique_ptr<LogicalOperator> plan, const vector<idx_t> &path, const vector<ProjectionIndex> &keys,
                      bool and_columns = false);

} // namespace duckdb
