//! Conditions between rows of a table and rows with query vectors: they tell which rows qualify for which query vector.
#pragma once

#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "host/host.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

//! The conditions, as they are planned.
class PairFilter {
public:
	//! `conditions`: over the `keys` columns kept of a row of the table, followed by the columns of a row with a query
	//! vector.
	PairFilter(vector<unique_ptr<Expression>> conditions, idx_t keys);

	//! All conditions as one, over the keys followed by `probe_columns`.
	unique_ptr<Expression> condition;
	//! The columns of a row with a query vector that the condition uses.
	vector<idx_t> probe_columns;
	//! The sides of equalities: expressions over the keys, and over the columns of a row with a query vector.
	vector<unique_ptr<Expression>> row_sides;
	vector<unique_ptr<Expression>> probe_sides;
};

//! Rows of a table with their keys. They are grouped by what has to equal something of a row with a query vector.
class KeyedRows {
public:
	//! `types`: of the keys.
	KeyedRows(ClientContext &context, vector<LogicalType> types);

	//! The keys, followed by the row id.
	ColumnDataCollection rows;

	//! Groups the rows by `sides`, expressions over their keys; does nothing if there are none. May be called once,
	//! when all rows are there.
	void Group(ClientContext &context, const vector<unique_ptr<Expression>> &sides);
	//! Fills `chunk` with rows of the group of `hash`, and perhaps some others, from `next` on, which is 0 at first.
	//! False if there are no more.
	bool Scan(hash_t hash, idx_t &next, DataChunk &chunk) const;

private:
	bool grouped = false;
	vss::ReservedMemory memory;
	//! Rows, group by group: the number of the chunk and the place in it. `begins`: where each group begins, and where
	//! the last one ends. The low bits of a hash are the number of its group.
	vector<uint32_t> places;
	vector<uint32_t> begins;
};

//! The sets of rows found so far, by the values that the condition uses of a row with a query vector.
class QualifyingRows {
public:
	using Set = rust::Box<vss::RowSet>;

	shared_ptr<Set> Find(const string &values);
	void Add(const string &values, shared_ptr<Set> set);

private:
	mutex lock;
	unordered_map<string, shared_ptr<Set>> sets;
};

//! Finds the rows that qualify for a query vector. Each thread needs one of its own.
class PairFilterExecutor {
public:
	//! `all`: all rows in `rows`. Sets are charged to the same account as `all`.
	PairFilterExecutor(ClientContext &context, const PairFilter &filter, const KeyedRows &rows, const vss::RowSet &all,
	                   QualifyingRows &found);

	//! The committed rows that qualify for row `probe` of `probes`. Errors: interrupted, out of memory.
	shared_ptr<QualifyingRows::Set> Qualifying(DataChunk &probes, idx_t probe, const vss::HostInterrupt &interrupt);

private:
	ClientContext &context;
	const PairFilter &filter;
	const KeyedRows &rows;
	const vss::RowSet &all;
	QualifyingRows &found;
	ExpressionExecutor executor;
	//! Computes the sides of equalities of rows with query vectors.
	ExpressionExecutor probe_executor;
	DataChunk sides;
	//! Rows, and the same rows paired with the query vector.
	DataChunk chunk;
	DataChunk pairs;
	vector<int64_t> row_ids;
};

} // namespace duckdb
