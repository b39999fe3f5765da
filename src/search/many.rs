//! Exact searches for many query vectors together: while a few rows are in the processor's cache, they are measured from all query vectors.
//! Each answer is the same as that of a separate search.

use super::exact::Collector;
use super::range::BEGINS_MAX;
use super::{Found, Hit, Outcome, RESCORE_EXACT, Report, Request, Searcher, Strategy};
use crate::error::Result;
use crate::host::{Interrupt, Visibility};
use crate::vectors::Query;

/// With fewer query vectors, each is searched for separately.
const QUERIES_MIN: usize = 8;
/// Distances measured for many query vectors in the time that a scan takes for one distance from a single query vector.
const BLOCK_GAIN: f64 = 2.5;
/// Hits that are kept beyond twice the wanted ones, because the transaction may not see some of the rows.
const SPARE: usize = 32;
/// Most hits that are kept beyond `keep` because they tie or their distances cannot be told apart. A query vector with more of them is
/// searched for separately; otherwise equal rows would be kept once for each query vector.
const TIED_MAX: usize = 4096;

/// The hits for one query vector that may be wanted.
struct Nearest {
    /// The number of the query vector.
    number: usize,
    /// The query vector as it is searched for, and in stored form.
    query: Vec<f32>,
    stored: Vec<f32>,
    /// How much a distance from it may be off, for each unit of a row's norm.
    error: f32,
    hits: Vec<Hit>,
    /// The number of hits at which the farthest are dropped.
    full: usize,
    /// A hit whose best case is farther is not wanted.
    bound: f32,
    /// Whether hits were dropped.
    dropped: bool,
    /// Whether too many hits tie; then none are kept.
    given_up: bool,
}

impl Nearest {
    fn at_worst(&self, hit: &Hit) -> f32 {
        hit.distance + self.error * hit.norm
    }

    fn is_beyond(&self, hit: &Hit, bound: f32) -> bool {
        hit.distance - self.error * hit.norm > bound
    }

    /// Drops the hits that are farther than the `keep` nearest even in their best case. If too many are left, drops all hits, and those to
    /// come.
    fn shrink(&mut self, keep: usize) {
        let mut worst: Vec<f32> = self.hits.iter().map(|hit| self.at_worst(hit)).collect();
        let (_, &mut bound, _) = worst.select_nth_unstable_by(keep - 1, f32::total_cmp);
        let mut hits = std::mem::take(&mut self.hits);
        hits.retain(|hit| !self.is_beyond(hit, bound));
        if hits.len() > keep + TIED_MAX {
            (self.bound, self.given_up) = (f32::NEG_INFINITY, true);
            return;
        }
        (self.hits, self.bound, self.dropped) = (hits, bound, true);
        self.full = (2 * self.hits.len()).max(self.full);
    }
}

/// The hits of all searches.
struct Collected<'a> {
    searches: Vec<Nearest>,
    /// Hits that are kept for each query vector.
    keep: usize,
    distances: usize,
    interrupt: &'a dyn Interrupt,
}

impl Collected<'_> {
    fn add(&mut self, query: usize, hit: Hit) {
        let search = &mut self.searches[query];
        if search.given_up {
            return;
        }
        search.hits.push(hit);
        if search.hits.len() >= search.full {
            search.shrink(self.keep);
        }
    }
}

impl Collector for Collected<'_> {
    fn goes_on(&mut self, _rows: usize) -> Result<bool> {
        self.interrupt.check()?;
        Ok(true)
    }

    #[inline]
    fn take(&mut self, query: usize, distances: &[f32], norms: &[f32], row_id: impl Fn(usize) -> i64) {
        self.distances += distances.len();
        let Nearest { error, bound, .. } = self.searches[query];
        // Nearly always all hits are beyond the bound; NaN is not.
        let beyond = |all, (&distance, &norm): (&f32, &f32)| all & (distance - error * norm > bound);
        if distances.iter().zip(norms).fold(true, beyond) {
            return;
        }
        for (at, (&distance, &norm)) in distances.iter().zip(norms).enumerate() {
            let hit = Hit { distance, norm, row_id: 0 };
            let search = &self.searches[query];
            if !search.is_beyond(&hit, search.bound) {
                self.add(query, Hit { row_id: row_id(at), ..hit });
            }
        }
    }
}

impl Searcher<'_> {
    /// The answers to searches with each of `queries` (`[queries, dimensions]`) as the query vector of `request`; see
    /// [`search`](Self::search). `None` if separate searches are as fast.
    ///
    /// Takes the row lock for some instants (with a filter: for some microseconds at a time). Errors: `InvalidInput` for queries of other
    /// dimensions; `Interrupted`; `OutOfMemory`.
    pub fn search_many(
        &self,
        queries: &[f32],
        request: Request<'_>,
        visibility: &dyn Visibility,
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Vec<Found>>> {
        let dimensions = self.codec().space.dimensions;
        if queries.len() < QUERIES_MIN * dimensions || !self.many_pay(&request) || !self.ranks_by(request.metric) {
            return Ok(None);
        }
        let keep = 2 * request.k + SPARE;
        let mut searches = Vec::new();
        let mut found: Vec<Option<Found>> = Vec::new();
        for (number, query) in queries.chunks(dimensions).enumerate() {
            self.check_dimensions(query)?;
            found.push(None);
            let query = self.scaled(&Request { query, ..request }).unwrap_or_else(|| query.to_vec());
            let mut stored = Vec::with_capacity(dimensions);
            if self.codec().space.store(&query, &mut stored).is_some() {
                let (hits, full) = (Vec::new(), 2 * keep);
                let (error, bound, dropped, given_up) = (0.0, f32::INFINITY, false, false);
                searches.push(Nearest { number, query, stored, error, hits, full, bound, dropped, given_up });
            }
        }
        let mut collected = Collected { searches, keep, distances: 0, interrupt };
        let mut complete = false;
        for _ in 0..BEGINS_MAX {
            let renewals = self.rows.renewals();
            complete = self.collect(&request, &mut collected)? && renewals == self.rows.renewals();
            if complete {
                break;
            }
        }
        let distances = collected.distances / collected.searches.len().max(1);
        for search in collected.searches {
            let number = search.number;
            found[number] = if complete { self.conclude(search, &request, distances, visibility) } else { None };
        }
        let metric_changed = !self.ranks_by(request.metric);
        let one = |(found, query): (Option<Found>, &[f32])| match found {
            Some(found) if !metric_changed => Ok(found),
            _ => {
                interrupt.check()?;
                self.search(Request { query, ..request }, visibility)
            }
        };
        found.into_iter().zip(queries.chunks(dimensions)).map(one).collect::<Result<Vec<_>>>().map(Some)
    }

    /// Whether measuring all qualifying rows from several query vectors takes less time than a search for each.
    fn many_pay(&self, request: &Request<'_>) -> bool {
        let qualifying = request.filter.map_or(self.rows.alive(), super::RowSet::len);
        let planned = match request.filter {
            Some(rows) => self.filtered_strategy(request.k, request.ef, rows.len(), &request.costs),
            None => self.strategy(request.k, request.ef, &request.costs),
        };
        match planned {
            Strategy::All | Strategy::Scan => false,
            Strategy::Exact => request.k > 0,
            _ if request.k == 0 => false,
            _ => match request.forced {
                Some(forced) => forced == Strategy::Exact,
                None => {
                    let ef = self.effective_ef(request.k, request.ef);
                    qualifying as f64 <= BLOCK_GAIN * planned.cost(self.rows.alive(), qualifying, ef)
                }
            },
        }
    }

    /// Finds the nearest hits of all searches. False: the error of codes grew meanwhile, so this must be repeated.
    fn collect(&self, request: &Request<'_>, collected: &mut Collected<'_>) -> Result<bool> {
        let keep = collected.keep;
        // Pending rows first, so that a row that is linked meanwhile is found twice rather than missed.
        let mut hits = Vec::new();
        for at in 0..collected.searches.len() {
            collected.interrupt.check()?;
            hits.clear();
            let search = &mut collected.searches[at];
            search.hits.clear();
            (search.full, search.bound) = (2 * keep, f32::INFINITY);
            (search.dropped, search.given_up) = (false, false);
            let query = self.exact_pending(&search.stored, request.filter, &mut hits)?;
            search.error = query.map_or(0.0, |query| self.rescored(request, &query));
            collected.distances += hits.len();
            hits.iter().for_each(|&hit| collected.add(at, hit));
        }
        if !self.codec().is_ready() {
            return Ok(true);
        }
        let stored: Vec<Vec<f32>> =
            collected.searches.iter_mut().map(|search| std::mem::take(&mut search.stored)).collect();
        let queries: Vec<Query<'_>> = stored.iter().map(|vector| self.codec().prepare(vector)).collect();
        for (search, query) in collected.searches.iter_mut().zip(&queries) {
            search.error = self.rescored(request, query);
        }
        let measured = self.exact_many(&queries, request.filter, collected);
        let grew = |(search, query): (&Nearest, &Query<'_>)| self.rescored(request, query) > search.error;
        let grew = collected.searches.iter().zip(&queries).any(grew);
        drop(queries);
        for (search, stored) in collected.searches.iter_mut().zip(stored) {
            search.stored = stored;
        }
        Ok(measured? && !grew)
    }

    /// How much a distance in an exact search may be off, for each unit of a row's norm.
    fn rescored(&self, request: &Request<'_>, query: &Query<'_>) -> f32 {
        self.codec().error_per_norm(query, request.rescore.max(RESCORE_EXACT))
    }

    /// The answer of one search. `None` if more hits may be wanted than were kept, or if a scan of the table may be better.
    fn conclude(
        &self,
        search: Nearest,
        request: &Request<'_>,
        distances: usize,
        visibility: &dyn Visibility,
    ) -> Option<Found> {
        let visibility = request.filter.map_or(visibility, |rows| rows);
        let margin = self.margin(&Request { query: &search.query, ..*request });
        let taken = self.take_visible(search.hits, request.k, search.error, margin, visibility);
        if search.given_up || search.dropped && !taken.ended {
            return None;
        }
        let mut rows = taken.rows;
        let all = self.add_unrankable(&mut rows, &Request { query: &search.query, ..*request }, visibility);
        let exhausted = taken.all && all;
        let enough = rows.len() >= request.k || request.ranked_only && exhausted;
        if request.filter.is_some() && !enough || request.may_scan && !self.search_pays(rows.len(), &request.costs) {
            return None;
        }
        let report = Report { strategy: Strategy::Exact, visited: 0, distances };
        Some(Found { outcome: Outcome::Candidates, rows, exhausted, report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Uninterrupted;

    #[test]
    fn not_all_rows_that_tie_are_kept() {
        const KEEP: usize = 30;
        let (query, stored, hits) = (Vec::new(), Vec::new(), Vec::new());
        let (full, bound) = (2 * KEEP, f32::INFINITY);
        let nearest =
            Nearest { number: 0, query, stored, error: 0.0, hits, full, bound, dropped: false, given_up: false };
        let mut collected = Collected { searches: vec![nearest], keep: KEEP, distances: 0, interrupt: &Uninterrupted };
        for first in (0..100_000).step_by(4) {
            collected.take(0, &[1.0; 4], &[0.0; 4], |at| first + at as i64);
            assert!(collected.searches[0].hits.len() <= 2 * (KEEP + TIED_MAX));
        }
        assert!(collected.searches[0].given_up);
    }
}
