//! Pairs hold the same rows as a range from each query vector, without duplicates.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::ranges::{found, host_distance, request};
use super::*;
use crate::search::{Bounds, Pair, Pairs, PairsOutcome, PairsRequest, RangeRequest, RowSet};

fn pairs(queries: &[f32], bounds: Bounds) -> PairsRequest<'_> {
    PairsRequest { queries, bounds, filter: None, pairs_max: usize::MAX, may_scan: false }
}

fn find(index: &Index, request: PairsRequest<'_>) -> Pairs {
    index.searcher().pairs(request, &Uninterrupted).unwrap()
}

/// The pairs that ranges find, one for each query vector.
fn of_ranges(index: &Index, dimensions: usize, asked: PairsRequest<'_>) -> BTreeSet<Pair> {
    let mut result = BTreeSet::new();
    for (query, number) in asked.queries.chunks(dimensions).zip(0..) {
        let (rows, _) = found(index, RangeRequest { filter: asked.filter, ..request(query, asked.bounds) }, || ());
        result.extend(rows.certain.iter().chain(&rows.uncertain).map(|&row_id| Pair { row_id, query: number }));
    }
    result
}

#[test]
fn pairs_are_those_of_ranges() {
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        for dimensions in [1, 20, 130] {
            let index = index(metric, dimensions);
            let vectors = Random(dimensions as u64).clustered(3_000, dimensions, 10);
            append_all(&index, &vectors, dimensions);
            index.maintenance().link(2_500, &Uninterrupted).unwrap();
            index.remove(&(0..3_000).filter(|row| row % 7 == 3).collect::<Vec<_>>(), 1);
            let mut rows = RowSet::new(&index.setup.memory).unwrap();
            rows.insert(&(0..3_000).filter(|row| row % 3 == 0).collect::<Vec<_>>()).unwrap();
            let queries = &vectors[..37 * dimensions];
            let query = &vectors[..dimensions];
            let mut distances: Vec<(f32, &str)> =
                vectors.chunks(dimensions).map(|row| host_distance(metric, row, query)).collect();
            distances.sort_by(|a, b| a.0.total_cmp(&b.0));
            for filter in [None, Some(&rows)] {
                for (nearest, farthest) in [(0, 20), (0, 400), (100, 1_500)] {
                    let at = |place: usize| Metric::distance_at(distances[place].1, distances[place].0.into()).unwrap();
                    let nearest = if nearest == 0 { f64::NEG_INFINITY } else { at(nearest) };
                    let asked = PairsRequest { filter, ..pairs(queries, Bounds { nearest, farthest: at(farthest) }) };
                    let found = find(&index, asked);
                    assert_eq!((found.outcome, found.unranked.len()), (PairsOutcome::Complete, 0));
                    assert!(found.pairs.is_sorted_by(|a, b| a < b), "not in order, or twice");
                    let expected = of_ranges(&index, dimensions, asked);
                    assert!(found.pairs.iter().copied().eq(expected), "{metric:?} {dimensions}");
                    assert!(!found.pairs.is_empty());
                }
            }
        }
    }
}

/// Unrankable rows pair with every query vector; for unrankable query vectors there are no pairs.
#[test]
fn pairs_of_unrankable_vectors_are_for_the_table() {
    let index = index(Metric::L2sq, 2);
    let vectors = [[0.0, 0.0], [f32::NAN, 1.0], [3.0, 0.0], [9.0, 0.0]];
    append_all(&index, vectors.as_flattened(), 2);
    link_all(&index, 1);
    let queries = [2.5, 0.0, f32::INFINITY, 0.0, 0.5, 0.0];
    let found = find(&index, pairs(&queries, Bounds { nearest: f64::NEG_INFINITY, farthest: 1.0 }));
    let pair = |row_id, query| Pair { row_id, query };
    assert_eq!(found.pairs, [pair(0, 2), pair(1, 0), pair(1, 2), pair(2, 0)]);
    assert_eq!(found.unranked, [1]);
    let wrong = index.searcher().pairs(pairs(&queries[..3], Bounds::ALL), &Uninterrupted);
    assert_eq!(wrong.unwrap_err().kind, ErrorKind::InvalidInput);
}

#[test]
fn too_many_pairs_are_not_kept() {
    let index = index(Metric::L2sq, 4);
    let vectors = Random(1).clustered(5_000, 4, 10);
    append_all(&index, &vectors, 4);
    index.maintenance().link(4_000, &Uninterrupted).unwrap();
    let all = pairs(&vectors[..8], Bounds::ALL);
    assert_eq!(find(&index, all).pairs.len(), 10_000);
    assert_eq!(find(&index, PairsRequest { may_scan: true, ..all }).outcome, PairsOutcome::Scan);
    let few = find(&index, PairsRequest { pairs_max: 1_000, ..all });
    assert_eq!((few.outcome, few.pairs.len()), (PairsOutcome::TooMany, 0));
    let one = PairsRequest { queries: &vectors[..4], pairs_max: 1_000, ..all };
    assert_eq!(find(&index, one).pairs.len(), 5_000, "a single query vector is answered");
}

/// Calls a function each time that it is asked, and interrupts once that returns true.
struct Between<'a>(RefCell<Box<dyn FnMut() -> bool + 'a>>);

impl Interrupt for Between<'_> {
    fn interrupted(&self) -> bool {
        (self.0.borrow_mut())()
    }
}

/// While pairs are searched for, the graph is renewed, so its rows are pending again, and then linked: no pair is missed.
#[test]
fn pairs_miss_no_row_that_moves() {
    let index = index(Metric::L2sq, 4);
    let vectors = Random(1).clustered(4_000, 4, 10);
    append_all(&index, &vectors, 4);
    link_all(&index, 1);
    index.remove(&(0..3_600).collect::<Vec<_>>(), 1);
    index.expire(1, u64::MAX);
    let mut turn = 0;
    let between = Between(RefCell::new(Box::new(|| {
        match turn {
            // The first query vector was compared with the pending rows; the next one will be compared with others.
            1 => index.maintenance().tend_own(usize::MAX, &Uninterrupted).unwrap(),
            2 => index.maintenance().link(100, &Uninterrupted).map(|_| ()).unwrap(),
            _ => {}
        }
        turn += 1;
        false
    })));
    let found = index.searcher().pairs(pairs(&vectors[..12], Bounds::ALL), &between).unwrap();
    drop(between);
    assert!(turn > 3, "it was not begun again");
    assert_eq!((found.outcome, found.pairs.len()), (PairsOutcome::Complete, 1_200));
}

#[test]
fn pairs_are_interrupted() {
    let index = index(Metric::L2sq, 4);
    let vectors = Random(1).clustered(3_000, 4, 10);
    append_all(&index, &vectors, 4);
    link_all(&index, 1);
    let mut asked = 0;
    let between = Between(RefCell::new(Box::new(|| {
        asked += 1;
        asked > 5
    })));
    let error = index.searcher().pairs(pairs(&vectors[..12], Bounds::ALL), &between).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Interrupted);
}
