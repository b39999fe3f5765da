//! Binding of stored indexes, beside statements that drop them.
#pragma once

#include "duckdb/common/shared_ptr.hpp"
#include "duckdb/common/string.hpp"
#include "duckdb/common/vector.hpp"

namespace duckdb {

class ClientContext;
class IndexEntry;
struct DataTableInfo;

//! The entries of a table's index list, of any kind. Locks the list for a moment.
vector<shared_ptr<IndexEntry>> ListedIndexes(DataTableInfo &table);

//! Binds the indexes of this type that are not bound yet. An index that is dropped meanwhile is not bound; DuckDB throws
//! an InternalException then, over which it would invalidate the database. Throws whatever else DuckDB throws. Takes the
//! locks of the table's index list and of the entries for moments.
void BindUnlessDropped(ClientContext &context, DataTableInfo &table, const string &index_type);

} // namespace duckdb
