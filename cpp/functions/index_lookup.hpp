//! Looks HNSW indexes up by name, for pragmas and functions.
#pragma once

#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"

namespace duckdb {

//! An HNSW index that the transaction sees, bound.
struct FoundIndex {
	reference<IndexCatalogEntry> entry;
	shared_ptr<IndexEntry> index;
	reference<DataTable> storage;
	//! The indexed column or expression, as SQL.
	string expression;
};

//! Every HNSW index of every attached database.
vector<FoundIndex> FindIndexes(ClientContext &context);

//! The index called `[catalog.][schema.]name`, where schemas may be nested. Throws a BinderException if there is
//! none, if it has another type, or if the name fits several.
FoundIndex FindIndex(ClientContext &context, const string &name);

//! Throws an InvalidInputException: the index does not cover its table.
[[noreturn]] void ThrowIncomplete(const string &name);

//! Makes HNSW indexes bindable that a change without the extension has left in state BINDING, in which DuckDB waits for
//! ever. For LOAD, while the index type is unknown: nobody can be binding them. Holds each list's lock in turn.
void ReleaseStuckIndexes(DatabaseInstance &db);

} // namespace duckdb
