//! Ranges: every row whose distance from a vector is between two bounds. A range is never approximate: the graph is not used, and each
//! bound allows for the errors of rounding and of codes on both sides. Rows that these errors leave undecided are for the host to check.
//!
//! The rows are searched in parts, by as many threads as the host likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::exact::{Scratch, blocks};
use super::{Hit, ReadCosts, Report, RowSet, Searcher, Strategy};
use crate::error::{Error, Result};
use crate::index::Generation;
use crate::vectors::Query;

/// Bytes of vectors in a part, about: a millisecond's work.
const PART_BYTES: usize = if cfg!(test) { 1 << 14 } else { 8 << 20 };
/// Most pages of a set in a part.
const PART_PAGES: usize = 16;
/// With fewer rows, or fewer elements of a vector, the host scans its table as fast.
const ROWS_MIN: usize = 2048;
const DIMENSIONS_MIN: usize = 32;
/// Most attempts at a range or at pairs, if renewals move rows from the graph back to the pending area meanwhile.
pub(super) const BEGINS_MAX: usize = 4;

/// The wanted distances, in the unit of the index's metric, both ends included. Infinite where there is no bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The smallest wanted distance.
    pub nearest: f64,
    /// The largest wanted distance.
    pub farthest: f64,
}

impl Bounds {
    /// Every distance.
    pub const ALL: Self = Self { nearest: f64::NEG_INFINITY, farthest: f64::INFINITY };
    /// No distance.
    pub const NONE: Self = Self { nearest: f64::INFINITY, farthest: f64::NEG_INFINITY };
}

/// What a range should find.
#[derive(Clone, Copy)]
pub struct RangeRequest<'a> {
    /// `[dimensions]`, as the user gave it.
    pub query: &'a [f32],
    /// The wanted distances, by the index's metric.
    pub bounds: Bounds,
    /// The rows that qualify, all of them visible. Without a filter every row qualifies.
    pub filter: Option<&'a RowSet>,
    /// What it costs the host to read rows. Without it, the outcome is never `Scan` for reasons of cost.
    pub costs: Option<ReadCosts>,
}

/// Row ids, by what the index knows of their distances. They are in no particular order, and a row may be there twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeRows {
    /// Rows that are certainly between the bounds.
    pub certain: Vec<i64>,
    /// Rows that may be between the bounds: they are near one of them, or unrankable.
    pub uncertain: Vec<i64>,
}

/// How a range ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOutcome {
    /// All rows between the bounds were found; the uncertain ones may include others.
    Complete,
    /// Rows that moved from the graph to the pending area meanwhile may have been missed: begin again.
    Again,
    /// Scan the table: that is cheaper, or the query cannot be ranked.
    Scan,
}

/// A range under way: what its parts share. It may outlive the searcher that began it, but not the index.
pub struct Range {
    /// The query in stored form; empty if it cannot be ranked.
    stored: Vec<f32>,
    limits: Limits,
    /// The generation to search and its number of nodes when the range began; `None` if nothing is linked.
    linked: Option<(Arc<Generation>, u32)>,
    /// With a filter: the pages that have rows.
    pages: Option<Vec<usize>>,
    part_len: usize,
    parts: usize,
    next_part: AtomicUsize,
    renewals: usize,
    costs: Option<ReadCosts>,
    /// Rows of the index when the range began.
    alive: usize,
    certain: AtomicUsize,
    uncertain: AtomicUsize,
    distances: AtomicUsize,
    gave_up: AtomicBool,
}

/// Bounds of distances as the index measures them. A row between the inner bounds is certainly wanted, one beyond the outer bounds
/// certainly not.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    inner: Bounds,
    outer: Bounds,
}

/// Whether a row is between the bounds, as far as the index can tell.
pub(super) enum Place {
    Within,
    Perhaps,
    Beyond,
}

impl Limits {
    /// `rounding`: how much the index and the host may differ at a given distance.
    pub(super) fn new(bounds: Bounds, rounding: impl Fn(f64) -> f64) -> Self {
        let Bounds { nearest, farthest } = bounds;
        let (near, far) = (rounding(nearest), rounding(farthest));
        Self {
            inner: Bounds { nearest: nearest + near, farthest: farthest - far },
            outer: Bounds { nearest: nearest - near, farthest: farthest + far },
        }
    }

    /// `error`: how much a distance may be off, for each unit of a hit's norm.
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
    /// Number of parts. Each is searched by one call of [`Searcher::range_part`].
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// What the range has done so far.
    pub fn report(&self) -> Report {
        let strategy = if self.gave_up.load(Ordering::Relaxed) { Strategy::Scan } else { Strategy::Exact };
        Report { strategy, visited: 0, distances: self.distances.load(Ordering::Relaxed) }
    }

    /// Adds the row of a hit to `rows`, unless it is beyond the bounds. `error`: how much a distance may be off, for each unit of a hit's
    /// norm.
    fn take(&self, hit: Hit, error: f32, rows: &mut RangeRows) {
        match self.limits.place(hit, error) {
            Place::Within => rows.certain.push(hit.row_id),
            Place::Perhaps => rows.uncertain.push(hit.row_id),
            Place::Beyond => (),
        }
    }

    /// Counts rows that were found, and gives up if they are too many.
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
    /// Whether a range may take less time than a scan of the host's table. Takes no lock.
    pub fn range_pays(&self) -> bool {
        self.rows.alive() >= ROWS_MIN && self.codec().space.dimensions >= DIMENSIONS_MIN
    }

    /// Begins a range. Adds the rows to `rows` that are not linked. The rows are complete once all parts were searched and
    /// [`end_range`](Self::end_range) says so.
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

    /// Searches the next part and adds what it finds to `rows`. Returns false if no part is left, or if so many rows were found that a scan
    /// of the table is cheaper. `filter`: that of the request. Any thread may call this. Without a filter it takes no lock for long; with
    /// one it takes the row lock for some microseconds at a time. Errors: `OutOfMemory`.
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
            // Only now: the codec knows a code's error before the code can be measured.
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

    /// The outcome of a range, once no part of it is left. Takes no lock.
    pub fn end_range(&self, range: &Range) -> RangeOutcome {
        if range.gave_up.load(Ordering::Relaxed) {
            RangeOutcome::Scan
        } else if range.renewals != self.rows.renewals() {
            RangeOutcome::Again
        } else {
            RangeOutcome::Complete
        }
    }

    /// The most that a distance of a linked row may be off, for each unit of the row's norm.
    pub(super) fn range_error(&self, query: &Query<'_>) -> f32 {
        self.codec().error_per_norm(query, f32::INFINITY)
    }
}
