//! The border between Rust and C++, on one page: shared structs, Rust seen from C++, C++ seen from Rust.
//!
//! Only the text of an error crosses it, see [`guard`]; panics stop there.

mod convert;
mod guard;
mod host;

use std::ops::Deref;
use std::sync::Arc;

use cxx::UniquePtr;

use self::host::HostLedger;
use crate::bridge::guard::{Crossing, Soundness, guard, guard_or};
use crate::host::Unlimited;
use crate::index::{Index, UNSETTLED};
use crate::memory::Memory;
use crate::options::{self, Metric, Options, Quantization};
use crate::search::{self, Strategy};

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
        ef_given: bool,
        /// 0 if none was given.
        target_recall: f64,
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

    /// What it costs to read rows of a table, in nanoseconds, see [`crate::search::ReadCosts`].
    #[derive(Clone)]
    struct ReadCosts {
        looked_up: f64,
        checked: f64,
        skimmed: f64,
        selected: f64,
        scanned: f64,
    }

    /// What is asked of a search, beside the query vector and the rows that qualify, see [`crate::search::Request`].
    struct SearchRequest {
        /// Rows wanted.
        k: usize,
        /// Search width.
        ef: usize,
        /// All rows that tie with the last one wanted are, too.
        ties: bool,
        /// Standard errors by which the distances of codes may be off, see [`check_rescore`].
        rescore: f64,
        /// Rows whose distances are NaN are ranked behind all others.
        undefined_last: bool,
        /// Rows that the index does not rank are not wanted.
        ranked_only: bool,
        /// The table's vectors have digits that `f32` has not.
        narrows: bool,
        /// By what the host ranks.
        metric: Metric,
        /// Of the rows that are emitted.
        costs: ReadCosts,
        /// How to search; for benchmarks.
        strategy: Strategy,
    }

    /// Which rows are wanted by their distance, whatever their number, see [`crate::search::RangeRequest`].
    struct RangeRequest {
        /// Of the index's metric, infinite where there is no bound.
        nearest: f64,
        farthest: f64,
        /// Of the rows that are emitted, and checked.
        costs: ReadCosts,
        /// The answer may be to scan the table because that is cheaper.
        may_scan: bool,
    }

    /// How a range ended, see [`crate::search::RangeOutcome`].
    enum RangeOutcome {
        Complete,
        Again,
        Scan,
    }

    /// Row ids by what the index knows of them, see [`crate::search::RangeRows`].
    struct RangeRows {
        certain: Vec<i64>,
        uncertain: Vec<i64>,
    }

    /// How pairs ended, see [`crate::search::PairsOutcome`].
    enum PairsOutcome {
        Complete,
        TooMany,
        Scan,
    }

    /// Rows that may be near enough to one of some query vectors, see [`crate::search::Pairs`].
    struct Pairs {
        outcome: PairsOutcome,
        /// By row: the ids, and the numbers of the query vectors beside them.
        row_ids: Vec<i64>,
        queries: Vec<u32>,
        /// Query vectors of which nothing is known.
        unranked: Vec<u32>,
        /// Distances computed.
        distances: u64,
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

    /// What one search found of what an exact one finds, see [`crate::search::SearchRecall`].
    struct SearchRecall {
        /// NaN if there is nothing to find.
        recall: f64,
        index_ms: f64,
        exact_ms: f64,
    }

    /// How an index fares with a share of the nearest rows that is wanted, see [`crate::search::TargetInfo`].
    struct TargetInfo {
        ef: usize,
        recall: f64,
        low: f64,
        high: f64,
        queries: u64,
        asked: bool,
        time: i64,
    }

    /// An image of an index, as the host has to remember it.
    struct StoredImage {
        root: Vec<u8>,
        /// Between which norms its vectors are; of this root alone.
        norms: Vec<u8>,
        /// What was measured of its search widths.
        widths: Vec<u8>,
        /// Ids of its pages, in order.
        pages: Vec<i64>,
        /// Bytes written for it.
        written: u64,
    }

    /// The same, as the host gives it back.
    struct ImageParts<'a> {
        root: &'a [u8],
        /// Empty if they are not known.
        norms: &'a [u8],
        /// Empty if nothing was measured.
        widths: &'a [u8],
        pages: &'a [i64],
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
        type RangeSearch;

        fn parse_options(given: &[GivenOption]) -> Result<IndexOptions>;
        fn check_ef_search(given: i64) -> Result<()>;
        fn check_rescore(given: f64) -> Result<()>;
        fn check_target_recall(given: f64) -> Result<()>;
        fn default_rescore() -> f64;
        fn default_ef_search() -> usize;
        fn check_dimensions(given: i64) -> Result<()>;
        fn parse_default_quantization(given: &str) -> Result<Quantization>;
        fn parse_strategy(given: &str) -> Result<Strategy>;
        fn strategy_name(strategy: Strategy) -> &'static str;
        fn ranking_metric(function: &str, descending: bool, metric: &mut Metric) -> bool;
        fn distance_at(function: &str, value: f64) -> f64;
        fn metric_name(metric: Metric) -> &'static str;
        fn find_metric(given: &str, metric: &mut Metric) -> bool;
        fn metric_names() -> String;
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
            image: ImageParts,
            store: &HostPages,
        ) -> Result<LoadedCore>;
        fn is_sound(self: &IndexHandle) -> bool;
        fn defect(self: &IndexHandle) -> String;
        fn share(self: &IndexHandle) -> Box<IndexHandle>;
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
        unsafe fn recall_of(
            self: &IndexHandle,
            query: &[f32],
            request: &SearchRequest,
            rows: *const RowSet,
            visibility: &HostVisibility,
        ) -> Result<SearchRecall>;
        fn mean_recall(recalls: &[f64], index_ms: f64, exact_ms: f64) -> RecallReport;
        fn exact_recall() -> SearchRecall;
        unsafe fn search_many(
            self: &IndexHandle,
            queries: &[f32],
            request: &SearchRequest,
            rows: *const RowSet,
            visibility: &HostVisibility,
            interrupt: &HostInterrupt,
        ) -> Result<Vec<SearchAnswer>>;
        unsafe fn begin_range(
            self: &IndexHandle,
            query: &[f32],
            request: &RangeRequest,
            rows: *const RowSet,
            found: &mut RangeRows,
        ) -> Result<Box<RangeSearch>>;
        fn range_pays(self: &IndexHandle) -> bool;
        unsafe fn pairs(
            self: &IndexHandle,
            queries: &[f32],
            request: &RangeRequest,
            pairs_max: usize,
            rows: *const RowSet,
            interrupt: &HostInterrupt,
        ) -> Result<Pairs>;
        fn pairs_pay(self: &IndexHandle) -> bool;
        fn parts(self: &RangeSearch) -> usize;
        unsafe fn look(self: &RangeSearch, rows: *const RowSet, found: &mut RangeRows) -> Result<bool>;
        fn outcome(self: &RangeSearch) -> RangeOutcome;
        fn report(self: &RangeSearch) -> SearchReport;
        fn strategy(self: &IndexHandle, k: usize, ef: usize, costs: &ReadCosts) -> Strategy;
        fn filtered_strategy(self: &IndexHandle, k: usize, ef: usize, qualifying: usize, costs: &ReadCosts)
        -> Strategy;
        fn ef_of_pages(self: &IndexHandle, ef: usize) -> usize;
        fn compact(self: &IndexHandle, interrupt: &HostInterrupt) -> Result<()>;
        fn measure_recall(
            self: &IndexHandle,
            k: usize,
            queries: usize,
            ef: usize,
            interrupt: &HostInterrupt,
        ) -> Result<RecallReport>;
        fn ef_of_target(self: &IndexHandle, k: usize, share: f64) -> usize;
        fn target_info(self: &IndexHandle, share: f64) -> Result<TargetInfo>;
        fn measurement_due(self: &IndexHandle) -> bool;
        fn hold_out(self: &IndexHandle) -> bool;
        fn release_held_out(self: &IndexHandle);
        fn measure_step(self: &IndexHandle, searches: usize, interrupt: &HostInterrupt) -> Result<bool>;
        fn finish_measurement(self: &IndexHandle, interrupt: &HostInterrupt) -> Result<()>;
        fn memory_used(self: &IndexHandle) -> usize;
        fn ranks_by(self: &IndexHandle, metric: Metric) -> bool;

        fn create_row_set(memory: UniquePtr<HostMemory>) -> Result<Box<RowSet>>;
        fn beside(self: &RowSet) -> Box<RowSet>;
        fn insert(self: &mut RowSet, row_ids: &[i64]) -> Result<()>;
        fn merge(self: &mut RowSet, other: &RowSet) -> Result<()>;
        fn size(self: &RowSet) -> usize;
        fn contains(self: &RowSet, row_id: i64) -> bool;
        fn contains_any(self: &RowSet, first: i64, last: i64) -> bool;
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
        let options = Options::parse(given.iter().map(|option| (option.name.clone(), option.into())))?;
        Ok(options.into())
    })
}

fn check_ef_search(given: i64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_ef_search(given))
}

fn check_rescore(given: f64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_rescore(given))
}

fn check_target_recall(given: f64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_target_recall(given))
}

fn default_rescore() -> f64 {
    options::RESCORE
}

fn default_ef_search() -> usize {
    Options::default().ef_search
}

fn check_dimensions(given: i64) -> std::result::Result<(), Crossing> {
    guard(|| options::check_dimensions(given))
}

fn parse_default_quantization(given: &str) -> std::result::Result<ffi::Quantization, Crossing> {
    guard(|| Ok(Quantization::parse_default(given)?.into()))
}

fn metric_name(metric: ffi::Metric) -> &'static str {
    Metric::from(metric).name()
}

/// Whether a metric has this name, or this other name; `metric` is it then.
fn find_metric(given: &str, metric: &mut ffi::Metric) -> bool {
    guard_or(false, || {
        let found = Metric::find(given);
        *metric = found.map_or(*metric, ffi::Metric::from);
        found.is_some()
    })
}

/// All names of metrics, as messages list them.
fn metric_names() -> String {
    Metric::names()
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

/// The distance, by the metric that ranks like the SQL function, at which that has this value; NaN for other functions.
fn distance_at(function: &str, value: f64) -> f64 {
    guard_or(f64::NAN, || Metric::distance_at(function, value).unwrap_or(f64::NAN))
}

fn parse_strategy(given: &str) -> std::result::Result<ffi::Strategy, Crossing> {
    guard(|| Ok(Strategy::parse(given)?.map_or(ffi::Strategy::Auto, ffi::Strategy::from)))
}

/// As EXPLAIN shows it.
fn strategy_name(strategy: ffi::Strategy) -> &'static str {
    strategy.core().map_or("auto", Strategy::name)
}

/// The mean of the recalls of searches that took so many milliseconds in all, through the index and exactly.
fn mean_recall(recalls: &[f64], index_ms: f64, exact_ms: f64) -> ffi::RecallReport {
    search::Recall::of(recalls, index_ms, exact_ms).into()
}

/// That of an exact search, whose time nobody took.
fn exact_recall() -> ffi::SearchRecall {
    ffi::SearchRecall { recall: 1.0, index_ms: 0.0, exact_ms: 0.0 }
}

/// The macros as SQL, one or more statements each.
fn macro_sources() -> Vec<String> {
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
    image: ffi::ImageParts<'_>,
    store: &ffi::HostPages,
) -> std::result::Result<ffi::LoadedCore, Crossing> {
    guard(|| {
        let ledger = Box::new(HostLedger(memory));
        let image = image.into();
        let (index, root) = Index::load(options.into(), dimensions, ledger, &image, store)?;
        Ok(ffi::LoadedCore { core: index.into(), covered: root.covered, verified: root.verified })
    })
}

impl IndexHandle {
    fn share(&self) -> Box<IndexHandle> {
        Box::new(IndexHandle(Arc::clone(&self.0)))
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
        self.0.soundness.guard_or("scatter", (), || self.0.maintenance().scatter());
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
        self.0.soundness.guard("link", || self.0.maintenance().link(max_rows, interrupt))
    }

    fn reconnect_due(&self) -> bool {
        guard_or(false, || self.0.maintenance().reconnect_due())
    }

    fn reconnect(&self, max_nodes: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<usize, Crossing> {
        self.0.soundness.guard("reconnect", || self.0.maintenance().reconnect(max_nodes, interrupt))
    }

    fn oversize(&self) -> bool {
        guard_or(false, || self.0.maintenance().oversize())
    }

    fn shrink_if_oversize(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<bool, Crossing> {
        self.0.soundness.guard("shrink_if_oversize", || self.0.maintenance().shrink_if_oversize(interrupt))
    }

    fn tend(&self, pending_max: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("tend", || self.0.maintenance().tend(pending_max, interrupt))
    }

    fn consolidate_due(&self) -> bool {
        guard_or(false, || self.0.maintenance().consolidate_due())
    }

    fn consolidate(&self, max_nodes: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<usize, Crossing> {
        self.0.soundness.guard("consolidate", || self.0.maintenance().consolidate(max_nodes, interrupt))
    }

    fn finish(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("finish", || self.0.maintenance().finish(interrupt))
    }

    fn store(
        &self,
        store: &ffi::HostPages,
        covered: u64,
        verified: u64,
    ) -> std::result::Result<ffi::StoredImage, Crossing> {
        self.0.soundness.guard("store", || Ok(self.0.images().store(store, covered, verified)?.into()))
    }

    fn forget_pages(&self) -> Vec<i64> {
        self.0.soundness.guard_or("forget_pages", Vec::new(), || self.0.images().forget_pages())
    }

    fn begin_comparison(&self, end: usize) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("begin_comparison", || self.0.reconciler().begin(end))
    }

    fn saw(&self, row_ids: &[i64]) -> bool {
        self.0.soundness.guard_or("saw", true, || self.0.reconciler().seen(row_ids))
    }

    fn end_comparison(&self, last_commit: u64) -> usize {
        self.0.soundness.guard_or("end_comparison", 0, || self.0.reconciler().end(UNSETTLED | last_commit))
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
            let found = self.0.searcher().search(request.of(query, rows.map(|rows| &rows.0)), visibility)?;
            let mut answer = ffi::SearchAnswer::new(found, request.ranked_only);
            // also if that was the last thing it found
            answer.scan |= !self.is_sound();
            Ok(answer)
        })
    }

    /// The recall of such a search.
    ///
    /// # Safety
    /// As for `search`.
    unsafe fn recall_of(
        &self,
        query: &[f32],
        request: &ffi::SearchRequest,
        rows: *const RowSet,
        visibility: &ffi::HostVisibility,
    ) -> std::result::Result<ffi::SearchRecall, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| Ok(self.0.searcher().recall(request.of(query, rows.map(|rows| &rows.0)), visibility)?.into()))
    }

    /// Answers to searches for each of `queries`, in order; none if they are as fast one by one. Otherwise as `search`.
    ///
    /// # Safety
    /// As for `search`.
    unsafe fn search_many(
        &self,
        queries: &[f32],
        request: &ffi::SearchRequest,
        rows: *const RowSet,
        visibility: &ffi::HostVisibility,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<Vec<ffi::SearchAnswer>, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| {
            let asked = request.of(&[], rows.map(|rows| &rows.0));
            let found = self.0.searcher().search_many(queries, asked, visibility, interrupt)?;
            let mut answers: Vec<ffi::SearchAnswer> = found
                .unwrap_or_default()
                .into_iter()
                .map(|found| ffi::SearchAnswer::new(found, request.ranked_only))
                .collect();
            let sound = self.is_sound();
            answers.iter_mut().for_each(|answer| answer.scan |= !sound);
            Ok(answers)
        })
    }

    /// Begins to look for the rows between two distances, among `rows`, or among all if that is null.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call.
    unsafe fn begin_range(
        &self,
        query: &[f32],
        request: &ffi::RangeRequest,
        rows: *const RowSet,
        found: &mut ffi::RangeRows,
    ) -> std::result::Result<Box<RangeSearch>, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| {
            let request = request.of(query, rows.map(|rows| &rows.0));
            let range = found.fill(|found| self.0.searcher().begin_range(request, found))?;
            Ok(Box::new(RangeSearch { index: Arc::clone(&self.0), range }))
        })
    }

    fn range_pays(&self) -> bool {
        guard_or(false, || self.0.searcher().range_pays())
    }

    /// The rows between two distances from each of `queries`, among `rows`, or among all if that is null.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call.
    unsafe fn pairs(
        &self,
        queries: &[f32],
        request: &ffi::RangeRequest,
        pairs_max: usize,
        rows: *const RowSet,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<ffi::Pairs, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| {
            let request = request.of_pairs(queries, rows.map(|rows| &rows.0), pairs_max);
            let mut pairs: ffi::Pairs = self.0.searcher().pairs(request, interrupt)?.into();
            if !self.is_sound() {
                pairs.outcome = ffi::PairsOutcome::Scan;
            }
            Ok(pairs)
        })
    }

    fn pairs_pay(&self) -> bool {
        guard_or(false, || self.0.searcher().pairs_pay())
    }

    fn strategy(&self, k: usize, ef: usize, costs: &ffi::ReadCosts) -> ffi::Strategy {
        guard_or(ffi::Strategy::Scan, || self.0.searcher().strategy(k, ef, &costs.into()).into())
    }

    fn ef_of_pages(&self, ef: usize) -> usize {
        guard_or(ef, || self.0.searcher().ef_of_pages(ef))
    }

    fn filtered_strategy(&self, k: usize, ef: usize, qualifying: usize, costs: &ffi::ReadCosts) -> ffi::Strategy {
        guard_or(ffi::Strategy::Scan, || self.0.searcher().filtered_strategy(k, ef, qualifying, &costs.into()).into())
    }

    fn compact(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("compact", || self.0.maintenance().compact(interrupt))
    }

    fn measure_recall(
        &self,
        k: usize,
        queries: usize,
        ef: usize,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<ffi::RecallReport, Crossing> {
        guard(|| Ok(self.0.searcher().measure_recall(k, queries, ef, interrupt)?.into()))
    }

    fn ef_of_target(&self, k: usize, share: f64) -> usize {
        guard_or(1, || self.0.searcher().ef_of_target(k, share))
    }

    fn target_info(&self, share: f64) -> std::result::Result<ffi::TargetInfo, Crossing> {
        guard(|| Ok(self.0.searcher().target_info(share).into()))
    }

    fn hold_out(&self) -> bool {
        self.0.soundness.guard_or("hold_out", false, || self.0.searcher().hold_out())
    }

    fn release_held_out(&self) {
        self.0.soundness.guard_or("release_held_out", (), || self.0.searcher().release_held_out());
    }

    fn measurement_due(&self) -> bool {
        guard_or(false, || self.0.searcher().measurement_due())
    }

    fn finish_measurement(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        guard(|| self.0.searcher().finish_measurement(interrupt))
    }

    fn measure_step(&self, searches: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<bool, Crossing> {
        guard(|| self.0.searcher().measure_step(searches, interrupt))
    }

    fn memory_used(&self) -> usize {
        guard_or(0, || self.0.memory_used())
    }

    /// Whether all vectors that the index ranks, and all that a search so far has found, have the same norm, but for this part of
    /// it. Takes no lock. A row that comes meanwhile may break it, so who relies on it for an answer asks again after the search.
    fn ranks_by(&self, metric: ffi::Metric) -> bool {
        guard_or(false, || self.0.searcher().ranks_by(Some(metric.into())))
    }

    fn info(&self) -> std::result::Result<ffi::IndexInfo, Crossing> {
        guard(|| Ok(self.0.stats()?.into()))
    }
}

/// A range of an index that is being looked for, by several threads perhaps.
pub struct RangeSearch {
    index: Arc<Guarded>,
    range: search::Range,
}

impl RangeSearch {
    fn parts(&self) -> usize {
        self.range.parts()
    }

    /// Looks through another part; false if none is left.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call; as when the range began.
    unsafe fn look(&self, rows: *const RowSet, found: &mut ffi::RangeRows) -> std::result::Result<bool, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() }.map(|rows| &rows.0);
        guard(|| found.fill(|found| self.index.searcher().range_part(&self.range, rows, found)))
    }

    /// What came of it, once no part is left.
    fn outcome(&self) -> ffi::RangeOutcome {
        guard_or(ffi::RangeOutcome::Scan, || match self.index.soundness.defect() {
            None => self.index.searcher().end_range(&self.range).into(),
            Some(_) => ffi::RangeOutcome::Scan,
        })
    }

    fn report(&self) -> ffi::SearchReport {
        ffi::SearchReport::of(&self.range.report(), 0)
    }
}

/// Rows that pass a filter.
pub struct RowSet(search::RowSet);

fn create_row_set(memory: UniquePtr<ffi::HostMemory>) -> std::result::Result<Box<RowSet>, Crossing> {
    guard(|| Ok(Box::new(RowSet(search::RowSet::new(&Memory::new(Box::new(HostLedger(memory))))?))))
}

impl RowSet {
    fn beside(&self) -> Box<Self> {
        Box::new(Self(self.0.beside()))
    }

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

    fn contains_any(&self, first: i64, last: i64) -> bool {
        self.0.contains_any(first, last)
    }
}
