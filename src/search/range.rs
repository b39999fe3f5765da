//! Ranges: every row whose distance from a vector is between two bounds. Never approximate: the graph is not used, and what rounding and
//! codes may have made of a distance is allowed for on both sides of both bounds. The rows of which that leaves it open are for the host to
//! decide.
//!
//! The rows are looked through in parts, by as many threads as the host likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::exact::{Scratch, blocks};
use super::{Hit, ReadCosts, Report, RowSet, Searcher, Strategy};
use crate::error::{Error, Result};
use crate::index::Generation;
use crate::vectors::Query;

/// About the bytes of vectors that a part has: a millisecond's work.
const PART_BYTES: usize = if cfg!(test) { 1 << 14 } else { 8 << 20 };
/// Pages of a set that a part has at most.
const PART_PAGES: usize = 16;
/// Rows and elements below which the host scans its table as fast.
const ROWS_MIN: usize = 2048;
const DIMENSIONS_MIN: usize = 32;
/// Times that a range, or pairs, are looked for while rows go from the graph back to the pending area.
pub(super) const BEGINS_MAX: usize = 4;

/// Distances, in the unit of the index's metric, between which rows are wanted, both included. Infinite where there is no bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// None is nearer.
    pub nearest: f64,
    /// None is farther.
    pub farthest: f64,
}

impl Bounds {
    /// Every distance.
    pub const ALL: Self = Self { nearest: f64::NEG_INFINITY, farthest: f64::INFINITY };
    /// No distance.
    pub const NONE: Self = Self { nearest: f64::INFINITY, farthest: f64::NEG_INFINITY };
}

/// What is asked of a range.
#[derive(Clone, Copy)]
pub struct RangeRequest<'a> {
    /// `[dimensions]`, as the user gave it.
    pub query: &'a [f32],
    /// Which distances, by the index's metric.
    pub bounds: Bounds,
    /// The rows that qualify, all of them visible; without it every row does.
    pub filter: Option<&'a RowSet>,
    /// What it costs the host to read rows. Without it the answer is never to scan the table because that is cheaper.
    pub costs: Option<ReadCosts>,
}

/// Row ids by what the index knows of them, in no order. One may be there twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeRows {
    /// Between the bounds.
    pub certain: Vec<i64>,
    /// Perhaps: near one of the bounds, or unrankable.
    pub uncertain: Vec<i64>,
}

/// How a range ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOutcome {
    /// All rows between the bounds were found, beside others of which that is uncertain.
    Complete,
    /// Rows may have been missed that were on their way from the graph to the pending area: begin again.
    Again,
    /// Scan the table: that is cheaper, or the query is no vector that can be ranked.
    Scan,
}

/// A range that is being looked for: what its parts share. It may outlive the searcher that began it, not the index.
pub struct Range {
    /// The query in stored form; empty if it cannot be ranked.
    stored: Vec<f32>,
    limits: Limits,
    /// The graph, and how many nodes it had; without one nothing is linked.
    linked: Option<(Arc<Generation>, u32)>,
    /// With a filter: the pages that have rows.
    pages: Option<Vec<usize>>,
    part_len: usize,
    parts: usize,
    next_part: AtomicUsize,
    renewals: usize,
    costs: Option<ReadCosts>,
    /// Rows of the index when it began.
    alive: usize,
    certain: AtomicUsize,
    uncertain: AtomicUsize,
    distances: AtomicUsize,
    gave_up: AtomicBool,
}

/// Distances as the index measures them. Between the inner bounds a row is certainly wanted, beyond the outer ones certainly not.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    inner: Bounds,
    outer: Bounds,
}

/// Where a row is, as far as the index can tell.
pub(super) enum Place {
    Within,
    Perhaps,
    Beyond,
}

impl Limits {
    /// `rounding`: by how much the index and the host may differ at a distance.
    pub(super) fn new(bounds: Bounds, rounding: impl Fn(f64) -> f64) -> Self {
        let Bounds { nearest, farthest } = bounds;
        let (near, far) = (rounding(nearest), rounding(farthest));
        Self {
            inner: Bounds { nearest: nearest + near, farthest: farthest - far },
            outer: Bounds { nearest: nearest - near, farthest: farthest + far },
        }
    }

    /// `error`: of distances, for each unit of a hit's norm.
    #[inline]
    pub(super) fn place(&self, hit: Hit, error: f32) -> Place {
        let (distance, off) = (f64::from(hit.distance), f64::from(error) * f64::from(hit.norm));
        let Self { inner, outer } = self;
        if distance - off > outer.farthest || distance + off < outer.nearest {
            Place::Beyond
        } else if distance + off <= inner.farthest && distance - off >= inner.nearest {
            Place::Within
        } else {
            Place::Perhaps
        }
    }
}

impl Range {
    /// Parts that are to be looked through, each by one call of [`Searcher::range_part`].
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// What it did so far.
    pub fn report(&self) -> Report {
        let strategy = if self.gave_up.load(Ordering::Relaxed) { Strategy::Scan } else { Strategy::Exact };
        Report { strategy, visited: 0, distances: self.distances.load(Ordering::Relaxed) }
    }

    /// Adds the row of a hit to `rows`, unless it is beyond the bounds. `error`: of distances, for each unit of a hit's norm.
    fn take(&self, hit: Hit, error: f32, rows: &mut RangeRows) {
        match self.limits.place(hit, error) {
            Place::Within => rows.certain.push(hit.row_id),
            Place::Perhaps => rows.uncertain.push(hit.row_id),
            Place::Beyond => (),
        }
    }

    /// Notes rows that were found, and gives up if that were too many.
    fn found(&self, certain: usize, uncertain: usize, distances: usize) {
        let certain = certain + self.certain.fetch_add(certain, Ordering::Relaxed);
        let uncertain = uncertain + self.uncertain.fetch_add(uncertain, Ordering::Relaxed);
        self.distances.fetch_add(distances, Ordering::Relaxed);
        if self.costs.is_some_and(|costs| !costs.search_pays(certain, uncertain, self.alive)) {
            self.gave_up.store(true, Ordering::Relaxed);
        }
    }
}

impl Searcher<'_> {
    /// Whether the host may scan its table in more time than a range takes. Takes no lock.
    pub fn range_pays(&self) -> bool {
        self.rows.alive() >= ROWS_MIN && self.codec().space.dimensions >= DIMENSIONS_MIN
    }

    /// Begins to look for the rows between two bounds. Adds those to `rows` that are not linked. What it has found is complete once all
    /// parts were looked through and [`end_range`](Self::end_range) says so.
    ///
    /// Takes the row lock for an instant. Errors: `InvalidInput` for a query of other dimensions; `OutOfMemory`.
    pub fn begin_range(&self, request: RangeRequest<'_>, rows: &mut RangeRows) -> Result<Range> {
        let RangeRequest { query, bounds, filter, .. } = request;
        let space = &self.codec().space;
        self.check_dimensions(query)?;
        let mut stored = Vec::with_capacity(query.len());
        let ordinary = space.store(query, &mut stored).is_some();
        if !ordinary {
            stored.clear();
        }
        let mut range = Range {
            stored,
            limits: Limits::new(bounds, |distance| space.rounding(distance, query, self.rows.norms())),
            linked: None,
            pages: filter.map(|rows| rows.pages().map(|(number, _)| number).collect()),
            part_len: 1,
            parts: 0,
            next_part: AtomicUsize::new(0),
            renewals: self.rows.renewals(),
            costs: request.costs,
            alive: self.rows.alive(),
            certain: AtomicUsize::new(0),
            uncertain: AtomicUsize::new(0),
            distances: AtomicUsize::new(0),
            gave_up: AtomicBool::new(!ordinary),
        };
        if !ordinary {
            return Ok(range);
        }
        // Pending rows first: one that is linked meanwhile is then found twice, not missed.
        let mut hits = Vec::new();
        let prepared = self.exact_pending(&range.stored, filter, &mut hits)?;
        let error = prepared.as_ref().map_or(0.0, |query| self.range_error(query));
        hits.iter().for_each(|&hit| range.take(hit, error, rows));
        let unrankable = self.rows.unrankable_rows().filter(|&row| filter.is_none_or(|rows| rows.contains(row)));
        rows.uncertain.extend(unrankable);
        range.found(rows.certain.len(), rows.uncertain.len(), hits.len());
        if prepared.is_some() {
            let generation = self.rows.generation();
            let nodes = generation.graph.len();
            let slots = (PART_BYTES / self.codec().row_bytes()).max(1);
            (range.part_len, range.parts) = match &range.pages {
                Some(pages) => (PART_PAGES, pages.len().div_ceil(PART_PAGES)),
                None => (slots, nodes.div_ceil(slots)),
            };
            range.linked = Some((generation, nodes as u32));
        }
        Ok(range)
    }

    /// Looks through another part and adds what it finds to `rows`; false if none is left, or so many rows were found that the table is
    /// better scanned. `filter`: that of the request. On any thread. Without a filter it waits for nobody; with one it takes the row lock
    /// for some microseconds at a time. Errors: `OutOfMemory`.
    pub fn range_part(&self, range: &Range, filter: Option<&RowSet>, rows: &mut RangeRows) -> Result<bool> {
        let Some((generation, nodes)) = &range.linked else { return Ok(false) };
        let part = range.next_part.fetch_add(1, Ordering::Relaxed);
        if part >= range.parts || range.gave_up.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let first = part * range.part_len;
        let before = (rows.certain.len(), rows.uncertain.len());
        let query = self.codec().prepare(&range.stored);
        let (mut hits, mut distances) = (Vec::new(), 0);
        let mut take = |hits: &mut Vec<Hit>| -> Result<()> {
            // only now: a code tells its error before it is there to be measured
            let error = self.range_error(&query);
            let full = |_| Error::out_of_memory("while searching an HNSW index");
            rows.certain.try_reserve(hits.len()).map_err(full)?;
            rows.uncertain.try_reserve(hits.len()).map_err(full)?;
            distances += hits.len();
            hits.drain(..).for_each(|hit| range.take(hit, error, rows));
            Ok(())
        };
        match (&range.pages, filter) {
            (Some(pages), Some(filter)) => {
                let mut scratch = Scratch::default();
                for &number in pages.iter().skip(first).take(range.part_len) {
                    let Some(page) = filter.page_at(number) else { continue };
                    self.measure_page(&query, number, page, &mut scratch, |hit| hits.push(hit));
                    take(&mut hits)?;
                }
            }
            _ => {
                let pinned = generation.pin_rows();
                let mut slots = Vec::new();
                for block in blocks(first as u32..(first + range.part_len).min(*nodes as usize) as u32) {
                    pinned.measure(&query, block, &mut slots, |slot, distance, norm| {
                        hits.push(generation.hit(slot, distance, norm));
                    });
                    take(&mut hits)?;
                }
            }
        }
        range.found(rows.certain.len() - before.0, rows.uncertain.len() - before.1, distances);
        Ok(true)
    }

    /// What came of a range, once no part of it is left. Takes no lock.
    pub fn end_range(&self, range: &Range) -> RangeOutcome {
        if range.gave_up.load(Ordering::Relaxed) {
            RangeOutcome::Scan
        } else if range.renewals != self.rows.renewals() {
            RangeOutcome::Again
        } else {
            RangeOutcome::Complete
        }
    }

    /// The most that distances of linked rows may be off, for each unit of a row's norm.
    pub(super) fn range_error(&self, query: &Query<'_>) -> f32 {
        self.codec().error_per_norm(query, f32::INFINITY)
    }
}
