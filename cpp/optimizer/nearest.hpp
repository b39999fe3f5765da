//! Recognizes operators that keep, of the rows below them, only the nearest ones: ORDER BY with a LIMIT, aggregates such as min_by, and
//! window functions under a filter on the rank. DuckDB plans LATERAL joins and correlated subqueries with a LIMIT as one of the latter two.
#pragma once

#include "duckdb/planner/bound_result_modifier.hpp"
#include "duckdb/planner/logical_operator.hpp"
#include "optimizer/refusal.hpp"

namespace duckdb {

class Binder;
class ClientContext;
class LogicalAggregate;

//! What an operator needs of its input: for each group of rows, the first `k` by each of the order keys.
//!
//! Where the input is a cross product with query vectors, the `k` rows nearest to each query vector are enough,
//! whichever query vectors share a group: the nearest of a union are among the nearest of its parts.
struct Nearest {
	explicit Nearest(unique_ptr<LogicalOperator> &input_p) : input(input_p) {
	}

	//! The slot of the operator's input.
	reference<unique_ptr<LogicalOperator>> input;
	//! All are over the same distance, or the index cannot serve them together.
	vector<BoundOrderByNode> orders;
	idx_t k = 0;
	//! Rows that tie with the last one wanted are wanted, too: further keys decide between them, or all are kept.
	bool ties = false;
	//! The operator drops rows for no other reason than their distance.
	bool all_nearest = true;
	//! It is an ORDER BY, which may yield one of several pages, each with an OFFSET.
	bool ordered = false;
	//! The groups must not depend on the table that is searched, unless only the best of them are wanted.
	vector<unique_ptr<Expression>> groups;
	//! Only the `k` groups with the nearest rows are wanted, and the nearest row of each.
	bool best_groups = false;
	//! Groups whose distance is NaN come first. A group has NaN only if none of its rows has a number.
	bool undefined_first = false;
	//! If DuckDB groups before it joins: the aggregate below the joins whose states are combined. It keeps what is
	//! needed of the nearest rows.
	optional_ptr<LogicalAggregate> partial;
	//! Conditions between the operator and the groups or rows that are searched for. They stay where they are, and each
	//! must let near ones pass before farther ones: see `DistanceMatcher::KeepsFirst`.
	vector<unique_ptr<Expression>> conditions;
	//! The operator does not count rows where one of these is NULL.
	vector<unique_ptr<Expression>> counted;
	//! The operator does not count rows where one of these is not true. Dropping them changes nothing.
	vector<unique_ptr<Expression>> filters;
};

//! What `op` keeps, if it keeps only nearest rows. Otherwise nothing; if `op` comes close, with the reason.
OrRefusal<Nearest> FindNearest(ClientContext &context, LogicalOperator &op);

//! Puts a search of an index below `op` if it keeps only nearest rows and an index can find them.
void ServeNearest(Binder &binder, LogicalOperator &op);

} // namespace duckdb
