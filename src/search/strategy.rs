//! The choice between exact and graph search.

use super::Searcher;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Metric;

/// Distances a walk computes for each candidate it keeps.
const DISTANCES_PER_CANDIDATE: f64 = 24.0;
/// The cost of a walk's distance, in distances of a scan: a walk waits for memory, and keeps its queues in order.
const WALK_FACTOR: f64 = 1.4;
/// The cost of a walk over all nodes grows with this power of the number of nodes per qualifying node. On sentence embeddings such a walk
/// computes 2,300 distances if all nodes qualify, 3,900 if half do, and 7,900 if a fifth do.
const RECHECK_GROWTH: f64 = 0.75;
/// The cost of a walk from one qualifying row to the next, in plain walks: it computes up to twice as many distances, however many rows
/// qualify, and looks at the neighbours of neighbours.
const FILTERED_FACTOR: f64 = 3.0;
/// A walk keeps spare candidates besides the `k` wanted rows: `k` more, but at most this many.
pub(super) const SPARE_MAX: usize = 128;
/// Rows of an answer whose pages are consistent with each other; see [`Searcher::ef_of_pages`].
const PAGES_ROWS: usize = 512;
/// Candidates at which keeping the list of the best in order costs as much as their distances.
const ORDER_EF: f64 = 10_000.0;

/// This many rows may always be read after a search, whatever the size of the table: one chunk of DuckDB.
const READ_MIN: usize = 2048;
/// The share of the time of a table scan that reading the found rows may take; the rest is for the search.
pub(super) const READ_SHARE: f64 = 0.9;

/// What it costs the host to read rows, in nanoseconds a row. The host fills this in, because it knows what the rows consist of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadCosts {
    /// A row that was found, fetched by its id.
    pub looked_up: f64,
    /// The same, with all columns that decide whether the row is wanted, such as its vector.
    pub checked: f64,
    /// Each row of the table, if the table is scanned for the rows that were found.
    pub skimmed: f64,
    /// Each row that was found, in that scan.
    pub selected: f64,
    /// Each row of the table, if the table is scanned without a search and every distance is measured.
    pub scanned: f64,
}

impl ReadCosts {
    /// Whether reading the rows of a search costs the host less than a scan of its table. `found`: rows found; `undecided`: rows that the
    /// host has to check; `all`: rows of the table.
    pub(super) fn search_pays(&self, found: usize, undecided: usize, all: usize) -> bool {
        let (found, undecided, all) = (found as f64, undecided as f64, all as f64);
        let by_ids = found * self.looked_up + undecided * self.checked;
        let by_scan = all * self.skimmed + (found + undecided) * self.selected;
        by_ids.min(by_scan) <= READ_SHARE * all * self.scanned
    }
}

/// How linked rows are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The distance of every qualifying row is computed.
    Exact,
    /// A walk through the graph.
    Graph,
    /// A walk that returns only visible rows that pass the filter.
    Recheck,
    /// A walk from one row that passes the filter to the next.
    Filtered,
    /// No search: no more rows pass the filter than are wanted.
    All,
    /// No search: so many rows are wanted that the host reads its whole table.
    Scan,
}

impl Strategy {
    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Graph => "graph",
            Self::Recheck => "graph, rechecked",
            Self::Filtered => "graph, filtered",
            Self::All => "all that qualify",
            Self::Scan => "exact scan",
        }
    }

    /// The strategy that the setting `hnsw_strategy` forces; `None` for `auto`. Errors: `InvalidInput`, listing the names.
    pub fn parse(given: &str) -> Result<Option<Self>> {
        match given.to_ascii_lowercase().as_str() {
            "auto" => Ok(None),
            "exact" => Ok(Some(Self::Exact)),
            "filtered" => Ok(Some(Self::Filtered)),
            "recheck" => Ok(Some(Self::Recheck)),
            _ => {
                let message = format!("hnsw_strategy is '{given}'; use 'auto', 'exact', 'filtered' or 'recheck'");
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }

    /// The cheaper way to search `rows` rows with `ef` candidates. The answer is `Exact` if `rows` is small or `ef` is a large part of it.
    pub(super) fn cheaper(rows: usize, ef: usize) -> Self {
        if rows as f64 <= walk_cost(ef) { Self::Exact } else { Self::Graph }
    }

    /// The cost of a walk of this kind with `ef` candidates, when `qualifying` of `rows` rows qualify, in distances of a scan.
    pub(super) fn cost(self, rows: usize, qualifying: usize, ef: usize) -> f64 {
        match self {
            Self::Recheck => recheck_cost(rows, qualifying, ef),
            Self::Filtered => filtered_cost(ef),
            _ => walk_cost(ef),
        }
    }

    /// The cheaper of the other ways if a walk from one qualifying row to the next leads nowhere.
    pub(super) fn beside_filtered(rows: usize, qualifying: usize, ef: usize) -> Self {
        if qualifying as f64 <= recheck_cost(rows, qualifying, ef) { Self::Exact } else { Self::Recheck }
    }

    /// The cheapest way to search with `ef` candidates when `qualifying` of `rows` rows qualify.
    fn cheapest(rows: usize, qualifying: usize, ef: usize) -> Self {
        let (recheck, filtered) = (recheck_cost(rows, qualifying, ef), filtered_cost(ef));
        if qualifying as f64 <= recheck.min(filtered) {
            Self::Exact
        } else if recheck < filtered {
            Self::Recheck
        } else {
            Self::Filtered
        }
    }
}

// The costs of walks that keep `ef` candidates, counted in distances of a scan.

fn walk_cost(ef: usize) -> f64 {
    let ef = ef as f64;
    ef * DISTANCES_PER_CANDIDATE * WALK_FACTOR * (1.0 + ef / ORDER_EF)
}

/// A walk over all nodes goes on until it has found enough that qualify.
fn recheck_cost(rows: usize, qualifying: usize, ef: usize) -> f64 {
    walk_cost(ef) * (rows as f64 / qualifying.max(1) as f64).powf(RECHECK_GROWTH)
}

fn filtered_cost(ef: usize) -> f64 {
    walk_cost(ef) * FILTERED_FACTOR
}

impl Searcher<'_> {
    /// Candidates that a walk keeps for `k` rows and the setting `ef`. It is twice `ef` for `L2sq`, because vectors of unequal norms make
    /// hubs: among these a walk with 64 candidates finds 0.93 of the 10 nearest sentence embeddings, one with 128 finds 0.97. It is doubled
    /// until it holds `k` and the spare candidates, because recall drops when `k` is near the width (sentence embeddings: 0.93 for 60 rows
    /// at 64, 0.98 at 128).
    pub(super) fn effective_ef(&self, k: usize, ef: usize) -> usize {
        let enough = k.saturating_add(k.min(SPARE_MAX));
        let mut ef = ef.saturating_mul(self.ef_factor()).max(1);
        while ef < enough {
            ef = ef.saturating_mul(2);
        }
        ef
    }

    pub(super) fn ef_factor(&self) -> usize {
        if self.codec().space.metric == Metric::L2sq { 2 } else { 1 }
    }

    /// The search width for one of several pages of an answer. Pages are consistent if they come from walks of the same width, so this is
    /// the width for the first `PAGES_ROWS` rows, or `ef` if that is greater.
    pub fn ef_of_pages(&self, ef: usize) -> usize {
        ef.max((PAGES_ROWS + SPARE_MAX).div_ceil(self.ef_factor()))
    }

    /// The strategy of a search for `k` of the `qualifying` rows that pass a filter, as of now. `costs`: of reading rows. Takes no lock.
    pub fn filtered_strategy(&self, k: usize, ef: usize, qualifying: usize, costs: &ReadCosts) -> Strategy {
        if !self.search_pays(k.min(qualifying), costs) {
            return Strategy::Scan;
        }
        if qualifying <= k {
            return Strategy::All;
        }
        Strategy::cheapest(self.rows.alive(), qualifying, self.effective_ef(k, ef))
    }

    /// Distances after which a walk among `qualifying` rows gives up: half as many again as expected, or more if that is still little
    /// compared with an exact search.
    pub(super) fn budget(&self, strategy: Strategy, qualifying: usize, ef: usize) -> f64 {
        let expected = match strategy {
            Strategy::Recheck => recheck_cost(self.rows.alive(), qualifying, ef),
            _ => filtered_cost(ef),
        };
        (1.5 * expected).max(0.4 * qualifying as f64) / WALK_FACTOR
    }

    /// Whether the host reads `rows` found rows in less time than it scans its table.
    pub(super) fn search_pays(&self, rows: usize, costs: &ReadCosts) -> bool {
        rows <= READ_MIN || costs.search_pays(rows, 0, self.rows.alive())
    }

    /// The strategy of a search for `k` rows with search width `ef`, as of now. `costs`: of reading rows. Takes no lock.
    pub fn strategy(&self, k: usize, ef: usize, costs: &ReadCosts) -> Strategy {
        if !self.search_pays(k, costs) {
            return Strategy::Scan;
        }
        Strategy::cheaper(self.rows.alive(), self.effective_ef(k, ef))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_qualifies_decides() {
        let cheapest = |qualifying| Strategy::cheapest(1_000_000, qualifying, 64);
        assert_eq!(cheapest(1_000_000), Strategy::Recheck);
        assert_eq!(cheapest(600_000), Strategy::Recheck);
        assert_eq!(cheapest(200_000), Strategy::Filtered);
        assert_eq!(cheapest(20_000), Strategy::Filtered);
        assert_eq!(cheapest(4_000), Strategy::Exact);
        assert_eq!(cheapest(1), Strategy::Exact);
        assert_eq!(Strategy::cheapest(2_000, 2_000, 64), Strategy::Exact);
    }

    /// Costs of vectors of 384 elements in a DuckDB table of 60,000 rows.
    const VECTORS: ReadCosts =
        ReadCosts { looked_up: 6_000.0, checked: 6_000.0, skimmed: 2.0, selected: 4_000.0, scanned: 1_000.0 };

    #[test]
    fn the_costs_of_rows_decide_when_the_table_is_scanned() {
        assert!(VECTORS.search_pays(10_000, 0, 60_000));
        assert!(!VECTORS.search_pays(14_000, 0, 60_000));
        let with_lists = ReadCosts { looked_up: 500_000.0, skimmed: 300.0, scanned: 1_300.0, ..VECTORS };
        assert!(with_lists.search_pays(10_000, 0, 60_000), "a scan reads them");
        let only_ids = ReadCosts { looked_up: 100.0, ..VECTORS };
        assert!(only_ids.search_pays(60_000, 0, 60_000));
        assert!(!only_ids.search_pays(10_000, 50_000, 60_000), "of most rows the host has to decide");
    }

    #[test]
    fn small_indexes_and_wide_searches_are_exact() {
        for ef in [1, 64, 1000, 100_000] {
            assert_eq!(Strategy::cheaper(16 * ef, ef), Strategy::Exact);
            assert_eq!(Strategy::cheaper(3 * ef, ef), Strategy::Exact);
        }
        assert_eq!(Strategy::cheaper(20_000, 64), Strategy::Graph);
        assert_eq!(Strategy::cheaper(1_000_000, 1000), Strategy::Graph);
        assert_eq!(Strategy::cheaper(1_000_000, 100_000), Strategy::Exact);
    }
}
