//! `pragma_hnsw_index_info()`, `PRAGMA hnsw_index_info`, `PRAGMA hnsw_compact_index`, `PRAGMA hnsw_finish`.
#pragma once

namespace duckdb {

class ExtensionLoader;

void RegisterPragmas(ExtensionLoader &loader);

} // namespace duckdb
