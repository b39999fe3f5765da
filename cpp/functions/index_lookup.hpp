//! Looks HNSW indexes up by name, for pragmas and functions.
#pragma once

#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "host/aside.hpp"

namespace duckdb {

class DuckTableEntry;
struct SharedIndex;

//! An HNSW index that the transaction sees, bound. A comparison with its table may be due.
struct FoundIndex {
	reference<IndexCatalogEntry> entry;
	shared_ptr<IndexEntry> index;
	reference<DataTable> storage;
	//! The indexed column or expression, as SQL.
	string expression;

	//! The names of the database, the schema, the index and the table: the first columns of functions with a row per
	//! index.
	vector<Value> Names() const;
};

//! A column of a function with a row per index.
struct IndexColumn {
	const char *name;
	LogicalType type;
};

//! Adds the types and names of such columns.
void BindColumns(const vector<IndexColumn> &columns, vector<LogicalType> &types, vector<Identifier> &names);

//! Every HNSW index of every attached database.
vector<FoundIndex> FindIndexes(ClientContext &context);

//! The same, bound or not, without expressions. Reads no index. Takes only the locks of the tables' index lists, for
//! moments.
vector<FoundIndex> ListIndexes(ClientContext &context);

//! The HNSW indexes of `table` that the transaction sees, bound, in the order of their creation.
vector<FoundIndex> FindIndexes(ClientContext &context, DuckTableEntry &table);

//! The index called `[catalog.][schema.]name`, where schemas may be nested. Throws a BinderException if there is
//! none, if it has another type, or if the name fits several.
FoundIndex FindIndex(ClientContext &context, const string &name);

//! Brings an index in step with its table, see `HNSWIndex::Reconcile`.
void Reconcile(ClientContext &context, const vss::HostInterrupt &interrupt, const FoundIndex &found);

//! The index, in step with its table, for a search or for upkeep. Throws an InvalidInputException if it does not cover
//! the table.
unique_ptr<SharedIndex> ShareInStep(ClientContext &context, const vss::HostInterrupt &interrupt,
                                    const FoundIndex &found);

//! Brings indexes in step with their tables, aside, before a table function reads them.
class ReconcileFirst {
public:
	//! Whether it is done. If not, the function has to return, and DuckDB will call it again. `indexes` must be the
	//! same each time.
	bool Done(ClientContext &context, TableFunctionInput &input, const vector<FoundIndex> &indexes);

private:
	bool is_done = false;
	unique_ptr<Aside> work;
};

//! Throws an InvalidInputException which says that the index does not cover its table; a TransactionException if the
//! table was changed since the caller's transaction has looked it up.
[[noreturn]] void ThrowIncomplete(const FoundIndex &found);

} // namespace duckdb
