//! The extension's settings: `hnsw_ef_search`, `hnsw_target_recall`, `hnsw_rescore`, `hnsw_default_quantization`,
//! `hnsw_enable_experimental_persistence`, `hnsw_prefilter`.
#pragma once

#include "duckdb/common/optional_idx.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class ClientContext;
struct DBConfig;

constexpr const char *EF_SEARCH_SETTING = "hnsw_ef_search";
constexpr const char *TARGET_RECALL_SETTING = "hnsw_target_recall";
constexpr const char *RESCORE_SETTING = "hnsw_rescore";
constexpr const char *QUANTIZATION_SETTING = "hnsw_default_quantization";
constexpr const char *PERSISTENCE_SETTING = "hnsw_enable_experimental_persistence";
constexpr const char *PREFILTER_SETTING = "hnsw_prefilter";
//! For benchmarks; not documented for users.
constexpr const char *STRATEGY_SETTING = "hnsw_strategy";

//! Registers the settings. Values are checked when they are set.
void RegisterSettings(DBConfig &config);

//! The search width for `k` rows of an index: that of the session, that of the index, or the one that finds the share of the nearest rows
//! that the session, or the index, is to find. What comes first here wins.
idx_t SearchWidth(ClientContext &context, const vss::IndexHandle &core, const vss::IndexOptions &options, idx_t k);
//! The share of the nearest rows that searches of an index are to find in this session; 0 if none is.
double TargetRecall(ClientContext &context, const vss::IndexOptions &options);
//! How many standard errors the distances of codes may be off, as searches see it.
double Rescore(ClientContext &context);
//! The quantization of indexes that are created without the option.
vss::Quantization DefaultQuantization(ClientContext &context);
//! Whether queries with a filter may be served from an index.
bool PrefilterEnabled(ClientContext &context);
//! How searches are to be done.
vss::Strategy SearchStrategy(ClientContext &context);
//! Whether an index may be created in a database file.
bool PersistenceEnabled(ClientContext &context);

} // namespace duckdb
