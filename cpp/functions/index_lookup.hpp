//! Looks HNSW indexes up by name, for pragmas and functions.
#pragma once

#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "host/aside.hpp"

namespace duckdb {

class DuckTableEntry;
struct SharedIndex;

//! An HNSW index that the transaction sees, bound. It may have to be compared with its table.
struct FoundIndex {
	reference<IndexCatalogEntry> entry;
	shared_ptr<IndexEntry> index;
	reference<DataTable> storage;
	//! The indexed column or expression, as SQL.
	string expression;

	//! The names of its database, its schema, of itself and its table: the first columns of functions that have a row for each index.
	vector<Value> Names() const;
};

//! A column of a function that has a row for each index.
struct IndexColumn {
	const char *name;
	LogicalType type;
};

//! What such a function returns.
void BindColumns(const vector<IndexColumn> &columns, vector<LogicalType> &types, vector<Identifier> &names);

//! Every HNSW index of every attached database.
vector<FoundIndex> FindIndexes(ClientContext &context);

//! The same, bound or not: reads none, and takes no lock but those of the tables' index lists, for moments. Without expressions.
vector<FoundIndex> ListIndexes(ClientContext &context);

//! The HNSW indexes of `table` that the transaction sees, bound, in the order in which they were made.
vector<FoundIndex> FindIndexes(ClientContext &context, DuckTableEntry &table);

//! The index called `[catalog.][schema.]name`, where schemas may be nested. Throws a BinderException if there is
//! none, if it has another type, or if the name fits several.
FoundIndex FindIndex(ClientContext &context, const string &name);

//! Brings an index in step with its table, see `HNSWIndex::Reconcile`.
void Reconcile(ClientContext &context, const vss::HostInterrupt &interrupt, const FoundIndex &found);

//! The index for a search or for its upkeep, in step with its table. Throws an InvalidInputException if it does not cover that.
unique_ptr<SharedIndex> ShareInStep(ClientContext &context, const vss::HostInterrupt &interrupt,
                                    const FoundIndex &found);

//! What a table function does before it reads indexes: it brings them in step with their tables, aside.
class ReconcileFirst {
public:
	//! Whether it is done; the function has to return if it is not, and will be called again. Always with the same indexes.
	bool Done(ClientContext &context, TableFunctionInput &input, const vector<FoundIndex> &indexes);

private:
	bool is_done = false;
	unique_ptr<Aside> work;
};

//! Throws an InvalidInputException: the index does not cover its table.
[[noreturn]] void ThrowIncomplete(const string &name);

//! Makes HNSW indexes bindable that a change without the extension has left in state BINDING, in which DuckDB waits for
//! ever. For LOAD, while the index type is unknown: nobody can be binding them. Holds each list's lock in turn.
void ReleaseStuckIndexes(DatabaseInstance &db);

} // namespace duckdb
