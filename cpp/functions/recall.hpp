//! `hnsw_recall('index', k := 10, queries := 100)`: how well an index answers, measured on its own rows.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Registers the table function. One row: index_name, k, queries, ef_search, recall with its 95 % confidence interval
//! (recall_low, recall_high), and the mean latency in milliseconds of the index and of the exact search.
void RegisterRecall(ExtensionLoader &loader);

} // namespace duckdb
