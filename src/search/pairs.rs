//! Pairs: for each of many query vectors, every row whose distance from it is between two bounds. Like a range (see [`super::range`]),
//! pairs are never approximate: every pair that may be between the bounds is found, and the host decides.
//!
//! While a few rows are in the processor's cache, they are measured from all query vectors.

use super::exact::Collector;
use super::range::{BEGINS_MAX, Limits, Place};
use super::strategy::READ_SHARE;
use super::{Bounds, Hit, RowSet, Searcher};
use crate::error::{Error, Result};
use crate::host::Interrupt;
use crate::vectors::Query;

/// With fewer rows, the host compares all pairs as fast.
const ROWS_MIN: usize = 256;
/// The cost of fetching a pair's row in the host and checking it, in comparisons of two vectors of `COUNTED_DIMENSIONS` elements.
const PAIR_COST: f64 = 4.5;
const COUNTED_DIMENSIONS: f64 = 384.0;

/// What a search for pairs should find.
#[derive(Clone, Copy)]
pub struct PairsRequest<'a> {
    /// `[queries, dimensions]`, as the user gave them.
    pub queries: &'a [f32],
    /// The wanted distances, by the index's metric.
    pub bounds: Bounds,
    /// The rows that qualify, all of them visible. Without a filter every row qualifies.
    pub filter: Option<&'a RowSet>,
    /// The search ends when it has found more pairs than this, unless there is a single query vector.
    pub pairs_max: usize,
    /// Whether the outcome may be `Scan` because comparing all pairs is cheaper.
    pub may_scan: bool,
}

/// A row that may be near enough to a query vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The row.
    pub row_id: i64,
    /// The number of the query vector.
    pub query: u32,
}

/// How a search for pairs ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairsOutcome {
    /// All pairs between the bounds were found, and perhaps others near the bounds.
    Complete,
    /// There are more than `pairs_max` pairs: ask with fewer query vectors.
    TooMany,
    /// Compare all pairs: that is cheaper.
    Scan,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    /// How the search ended. Unless it is `Complete`, `pairs` is empty.
    pub outcome: PairsOutcome,
    /// The pairs without duplicates, ordered by row.
    pub pairs: Vec<Pair>,
    /// Numbers of the query vectors that cannot be ranked. The host has to compare these itself.
    pub unranked: Vec<u32>,
    /// Distances computed.
    pub distances: usize,
}

/// A query vector.
struct Probe {
    number: u32,
    stored: Vec<f32>,
    limits: Limits,
}

/// The pairs found so far.
struct Finds<'a> {
    probes: &'a [Probe],
    pairs: Vec<Pair>,
    distances: usize,
    pairs_max: usize,
    scan_above: f64,
    interrupt: &'a dyn Interrupt,
    /// For each query vector: how much a distance from it may be off, for each unit of a row's norm.
    errors: Vec<f32>,
    /// Set when there were too many pairs.
    ended: Option<PairsOutcome>,
}

impl Finds<'_> {
    /// Makes room for `pairs` more pairs; false if there are too many already.
    fn reserve(&mut self, pairs: usize) -> Result<bool> {
        self.interrupt.check()?;
        let found = self.pairs.len();
        if found as f64 > self.scan_above {
            self.ended = Some(PairsOutcome::Scan);
        } else if found > self.pairs_max && self.probes.len() > 1 {
            self.ended = Some(PairsOutcome::TooMany);
        } else {
            let full = |_| Error::out_of_memory("while searching an HNSW index");
            self.pairs.try_reserve(pairs).map_err(full)?;
        }
        Ok(self.ended.is_none())
    }
}

impl Collector for Finds<'_> {
    fn goes_on(&mut self, rows: usize) -> Result<bool> {
        self.reserve(rows * self.probes.len())
    }

    /// Adds a pair unless its distance is beyond the bounds.
    #[inline]
    fn take(&mut self, query: usize, distances: &[f32], norms: &[f32], row_id: impl Fn(usize) -> i64) {
        self.distances += distances.len();
        let Probe { number, limits, .. } = &self.probes[query];
        let error = self.errors[query];
        for (at, (&distance, &norm)) in distances.iter().zip(norms).enumerate() {
            if !matches!(limits.place(Hit { distance, norm, row_id: 0 }, error), Place::Beyond) {
                self.pairs.push(Pair { row_id: row_id(at), query: *number });
            }
        }
    }
}

impl Searcher<'_> {
    /// Whether a search for pairs may take less time than the host's comparing all pairs. Takes no lock.
    pub fn pairs_pay(&self) -> bool {
        self.rows.alive() >= ROWS_MIN
    }

    /// Every pair of a query vector and a row whose distance is between the bounds.
    ///
    /// Takes the row lock for some instants (with a filter: for some microseconds at a time). Errors: `InvalidInput` for queries of
    /// other dimensions; `Interrupted`; `OutOfMemory`.
    pub fn pairs(&self, request: PairsRequest<'_>, interrupt: &dyn Interrupt) -> Result<Pairs> {
        let PairsRequest { queries, bounds, pairs_max, may_scan, .. } = request;
        let space = &self.codec().space;
        let (mut probes, mut unranked) = (Vec::new(), Vec::new());
        for (query, number) in queries.chunks(space.dimensions).zip(0..) {
            self.check_dimensions(query)?;
            let mut stored = Vec::with_capacity(space.dimensions);
            if space.store(query, &mut stored).is_some() {
                let limits = Limits::new(bounds, |distance| space.rounding(distance, query, self.rows.norms()));
                probes.push(Probe { number, stored, limits });
            } else {
                unranked.push(number);
            }
        }
        let all = probes.len() as f64 * request.filter.map_or(self.rows.alive(), RowSet::len) as f64;
        let cost = PAIR_COST * (COUNTED_DIMENSIONS / space.dimensions as f64).max(1.0);
        let scan_above = if may_scan { all * READ_SHARE / cost } else { f64::INFINITY };
        let mut finds = Finds {
            probes: &probes,
            pairs: Vec::new(),
            distances: 0,
            pairs_max,
            scan_above,
            interrupt,
            errors: Vec::new(),
            ended: None,
        };
        let mut outcome = None;
        for _ in 0..BEGINS_MAX {
            let renewals = self.rows.renewals();
            finds.pairs.clear();
            outcome = self.find_pairs(request.filter, &mut finds)?;
            // Rows that moved from the graph back to the pending area meanwhile may have been missed in both.
            if outcome != Some(PairsOutcome::Complete) || renewals == self.rows.renewals() {
                break;
            }
            outcome = None;
        }
        let outcome = outcome.unwrap_or(PairsOutcome::Scan);
        let Finds { mut pairs, distances, .. } = finds;
        if outcome != PairsOutcome::Complete {
            pairs.clear();
        }
        pairs.sort_unstable();
        // A row that was linked meanwhile may have been found twice.
        pairs.dedup();
        Ok(Pairs { outcome, pairs, unranked, distances })
    }

    /// Searches for the pairs once. `None`: the error of codes grew meanwhile, so the search must be repeated.
    fn find_pairs(&self, filter: Option<&RowSet>, finds: &mut Finds<'_>) -> Result<Option<PairsOutcome>> {
        let probes = finds.probes;
        finds.errors = vec![0.0; probes.len()];
        // Pending rows first, so that a row that is linked meanwhile is found twice rather than missed.
        let mut hits = Vec::new();
        for (at, probe) in probes.iter().enumerate() {
            hits.clear();
            let query = self.exact_pending(&probe.stored, filter, &mut hits)?;
            finds.errors[at] = query.as_ref().map_or(0.0, |query| self.range_error(query));
            if !finds.reserve(hits.len())? {
                return Ok(finds.ended);
            }
            hits.iter().for_each(|hit| finds.take(at, &[hit.distance], &[hit.norm], |_| hit.row_id));
        }
        for row_id in self.rows.unrankable_rows().filter(|&row| filter.is_none_or(|rows| rows.contains(row))) {
            if !finds.reserve(probes.len())? {
                return Ok(finds.ended);
            }
            finds.pairs.extend(probes.iter().map(|probe| Pair { row_id, query: probe.number }));
        }
        if !self.codec().is_ready() {
            return Ok(Some(PairsOutcome::Complete));
        }
        let queries: Vec<Query<'_>> = probes.iter().map(|probe| self.codec().prepare(&probe.stored)).collect();
        finds.errors = queries.iter().map(|query| self.range_error(query)).collect();
        if !self.exact_many(&queries, filter, finds)? {
            return Ok(finds.ended);
        }
        let grew = queries.iter().zip(&finds.errors).any(|(query, &error)| self.range_error(query) > error);
        Ok((!grew).then_some(PairsOutcome::Complete))
    }
}
