//! Binding of stored indexes, beside statements that drop them.
#pragma once

#include "duckdb/common/optional.hpp"
#include "duckdb/common/shared_ptr.hpp"
#include "duckdb/common/string.hpp"
#include "duckdb/common/vector.hpp"

namespace duckdb {

class ClientContext;
class DatabaseInstance;
class IndexEntry;
struct DataTableInfo;

//! The entries of a table's index list, of any kind. Locks the list for a moment.
vector<shared_ptr<IndexEntry>> ListedIndexes(DataTableInfo &table);

//! Binds the indexes of this type, or of every type, that are not bound yet. An index that is dropped meanwhile is not
//! bound; DuckDB throws an InternalException then, over which it would invalidate the database. Throws whatever else
//! DuckDB throws. Takes the locks of the table's index list and of the entries for moments.
void BindUnlessDropped(ClientContext &context, DataTableInfo &table, const optional<string> &index_type);

//! Binds the HNSW indexes of a table, except those that DuckDB cannot bind now: memory is short, or somebody is renaming
//! the table.
void TryBind(ClientContext &context, DataTableInfo &table);

//! Called by HNSWIndex::CreateInstance: from now on an HNSW index of this thread is being bound.
void NoteInstance();

//! DuckDB 2.0.0 waits for ever for an index that could not be bound, as when its type was not known. Lets it bind such
//! HNSW indexes again. Must be called when the type is known, and may run beside statements that bind. If there are
//! such indexes, takes as long as somebody binds one of them, and `STUCK_AFTER`. Does nothing in later versions.
void ReleaseStuckIndexes(DatabaseInstance &db);

} // namespace duckdb
