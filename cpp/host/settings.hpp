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

//! The search width for `k` rows of an index. The first of these wins: `hnsw_ef_search` of the session, `ef_search` of
//! the index, the width measured for the target recall of the session or else of the index.
idx_t SearchWidth(ClientContext &context, const vss::IndexHandle &core, const vss::IndexOptions &options, idx_t k);
//! The target recall of searches of an index in this session; 0 if there is none.
double TargetRecall(ClientContext &context, const vss::IndexOptions &options);
//! How many standard errors a search allows the distances of codes to be off.
double Rescore(ClientContext &context);
//! The quantization of indexes that are created without the option.
vss::Quantization DefaultQuantization(ClientContext &context);
//! Whether queries with a filter may be served from an index.
bool PrefilterEnabled(ClientContext &context);
//! The strategy that the session forces; `Auto` if none.
vss::Strategy SearchStrategy(ClientContext &context);
//! Whether an index may be created in a database file.
bool PersistenceEnabled(ClientContext &context);

} // namespace duckdb
