//! Operators of a plan: what they do to rows, which scans they are over, and how one takes the place of others.
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
	//! Rows get through, perhaps not all.
	RESTRICTS,
	//! Anything else.
	CHANGES
};

//! Why the scan of `get` cannot be replaced although an index fits.
Refusal RefuseGet(const LogicalGet &get);
//! The filter of a scan on `column` as a predicate over that column; null if it has no such form.
unique_ptr<Expression> AsPredicate(const LogicalGet &get, const TableFilter &filter, ProjectionIndex column);
//! The scan of `get` without its filters, yielding the columns of `bindings`.
unique_ptr<LogicalGet> WithoutFilters(const LogicalGet &get, const vector<ColumnBinding> &bindings);
//! Gives `scan`, which is part of `plan`, a new table index, as its own is still needed elsewhere.
void Renumber(Binder &binder, LogicalOperator &plan, LogicalGet &scan);
//! Puts `filter` above `slot`. It yields `columns` in this order, since operators above may know them by their
//! positions.
void PutFilter(unique_ptr<LogicalFilter> filter, unique_ptr<LogicalOperator> &slot,
               const vector<ColumnBinding> &columns);
//! What `op` does to the rows of the child `child`.
Effect EffectOf(LogicalOperator &op, idx_t child);
//! Whether `op` passes the rows of `child` on as they are. It may drop some, pair them with others, and add columns.
bool PassesRows(LogicalOperator &op, idx_t child);
//! The scan of a DuckDB table below `op`; null if there are other operators between than projections and filters.
optional_ptr<LogicalGet> ScanBelow(LogicalOperator &op);
//! Whether `op` keeps rows of one child that have no partner in the other.
bool IsOuterJoin(const LogicalOperator &op);
//! Whether `op` pairs rows of its children.
bool IsInnerJoin(const LogicalOperator &op);
//! A condition of a join.
struct JoinPart {
	unique_ptr<Expression> condition;
	//! It compares an expression of one side with one of the other; each is computed for all rows of its side.
	bool compares_sides;
};
//! The conditions of `join`; none for a cross product.
vector<JoinPart> JoinPartsOf(LogicalOperator &join);
//! Whether every column in `expr` comes from `op`.
bool HasBindingsOf(LogicalOperator &op, const Expression &expr);

} // namespace duckdb
