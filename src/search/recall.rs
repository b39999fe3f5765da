//! The recall of the graph, measured on the index's own rows.

use std::time::Instant;

use super::target::mean_of;
use super::{Found, Outcome, Request, Searcher, Strategy};
use crate::error::Result;
use crate::host::{Interrupt, Visibility};

/// What [`Searcher::measure_recall`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recall {
    /// Searches run; fewer than asked for if the index has fewer rows.
    pub queries: usize,
    /// Mean share of the exact neighbours that the graph found, 0 to 1; NaN without searches.
    pub recall: f64,
    /// Lower end of the 95 % confidence interval of the mean.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// Mean milliseconds of a walk through the graph.
    pub index_ms: f64,
    /// Mean milliseconds of an exact search.
    pub exact_ms: f64,
}

/// A normal variable is farther from its mean than this many standard errors in 5 % of cases.
const NORMAL_95: f64 = 1.96;

/// The 95 % confidence interval of a mean recall with this standard error.
pub(super) fn interval(recall: f64, error: f64) -> (f64, f64) {
    let margin = NORMAL_95 * error;
    ((recall - margin).max(0.0), (recall + margin).min(1.0))
}

/// One search compared with an exact one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchRecall {
    /// The share of the exact answer that the search found, 0 to 1; NaN if there is nothing to find.
    pub recall: f64,
    /// Milliseconds of the search.
    pub index_ms: f64,
    /// Milliseconds of the exact search.
    pub exact_ms: f64,
}

impl Recall {
    /// The mean of some recalls. `index_ms`, `exact_ms`: total milliseconds of all searches.
    pub fn of(recalls: &[f64], index_ms: f64, exact_ms: f64) -> Self {
        let (recall, error) = mean_of(recalls.iter().copied());
        let (low, high) = interval(recall, error);
        let count = recalls.len() as f64;
        Self { queries: recalls.len(), recall, low, high, index_ms: index_ms / count, exact_ms: exact_ms / count }
    }
}

impl Searcher<'_> {
    /// The recall of one [`search`](Self::search): searches as requested, then exactly, and compares the distances of the rows as the index
    /// keeps them. If the outcome is to scan the table or to return all rows that pass the filter, the recall is 1. Locks and errors: those
    /// of `search`.
    pub fn recall(&self, request: Request<'_>, visibility: &dyn Visibility) -> Result<SearchRecall> {
        let timed = |request| -> Result<(Found, f64)> {
            let start = Instant::now();
            let found = self.search(request, visibility)?;
            Ok((found, start.elapsed().as_secs_f64() * 1e3))
        };
        let (found, index_ms) = timed(request)?;
        let (exact, exact_ms) = timed(Request { forced: Some(Strategy::Exact), may_scan: false, ..request })?;
        let distances = |found: &Found| -> Vec<f32> {
            let mut distances: Vec<f32> = found.rows.iter().map(|row| row.distance).filter(|d| !d.is_nan()).collect();
            distances.sort_unstable_by(f32::total_cmp);
            distances
        };
        let complete = found.outcome == Outcome::Scan || found.report.strategy == Strategy::All;
        let share = self.recall_of(&distances(&found), &distances(&exact), request.k);
        let recall = if complete { 1.0 } else { share.unwrap_or(f64::NAN) };
        Ok(SearchRecall { recall, index_ms, exact_ms })
    }

    /// The recall of the graph: searches for the `k` nearest neighbours of `queries` rows, spread evenly over the linked ones, through the
    /// graph with width `ef` and exactly. A row does not count among its own neighbours, and no walk steps on it, because real queries are
    /// not in the index either. A found row counts if it is as near as the `k`-th exact one, so ties do not matter. All distances are those
    /// of the rows as the index keeps them: with codes, this measures the graph and not the error of the codes.
    ///
    /// Takes the graph's read guard for each search. Errors: `OutOfMemory`, `Interrupted`.
    pub fn measure_recall(&self, k: usize, queries: usize, ef: usize, interrupt: &dyn Interrupt) -> Result<Recall> {
        let mut recalls = Vec::new();
        let (mut index_ms, mut exact_ms) = (0.0, 0.0);
        let generation = self.rows.generation();
        for probe in self.sample(&generation, queries) {
            interrupt.check()?;
            let start = Instant::now();
            let found = self.walked_distances(&generation, &probe, self.effective_ef(k, ef), i64::MAX);
            index_ms += start.elapsed().as_secs_f64() * 1e3;
            let start = Instant::now();
            let exact = self.nearest_rows(std::slice::from_ref(&probe), k, i64::MAX, interrupt)?;
            exact_ms += start.elapsed().as_secs_f64() * 1e3;
            recalls.extend(self.recall_of(&found, &self.still_there(&exact[0]), k));
        }
        Ok(Recall::of(&recalls, index_ms, exact_ms))
    }
}
