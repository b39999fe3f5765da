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
//! Where the input is a cross product with query vectors, it is enough to have the `k` rows nearest to each query
//! vector, whichever query vectors share a group: the nearest of a union are among the nearest of its parts.
struct Nearest {
	explicit Nearest(unique_ptr<LogicalOperator> &input_p) : input(input_p) {
	}

	//! The slot of the operator's input.
	reference<unique_ptr<LogicalOperator>> input;
	//! All over the same distance, or the index cannot serve them together.
	vector<BoundOrderByNode> orders;
	idx_t k = 0;
	//! Rows that tie with the last one wanted are wanted, too: further keys decide, or all of them are kept.
	bool ties = false;
	//! Nothing else keeps rows out: they are all of the nearest, whatever else is true of them.
	bool all_nearest = true;
	//! It is an ORDER BY: it may be one of several pages, each with an OFFSET.
	bool ordered = false;
	//! The groups must not depend on the table that is searched, unless only the best of them are wanted.
	vector<unique_ptr<Expression>> groups;
	//! Of the groups only those with the nearest rows are wanted, as many as `k`, and of each its nearest row.
	bool best_groups = false;
	//! The aggregate below joins whose states are combined, if DuckDB groups before it joins. It keeps what is needed of the nearest rows.
	optional_ptr<LogicalAggregate> partial;
	//! The operator does not count rows where one of these is NULL.
	vector<unique_ptr<Expression>> counted;
	//! The operator does not count rows where one of these is not true. Dropping them changes nothing.
	vector<unique_ptr<Expression>> filters;
};

//! What `op` keeps, if it keeps only nearest rows; otherwise nothing, with the reason if `op` comes close.
OrRefusal<Nearest> FindNearest(ClientContext &context, LogicalOperator &op);

//! Puts a search of an index below `op` if it keeps only nearest rows and an index can find them.
void ServeNearest(Binder &binder, LogicalOperator &op);

} // namespace duckdb
