//! Operators of a plan: what they do to rows, what they are over, and how they are put in the place of others.
#pragma once

#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "optimizer/refusal.hpp"

namespace duckdb {

class Binder;

//! What an operator does to the rows of one of its children.
enum class Effect {
	//! Every row gets through, once or more often.
	KEEPS,
	//! Rows get through, some of them perhaps not.
	RESTRICTS,
	//! Anything else.
	CHANGES
};

//! Why the scan of `get` cannot be replaced although an index fits.
Refusal RefuseGet(const LogicalGet &get);
//! Filters of a scan as predicates over its columns; nothing if they are none.
unique_ptr<Expression> AsPredicate(const LogicalGet &get, const TableFilter &filter, ProjectionIndex column);
//! The scan of `get` without its filters, yielding the columns of `bindings`.
unique_ptr<LogicalGet> WithoutFilters(const LogicalGet &get, const vector<ColumnBinding> &bindings);
//! Gives `scan`, which is part of `plan`, another table index: its own is still needed elsewhere.
void Renumber(Binder &binder, LogicalOperator &plan, LogicalGet &scan);
//! Puts `filter` above `slot`, where it yields `columns` in this order: operators above may know them by their positions.
void PutFilter(unique_ptr<LogicalFilter> filter, unique_ptr<LogicalOperator> &slot,
               const vector<ColumnBinding> &columns);
//! What `op` does to the rows of this child.
Effect EffectOf(LogicalOperator &op, idx_t child);
//! Whether `op` passes rows of this child on as they are: perhaps not all, paired with others, or with more columns.
bool PassesRows(LogicalOperator &op, idx_t child);
//! The scan of a table of DuckDB's below `op`, if there are only projections and filters between.
optional_ptr<LogicalGet> ScanBelow(LogicalOperator &op);
//! Whether `op` keeps rows of a child that have no partner in the other.
bool IsOuterJoin(const LogicalOperator &op);
//! Whether `op` pairs rows of its children.
bool IsInnerJoin(const LogicalOperator &op);
//! A condition of a join.
struct JoinPart {
	unique_ptr<Expression> condition;
	//! It compares something of one side with something of the other, each of which is computed for all rows of its side.
	bool compares_sides;
};
//! The conditions of `join`; of a cross product there are none.
vector<JoinPart> JoinPartsOf(LogicalOperator &join);
//! Whether every column in `expr` comes from `op`.
bool HasBindingsOf(LogicalOperator &op, const Expression &expr);

} // namespace duckdb
