//! `hnsw_index_health()`: what becomes of each index now, without waiting for it.
#pragma once

namespace duckdb {

class ExtensionLoader;

void RegisterHealth(ExtensionLoader &loader);

} // namespace duckdb
