//! Searches for many query vectors together give the answers of separate searches.

use super::*;
use crate::host::Visibility;
use crate::search::{ReadCosts, Request, RowSet};

/// A visibility that shows only some rows.
struct Every(i64);

impl Visibility for Every {
    fn visible(&self, row_id: i64) -> bool {
        row_id % self.0 == 0
    }
}

#[test]
fn searches_together_answer_as_one_by_one() {
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        for dimensions in [2, 20, 130] {
            let index = index(metric, dimensions);
            let mut random = Random(dimensions as u64);
            let mut vectors = random.clustered(3_000, dimensions, 10);
            // Some equal rows, and one that cannot be ranked.
            for row in 500..600 {
                vectors.copy_within(0..dimensions, row * dimensions);
            }
            vectors[700 * dimensions] = f32::NAN;
            append_all(&index, &vectors, dimensions);
            index.maintenance().link(2_500, &Uninterrupted).unwrap();
            index.remove(&(0..3_000).filter(|row| row % 7 == 3).collect::<Vec<_>>(), 1);
            let mut rows = RowSet::new(&index.setup.memory).unwrap();
            rows.insert(&(0..3_000).filter(|row| row % 9 == 0).collect::<Vec<_>>()).unwrap();
            let mut queries: Vec<f32> = vectors[..19 * dimensions].to_vec();
            queries[5 * dimensions] = f32::INFINITY;
            for (filter, every) in [(None, 1), (None, 50), (Some(&rows), 1)] {
                for k in [1, 10, 200] {
                    for ties in [false, true] {
                        let asked =
                            Request { filter, ties, forced: Some(SearchStrategy::Exact), ..Request::new(&[], k, 64) };
                        let searcher = index.searcher();
                        let together =
                            searcher.search_many(&queries, asked, &Every(every), &Uninterrupted).unwrap().unwrap();
                        assert_eq!(together.len(), 19);
                        for (found, query) in together.iter().zip(queries.chunks(dimensions)) {
                            let one = searcher.search(Request { query, ..asked }, &Every(every)).unwrap();
                            assert_eq!((found.outcome, found.exhausted), (one.outcome, one.exhausted));
                            assert_eq!(found.rows.len(), one.rows.len(), "{metric:?} {dimensions} {k} {ties}");
                            for (a, b) in found.rows.iter().zip(&one.rows) {
                                assert_eq!((a.row_id, a.certain), (b.row_id, b.certain));
                                assert!(a.distance.total_cmp(&b.distance).is_eq());
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn rows_that_tie_are_answered_however_many_they_are() {
    const ROWS: usize = 12_000;
    let index = index(Metric::L2sq, 8);
    let mut vectors = Random(11).clustered(ROWS, 8, 10);
    for row in 0..ROWS - 1_000 {
        vectors.copy_within((ROWS - 1) * 8.., row * 8);
    }
    append_all(&index, &vectors, 8);
    index.maintenance().link(ROWS - 6_000, &Uninterrupted).unwrap();
    let queries = [&vectors[..16 * 8], &vectors[(ROWS - 16) * 8..]].concat();
    for ties in [false, true] {
        let asked = Request { ties, forced: Some(SearchStrategy::Exact), ..Request::new(&[], 10, 64) };
        let together = index.searcher().search_many(&queries, asked, &AllVisible, &Uninterrupted).unwrap().unwrap();
        for (found, query) in together.iter().zip(queries.chunks(8)) {
            let one = index.searcher().search(Request { query, ..asked }, &AllVisible).unwrap();
            let ids = |found: &Found| found.rows.iter().map(|row| row.row_id).collect::<Vec<_>>();
            assert_eq!(ids(found), ids(&one), "ties: {ties}");
        }
    }
}

#[test]
fn few_query_vectors_and_large_indexes_are_searched_one_by_one() {
    let index = index(Metric::L2sq, 8);
    let vectors = Random(3).clustered(30_000, 8, 10);
    append_all(&index, &vectors, 8);
    link_all(&index, 2);
    let searcher = index.searcher();
    let costs = ReadCosts { looked_up: 6.0, selected: 4.0, scanned: 1.0, ..ReadCosts::default() };
    let many = |queries: usize, k: usize| {
        let asked = Request { costs, ..Request::new(&[], k, 16) };
        let found = searcher.search_many(&vectors[..8 * queries], asked, &AllVisible, &Uninterrupted);
        found.unwrap().is_some()
    };
    assert!(!many(64, 10), "a walk is cheaper");
    assert!(many(64, 400), "a wide walk is not");
    assert!(!many(7, 400), "of a few query vectors it is");
    assert!(!many(64, 0));
    assert!(!many(64, 20_000), "nor is it if the table should be scanned");
}
