//! Ranges are complete whatever the bounds are, and certain only of rows within the bounds.

use std::collections::BTreeSet;

use super::*;
use crate::search::{Bounds, RangeOutcome, RangeRequest, RangeRows, ReadCosts, RowSet};

/// The value that a host computes, in `f32` and summing in order, with an ascending SQL function, and the name of that function.
pub(super) fn host_distance(metric: Metric, a: &[f32], b: &[f32]) -> (f32, &'static str) {
    let sum =
        |f: fn(f32, f32) -> f32, a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0f32, |sum, (&x, &y)| sum + f(x, y));
    let dot = |a, b| sum(|x, y| x * y, a, b);
    match metric {
        Metric::L2sq => (sum(|x, y| (x - y) * (x - y), a, b).sqrt(), "array_distance"),
        Metric::Ip => (-dot(a, b), "array_negative_inner_product"),
        Metric::Cosine => {
            let similarity = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            (1.0 - similarity.clamp(-1.0, 1.0), "array_cosine_distance")
        }
    }
}

/// All that a range finds. `between` is called before each part.
pub(super) fn found(index: &Index, request: RangeRequest<'_>, mut between: impl FnMut()) -> (RangeRows, RangeOutcome) {
    let searcher = index.searcher();
    let mut rows = RangeRows::default();
    let range = searcher.begin_range(request, &mut rows).unwrap();
    loop {
        between();
        if !searcher.range_part(&range, request.filter, &mut rows).unwrap() {
            return (rows, searcher.end_range(&range));
        }
    }
}

pub(super) fn request(query: &[f32], bounds: Bounds) -> RangeRequest<'_> {
    RangeRequest { query, bounds, filter: None, costs: None }
}

/// Checks that all rows were found whose host distances are between `least` and `most`, and that the certain rows are among these.
fn check(rows: &RangeRows, distances: &[(i64, f32)], least: f32, most: f32) {
    let certain: BTreeSet<i64> = rows.certain.iter().copied().collect();
    let all: BTreeSet<i64> = rows.certain.iter().chain(&rows.uncertain).copied().collect();
    for &(row, distance) in distances {
        let within = least <= distance && distance <= most;
        assert!(!within || all.contains(&row), "row {row} at {distance} is missing from [{least}, {most}]");
        assert!(within || !certain.contains(&row), "row {row} at {distance} is not in [{least}, {most}]");
    }
}

#[test]
fn ranges_end_exactly_at_the_distances_of_rows() {
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        for dimensions in [3, 20, 130] {
            let index = index(metric, dimensions);
            let mut random = Random(dimensions as u64);
            let vectors = random.clustered(1_500, dimensions, 10);
            append_all(&index, &vectors, dimensions);
            index.maintenance().link(1_200, &Uninterrupted).unwrap();
            for turn in 0..60 {
                let from = random.below(1_500) * dimensions;
                let query: Vec<f32> =
                    vectors[from..][..dimensions].iter().map(|x| if turn % 3 == 0 { *x } else { x + 0.1 }).collect();
                let row = |row: usize| host_distance(metric, &vectors[row * dimensions..][..dimensions], &query);
                let distances: Vec<(i64, f32)> = (0..1_500).map(|at| (at as i64, row(at).0)).collect();
                let name = row(0).1;
                // Bounds that equal distances, or are the next smaller or larger numbers.
                let mut bound = || match random.below(3) {
                    0 => row(random.below(1_500)).0,
                    1 => row(random.below(1_500)).0.next_up(),
                    _ => row(random.below(1_500)).0.next_down(),
                };
                let (a, b) = (bound(), bound());
                let (least, most) = match turn % 4 {
                    0 => (f32::NEG_INFINITY, a),
                    1 => (a.min(b), a.max(b)),
                    2 => (a, f32::INFINITY),
                    _ => (a, a),
                };
                let at = |value: f32| Metric::distance_at(name, value.into()).unwrap();
                let bounds =
                    Bounds { nearest: if turn % 4 == 0 { f64::NEG_INFINITY } else { at(least) }, farthest: at(most) };
                let (rows, outcome) = found(&index, request(&query, bounds), || ());
                assert_eq!(outcome, RangeOutcome::Complete);
                check(&rows, &distances, least, most);
                if exact_distances() && metric == Metric::L2sq && turn % 3 != 0 {
                    assert!(rows.uncertain.len() < 20, "{} uncertain rows", rows.uncertain.len());
                }
            }
        }
    }
}

#[test]
fn what_is_not_wanted_is_certain() {
    let index = index(Metric::L2sq, 8);
    let vectors = Random(3).clustered(3_000, 8, 10);
    append_all(&index, &vectors, 8);
    link_all(&index, 1);
    let (all, _) = found(&index, request(&vectors[..8], Bounds::ALL), || ());
    assert_eq!((all.certain.len(), all.uncertain.len()), (3_000, 0));
    let (none, _) = found(&index, request(&vectors[..8], Bounds::NONE), || ());
    assert_eq!(none, RangeRows::default());
}

/// Rows are linked, deleted, moved and added while a range goes on; rows that are there all the time are found.
#[test]
fn ranges_miss_no_row_that_moves() {
    for metric in [Metric::L2sq, Metric::Cosine] {
        let index = Index::new(Options { metric, ..defaults() }, 64, Box::new(Unlimited)).unwrap();
        let vectors = Random(7).clustered(6_000, 64, 3);
        append_all(&index, &vectors, 64);
        index.maintenance().link(4_000, &Uninterrupted).unwrap();
        index.remove(&(0..6_000).filter(|row| row % 5 == 0).collect::<Vec<_>>(), 1);
        let mut turn = 0;
        let (rows, outcome) = found(&index, request(&vectors[..64], Bounds::ALL), || {
            match turn {
                0 => index.maintenance().link(1_000, &Uninterrupted).map(|_| ()).unwrap(),
                1 => {
                    index.expire(1, u64::MAX);
                    index.maintenance().consolidate(64, &Uninterrupted).map(|_| ()).unwrap();
                }
                2 => index.maintenance().compact(&Uninterrupted).unwrap(),
                3 => append_all(&index, &vectors[..64 * 100], 64),
                _ => {}
            }
            turn += 1;
        });
        assert!(turn > 3, "{turn} parts");
        assert_eq!(outcome, RangeOutcome::Complete);
        let found: BTreeSet<i64> = rows.certain.iter().chain(&rows.uncertain).copied().collect();
        assert!((0..6_000).filter(|row| row % 5 != 0).all(|row| found.contains(&row)));
    }
}

/// A filter, and vectors that cannot be ranked.
#[test]
fn ranges_hold_only_rows_that_pass_a_filter_and_all_unrankable_ones() {
    let index = index(Metric::L2sq, 2);
    for row in 0..3_000 {
        let x = if row % 100 == 7 { f32::NAN } else { row as f32 };
        index.append(Origin::Host, &[row], &[x, 0.0]).unwrap();
    }
    index.maintenance().link(2_000, &Uninterrupted).unwrap();
    let mut rows = RowSet::new(&index.setup.memory).unwrap();
    rows.insert(&(0..3_000).filter(|row| row % 3 == 0).collect::<Vec<_>>()).unwrap();
    let bounds = Bounds { nearest: 100.5 * 100.5, farthest: 2_500.0 * 2_500.0 };
    let (mut all, outcome) = found(&index, RangeRequest { filter: Some(&rows), ..request(&[0.0, 0.0], bounds) }, || ());
    assert_eq!(outcome, RangeOutcome::Complete);
    all.certain.extend(all.uncertain.iter().filter(|&&row| row % 100 != 7 && (101..=2_500).contains(&row)));
    all.certain.sort_unstable();
    assert!(all.certain.iter().copied().eq((101..=2_500).filter(|row| row % 3 == 0 && row % 100 != 7)));
    let unrankable: BTreeSet<i64> = all.uncertain.iter().copied().filter(|row| row % 100 == 7).collect();
    assert!(unrankable.into_iter().eq((0..3_000).filter(|row| row % 100 == 7 && row % 3 == 0)));
}

#[test]
fn a_query_that_cannot_be_ranked_and_too_many_rows_are_for_the_table() {
    let index = index(Metric::L2sq, 4);
    let vectors = Random(1).clustered(5_000, 4, 10);
    append_all(&index, &vectors, 4);
    link_all(&index, 1);
    let odd = [f32::NAN, 0.0, 0.0, 0.0];
    assert_eq!(found(&index, request(&odd, Bounds::ALL), || ()).1, RangeOutcome::Scan);
    let dear = ReadCosts { looked_up: 10.0, skimmed: 10.0, scanned: 9.0, ..ReadCosts::default() };
    let all = RangeRequest { costs: Some(dear), ..request(&vectors[..4], Bounds::ALL) };
    assert_eq!(found(&index, all, || ()).1, RangeOutcome::Scan);
    let cheap = [ReadCosts { looked_up: 1.0, ..dear }, ReadCosts { skimmed: 1.0, ..dear }];
    for costs in cheap {
        let all = RangeRequest { costs: Some(costs), ..all };
        assert_eq!(found(&index, all, || ()).1, RangeOutcome::Complete);
    }
    let wrong = index.searcher().begin_range(request(&odd[..3], Bounds::ALL), &mut RangeRows::default());
    assert_eq!(wrong.err().unwrap().kind, ErrorKind::InvalidInput);
}

/// The graph is renewed while a range goes on, so its rows are pending again: the range reports it.
#[test]
fn a_range_beside_a_renewal_begins_again() {
    let index = index(Metric::L2sq, 4);
    let vectors = Random(1).clustered(4_000, 4, 10);
    append_all(&index, &vectors, 4);
    link_all(&index, 1);
    index.remove(&(0..3_600).collect::<Vec<_>>(), 1);
    index.expire(1, u64::MAX);
    let mut turn = 0;
    let (_, outcome) = found(&index, request(&vectors[..4], Bounds::ALL), || {
        if turn == 0 {
            index.maintenance().tend_own(usize::MAX, &Uninterrupted).unwrap();
            assert!(index.pending() > 0, "not renewed");
        }
        turn += 1;
    });
    assert_eq!(outcome, RangeOutcome::Again);
    let (rows, outcome) = found(&index, request(&vectors[..4], Bounds::ALL), || ());
    assert_eq!((rows.certain.len() + rows.uncertain.len(), outcome), (400, RangeOutcome::Complete));
}
