//! `hnsw_index_health()`: what each index is doing now, without waiting for it.
#pragma once

namespace duckdb {

class ExtensionLoader;

void RegisterHealth(ExtensionLoader &loader);

} // namespace duckdb
