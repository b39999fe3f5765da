//! How well the graph answers, measured on the index's own rows.

use std::time::Instant;

use super::Searcher;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Interrupt;
use crate::index::rows::State;

/// What [`Searcher::measure_recall`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recall {
    /// Searches run; fewer than asked for if the index has fewer rows.
    pub queries: usize,
    /// Mean share of the exact neighbours that the graph found, 0 to 1; NaN without searches.
    pub recall: f64,
    /// The 95 % confidence interval of the mean.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Mean milliseconds of a walk through the graph.
    pub index_ms: f64,
    /// Mean milliseconds of an exact search.
    pub exact_ms: f64,
}

/// Distance from the mean, in standard errors, that a normal variable exceeds in 5 % of cases.
const NORMAL_95: f64 = 1.96;

impl Searcher<'_> {
    /// Searches for the `k` nearest neighbours of `queries` rows, spread evenly over the linked ones, through the graph
    /// with `ef` as a search would, and exactly. A row is no neighbour of its own. A found row counts if it is as near as the
    /// `k`-th exact one, so ties do not matter. All distances are those of the rows as the index keeps them: of codes, this measures
    /// the graph, not how far their estimates are off.
    ///
    /// Takes the graph's read guard for each search. Errors: `OutOfMemory`, `Interrupted`.
    pub fn measure_recall(&self, k: usize, queries: usize, ef: usize, interrupt: &dyn Interrupt) -> Result<Recall> {
        let mut shares = Vec::new();
        let (mut index_ms, mut exact_ms) = (0.0, 0.0);
        for row in self.sample(queries) {
            if interrupt.interrupted() {
                return Err(Error::new(ErrorKind::Interrupted, "interrupted while measuring recall"));
            }
            let query = self.codec().prepare_row(&row);
            let start = Instant::now();
            let (mut found, _) = self.walk(&query, self.effective_ef(k + 1, ef), false, &|_: i64| true);
            index_ms += start.elapsed().as_secs_f64() * 1e3;
            let start = Instant::now();
            let mut exact = Vec::new();
            self.exact_linked(&query, &mut exact)?;
            exact.sort_unstable();
            exact_ms += start.elapsed().as_secs_f64() * 1e3;

            // The nearest of both is the row itself.
            let neighbours = k.min(exact.len().saturating_sub(1));
            if neighbours > 0 {
                found.sort_unstable();
                let last = exact[neighbours].distance;
                let near = last + self.codec().space.tie(last);
                let hits = found.iter().skip(1).take(neighbours).filter(|hit| hit.distance <= near).count();
                shares.push(hits as f64 / neighbours as f64);
            }
        }
        let count = shares.len() as f64;
        let recall = shares.iter().sum::<f64>() / count;
        let variance = shares.iter().map(|share| (share - recall).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let margin = NORMAL_95 * (variance / count).sqrt();
        Ok(Recall {
            queries: shares.len(),
            recall,
            low: (recall - margin).max(0.0),
            high: (recall + margin).min(1.0),
            index_ms: index_ms / count,
            exact_ms: exact_ms / count,
        })
    }

    /// Up to `count` rows that are live and linked, at even distances over the slots.
    fn sample(&self, count: usize) -> Vec<Vec<u8>> {
        let generation = self.rows.generation();
        let pinned = generation.pin_rows();
        let slots = generation.graph.len();
        let step = (slots / count.max(1)).max(1);
        let live =
            (0..slots as u32).step_by(step).filter(|&slot| generation.entries.at(slot).load().state == State::Live);
        live.filter_map(|slot| pinned.get(slot)).take(count).map(<[u8]>::to_vec).collect()
    }
}
