//! Conditions between rows of a table and rows with query vectors: which rows qualify for which query vector.
#pragma once

#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "host/host.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

//! The conditions, as they are planned.
class PairFilter {
public:
	//! `conditions`: over `keys` columns of a row of the table, then the columns of a row with a query vector.
	PairFilter(vector<unique_ptr<Expression>> conditions, idx_t keys);

	//! All conditions, over the keys and then `probe_columns`.
	unique_ptr<Expression> condition;
	//! The columns of a row with a query vector that are in the condition.
	vector<idx_t> probe_columns;
	//! What has to be equal: expressions over the keys, and over the columns of a row with a query vector.
	vector<unique_ptr<Expression>> row_sides;
	vector<unique_ptr<Expression>> probe_sides;
};

//! Rows of a table with their keys, grouped by what has to be equal in them and in a row with a query vector.
class KeyedRows {
public:
	//! `types`: of the keys.
	KeyedRows(ClientContext &context, vector<LogicalType> types);

	//! The keys, then the row id.
	ColumnDataCollection rows;

	//! Groups the rows by `sides`, over their keys; not at all if there are none. Once, when all rows are there.
	void Group(ClientContext &context, const vector<unique_ptr<Expression>> &sides);
	//! Fills `chunk` with rows of the group of `hash`, and some others, from `next` on, which is 0 at first; false if there are no more.
	bool Scan(hash_t hash, idx_t &next, DataChunk &chunk) const;

private:
	bool grouped = false;
	vss::ReservedMemory memory;
	//! Rows, group by group: the number of the chunk, and the place therein. Where each group begins, and the last one ends; the low bits of
	//! a hash are the number of its group.
	vector<uint32_t> places;
	vector<uint32_t> begins;
};

//! The sets of rows found so far, by what is in the condition of a row with a query vector.
class QualifyingRows {
public:
	using Set = rust::Box<vss::RowSet>;

	shared_ptr<Set> Find(const string &values);
	void Add(const string &values, shared_ptr<Set> set);

private:
	mutex lock;
	unordered_map<string, shared_ptr<Set>> sets;
};

//! Finds the rows that qualify for a query vector. For one thread.
class PairFilterExecutor {
public:
	//! `all`: the rows of `rows`. Their account is charged for the sets.
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
	//! Of what has to be equal, for the rows with query vectors.
	ExpressionExecutor probe_executor;
	DataChunk sides;
	//! Rows, and their pairs with the query vector.
	DataChunk chunk;
	DataChunk pairs;
	vector<int64_t> row_ids;
};

} // namespace duckdb
