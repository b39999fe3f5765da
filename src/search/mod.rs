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
mod take;
mod target;

use self::filtered::{Traversal, Walked};
use self::take::{Taken, is_blind};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Cost;
use crate::host::Visibility;
use crate::index::{Generation, Index, RowTable};
use crate::options::{self, Metric};
use crate::vectors::Codec;

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
