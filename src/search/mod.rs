//! Searches: which rows are nearest to a vector, as one transaction sees them.
//!
//! The index proposes, the table decides: candidates come with the index's own distances, and the host ranks them
//! again by the values in the table. So the answer holds a little more than was asked for: rows that tie with the last
//! one, and rows whose vectors cannot be ranked.

mod exact;
mod graph;
mod recall;
mod strategy;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::graph::Cost;
use crate::host::Visibility;
use crate::index::Index;

pub use self::recall::Recall;
pub use self::strategy::Strategy;

/// A row that may be among the nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The row.
    pub row_id: i64,
    /// Its distance in the metric's unit (`L2sq`: squared; the others: one minus the inner product); NaN for odd rows.
    pub distance: f32,
}

/// Whether the index could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Yes: rank the rows.
    Candidates,
    /// No, the query vector cannot be ranked: scan the table.
    Scan,
}

/// What a search did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How the linked rows were searched, in the end.
    pub strategy: Strategy,
    /// Graph nodes expanded.
    pub visited: usize,
    /// Distances computed.
    pub distances: usize,
}

/// The answer to a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Whether there is one.
    pub outcome: Outcome,
    /// Visible rows, each once: candidates nearest first, then all odd rows.
    pub rows: Vec<Candidate>,
    /// All visible rows of the index are in `rows`.
    pub exhausted: bool,
    /// What it cost.
    pub report: Report,
}

/// A row with its distance. Ordered by distance, equal ones by row id.
#[derive(Clone, Copy)]
struct Hit {
    distance: f32,
    row_id: i64,
}

impl Index {
    /// At least `want` visible rows nearest to `query`, or all there are (`exhausted`); approximate unless the search
    /// is exact, exact in that only visible rows are returned. Never more than `want`, those that tie with the last of
    /// them, and all odd rows.
    ///
    /// - `query`: `[dimensions]`, as the user gave it.
    /// - `ef`: candidates kept on the bottom layer, the paper's `ef`; raised to `want` when lower.
    ///
    /// Takes the row lock for an instant and, if it uses the graph, enters the room as `Search`.
    /// Errors: `InvalidInput` for a query of other dimensions; `OutOfMemory`.
    pub fn search(&self, query: &[f32], want: usize, ef: usize, visibility: &dyn Visibility) -> Result<Found> {
        if query.len() != self.dimensions() {
            let message = format!("the query has {} dimensions, the index {}", query.len(), self.dimensions());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let mut report = Report { strategy: self.strategy(want, ef), visited: 0, distances: 0 };
        let mut stored = Vec::with_capacity(query.len());
        if !self.space.store(query, &mut stored) {
            return Ok(Found { outcome: Outcome::Scan, rows: Vec::new(), exhausted: false, report });
        }
        let answer = |rows, exhausted, report| Found { outcome: Outcome::Candidates, rows, exhausted, report };
        if want == 0 {
            return Ok(answer(Vec::new(), false, report));
        }
        // Pending rows first: one that is linked meanwhile is then found twice, not missed.
        let mut pending = Vec::new();
        self.scan_pending(&stored, &mut pending)?;
        report.distances += pending.len();

        if report.strategy == Strategy::Graph {
            // The first walk takes live rows for visible, which nearly all are, and asks only about the best.
            for ask_all in [false, true] {
                let (mut hits, cost) = self.walk(&stored, self.width(want, ef), ask_all, visibility)?;
                report.add(cost);
                hits.extend_from_slice(&pending);
                let (mut rows, _) = self.take_visible(hits, want, visibility);
                if rows.len() >= want {
                    self.add_odd(&mut rows, visibility);
                    return Ok(answer(rows, false, report));
                }
            }
            report.strategy = Strategy::Exact;
        }
        let mut hits = pending;
        report.distances += self.scan_linked(&stored, &mut hits)?;
        let (mut rows, exhausted) = self.take_visible(hits, want, visibility);
        self.add_odd(&mut rows, visibility);
        Ok(answer(rows, exhausted, report))
    }

    /// The nearest visible rows of `hits`, each once: `want` and those that tie with the last. Also whether that was
    /// all of them.
    fn take_visible(&self, hits: Vec<Hit>, want: usize, visibility: &dyn Visibility) -> (Vec<Candidate>, bool) {
        // A heap sorts only as far as it is read.
        let mut heap = BinaryHeap::from_iter(hits.into_iter().map(Reverse));
        let mut rows: Vec<Candidate> = Vec::new();
        let mut seen = HashSet::new();
        let mut limit = f32::INFINITY;
        while let Some(Reverse(hit)) = heap.pop() {
            if hit.distance > limit {
                return (rows, false);
            }
            if visibility.visible(hit.row_id) && seen.insert(hit.row_id) {
                rows.push(Candidate { row_id: hit.row_id, distance: hit.distance });
                if rows.len() == want {
                    limit = hit.distance + self.space.tie(hit.distance);
                }
            }
        }
        (rows, true)
    }

    fn add_odd(&self, rows: &mut Vec<Candidate>, visibility: &dyn Visibility) {
        let odd = self.odd.rows().filter(|&row_id| visibility.visible(row_id));
        rows.extend(odd.map(|row_id| Candidate { row_id, distance: f32::NAN }));
    }
}

impl Report {
    fn add(&mut self, cost: Cost) {
        self.visited += cost.visited;
        self.distances += cost.distances;
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.row_id.cmp(&other.row_id))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Hit {}
