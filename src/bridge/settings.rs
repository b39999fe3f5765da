//! Options, settings, names and macros for C++.

use super::ffi;
use crate::bridge::guard::{Crossing, guard, guard_or};
use crate::index::RepairKind;
use crate::options::{self, Metric, Options, Quantization};
use crate::search::{self, Strategy};

pub(super) fn parse_options(given: &[ffi::GivenOption]) -> std::result::Result<ffi::IndexOptions, Crossing> {
    guard(|| {
        let options = Options::parse(given.iter().map(|option| (option.name.clone(), option.into())))?;
        Ok(options.into())
    })
}

pub(super) fn check_ef_search(given: i64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_ef_search(given))
}

pub(super) fn check_rescore(given: f64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_rescore(given))
}

pub(super) fn check_target_recall(given: f64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_target_recall(given))
}

pub(super) fn default_rescore() -> f64 {
    options::RESCORE
}

pub(super) fn default_ef_search() -> usize {
    Options::default().ef_search
}

pub(super) fn check_dimensions(given: i64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_dimensions(given))
}

pub(super) fn parse_default_quantization(given: &str) -> std::result::Result<ffi::Quantization, Crossing> {
    guard(|| Ok(Quantization::parse_default(given)?.into()))
}

pub(super) fn metric_name(metric: ffi::Metric) -> &'static str {
    Metric::from(metric).name()
}

fn set_if_found(metric: &mut ffi::Metric, found: Option<Metric>) -> bool {
    *metric = found.map_or(*metric, ffi::Metric::from);
    found.is_some()
}

/// Whether a metric has this name or alias; if so, sets `metric` to it.
pub(super) fn find_metric(given: &str, metric: &mut ffi::Metric) -> bool {
    guard_or(false, || set_if_found(metric, Metric::find(given)))
}

/// All names of metrics, as messages list them.
pub(super) fn metric_names() -> String {
    Metric::names()
}

/// The digest of a vector; see [`crate::digest::digest`].
pub(super) fn vector_digest(elements: &[u8], nulls: &[u8]) -> ffi::VectorDigest {
    let digest = crate::digest::digest(elements, nulls);
    ffi::VectorDigest { upper: (digest >> 64) as u64, lower: digest as u64 }
}

pub(super) fn quantization_name(quantization: ffi::Quantization) -> &'static str {
    Quantization::from(quantization).name()
}

/// The name that `hnsw_index_health()` shows; empty for `Nothing`.
pub(super) fn repair_name(kind: ffi::RepairKind) -> &'static str {
    kind.core().map_or("", RepairKind::name)
}

/// Whether a metric ranks like the SQL function; if so, sets `metric` to it.
pub(super) fn ranking_metric(function: &str, descending: bool, metric: &mut ffi::Metric) -> bool {
    guard_or(false, || set_if_found(metric, Metric::ranking_like(function, descending)))
}

/// The distance, by the metric that ranks like the SQL function, at which the function has this value; NaN for other functions.
pub(super) fn distance_at(function: &str, value: f64) -> f64 {
    guard_or(f64::NAN, || Metric::distance_at(function, value).unwrap_or(f64::NAN))
}

pub(super) fn parse_strategy(given: &str) -> std::result::Result<ffi::Strategy, Crossing> {
    guard(|| Ok(Strategy::parse(given)?.map_or(ffi::Strategy::Auto, ffi::Strategy::from)))
}

/// The name that EXPLAIN shows.
pub(super) fn strategy_name(strategy: ffi::Strategy) -> &'static str {
    strategy.core().map_or("auto", Strategy::name)
}

/// The mean of the recalls of some searches. `index_ms`, `exact_ms`: total milliseconds, through the index and exactly.
pub(super) fn mean_recall(recalls: &[f64], index_ms: f64, exact_ms: f64) -> ffi::RecallReport {
    search::Recall::of(recalls, index_ms, exact_ms).into()
}

/// The recall of an exact search whose time was not measured.
pub(super) fn exact_recall() -> ffi::SearchRecall {
    ffi::SearchRecall { recall: 1.0, index_ms: 0.0, exact_ms: 0.0 }
}

/// The macros as SQL; each text has one or more statements.
pub(super) fn macro_sources() -> Vec<String> {
    [
        include_str!("../../sql/distances.sql"),
        include_str!("../../sql/hybrid_search.sql"),
        include_str!("../../sql/mmr.sql"),
        include_str!("../../sql/more_like_this.sql"),
        include_str!("../../sql/near_duplicates.sql"),
        include_str!("../../sql/rrf.sql"),
        include_str!("../../sql/vector_search.sql"),
        include_str!("../../sql/vss_join.sql"),
        include_str!("../../sql/vss_match.sql"),
    ]
    .map(str::to_owned)
    .to_vec()
}
