//! hnsw_explain('<query>'): for each HNSW index of the tables in a query, whether it is used, and if not, why.
#pragma once

namespace duckdb {

class ExtensionLoader;

void RegisterExplain(ExtensionLoader &loader);

} // namespace duckdb
