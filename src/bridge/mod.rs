//! The border between Rust and C++, on one page: shared structs, Rust seen from C++, C++ seen from Rust.
//!
//! Only the text of an error crosses it, see [`guard`]; panics stop there.

mod guard;
mod host;

use std::ops::Deref;
use std::sync::Arc;

use cxx::UniquePtr;

use self::host::HostLedger;
use crate::bridge::guard::{Crossing, Soundness, guard, guard_or};
use crate::graph::LevelStats;
use crate::host::Unlimited;
use crate::index::{Image, Index, Norms, Origin, UNSETTLED};
use crate::memory::Memory;
use crate::options::{self, Given, Metric, Options, Quantization};
use crate::search::{self, Found, Outcome, Request, Strategy};

#[cxx::bridge(namespace = "vss")]
mod ffi {
    /// What kind of SQL value stands behind an option of `WITH (…)`.
    enum OptionKind {
        Integer,
        Text,
        Other,
        Missing,
    }

    /// One option of `WITH (…)` as the user wrote it.
    struct GivenOption {
        name: String,
        kind: OptionKind,
        integer: i64,
        text: String,
        type_name: String,
    }

    /// What went wrong, see [`crate::error::ErrorKind`].
    enum ErrorKind {
        Binder,
        InvalidInput,
        OutOfMemory,
        Interrupted,
        Corrupt,
        Storage,
        Internal,
    }

    /// What rows are ranked by, see [`crate::options::Metric`].
    enum Metric {
        L2sq,
        Cosine,
        Ip,
    }

    /// What an index keeps of vectors, see [`crate::options::Quantization`].
    enum Quantization {
        None,
        Sq8,
        Sq4,
    }

    /// How rows are searched, see [`crate::search::Strategy`].
    enum Strategy {
        /// Whichever is cheapest; only asked for.
        Auto,
        Exact,
        Graph,
        Recheck,
        Filtered,
        All,
        Scan,
    }

    /// Who hands rows to the index, see [`crate::index::Origin`].
    enum RowOrigin {
        Host,
        Scan,
    }

    /// Checked options of an index.
    #[derive(Clone)]
    struct IndexOptions {
        metric: Metric,
        quantization: Quantization,
        m: usize,
        m0: usize,
        ef_construction: usize,
        ef_search: usize,
    }

    /// What one search did.
    #[derive(Clone)]
    struct SearchReport {
        strategy: Strategy,
        /// Graph nodes expanded.
        visited: u64,
        /// Distances computed.
        distances: u64,
        /// Candidates returned.
        candidates: u64,
    }

    /// What is asked of a search, beside the query vector and the rows that qualify, see [`crate::search::Request`].
    struct SearchRequest {
        /// Rows wanted.
        want: usize,
        /// Search width.
        ef: usize,
        /// All rows that tie with the last one wanted are, too.
        ties: bool,
        /// Standard errors by which the distances of codes may be off, see [`check_rescore`].
        rescore: f64,
        /// Rows that the index does not rank are not wanted.
        ranked_only: bool,
        /// The table's vectors have digits that `f32` has not.
        narrows: bool,
        /// By what the host ranks.
        metric: Metric,
        /// How to search; for benchmarks.
        strategy: Strategy,
    }

    /// The answer to one search.
    struct SearchAnswer {
        /// The index cannot answer: scan the table.
        scan: bool,
        /// These are all rows that qualify, ranked or not; with `ranked_only` all that are ranked.
        complete: bool,
        /// Visible candidates, each once.
        row_ids: Vec<i64>,
        /// The first ones, so many: no row that was met and is not among `row_ids` is nearer than these.
        certain: usize,
        report: SearchReport,
    }

    /// One level of the graph, bottom first.
    struct LevelInfo {
        nodes: u64,
        edges: u64,
        max_edges: u64,
        allocated_bytes: u64,
    }

    /// An index as `pragma_hnsw_index_info()` shows it.
    struct IndexInfo {
        count: u64,
        capacity: u64,
        memory: u64,
        deleted: u64,
        pending: u64,
        unrankable: u64,
        /// Bytes of a vector in the graph.
        row_bytes: u64,
        /// The largest error of a code, as a share of its vector's distance from the centre; 0 for floats.
        code_error: f64,
        norms: Norms,
        levels: Vec<LevelInfo>,
    }

    /// Between which norms the vectors of an index are that it ranks, see [`crate::vectors::Norms`].
    #[derive(Clone)]
    struct Norms {
        /// There are such vectors, and all of them were measured. If not, `min` is 0 and `max` is infinite.
        known: bool,
        /// The smallest, rounded down.
        min: f64,
        /// The largest, rounded up.
        max: f64,
    }

    /// What `hnsw_recall` measured.
    struct RecallReport {
        /// Queries run: fewer than asked for when the index has fewer rows.
        queries: u64,
        /// Mean recall in [0, 1], NaN without queries, and its 95 % confidence interval.
        recall: f64,
        low: f64,
        high: f64,
        /// Mean milliseconds a search, through the index and exactly.
        index_ms: f64,
        exact_ms: f64,
    }

    /// An image of an index, as the host has to remember it.
    struct StoredImage {
        root: Vec<u8>,
        /// Between which norms its vectors are; of this root alone.
        norms: Vec<u8>,
        /// Ids of its pages, in order.
        pages: Vec<i64>,
        /// Bytes written for it.
        written: u64,
    }

    /// An index read from an image.
    struct LoadedCore {
        core: Box<IndexHandle>,
        /// Rows [0, covered) had been handed to it.
        covered: u64,
        /// The checkpoint at which it was known to agree with its table; 0 if it was not.
        verified: u64,
    }

    extern "Rust" {
        type IndexHandle;
        type RowSet;

        fn parse_options(given: &[GivenOption]) -> Result<IndexOptions>;
        fn check_ef_search(given: i64) -> Result<()>;
        fn check_rescore(given: f64) -> Result<()>;
        fn default_rescore() -> f64;
        fn check_dimensions(given: i64) -> Result<()>;
        fn parse_strategy(given: &str) -> Result<Strategy>;
        fn strategy_name(strategy: Strategy) -> &'static str;
        fn ranking_metric(function: &str, descending: bool, metric: &mut Metric) -> bool;
        fn metric_name(metric: Metric) -> &'static str;
        fn quantization_name(quantization: Quantization) -> &'static str;

        fn macro_sources() -> Vec<String>;

        fn create_core(
            options: &IndexOptions,
            dimensions: usize,
            memory: UniquePtr<HostMemory>,
        ) -> Result<Box<IndexHandle>>;
        fn idle_core() -> Result<Box<IndexHandle>>;
        fn load_core(
            options: &IndexOptions,
            dimensions: usize,
            memory: UniquePtr<HostMemory>,
            root: &[u8],
            norms: &[u8],
            pages: &[i64],
            store: &HostPages,
        ) -> Result<LoadedCore>;
        fn is_sound(self: &IndexHandle) -> bool;
        fn defect(self: &IndexHandle) -> String;
        fn share(self: &IndexHandle) -> Box<IndexHandle>;
        fn succeed(self: &IndexHandle, before: &IndexHandle);
        fn reserve_rows(self: &IndexHandle, rows: usize);
        fn scatter(self: &IndexHandle);
        fn append(self: &IndexHandle, origin: RowOrigin, row_ids: &[i64], vectors: &[f32]) -> Result<()>;
        fn without_vector(self: &IndexHandle, origin: RowOrigin, row_ids: &[i64]);
        fn remove(self: &IndexHandle, row_ids: &[i64], last_commit: u64);
        fn expire(self: &IndexHandle, last_commit: u64, lowest_visible: u64);
        fn pending(self: &IndexHandle) -> usize;
        fn link(self: &IndexHandle, max_rows: usize, interrupt: &HostInterrupt) -> Result<usize>;
        fn reconnect_due(self: &IndexHandle) -> bool;
        fn reconnect(self: &IndexHandle, max_nodes: usize, interrupt: &HostInterrupt) -> Result<usize>;
        fn consolidate_due(self: &IndexHandle) -> bool;
        fn oversize(self: &IndexHandle) -> bool;
        fn shrink_if_oversize(self: &IndexHandle, interrupt: &HostInterrupt) -> Result<bool>;
        fn tend(self: &IndexHandle, pending_max: usize, interrupt: &HostInterrupt) -> Result<()>;
        fn consolidate(self: &IndexHandle, max_nodes: usize, interrupt: &HostInterrupt) -> Result<usize>;
        fn finish(self: &IndexHandle, interrupt: &HostInterrupt) -> Result<()>;
        fn store(self: &IndexHandle, store: &HostPages, covered: u64, verified: u64) -> Result<StoredImage>;
        fn forget_pages(self: &IndexHandle) -> Vec<i64>;
        fn deleted_after(self: &IndexHandle) -> u64;
        fn begin_comparison(self: &IndexHandle, end: usize) -> Result<()>;
        fn saw(self: &IndexHandle, row_ids: &[i64]) -> bool;
        fn end_comparison(self: &IndexHandle, last_commit: u64) -> usize;
        unsafe fn search(
            self: &IndexHandle,
            query: &[f32],
            request: &SearchRequest,
            rows: *const RowSet,
            visibility: &HostVisibility,
        ) -> Result<SearchAnswer>;
        fn strategy(self: &IndexHandle, want: usize, ef: usize) -> Strategy;
        fn filtered_strategy(self: &IndexHandle, want: usize, ef: usize, qualifying: usize) -> Strategy;
        fn ef_of_pages(self: &IndexHandle, ef: usize) -> usize;
        fn compact(self: &IndexHandle, interrupt: &HostInterrupt) -> Result<()>;
        fn measure_recall(
            self: &IndexHandle,
            k: usize,
            queries: usize,
            ef: usize,
            interrupt: &HostInterrupt,
        ) -> Result<RecallReport>;
        fn memory_used(self: &IndexHandle) -> usize;
        fn ranks_by(self: &IndexHandle, metric: Metric) -> bool;

        fn create_row_set(memory: UniquePtr<HostMemory>) -> Result<Box<RowSet>>;
        fn insert(self: &mut RowSet, row_ids: &[i64]) -> Result<()>;
        fn merge(self: &mut RowSet, other: &RowSet) -> Result<()>;
        fn size(self: &RowSet) -> usize;
        fn contains(self: &RowSet, row_id: i64) -> bool;
        fn info(self: &IndexHandle) -> Result<IndexInfo>;
    }

    unsafe extern "C++" {
        include!("host/host.hpp");

        type HostMemory;
        fn reserve(self: &HostMemory, bytes: usize) -> Result<()>;
        fn release(self: &HostMemory, bytes: usize);

        include!("host/block_pages.hpp");

        type HostPages;
        fn page_bytes(self: &HostPages) -> usize;
        fn write(self: &HostPages, bytes: &[u8]) -> Result<i64>;
        fn read(self: &HostPages, id: i64, out: &mut [u8]) -> Result<()>;
        fn free(self: &HostPages, id: i64);

        type HostInterrupt;
        fn interrupted(self: &HostInterrupt) -> bool;

        type HostVisibility;
        fn visible(self: &HostVisibility, row_id: i64) -> bool;
    }
}

//---------------------------------------------------------------------------------------------------------------------
// Rust seen from C++
//---------------------------------------------------------------------------------------------------------------------

fn parse_options(given: &[ffi::GivenOption]) -> std::result::Result<ffi::IndexOptions, Crossing> {
    guard(|| {
        let given = given.iter().map(|option| {
            let value = match option.kind {
                ffi::OptionKind::Integer => Given::Integer(option.integer),
                ffi::OptionKind::Text => Given::Text(option.text.clone()),
                ffi::OptionKind::Missing => Given::Missing,
                _ => Given::Other { type_name: option.type_name.clone(), text: option.text.clone() },
            };
            (option.name.clone(), value)
        });
        let options = Options::parse(given)?;
        Ok(ffi::IndexOptions {
            metric: options.metric.into(),
            quantization: options.quantization.into(),
            m: options.m,
            m0: options.m0,
            ef_construction: options.ef_construction,
            ef_search: options.ef_search,
        })
    })
}

fn check_ef_search(given: i64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_ef_search(given))
}

fn check_rescore(given: f64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_rescore(given))
}

fn default_rescore() -> f64 {
    options::RESCORE
}

fn check_dimensions(given: i64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_dimensions(given))
}

impl From<Metric> for ffi::Metric {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::L2sq => Self::L2sq,
            Metric::Cosine => Self::Cosine,
            Metric::Ip => Self::Ip,
        }
    }
}

impl From<ffi::Metric> for Metric {
    fn from(metric: ffi::Metric) -> Self {
        match metric {
            ffi::Metric::L2sq => Self::L2sq,
            ffi::Metric::Cosine => Self::Cosine,
            // C++ has no others: it only hands back what it was given
            _ => Self::Ip,
        }
    }
}

fn metric_name(metric: ffi::Metric) -> &'static str {
    Metric::from(metric).name()
}

impl From<Quantization> for ffi::Quantization {
    fn from(quantization: Quantization) -> Self {
        match quantization {
            Quantization::None => Self::None,
            Quantization::Sq8 => Self::Sq8,
            Quantization::Sq4 => Self::Sq4,
        }
    }
}

impl From<ffi::Quantization> for Quantization {
    fn from(quantization: ffi::Quantization) -> Self {
        match quantization {
            ffi::Quantization::Sq8 => Self::Sq8,
            ffi::Quantization::Sq4 => Self::Sq4,
            // C++ has no others: it only hands back what it was given
            _ => Self::None,
        }
    }
}

fn quantization_name(quantization: ffi::Quantization) -> &'static str {
    Quantization::from(quantization).name()
}

/// Whether a metric ranks like the SQL function; `metric` is it then.
fn ranking_metric(function: &str, descending: bool, metric: &mut ffi::Metric) -> bool {
    guard_or(false, || {
        let found = Metric::ranking_like(function, descending);
        *metric = found.map_or(*metric, ffi::Metric::from);
        found.is_some()
    })
}

impl From<Strategy> for ffi::Strategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Exact => Self::Exact,
            Strategy::Graph => Self::Graph,
            Strategy::Recheck => Self::Recheck,
            Strategy::Filtered => Self::Filtered,
            Strategy::All => Self::All,
            Strategy::Scan => Self::Scan,
        }
    }
}

impl ffi::Strategy {
    /// The strategy, none for `Auto`.
    fn forced(self) -> Option<Strategy> {
        match self {
            Self::Exact => Some(Strategy::Exact),
            Self::Graph => Some(Strategy::Graph),
            Self::Recheck => Some(Strategy::Recheck),
            Self::Filtered => Some(Strategy::Filtered),
            Self::All => Some(Strategy::All),
            Self::Scan => Some(Strategy::Scan),
            _ => None,
        }
    }
}

fn parse_strategy(given: &str) -> std::result::Result<ffi::Strategy, Crossing> {
    guard(|| Ok(Strategy::parse(given)?.map_or(ffi::Strategy::Auto, ffi::Strategy::from)))
}

/// As EXPLAIN shows it.
fn strategy_name(strategy: ffi::Strategy) -> &'static str {
    strategy.forced().map_or("auto", Strategy::name)
}

/// The table macros as SQL, one or more statements each.
fn macro_sources() -> Vec<String> {
    [
        include_str!("../../sql/vector_search.sql"),
        include_str!("../../sql/vss_join.sql"),
        include_str!("../../sql/vss_match.sql"),
    ]
    .map(str::to_owned)
    .to_vec()
}

impl From<ffi::RowOrigin> for Origin {
    fn from(origin: ffi::RowOrigin) -> Self {
        // An origin that C++ made up wins over nothing.
        if origin == ffi::RowOrigin::Host { Self::Host } else { Self::Scan }
    }
}

impl From<Norms> for ffi::Norms {
    fn from(norms: Norms) -> Self {
        let known = norms.is_known() && !norms.is_empty();
        let norms = if known { norms } else { Norms::UNKNOWN };
        Self { known, min: norms.min.into(), max: norms.max.into() }
    }
}

/// A handle to an index; copies of it share the index.
pub struct IndexHandle(Arc<Guarded>);

/// An index, and whether it can be trusted.
struct Guarded {
    index: Index,
    soundness: Soundness,
}

impl Deref for Guarded {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.index
    }
}

impl From<Index> for Box<IndexHandle> {
    fn from(index: Index) -> Self {
        Box::new(IndexHandle(Arc::new(Guarded { index, soundness: Soundness::default() })))
    }
}

fn create_core(
    options: &ffi::IndexOptions,
    dimensions: usize,
    memory: UniquePtr<ffi::HostMemory>,
) -> std::result::Result<Box<IndexHandle>, Crossing> {
    guard(|| Ok(Index::new(options.into(), dimensions, Box::new(HostLedger(memory)))?.into()))
}

/// The core of an index that takes no rows: it reserves nothing, so that there is always memory for it.
fn idle_core() -> std::result::Result<Box<IndexHandle>, Crossing> {
    guard(|| Ok(Index::new(Options::default(), 1, Box::new(Unlimited))?.into()))
}

fn load_core(
    options: &ffi::IndexOptions,
    dimensions: usize,
    memory: UniquePtr<ffi::HostMemory>,
    root: &[u8],
    norms: &[u8],
    pages: &[i64],
    store: &ffi::HostPages,
) -> std::result::Result<ffi::LoadedCore, Crossing> {
    guard(|| {
        let ledger = Box::new(HostLedger(memory));
        let image = Image { root: root.to_vec(), norms: norms.to_vec(), pages: pages.to_vec(), written: 0 };
        let (index, root) = Index::load(options.into(), dimensions, ledger, &image, store)?;
        Ok(ffi::LoadedCore { core: index.into(), covered: root.covered, verified: root.verified })
    })
}

/// Options that were checked before they went to C++.
impl From<&ffi::IndexOptions> for Options {
    fn from(options: &ffi::IndexOptions) -> Self {
        Self {
            metric: options.metric.into(),
            quantization: options.quantization.into(),
            m: options.m,
            m0: options.m0,
            ef_construction: options.ef_construction,
            ef_search: options.ef_search,
        }
    }
}

impl IndexHandle {
    fn share(&self) -> Box<IndexHandle> {
        Box::new(IndexHandle(Arc::clone(&self.0)))
    }

    fn succeed(&self, before: &IndexHandle) {
        self.0.succeed(&before.0);
    }

    fn is_sound(&self) -> bool {
        self.0.soundness.defect().is_none()
    }

    /// Empty if it is sound.
    fn defect(&self) -> String {
        self.0.soundness.defect().unwrap_or_default().to_owned()
    }

    fn reserve_rows(&self, rows: usize) {
        self.0.soundness.guard_or("reserve_rows", (), || self.0.reserve_rows(rows));
    }

    fn scatter(&self) {
        self.0.soundness.guard_or("scatter", (), || self.0.scatter());
    }

    fn append(&self, origin: ffi::RowOrigin, row_ids: &[i64], vectors: &[f32]) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("append", || self.0.append(origin.into(), row_ids, vectors))
    }

    fn without_vector(&self, origin: ffi::RowOrigin, row_ids: &[i64]) {
        self.0.soundness.guard_or("without_vector", (), || self.0.without_vector(origin.into(), row_ids));
    }

    fn remove(&self, row_ids: &[i64], last_commit: u64) {
        self.0.soundness.guard_or("remove", (), || self.0.remove(row_ids, UNSETTLED | last_commit));
    }

    fn expire(&self, last_commit: u64, lowest_visible: u64) {
        self.0.soundness.guard_or("expire", (), || self.0.expire(last_commit, lowest_visible));
    }

    fn pending(&self) -> usize {
        guard_or(0, || self.0.pending())
    }

    fn link(&self, max_rows: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<usize, Crossing> {
        self.0.soundness.guard("link", || self.0.link(max_rows, interrupt))
    }

    fn reconnect_due(&self) -> bool {
        guard_or(false, || self.0.reconnect_due())
    }

    fn reconnect(&self, max_nodes: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<usize, Crossing> {
        self.0.soundness.guard("reconnect", || self.0.reconnect(max_nodes, interrupt))
    }

    fn oversize(&self) -> bool {
        guard_or(false, || self.0.oversize())
    }

    fn shrink_if_oversize(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<bool, Crossing> {
        self.0.soundness.guard("shrink_if_oversize", || self.0.shrink_if_oversize(interrupt))
    }

    fn tend(&self, pending_max: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("tend", || self.0.tend(pending_max, interrupt))
    }

    fn consolidate_due(&self) -> bool {
        guard_or(false, || self.0.consolidate_due())
    }

    fn consolidate(&self, max_nodes: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<usize, Crossing> {
        self.0.soundness.guard("consolidate", || self.0.consolidate(max_nodes, interrupt))
    }

    fn finish(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("finish", || self.0.finish(interrupt))
    }

    fn store(
        &self,
        store: &ffi::HostPages,
        covered: u64,
        verified: u64,
    ) -> std::result::Result<ffi::StoredImage, Crossing> {
        self.0.soundness.guard("store", || {
            let image = self.0.store(store, covered, verified)?;
            let written = image.written as u64;
            Ok(ffi::StoredImage { root: image.root, norms: image.norms, pages: image.pages, written })
        })
    }

    fn forget_pages(&self) -> Vec<i64> {
        self.0.soundness.guard_or("forget_pages", Vec::new(), || self.0.forget_pages())
    }

    fn deleted_after(&self) -> u64 {
        self.0.deleted_after()
    }

    fn begin_comparison(&self, end: usize) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("begin_comparison", || self.0.begin_comparison(end))
    }

    fn saw(&self, row_ids: &[i64]) -> bool {
        self.0.soundness.guard_or("saw", true, || self.0.saw(row_ids))
    }

    fn end_comparison(&self, last_commit: u64) -> usize {
        self.0.soundness.guard_or("end_comparison", 0, || self.0.end_comparison(UNSETTLED | last_commit))
    }

    /// Searches among `rows`, or among those that `visibility` sees if that is null.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call.
    unsafe fn search(
        &self,
        query: &[f32],
        request: &ffi::SearchRequest,
        rows: *const RowSet,
        visibility: &ffi::HostVisibility,
    ) -> std::result::Result<ffi::SearchAnswer, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| {
            let found = self.0.find(
                Request {
                    query,
                    want: request.want,
                    rescore: request.rescore as f32,
                    ef: request.ef,
                    ties: request.ties,
                    filter: rows.map(|rows| &rows.0),
                    ranked_only: request.ranked_only,
                    narrows: request.narrows,
                    metric: request.metric.into(),
                    may_scan: true,
                    forced: request.strategy.forced(),
                },
                visibility,
            )?;
            let mut answer = answer(found, request.ranked_only);
            // also if that was the last thing it found
            answer.scan |= !self.is_sound();
            Ok(answer)
        })
    }

    fn strategy(&self, want: usize, ef: usize) -> ffi::Strategy {
        guard_or(ffi::Strategy::Scan, || self.0.strategy(want, ef).into())
    }

    fn ef_of_pages(&self, ef: usize) -> usize {
        guard_or(ef, || self.0.ef_of_pages(ef))
    }

    fn filtered_strategy(&self, want: usize, ef: usize, qualifying: usize) -> ffi::Strategy {
        guard_or(ffi::Strategy::Scan, || self.0.filtered_strategy(want, ef, qualifying).into())
    }

    fn compact(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("compact", || self.0.compact(interrupt))
    }

    fn measure_recall(
        &self,
        k: usize,
        queries: usize,
        ef: usize,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<ffi::RecallReport, Crossing> {
        guard(|| {
            let measured = self.0.measure_recall(k, queries, ef, interrupt)?;
            Ok(ffi::RecallReport {
                queries: measured.queries as u64,
                recall: measured.recall,
                low: measured.low,
                high: measured.high,
                index_ms: measured.index_ms,
                exact_ms: measured.exact_ms,
            })
        })
    }

    fn memory_used(&self) -> usize {
        guard_or(0, || self.0.memory_used())
    }

    /// Whether all vectors that the index ranks, and all that a search so far has found, have the same norm, but for this part of
    /// it. Takes no lock. A row that comes meanwhile may break it, so who relies on it for an answer asks again after the search.
    fn ranks_by(&self, metric: ffi::Metric) -> bool {
        guard_or(false, || self.0.ranks_by(metric.into()))
    }

    fn info(&self) -> std::result::Result<ffi::IndexInfo, Crossing> {
        guard(|| {
            let stats = self.0.stats()?;
            let level = |level: &LevelStats| ffi::LevelInfo {
                nodes: level.nodes as u64,
                edges: level.edges as u64,
                max_edges: level.max_edges as u64,
                allocated_bytes: level.allocated_bytes as u64,
            };
            Ok(ffi::IndexInfo {
                count: stats.count as u64,
                capacity: stats.capacity as u64,
                memory: stats.memory as u64,
                deleted: stats.deleted as u64,
                pending: stats.pending as u64,
                unrankable: stats.unrankable as u64,
                row_bytes: stats.row_bytes as u64,
                code_error: f64::from(stats.code_error),
                norms: stats.norms.into(),
                levels: stats.levels.iter().map(level).collect(),
            })
        })
    }
}

/// Rows that pass a filter.
pub struct RowSet(search::RowSet);

fn create_row_set(memory: UniquePtr<ffi::HostMemory>) -> std::result::Result<Box<RowSet>, Crossing> {
    guard(|| Ok(Box::new(RowSet(search::RowSet::new(&Memory::new(Box::new(HostLedger(memory))))?))))
}

impl RowSet {
    fn insert(&mut self, row_ids: &[i64]) -> std::result::Result<(), Crossing> {
        guard(|| self.0.insert(row_ids))
    }

    fn merge(&mut self, other: &RowSet) -> std::result::Result<(), Crossing> {
        guard(|| self.0.merge(&other.0))
    }

    fn size(&self) -> usize {
        self.0.len()
    }

    fn contains(&self, row_id: i64) -> bool {
        self.0.contains(row_id)
    }
}

fn answer(found: Found, ranked_only: bool) -> ffi::SearchAnswer {
    let scan = matches!(found.outcome, Outcome::Scan);
    let mut rows = found.rows;
    rows.sort_by_key(|row| !row.certain);
    ffi::SearchAnswer {
        scan,
        certain: rows.partition_point(|row| row.certain),
        complete: found.report.strategy == Strategy::All || ranked_only && found.exhausted,
        report: ffi::SearchReport {
            strategy: found.report.strategy.into(),
            visited: found.report.visited as u64,
            distances: found.report.distances as u64,
            candidates: rows.len() as u64,
        },
        row_ids: rows.into_iter().map(|row| row.row_id).collect(),
    }
}
