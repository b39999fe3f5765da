//! `ORDER BY … LIMIT k` over a UNION ALL: its first k rows are among the first k rows of each part.
#pragma once

#include "duckdb/planner/logical_operator.hpp"

namespace duckdb {

using LimitedParts = vector<reference<unique_ptr<LogicalOperator>>>;

//! If `op` orders the rows of a UNION ALL by a distance: limits its parts, so that searches can find the rows of each.
//! Returns the slots of the limits.
LimitedParts LimitParts(LogicalOperator &op);

//! Takes the limits away again from parts in which nothing is searched.
void UnlimitParts(const LimitedParts &parts);

} // namespace duckdb
