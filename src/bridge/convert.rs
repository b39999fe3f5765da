//! Conversions between the types of the border and those of the core.

use super::ffi;
use crate::error::ErrorKind;
use crate::graph::LevelStats;
use crate::index::{Health, Image, Norms, Origin, RepairKind, Stats, Steps};
use crate::options::{Given, Metric, Options, Quantization};
use crate::search::{
    Bounds, Found, Outcome, Pairs, PairsOutcome, PairsRequest, RangeOutcome, RangeRequest, RangeRows, ReadCosts,
    Recall, Report, Request, RowSet, SearchRecall, Strategy, TargetInfo,
};

/// Converts between an enum of the core and that of the border, which has the same variants. The border's may have more, and may hold any
/// number, like enums of C++.
macro_rules! mirrored {
    ($name:ident: $($variant:ident),+) => {
        impl From<$name> for ffi::$name {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant),+
                }
            }
        }

        impl ffi::$name {
            /// The value in the core; `None` if the core has no such variant.
            pub(super) fn core(self) -> Option<$name> {
                match self {
                    $(Self::$variant => Some($name::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

mirrored!(ErrorKind: Binder, InvalidInput, OutOfMemory, Interrupted, Corrupt, Storage, Internal);
mirrored!(Metric: L2sq, Cosine, Ip);
mirrored!(Quantization: None, Sq8, Sq4);
mirrored!(RepairKind: Consolidation, Compaction, Renewal);
mirrored!(Strategy: Exact, Graph, Recheck, Filtered, All, Scan);

// C++ hands back only values that it was given, so the defaults below do not occur.

impl From<ffi::Metric> for Metric {
    fn from(metric: ffi::Metric) -> Self {
        metric.core().unwrap_or(Self::Ip)
    }
}

impl From<ffi::Quantization> for Quantization {
    fn from(quantization: ffi::Quantization) -> Self {
        quantization.core().unwrap_or(Self::None)
    }
}

impl From<ffi::RowOrigin> for Origin {
    fn from(origin: ffi::RowOrigin) -> Self {
        match origin {
            ffi::RowOrigin::Host => Self::Host,
            ffi::RowOrigin::Log => Self::Log,
            // An unknown number counts as `Scan`, the origin that never overrides the host.
            _ => Self::Scan,
        }
    }
}

impl From<&ffi::GivenOption> for Given {
    fn from(option: &ffi::GivenOption) -> Self {
        match option.kind {
            ffi::OptionKind::Integer => Self::Integer(option.integer),
            ffi::OptionKind::Text => Self::Text(option.text.clone()),
            ffi::OptionKind::Missing => Self::Missing,
            _ => Self::Other { type_name: option.type_name.clone(), text: option.text.clone() },
        }
    }
}

impl From<Options> for ffi::IndexOptions {
    fn from(options: Options) -> Self {
        Self {
            metric: options.metric.into(),
            quantization: options.quantization.into(),
            m: options.m,
            m0: options.m0,
            ef_construction: options.ef_construction,
            ef_search: options.ef_search,
            ef_given: options.ef_given,
            target_recall: options.target_recall,
        }
    }
}

/// These options were checked before they went to C++.
impl From<&ffi::IndexOptions> for Options {
    fn from(options: &ffi::IndexOptions) -> Self {
        Self {
            metric: options.metric.into(),
            quantization: options.quantization.into(),
            m: options.m,
            m0: options.m0,
            ef_construction: options.ef_construction,
            ef_search: options.ef_search,
            ef_given: options.ef_given,
            target_recall: options.target_recall,
        }
    }
}

impl From<&ffi::ReadCosts> for ReadCosts {
    fn from(costs: &ffi::ReadCosts) -> Self {
        Self {
            looked_up: costs.looked_up,
            checked: costs.checked,
            skimmed: costs.skimmed,
            selected: costs.selected,
            scanned: costs.scanned,
        }
    }
}

impl ffi::SearchRequest {
    /// The core's request. `filter`: the rows that qualify; `None` if all do.
    pub(super) fn of<'a>(&self, query: &'a [f32], filter: Option<&'a RowSet>) -> Request<'a> {
        Request {
            query,
            k: self.k,
            rescore: self.rescore as f32,
            ef: self.ef,
            ties: self.ties,
            filter,
            undefined_last: self.undefined_last,
            ranked_only: self.ranked_only,
            narrows: self.narrows,
            narrows_query: self.narrows_query,
            metric: Some(self.metric.into()),
            costs: (&self.costs).into(),
            may_scan: true,
            forced: self.strategy.core(),
        }
    }
}

impl ffi::SearchAnswer {
    /// `ranked_only`: that of the request.
    pub(super) fn new(found: Found, ranked_only: bool) -> Self {
        let mut rows = found.rows;
        rows.sort_by_key(|row| !row.certain);
        Self {
            scan: matches!(found.outcome, Outcome::Scan),
            certain: rows.partition_point(|row| row.certain),
            complete: found.report.strategy == Strategy::All || ranked_only && found.exhausted,
            undefined: rows.iter().any(|row| row.distance.is_nan()),
            report: ffi::SearchReport::of(&found.report, rows.len()),
            row_ids: rows.into_iter().map(|row| row.row_id).collect(),
        }
    }
}

impl ffi::SearchReport {
    /// `candidates`: how many rows were found.
    pub(super) fn of(report: &Report, candidates: usize) -> Self {
        Self {
            strategy: report.strategy.into(),
            visited: report.visited as u64,
            distances: report.distances as u64,
            candidates: candidates as u64,
        }
    }
}

impl ffi::RangeRequest {
    /// The core's request. `filter`: the rows that qualify; `None` if all do.
    pub(super) fn of<'a>(&self, query: &'a [f32], filter: Option<&'a RowSet>) -> RangeRequest<'a> {
        RangeRequest {
            query,
            bounds: Bounds { nearest: self.nearest, farthest: self.farthest },
            filter,
            costs: self.may_scan.then(|| (&self.costs).into()),
        }
    }

    /// As `of`, for pairs: with several query vectors.
    pub(super) fn of_pairs<'a>(
        &self,
        queries: &'a [f32],
        filter: Option<&'a RowSet>,
        pairs_max: usize,
    ) -> PairsRequest<'a> {
        PairsRequest {
            queries,
            bounds: Bounds { nearest: self.nearest, farthest: self.farthest },
            filter,
            pairs_max,
            may_scan: self.may_scan,
        }
    }
}

impl From<Pairs> for ffi::Pairs {
    fn from(pairs: Pairs) -> Self {
        let outcome = match pairs.outcome {
            PairsOutcome::Complete => ffi::PairsOutcome::Complete,
            PairsOutcome::TooMany => ffi::PairsOutcome::TooMany,
            PairsOutcome::Scan => ffi::PairsOutcome::Scan,
        };
        Self {
            outcome,
            row_ids: pairs.pairs.iter().map(|pair| pair.row_id).collect(),
            queries: pairs.pairs.iter().map(|pair| pair.query).collect(),
            unranked: pairs.unranked,
            distances: pairs.distances as u64,
        }
    }
}

impl From<RangeOutcome> for ffi::RangeOutcome {
    fn from(outcome: RangeOutcome) -> Self {
        match outcome {
            RangeOutcome::Complete => Self::Complete,
            RangeOutcome::Again => Self::Again,
            RangeOutcome::Scan => Self::Scan,
        }
    }
}

impl ffi::RangeRows {
    /// Lets the core add rows to these lists.
    pub(super) fn fill<T>(&mut self, add: impl FnOnce(&mut RangeRows) -> T) -> T {
        let mut rows =
            RangeRows { certain: std::mem::take(&mut self.certain), uncertain: std::mem::take(&mut self.uncertain) };
        let result = add(&mut rows);
        (self.certain, self.uncertain) = (rows.certain, rows.uncertain);
        result
    }
}

impl From<ffi::ImageParts<'_>> for Image {
    fn from(image: ffi::ImageParts<'_>) -> Self {
        let ffi::ImageParts { root, norms, widths, pages } = image;
        Self { root: root.to_vec(), norms: norms.to_vec(), widths: widths.to_vec(), pages: pages.to_vec(), written: 0 }
    }
}

impl From<Image> for ffi::StoredImage {
    fn from(image: Image) -> Self {
        Self {
            root: image.root,
            norms: image.norms,
            widths: image.widths,
            pages: image.pages,
            written: image.written as u64,
        }
    }
}

impl From<Norms> for ffi::Norms {
    fn from(norms: Norms) -> Self {
        let known = norms.is_known() && !norms.is_empty();
        let norms = if known { norms } else { Norms::UNKNOWN };
        Self { known, min: norms.min.into(), max: norms.max.into() }
    }
}

impl From<Recall> for ffi::RecallReport {
    fn from(measured: Recall) -> Self {
        Self {
            queries: measured.queries as u64,
            recall: measured.recall,
            low: measured.low,
            high: measured.high,
            index_ms: measured.index_ms,
            exact_ms: measured.exact_ms,
        }
    }
}

impl From<SearchRecall> for ffi::SearchRecall {
    fn from(measured: SearchRecall) -> Self {
        Self { recall: measured.recall, index_ms: measured.index_ms, exact_ms: measured.exact_ms }
    }
}

impl From<TargetInfo> for ffi::TargetInfo {
    fn from(info: TargetInfo) -> Self {
        Self {
            ef: info.ef,
            recall: info.recall,
            low: info.low,
            high: info.high,
            queries: info.queries,
            asked: info.asked,
            time: info.time,
        }
    }
}

impl From<&LevelStats> for ffi::LevelInfo {
    fn from(level: &LevelStats) -> Self {
        Self {
            nodes: level.nodes as u64,
            edges: level.edges as u64,
            max_edges: level.max_edges as u64,
            allocated_bytes: level.allocated_bytes as u64,
        }
    }
}

impl From<Stats> for ffi::IndexInfo {
    fn from(stats: Stats) -> Self {
        Self {
            count: stats.count as u64,
            capacity: stats.capacity as u64,
            memory: stats.memory as u64,
            deleted: stats.deleted as u64,
            pending: stats.pending as u64,
            unrankable: stats.unrankable as u64,
            row_bytes: stats.row_bytes as u64,
            code_error: f64::from(stats.code_error),
            norms: stats.norms.into(),
            levels: stats.levels.iter().map(ffi::LevelInfo::from).collect(),
        }
    }
}

impl From<Steps> for ffi::Steps {
    fn from(steps: Steps) -> Self {
        Self { done: steps.done as u64, total: steps.total as u64 }
    }
}

impl ffi::IndexHealth {
    /// `target`: how well the index reaches the wanted share.
    pub(super) fn new(health: &Health, target: TargetInfo) -> Self {
        Self {
            count: health.count as u64,
            slots: health.slots as u64,
            dead: health.dead as u64,
            free: health.free as u64,
            tombstones: health.tombstones as u64,
            pending: health.pending as u64,
            linkers: health.linkers as u64,
            memory: health.memory as u64,
            target_recall: health.wanted,
            target: target.into(),
            repair: health.repair.map_or(ffi::RepairKind::Nothing, |repair| repair.kind.into()),
            repaired_slots: health.repair.map_or(0, |repair| repair.slots as u64),
            repair_time: health.repair.map_or(0, |repair| repair.time),
            consolidation: health.consolidation.into(),
            reconnection: health.reconnection.into(),
            compaction: health.compaction.into(),
            measurement: health.measurement.into(),
        }
    }
}
