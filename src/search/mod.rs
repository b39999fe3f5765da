//! Searches: which rows are nearest to a vector, as one transaction sees them.
//!
//! The index proposes, the table decides: the candidates come with the index's own distances, and the host ranks them again by the values
//! in the table. So an answer may hold a little more than was asked for: rows that tie with the last one, and rows whose vectors cannot be
//! ranked.

mod exact;
mod filtered;
mod graph;
mod many;
mod pairs;
mod range;
mod recall;
mod row_set;
mod strategy;
mod target;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};

use self::filtered::{Traversal, Walked};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Cost;
use crate::host::Visibility;
use crate::index::{Generation, Index, RowTable};
use crate::options::{self, Metric};
use crate::vectors::{Codec, Norms};

pub use self::pairs::{Pair, Pairs, PairsOutcome, PairsRequest};
pub use self::range::{Bounds, Range, RangeOutcome, RangeRequest, RangeRows};
pub use self::recall::{Recall, SearchRecall};
pub use self::row_set::RowSet;
pub use self::strategy::{ReadCosts, Strategy};
pub use self::target::TargetInfo;

/// The relative difference of norms up to which all metrics rank vectors alike, except those at nearly the same distance.
pub const ONE_NORM: f64 = 1e-3;

/// Standard errors by which the distances of codes may be off in an exact search. Fewer than one in a million distances is off by more.
const RESCORE_EXACT: f32 = 5.0;

/// Most rows with the same vector in an answer (or `k`, if that is more), unless all rows that tie are wanted.
const EQUAL_MAX: usize = 64;

/// What a search should find.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `[dimensions]`, as the user gave it.
    pub query: &'a [f32],
    /// Rows wanted.
    pub k: usize,
    /// For an index that holds codes: standard errors by which their distances may be off; see [`options::RESCORE`]. The larger, the more
    /// rows are returned.
    pub rescore: f32,
    /// Candidates kept on the bottom level, the paper's `ef`; doubled until it holds `k`.
    pub ef: usize,
    /// Whether all rows that tie with the last wanted one are wanted, too, because the host orders them further.
    pub ties: bool,
    /// The rows that qualify, all of them visible. Without a filter every visible row qualifies.
    pub filter: Option<&'a RowSet>,
    /// Whether the host ranks rows whose distances are NaN behind all others.
    pub undefined_last: bool,
    /// Whether only rows of the index are wanted. Then all its rows are an answer, however few they are.
    pub ranked_only: bool,
    /// Whether the table's vectors are more precise than `f32`. Then the table may rank rows differently from the index.
    pub narrows: bool,
    /// Whether the host's query vector is more precise than `f32`, or the host computes its distances in `f64`.
    pub narrows_query: bool,
    /// The metric by which the host ranks, if it is not the index's. It ranks like the index's metric while all norms are nearly the same,
    /// see [`ONE_NORM`]; otherwise the outcome is `Scan`, or all rows that pass the filter.
    pub metric: Option<Metric>,
    /// What it costs the host to read rows.
    pub costs: ReadCosts,
    /// Whether the outcome may be `Scan` merely because a scan is cheaper.
    pub may_scan: bool,
    /// The strategy to use if possible; for benchmarks.
    pub forced: Option<Strategy>,
}

impl<'a> Request<'a> {
    /// Asks for the `k` visible rows nearest to `query`.
    pub fn new(query: &'a [f32], k: usize, ef: usize) -> Self {
        Self {
            query,
            k,
            rescore: options::RESCORE as f32,
            ef,
            ties: false,
            filter: None,
            undefined_last: true,
            ranked_only: false,
            narrows: false,
            narrows_query: false,
            metric: None,
            costs: ReadCosts::default(),
            may_scan: false,
            forced: None,
        }
    }
}

/// A row that may be among the nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The row.
    pub row_id: i64,
    /// The row's distance in the metric's unit (`L2sq`: squared; the others: one minus the inner product); NaN for unrankable rows.
    pub distance: f32,
    /// Whether no row that the search met and left out of the answer can be nearer than this one.
    pub certain: bool,
}

/// Who answers: the index or a scan of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The index: rank the rows found.
    Candidates,
    /// The index cannot answer, or only at a higher cost: scan the table.
    Scan,
}

/// What a search did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How the linked rows were searched in the end.
    pub strategy: Strategy,
    /// Graph nodes expanded.
    pub visited: usize,
    /// Distances computed.
    pub distances: usize,
}

/// The answer to a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Whether the index answers.
    pub outcome: Outcome,
    /// Visible rows without duplicates: candidates, nearest first, then those unrankable rows that may be wanted.
    pub rows: Vec<Candidate>,
    /// Whether `rows` holds all visible rows of the index (with a filter: all that pass).
    pub exhausted: bool,
    /// What the search did and cost.
    pub report: Report,
}

/// A row with its distance. Ordered by distance, then by row id.
#[derive(Clone, Copy)]
struct Hit {
    distance: f32,
    /// The number with which the error of the distance grows, see [`crate::vectors::Codec::norm`]; 0 if the distance is exact.
    norm: f32,
    row_id: i64,
}

/// Searches an index. It borrows the row table, and keeps nothing between two searches.
#[derive(Clone, Copy)]
pub struct Searcher<'a> {
    rows: &'a RowTable,
}

impl Index {
    /// The part that searches the index.
    pub fn searcher(&self) -> Searcher<'_> {
        Searcher { rows: self.rows() }
    }
}

impl<'a> Searcher<'a> {
    fn codec(&self) -> &'a Codec {
        &self.rows.setup.codec
    }

    /// [`search`](Self::search) among all visible rows.
    pub fn nearest(&self, query: &[f32], k: usize, ef: usize, visibility: &dyn Visibility) -> Result<Found> {
        self.search(Request::new(query, k, ef), visibility)
    }

    /// At least `k` visible rows nearest to `query`, or all there are (`exhausted`). Only visible rows are returned, but a graph search may
    /// miss some of the nearest. Beyond `k`, the answer holds only rows that tie with the last of these or cannot be told from it by their
    /// codes, and unrankable rows that the host may rank before it.
    ///
    /// With a filter, only rows that pass are returned. If fewer than `k` of them are found, the outcome is `Scan`, or all rows that pass
    /// are returned with NaN for distances; with `ranked_only`, the rows found are the answer if they are all that the index has.
    ///
    /// Takes the row lock for an instant (with a filter: for some microseconds at a time) and, if it uses the graph,
    /// the graph's read guard. Errors: `InvalidInput` for a query of other dimensions; `OutOfMemory`.
    pub fn search(&self, request: Request<'_>, visibility: &dyn Visibility) -> Result<Found> {
        let Request { query, k, filter, .. } = request;
        self.check_dimensions(query)?;
        let planned = match filter {
            Some(rows) => self.filtered_strategy(k, request.ef, rows.len(), &request.costs),
            None => self.strategy(k, request.ef, &request.costs),
        };
        let strategy = match planned {
            Strategy::All => planned,
            Strategy::Scan if !request.may_scan => Strategy::Exact,
            _ => request.forced.filter(|&forced| filter.is_some() || forced == Strategy::Exact).unwrap_or(planned),
        };
        let scaled = self.scaled(&request);
        let request = Request { query: scaled.as_deref().unwrap_or(query), ..request };
        let query = request.query;
        let mut report = Report { strategy, visited: 0, distances: 0 };
        let mut found = Found { outcome: Outcome::Candidates, rows: Vec::new(), exhausted: false, report };
        let mut stored = Vec::with_capacity(query.len());
        let ordinary = self.codec().space.store(query, &mut stored).is_some();
        let search = !matches!(strategy, Strategy::All | Strategy::Scan) && self.ranks_by(request.metric);
        if search && ordinary && k > 0 {
            if filter.is_none() && request.metric.is_none_or(|metric| metric == self.codec().space.metric) {
                self.rows.widths.ask(&stored);
            }
            (found.rows, found.exhausted) = loop {
                let renewals = self.rows.renewals();
                let answer = self.candidates(&stored, request, visibility, &mut report)?;
                // Rows that moved from the graph back to the pending area meanwhile may have been missed in both.
                if renewals == self.rows.renewals() {
                    break answer;
                }
            };
        }
        // A row with another norm may have come meanwhile.
        let search = search && self.ranks_by(request.metric);
        let enough = found.rows.len() >= k || request.ranked_only && found.exhausted;
        let too_few = filter.is_some() && !enough;
        // Codes, narrowed vectors and ties can require more rows than planned.
        let too_many = request.may_scan && !self.search_pays(found.rows.len(), &request.costs);
        if search && ordinary && !too_few && !too_many {
            found.report = report;
            return Ok(found);
        }
        found.rows.clear();
        match filter {
            Some(rows) if self.search_pays(rows.len(), &request.costs) => {
                report.strategy = Strategy::All;
                found.rows =
                    rows.rows().map(|row_id| Candidate { row_id, distance: f32::NAN, certain: false }).collect();
                found.exhausted = true;
            }
            _ => {
                report.strategy = Strategy::Scan;
                found.outcome = Outcome::Scan;
            }
        }
        found.report = report;
        Ok(found)
    }

    /// Errors: `InvalidInput` for a query of other dimensions.
    fn check_dimensions(&self, query: &[f32]) -> Result<()> {
        let dimensions = self.codec().space.dimensions;
        if query.len() == dimensions {
            return Ok(());
        }
        let message = format!("the query has {} dimensions, the index {dimensions}", query.len());
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// Whether the index ranks its rows as `metric` does now (`None`: its own metric), except rows at nearly the same distance. Takes no
    /// lock.
    pub fn ranks_by(&self, metric: Option<Metric>) -> bool {
        metric.is_none_or(|metric| metric == self.codec().space.metric) || self.rows.norms().are_one(ONE_NORM)
    }

    /// The query scaled to the norm of the vectors, if the host's metric ignores the query's norm and the index's does not: if their norms
    /// differ much, the distances have no digits left for the angle. So is a shorter query of an inner product, which ranks alike for any
    /// norm.
    fn scaled(&self, request: &Request<'_>) -> Option<Vec<f32>> {
        let space = &self.codec().space;
        let of_angle =
            matches!(request.metric, Some(Metric::Cosine | Metric::Ip)) && request.metric != Some(space.metric);
        let norms = self.rows.norms();
        let of_product = space.metric == Metric::Ip && request.metric.is_none_or(|metric| metric == Metric::Ip);
        if !(of_angle || of_product) || space.metric == Metric::Cosine || norms.is_empty() || !norms.is_known() {
            return None;
        }
        let norm = request.query.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if of_product && norm >= f64::from(norms.max) {
            return None;
        }
        let scale = f64::from(norms.max) / norm;
        (norm > 0.0 && scale.is_finite())
            .then(|| request.query.iter().map(|&x| (f64::from(x) * scale) as f32).collect())
    }

    /// The rows of an answer, and whether these are all. `vector`: the query, in stored form. `report`: holds the strategy to begin with.
    fn candidates(
        &self,
        vector: &[f32],
        request: Request<'_>,
        visibility: &dyn Visibility,
        report: &mut Report,
    ) -> Result<(Vec<Candidate>, bool)> {
        let Request { k, filter, .. } = request;
        let visibility = filter.map_or(visibility, |rows| rows);
        let mut ef = self.effective_ef(k, request.ef);
        // Pending rows first, so that a row that is linked meanwhile is found twice rather than missed.
        let mut pending = Vec::new();
        let query = self.exact_pending(vector, filter, &mut pending)?;
        report.distances += pending.len();
        // Without a query no row is linked.
        let error = |rescore: f32| query.as_ref().map_or(0.0, |query| self.codec().error_per_norm(query, rescore));
        let margin = self.margin(&request);
        // To find all ties, distances must be as certain as in an exact search.
        let rescore = if request.ties { request.rescore.max(RESCORE_EXACT) } else { request.rescore };
        let told_apart = error(rescore) == 0.0 && margin.other_metric == 0.0;

        // Hits of narrower walks, kept because a wider walk may end elsewhere.
        let mut met = Vec::new();
        while report.strategy != Strategy::Exact {
            let strategy = report.strategy;
            let (walked, cost) = match (&query, strategy, filter) {
                (None, ..) => (Walked::Hits(Vec::new()), Cost::default()),
                (Some(query), Strategy::Recheck | Strategy::Filtered, Some(rows)) => {
                    let traversal =
                        if strategy == Strategy::Recheck { Traversal::PostFilter } else { Traversal::Acorn };
                    let patience = request.forced.is_none().then(|| self.budget(strategy, rows.len(), ef));
                    self.walk_filtered(query, ef, rows, traversal, patience)
                }
                // The first walk takes live rows for visible, as nearly all are; visibility is asked only for the best.
                (Some(query), ..) => {
                    let (hits, cost) = self.walk(query, ef, strategy == Strategy::Recheck, visibility);
                    (Walked::Hits(hits), cost)
                }
            };
            report.add(cost);
            let sparse = matches!(walked, Walked::Sparse);
            if let Walked::Hits(mut hits) = walked {
                let blind =
                    hits.len() >= ef && is_blind(&mut hits, ef, error(options::RESCORE as f32), margin.other_metric);
                let at_best = |hit: &Hit| hit.distance - error(rescore) * hit.norm;
                let farthest = hits.iter().map(at_best).fold(f32::NEG_INFINITY, f32::max);
                let blurred = self.are_blurred(&hits, &request, margin);
                hits.append(&mut met);
                if blind || blurred || request.ties && !told_apart {
                    met.clone_from(&hits);
                }
                hits.extend_from_slice(&pending);
                let taken = self.take_visible(hits, k, error(rescore), margin, visibility);
                // A walk need not find all rows with the same vector, so ties call for an exact search.
                let tied =
                    request.ties && if told_apart { taken.all || taken.rows.len() > k } else { taken.has_equal() };
                // All that this walk has met may tie with the last wanted row, and so may others.
                let open = blurred || request.ties && !told_apart && farthest <= taken.limit;
                let mut rows = taken.rows;
                if (blind || open) && rows.len() >= k && !tied {
                    ef = ef.saturating_mul(2);
                    if Strategy::cheaper(self.rows.alive(), ef) == Strategy::Exact {
                        report.strategy = Strategy::Exact;
                    }
                    continue;
                }
                if rows.len() >= k && !tied {
                    self.add_unrankable(&mut rows, &request, visibility);
                    return Ok((rows, false));
                }
            }
            report.strategy = match filter {
                Some(rows) if sparse => Strategy::beside_filtered(self.rows.alive(), rows.len(), ef),
                _ if strategy == Strategy::Graph => Strategy::Recheck,
                _ => Strategy::Exact,
            };
        }
        let mut hits = pending;
        report.distances += match (&query, filter) {
            (Some(query), Some(rows)) => self.exact_rows(query, rows, &mut hits)?,
            (Some(query), None) => self.exact_linked(query, &mut hits)?,
            (None, _) => 0,
        };
        let error = error(request.rescore.max(RESCORE_EXACT));
        let Taken { mut rows, all: exhausted, .. } = self.take_visible(hits, k, error, margin, visibility);
        let all = self.add_unrankable(&mut rows, &request, visibility);
        Ok((rows, exhausted && all))
    }

    /// Whether these hits of a walk seem to be at one distance only because `f32` has no digits to tell them apart, where the host has: it
    /// computes in `f64`, or these are inner products so small that they vanish beside the 1 that the index takes them from. Then rows that
    /// the walk did not meet may be nearer.
    fn are_blurred(&self, hits: &[Hit], request: &Request<'_>, margin: Margin<'_>) -> bool {
        /// Products up to this lose the digits that distinguish them.
        const PRODUCT_MIN: f32 = 1e-4;
        /// A cosine distance up to this is little more than its rounding.
        const COSINE_MIN: f32 = 1e-5;
        let space = &self.codec().space;
        if hits.is_empty() || !request.narrows_query && space.metric != Metric::Ip {
            return false;
        }
        let ends = |(near, far): (f32, f32), hit: &Hit| (near.min(hit.distance), far.max(hit.distance));
        let (near, far) = hits.iter().fold((f32::INFINITY, f32::NEG_INFINITY), ends);
        let (tie, narrowed) =
            (space.tie(near), margin.narrowed.map_or(0.0, |query| space.narrowed(near, query, margin.norms)));
        let vanish = || near > 1.0 - PRODUCT_MIN && far < 1.0 + PRODUCT_MIN && request.query.iter().any(|&x| x != 0.0);
        let blurred = match space.metric {
            Metric::Cosine => request.narrows_query && far < COSINE_MIN,
            Metric::L2sq => request.narrows_query && narrowed > tie,
            Metric::Ip => request.narrows_query && narrowed > tie || vanish(),
        };
        blurred && far - near <= tie + narrowed
    }

    fn margin<'q>(&self, request: &Request<'q>) -> Margin<'q> {
        let norms = self.rows.norms();
        Margin {
            narrowed: (request.narrows || request.narrows_query).then_some(request.query),
            rows_narrowed: request.narrows,
            norms,
            other_metric: self.codec().space.other_metric(request.metric, norms, request.query),
            ties: request.ties,
        }
    }

    /// The nearest visible rows of `hits`, without duplicates, nearest first: `k` rows, and those that tie with the last of them or may be
    /// nearer than it. `error`: how much a distance may be off, for each unit of a hit's norm.
    fn take_visible(
        &self,
        hits: Vec<Hit>,
        k: usize,
        error: f32,
        margin: Margin<'_>,
        visibility: &dyn Visibility,
    ) -> Taken {
        // A heap is sorted only as far as it is read.
        let mut heap = BinaryHeap::from_iter(hits.into_iter().map(|hit| Reverse(Bounded::new(hit, error))));
        let mut rows: Vec<(Candidate, f32)> = Vec::new();
        let mut seen = HashSet::new();
        // The `k` smallest worst-case distances. A row whose best-case distance is beyond the largest of them is not wanted.
        let mut nearest = BinaryHeap::with_capacity(k.min(heap.len()) + 1);
        let (mut certain, mut limit) = (f32::INFINITY, f32::INFINITY);
        let (mut all, mut ended) = (true, false);
        // The host ranks rows with the same vector alike, so surplus ones may be skipped. Not so if the host ranks by another metric, or if
        // the stored rows may be equal where the vectors are not: codes, narrowed vectors and directions.
        let skips_equal = !margin.ties
            && !margin.rows_narrowed
            && margin.other_metric == 0.0
            && self.codec().space.metric != Metric::Cosine
            && !self.codec().estimates();
        let equal_max = k.max(EQUAL_MAX);
        let (mut equal, mut swept, mut distance, mut first) = (0, false, f32::NAN, 0);
        while let Some(Reverse(hit)) = heap.pop() {
            if hit.at_best > limit {
                (all, ended) = (false, true);
                break;
            }
            if hit.distance != distance {
                (equal, swept, distance, first) = (0, false, hit.distance, hit.row_id);
            }
            let same = skips_equal && (hit.row_id == first || self.rows.have_same_vector(first, hit.row_id));
            if same && equal >= equal_max && nearest.len() == k {
                all = false;
                if !swept {
                    // All at once: taking them from the heap one by one, with a lookup each, would take longer than a scan.
                    swept = true;
                    let mut left = std::mem::take(&mut heap).into_vec();
                    let at_distance = |hit: &&Reverse<Bounded>| hit.0.distance == distance;
                    let ids: Vec<i64> = left.iter().filter(at_distance).map(|hit| hit.0.row_id).collect();
                    let mut are_same = self.rows.which_have_vector_of(first, &ids).into_iter();
                    left.retain(|hit| !(hit.0.distance == distance && are_same.next().unwrap_or(false)));
                    heap = BinaryHeap::from(left);
                }
                continue;
            }
            if visibility.visible(hit.row_id) && seen.insert(hit.row_id) {
                equal += usize::from(same);
                let candidate = Candidate { row_id: hit.row_id, distance: hit.distance, certain: false };
                rows.push((candidate, hit.at_worst()));
                nearest.push(Farthest(hit.at_worst()));
                if nearest.len() > k {
                    nearest.pop();
                }
                if let Some(&Farthest(last)) = nearest.peek().filter(|_| nearest.len() == k) {
                    certain = last + self.codec().space.tie(last);
                    let narrowed = |query| self.codec().space.narrowed(last, query, margin.norms);
                    limit = certain + margin.narrowed.map_or(0.0, narrowed) + margin.other_metric;
                }
            }
        }
        let told = |(row, at_worst)| Candidate { certain: at_worst <= certain, ..row };
        let mut rows: Vec<Candidate> = rows.into_iter().map(told).collect();
        if error > 0.0 {
            rows.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row_id.cmp(&b.row_id)));
        }
        Taken { rows, all, ended, limit }
    }

    /// Adds the visible unrankable rows if the host may want them besides the ranked `rows`. Returns whether none was left out.
    fn add_unrankable(&self, rows: &mut Vec<Candidate>, request: &Request<'_>, visibility: &dyn Visibility) -> bool {
        let own_metric = request.metric.is_none_or(|metric| metric == self.codec().space.metric);
        // A vector that is zero as `f32` may not be zero in the table.
        let undefined = own_metric && !request.narrows && self.rows.unrankable_are_undefined();
        let wanted = !(undefined && request.undefined_last && rows.len() >= request.k);
        let mut unrankable = self.rows.unrankable_rows().filter(|&row_id| visibility.visible(row_id));
        if !wanted {
            return unrankable.next().is_none();
        }
        rows.extend(unrankable.map(|row_id| Candidate { row_id, distance: f32::NAN, certain: false }));
        true
    }
}

/// The nearest visible rows of some hits.
struct Taken {
    /// Nearest first.
    rows: Vec<Candidate>,
    /// Whether all visible rows were taken.
    all: bool,
    /// Whether there was a hit farther than all wanted rows.
    ended: bool,
    /// A hit whose best case is farther is not wanted.
    limit: f32,
}

impl Taken {
    /// Whether two rows are equally far, as rows with the same vector are, also by their codes. Where distances are estimates, there are
    /// nearly always more rows than are wanted, and that says nothing of ties.
    fn has_equal(&self) -> bool {
        self.rows.windows(2).any(|two| two[0].distance == two[1].distance)
    }
}

/// One in this many hits of a walk counts as near the query. The other hits may lie elsewhere if a crowd is near.
const HITS_PER_NEAR: usize = 4;
/// Fewest hits that count as near.
const NEAR_MIN: usize = 16;
/// The spread of all distances counts as at most this many times the spread of the near ones.
const SPREAD_OF_ALL: f32 = 2.0;

/// Whether the errors of the distances exceed the spread of the distances. Then rows that the walk did not meet may be as near. `ef`: the
/// walk's width. `error`: how much a distance may be off, for each unit of a hit's norm. `margin`: how much more it may be off in any case.
/// Reorders `hits`.
fn is_blind(hits: &mut [Hit], ef: usize, error: f32, margin: f32) -> bool {
    if error == 0.0 && margin == 0.0 {
        return false;
    }
    let last = (ef / HITS_PER_NEAR).max(NEAR_MIN).min(hits.len() - 1);
    let (near, &mut Hit { distance: farthest_near, .. }, far) =
        hits.select_nth_unstable_by(last, |a, b| a.distance.total_cmp(&b.distance));
    let nearest = near.iter().fold(farthest_near, |nearest, hit| nearest.min(hit.distance));
    let farthest = far.iter().fold(farthest_near, |farthest, hit| farthest.max(hit.distance));
    let norm = hits.iter().fold(0.0, |norm: f32, hit| norm.max(hit.norm));
    let (near_spread, mut spread) = (farthest_near - nearest, farthest - nearest);
    // Rows with the same code are duplicates, or nearly so, and show no spread.
    if near_spread > 0.0 {
        spread = spread.min(SPREAD_OF_ALL * near_spread);
    }
    // Under another metric (`margin > 0`), rows may rank differently even without any spread.
    (spread > 0.0 || margin > 0.0) && error * norm + margin > spread
}

/// What decides how far behind the last wanted row another row may be that the host ranks before it.
#[derive(Clone, Copy)]
struct Margin<'a> {
    /// The query, if it or the table's vectors were rounded; see [`crate::vectors::Space::narrowed`].
    narrowed: Option<&'a [f32]>,
    /// Whether the table's vectors were rounded.
    rows_narrowed: bool,
    /// The norms of the vectors of the index.
    norms: Norms,
    /// The margin if the host ranks by another metric; see [`crate::vectors::Space::other_metric`].
    other_metric: f32,
    /// Whether all rows that tie are wanted.
    ties: bool,
}

/// A distance, for a heap whose first element is the farthest.
#[derive(Clone, Copy)]
struct Farthest(f32);

/// A row with its distance and its best case, the least that the true distance may be. Ordered by the best case, then by row id.
#[derive(Clone, Copy)]
struct Bounded {
    at_best: f32,
    distance: f32,
    row_id: i64,
}

impl Bounded {
    fn new(hit: Hit, error: f32) -> Self {
        Self { at_best: hit.distance - error * hit.norm, distance: hit.distance, row_id: hit.row_id }
    }

    /// The most that the true distance may be.
    fn at_worst(self) -> f32 {
        self.distance + (self.distance - self.at_best)
    }
}

impl Generation {
    /// The row of a slot, as a hit.
    fn hit(&self, slot: u32, distance: f32, norm: f32) -> Hit {
        Hit { distance, norm, row_id: self.row_id(slot) }
    }

    /// The id of the row of a slot.
    fn row_id(&self, slot: u32) -> i64 {
        self.states.at(slot).load().row_id
    }
}

impl Report {
    fn add(&mut self, cost: Cost) {
        self.visited += cost.visited;
        self.distances += cost.distances;
    }
}

/// Orders a type by a distance, then by another number.
macro_rules! ordered {
    ($type:ty, $distance:expr, $then:expr) => {
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                let (distance, then): (fn(&Self) -> f32, fn(&Self) -> i64) = ($distance, $then);
                distance(self).total_cmp(&distance(other)).then(then(self).cmp(&then(other)))
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $type {}
    };
}

ordered!(Hit, |hit| hit.distance, |hit| hit.row_id);
ordered!(Bounded, |hit| hit.at_best, |hit| hit.row_id);
ordered!(Farthest, |distance| distance.0, |_| 0);
