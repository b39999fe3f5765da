//! The border between Rust and C++, on one page: shared structs, Rust seen from C++, C++ seen from Rust.
//!
//! Of an error only the text crosses, and panics stop at the border; see [`guard`].

mod convert;
mod guard;
mod handle;
mod host;
mod range;
mod row_set;
mod settings;

use self::handle::{IndexHandle, create_core, idle_core, load_core};
use self::range::RangeSearch;
use self::row_set::{RowSet, create_row_set};
use self::settings::{
    check_dimensions, check_ef_search, check_rescore, check_target_recall, default_ef_search, default_rescore,
    distance_at, exact_recall, find_metric, macro_sources, mean_recall, metric_name, metric_names,
    parse_default_quantization, parse_options, parse_strategy, quantization_name, ranking_metric, repair_name,
    strategy_name, vector_digest,
};

#[cxx::bridge(namespace = "vss")]
mod ffi {
    /// The kind of SQL value that an option of `WITH (…)` has.
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

    /// What went wrong; see [`crate::error::ErrorKind`].
    enum ErrorKind {
        Binder,
        InvalidInput,
        OutOfMemory,
        Interrupted,
        Corrupt,
        Storage,
        Internal,
    }

    /// The metric that ranks rows; see [`crate::options::Metric`].
    enum Metric {
        L2sq,
        Cosine,
        Ip,
    }

    /// How an index keeps vectors; see [`crate::options::Quantization`].
    enum Quantization {
        None,
        Sq8,
        Sq4,
    }

    /// How rows are searched; see [`crate::search::Strategy`].
    enum Strategy {
        /// Whichever is cheapest. Occurs only in requests.
        Auto,
        Exact,
        Graph,
        Recheck,
        Filtered,
        All,
        Scan,
    }

    /// Who hands rows to the index; see [`crate::index::Origin`].
    enum RowOrigin {
        Host,
        Log,
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

    /// See [`crate::digest::digest`].
    struct VectorDigest {
        upper: u64,
        lower: u64,
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

    /// What it costs to read rows of a table, in nanoseconds a row; see [`crate::search::ReadCosts`].
    #[derive(Clone)]
    struct ReadCosts {
        looked_up: f64,
        checked: f64,
        skimmed: f64,
        selected: f64,
        scanned: f64,
    }

    /// A search without its query vector and its filter; see [`crate::search::Request`].
    struct SearchRequest {
        /// Rows wanted.
        k: usize,
        /// Search width.
        ef: usize,
        /// Whether all rows that tie with the last wanted one are wanted, too.
        ties: bool,
        /// Standard errors by which the distances of codes may be off; see [`check_rescore`].
        rescore: f64,
        /// Whether the host ranks rows whose distances are NaN behind all others.
        undefined_last: bool,
        /// Whether only rows of the index are wanted.
        ranked_only: bool,
        /// Whether the table's vectors are more precise than `f32`.
        narrows: bool,
        /// Whether the query vector is more precise than `f32`, or distances are computed in `f64`.
        narrows_query: bool,
        /// The metric by which the host ranks.
        metric: Metric,
        /// The costs of the rows that are emitted.
        costs: ReadCosts,
        /// The strategy to use if possible; for benchmarks.
        strategy: Strategy,
    }

    /// A range: rows wanted by their distance, whatever their number; see [`crate::search::RangeRequest`].
    struct RangeRequest {
        /// The bounds, by the index's metric; infinite where there is none.
        nearest: f64,
        farthest: f64,
        /// The costs of the rows that are emitted and checked.
        costs: ReadCosts,
        /// Whether the outcome may be `Scan` because that is cheaper.
        may_scan: bool,
    }

    /// How a range ended; see [`crate::search::RangeOutcome`].
    enum RangeOutcome {
        Complete,
        Again,
        Scan,
    }

    /// Row ids, by what the index knows of their distances; see [`crate::search::RangeRows`].
    struct RangeRows {
        certain: Vec<i64>,
        uncertain: Vec<i64>,
    }

    /// How a search for pairs ended; see [`crate::search::PairsOutcome`].
    enum PairsOutcome {
        Complete,
        TooMany,
        Scan,
    }

    /// Pairs of a row and a query vector that may be near enough to each other; see [`crate::search::Pairs`].
    struct Pairs {
        outcome: PairsOutcome,
        /// The pairs, ordered by row: pair `i` is `row_ids[i]` with query vector number `queries[i]`.
        row_ids: Vec<i64>,
        queries: Vec<u32>,
        /// Numbers of the query vectors that cannot be ranked; the host has to compare these itself.
        unranked: Vec<u32>,
        /// Distances computed.
        distances: u64,
    }

    /// The answer to one search.
    struct SearchAnswer {
        /// The index cannot answer: scan the table.
        scan: bool,
        /// Whether `row_ids` are all rows that qualify; with `ranked_only`, all of these that the index has.
        complete: bool,
        /// Visible candidates without duplicates.
        row_ids: Vec<i64>,
        /// Whether some of them have no distance.
        undefined: bool,
        /// The first `certain` of `row_ids` are certain: no row that was met and left out can be nearer.
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
        /// The largest error of a code, as a share of the vector's distance from the codec's centre; 0 for floats.
        code_error: f64,
        norms: Norms,
        levels: Vec<LevelInfo>,
    }

    /// The interval of the norms of an index's rankable vectors; see [`crate::vectors::Norms`].
    #[derive(Clone)]
    struct Norms {
        /// Whether there are such vectors and all of them were measured. If not, `min` is 0 and `max` is infinite.
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
        /// Mean milliseconds of a search: through the index, and exactly.
        index_ms: f64,
        exact_ms: f64,
    }

    /// One search compared with an exact one; see [`crate::search::SearchRecall`].
    struct SearchRecall {
        /// NaN if there is nothing to find.
        recall: f64,
        index_ms: f64,
        exact_ms: f64,
    }

    /// How well an index reaches a wanted share of the nearest rows; see [`crate::search::TargetInfo`].
    struct TargetInfo {
        ef: usize,
        recall: f64,
        low: f64,
        high: f64,
        queries: u64,
        asked: bool,
        time: i64,
    }

    /// How far a piece of work on an index is; see [`crate::index::Steps`].
    #[derive(Clone)]
    struct Steps {
        done: u64,
        /// 0 if nothing is under way.
        total: u64,
    }

    /// A way to repair a graph; see [`crate::index::RepairKind`].
    enum RepairKind {
        Consolidation,
        Compaction,
        Renewal,
        /// There was no repair.
        Nothing,
    }

    /// An index as `hnsw_index_health()` shows it; see [`crate::index::Health`].
    struct IndexHealth {
        count: u64,
        slots: u64,
        dead: u64,
        free: u64,
        tombstones: u64,
        pending: u64,
        linkers: u64,
        memory: u64,
        /// The largest share that anybody has asked for; 0 if nobody has.
        target_recall: f64,
        /// How well the index reaches `target_recall`.
        target: TargetInfo,
        repair: RepairKind,
        repaired_slots: u64,
        repair_time: i64,
        consolidation: Steps,
        reconnection: Steps,
        compaction: Steps,
        measurement: Steps,
    }

    /// What a thread has changed; see `Maintenance::take_own`.
    struct Own {
        appended: usize,
        deleted: usize,
    }

    /// An image of an index, as the host has to remember it.
    struct StoredImage {
        root: Vec<u8>,
        /// The norms of the vectors; valid only with this root.
        norms: Vec<u8>,
        /// The measurement of the search widths; empty if there is none.
        widths: Vec<u8>,
        /// Ids of the image's pages, in order.
        pages: Vec<i64>,
        /// Bytes written for the image.
        written: u64,
    }

    /// An image as the host gives it back.
    struct ImageParts<'a> {
        root: &'a [u8],
        /// Empty if the norms are not known.
        norms: &'a [u8],
        /// Empty if nothing was measured.
        widths: &'a [u8],
        pages: &'a [i64],
    }

    /// An index read from an image.
    struct LoadedCore {
        core: Box<IndexHandle>,
        /// The rows [0, covered) of the table had been handed to the index.
        covered: u64,
        /// The checkpoint at which index and table were known to agree; 0 if none.
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
        fn vector_digest(elements: &[u8], nulls: &[u8]) -> VectorDigest;
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
        fn seed_in_random_order(self: &IndexHandle);
        fn append(self: &IndexHandle, origin: RowOrigin, row_ids: &[i64], vectors: &[f32]) -> Result<()>;
        fn without_vector(self: &IndexHandle, origin: RowOrigin, row_ids: &[i64]);
        fn remove(self: &IndexHandle, origin: RowOrigin, row_ids: &[i64], last_commit: u64);
        fn expire(self: &IndexHandle, last_commit: u64, lowest_visible: u64);
        fn pending(self: &IndexHandle) -> usize;
        fn link(self: &IndexHandle, max_rows: usize, interrupt: &HostInterrupt) -> Result<usize>;
        fn reconnect_due(self: &IndexHandle) -> bool;
        fn reconnect(self: &IndexHandle, max_nodes: usize, interrupt: &HostInterrupt) -> Result<usize>;
        fn consolidate_due(self: &IndexHandle) -> bool;
        fn oversize(self: &IndexHandle) -> bool;
        fn shrink_if_oversize(self: &IndexHandle, interrupt: &HostInterrupt) -> Result<bool>;
        fn take_own(self: &IndexHandle) -> Own;
        fn tend(self: &IndexHandle, own: Own, pending_max: usize, interrupt: &HostInterrupt) -> Result<()>;
        fn await_copy(self: &IndexHandle, interrupt: &HostInterrupt) -> Result<bool>;
        fn consolidate(self: &IndexHandle, max_nodes: usize, interrupt: &HostInterrupt) -> Result<usize>;
        fn finish(self: &IndexHandle, interrupt: &HostInterrupt) -> Result<()>;
        fn store(self: &IndexHandle, store: &HostPages, covered: u64, verified: u64) -> Result<StoredImage>;
        fn forget_pages(self: &IndexHandle) -> Vec<i64>;
        fn begin_comparison(self: &IndexHandle, end: usize) -> Result<()>;
        fn seen(self: &IndexHandle, row_ids: &[i64]) -> bool;
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
        fn health(self: &IndexHandle) -> Result<IndexHealth>;
        fn compaction(self: &IndexHandle) -> Steps;
        fn repair_name(kind: RepairKind) -> &'static str;
    }

    unsafe extern "C++" {
        include!("host/host.hpp");

        type HostMemory;
        fn reserve(self: &HostMemory, bytes: usize) -> Result<()>;
        fn release(self: &HostMemory, bytes: usize);

        include!("host/block_pages.hpp");

        type HostPages;
        fn page_bytes(self: &HostPages) -> usize;
        fn readers(self: &HostPages) -> usize;
        fn write(self: &HostPages, bytes: &[u8]) -> Result<i64>;
        fn read(self: &HostPages, id: i64, out: &mut [u8]) -> Result<()>;
        fn free(self: &HostPages, id: i64);

        type HostInterrupt;
        fn interrupted(self: &HostInterrupt) -> bool;

        type HostVisibility;
        fn visible(self: &HostVisibility, row_id: i64) -> bool;
    }
}
