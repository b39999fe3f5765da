//! The promises of searches, case by case (how many rows, which rows, in which order), and the life of single rows.

use std::collections::HashSet;

use super::*;
use crate::index::rows::ROW_ID_MAX;
use crate::search::{ReadCosts, Request};

/// Row ids of an answer to a search that asks for everything.
fn all(index: &Index, visible: impl Fn(i64) -> bool) -> Vec<i64> {
    let found = index.searcher().nearest(&vec![1.0; index.dimensions()], 1_000_000, 64, &visible).unwrap();
    assert!(found.exhausted);
    let mut rows: Vec<i64> = found.rows.iter().map(|candidate| candidate.row_id).collect();
    rows.sort_unstable();
    rows
}

/// Searches with many combinations of `k`, `ef` and hidden rows keep their promises; most of them use the graph.
#[test]
fn graph_answers_hold_enough_visible_rows_nearest_first() {
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        let index = index(metric, 8);
        let vectors = Random(21).clustered(4_000, 8, 20);
        append_all(&index, &vectors, 8);
        index.maintenance().link(3_900, &Uninterrupted).unwrap();
        index.remove(&(0..4_000).filter(|row| row % 5 == 0).collect::<Vec<_>>(), 7);
        let mut random = Random(22);
        let mut by_graph = 0;
        for turn in 0..600 {
            let (k, ef) = (1 + random.below(30), 1 + random.below(20));
            let query: Vec<f32> = vectors[random.below(4_000) * 8..][..8].iter().map(|x| x + 0.1).collect();
            let visible = |row: i64| match turn % 5 {
                0 => true,
                1 => row % 5 != 0,
                2 => row % 5 == 0,
                3 => row % 100 == 3,
                _ => row % 800 == 0,
            };
            let found = index.searcher().nearest(&query, k, ef, &visible).unwrap();
            let count = (0..4_000).filter(|&row| visible(row)).count();
            let rows: HashSet<i64> = found.rows.iter().map(|candidate| candidate.row_id).collect();
            assert_eq!(rows.len(), found.rows.len(), "a row twice");
            assert!(rows.iter().all(|&row| visible(row)), "an invisible row");
            assert!(rows.len() >= k.min(count), "{} rows of {count} for {k}", rows.len());
            assert!(found.rows.is_sorted_by(|a, b| a.distance <= b.distance), "nearest first");
            if found.exhausted {
                assert_eq!(rows.len(), count);
            }
            if let Some(behind) = found.rows.get(k).filter(|_| exact_distances()) {
                let last = found.rows[k - 1].distance;
                assert!(behind.distance <= last + index.setup.codec.space.tie(last), "more rows than asked for");
            }
            by_graph += usize::from(found.report.strategy == SearchStrategy::Graph);
        }
        assert!(by_graph > 200, "{by_graph} graph answers");
    }
}

/// Too few rows are visible for a walk to find them, so the exact search does.
#[test]
fn hidden_neighbours_do_not_hide_the_rest() {
    let index = index(Metric::L2sq, 4);
    let vectors = Random(31).clustered(5_000, 4, 10);
    append_all(&index, &vectors, 4);
    link_all(&index, 1);
    let seen = [17, 1_700, 4_999];
    let found = index.searcher().nearest(&vectors[..4], 2, 8, &|row: i64| seen.contains(&row)).unwrap();
    let exact: Vec<_> = seen.iter().map(|&row| (row, &vectors[row as usize * 4..][..4])).collect();
    let exact = naive::nearest(Metric::L2sq, exact, &vectors[..4], 2);
    assert_eq!(found.rows.iter().map(|candidate| candidate.row_id).collect::<Vec<_>>(), [exact[0].0, exact[1].0]);
    assert!(!found.exhausted);
    assert_eq!(all(&index, |row| seen.contains(&row)), seen);
    let none = index.searcher().nearest(&vectors[..4], 10, 8, &|_: i64| false).unwrap();
    assert!(none.exhausted && none.rows.is_empty());
}

#[test]
fn small_indexes_answer_exactly_and_with_ties() {
    let index = index(Metric::L2sq, 2);
    for (row, x) in [5.0, 1.0, 3.0, 1.0, 1.0, 4.0].into_iter().enumerate() {
        index.append(Origin::Host, &[row as i64], &[x, 0.0]).unwrap();
        index.maintenance().link(row % 2, &Uninterrupted).unwrap();
    }
    let found = index.searcher().nearest(&[0.0, 0.0], 2, 64, &AllVisible).unwrap();
    let rows: Vec<_> = found.rows.iter().map(|candidate| (candidate.row_id, candidate.distance)).collect();
    if exact_distances() {
        assert_eq!(rows, [(1, 1.0), (3, 1.0), (4, 1.0)]);
    } else {
        assert!([1, 3, 4].iter().all(|&row| may_be_nearest(&found, row)));
    }
    assert_eq!((found.report.strategy, found.exhausted), (SearchStrategy::Exact, rows.len() == 6));
    let nothing = index.searcher().nearest(&[0.0, 0.0], 0, 64, &AllVisible).unwrap();
    assert!(nothing.rows.is_empty() && nothing.outcome == Outcome::Candidates);
    assert!(index.searcher().nearest(&[0.0, 0.0], 6, 64, &AllVisible).unwrap().exhausted);
}

#[test]
fn odd_rows_come_with_every_answer_and_odd_queries_scan() {
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        let index = index(metric, 2);
        let mut unrankable =
            vec![[f32::NAN, 1.0], [1.0, f32::INFINITY], [f32::NEG_INFINITY, 0.0], [1e30, 0.0], [1e19, 1e19]];
        if metric == Metric::Cosine {
            unrankable.extend([[0.0, 0.0], [1e-20, 0.0]]);
        }
        for row in 0..3_000 {
            index.append(Origin::Host, &[row], &[row as f32 + 1.0, 2.0]).unwrap();
        }
        for (row, vector) in (10_000..).zip(&unrankable) {
            index.append(Origin::Host, &[row], vector).unwrap();
            let found = index.searcher().nearest(vector, 3, 64, &AllVisible).unwrap();
            assert_eq!((found.outcome, found.rows.len()), (Outcome::Scan, 0), "{metric:?} {vector:?}");
        }
        let check = |linked: usize| {
            for ef in [1, 1_000] {
                let found = index.searcher().nearest(&[1.0, 2.0], 3, ef, &|row: i64| row != 10_001).unwrap();
                let tail: Vec<_> = found.rows.iter().filter(|candidate| candidate.distance.is_nan()).collect();
                assert_eq!(tail.len(), unrankable.len() - 1, "{metric:?} after {linked}");
                assert!(found.rows[found.rows.len() - tail.len()..].iter().all(|row| row.distance.is_nan()));
                assert!(tail.iter().all(|row| row.row_id >= 10_000 && row.row_id != 10_001));
            }
            assert_eq!(index.stats().unwrap().unrankable, unrankable.len());
        };
        check(0);
        link_all(&index, 1);
        check(3_000);
        index.maintenance().compact(&Uninterrupted).unwrap();
        check(3_000);
        index.remove(&[10_000], 5);
        assert_eq!(index.stats().unwrap().unrankable, unrankable.len(), "a tombstone may still be seen");
        index.expire_tombstones(6);
        assert_eq!(index.stats().unwrap().unrankable, unrankable.len() - 1);
        let found = index.searcher().nearest(&[1.0, 2.0], 3, 64, &AllVisible).unwrap();
        assert!(found.rows.iter().all(|row| row.row_id != 10_000));
    }
}

/// A row id comes back with another vector, from every place to every place.
#[test]
fn row_ids_are_used_again_with_other_vectors() {
    const ODD: [f32; 2] = [f32::NAN, 0.0];
    const KINDS: [&str; 3] = ["pending", "linked", "unrankable"];
    for from in KINDS {
        for to in KINDS {
            for before in ["live", "tombstone", "dead"] {
                let index = index(Metric::L2sq, 2);
                // Neighbours in the same blocks, pages and segments.
                index.append(Origin::Host, &[1, 2, 3], &[10.0, 0.0, 20.0, 0.0, 30.0, 0.0]).unwrap();
                index.append(Origin::Host, &[7], if from == "unrankable" { &ODD } else { &[5.0, 5.0] }).unwrap();
                if from == "linked" {
                    link_all(&index, 1);
                }
                if before != "live" {
                    index.remove(&[7], 4);
                }
                if before == "dead" {
                    index.expire_tombstones(5);
                    assert_eq!(all(&index, |_| true), [1, 2, 3]);
                }
                index.append(Origin::Host, &[7], if to == "unrankable" { &ODD } else { &[6.0, 6.0] }).unwrap();
                if to == "linked" {
                    link_all(&index, 1);
                }
                // The old tombstone is forgotten, so its expiry must not kill the new row.
                index.expire_tombstones(100);
                for compacted in [false, true] {
                    let case = format!("{from} to {to} from {before}, compacted: {compacted}");
                    assert_eq!(index.stats().unwrap().count, 4, "{case}");
                    assert_eq!(all(&index, |_| true), [1, 2, 3, 7], "{case}");
                    let found = index.searcher().nearest(&[0.0, 0.0], 9, 64, &|row: i64| row == 7).unwrap();
                    let distance = found.rows[0].distance;
                    let error = if exact_distances() { 0.0 } else { 15.0 };
                    assert!(
                        if to == "unrankable" { distance.is_nan() } else { (distance - 72.0).abs() <= error },
                        "{case}: {distance}"
                    );
                    index.expire_tombstones(100);
                    index.maintenance().compact(&Uninterrupted).unwrap();
                    assert_eq!(index.stats().unwrap().deleted, 0, "{case}");
                }
            }
        }
    }
}

#[test]
fn removal_of_strange_rows_is_ignored_and_bounds_are_kept() {
    let index = index(Metric::L2sq, 2);
    index.append(Origin::Host, &[1, 2, 3], &[1.0, 0.0, 2.0, 0.0, 3.0, 0.0]).unwrap();
    index.maintenance().link(1, &Uninterrupted).unwrap();
    index.remove(&[-1, 9, i64::MIN, i64::MAX, 4_096], 1);
    assert_eq!(index.stats().unwrap().deleted, 0);
    index.remove(&[1, 1], 5);
    index.remove(&[1], 9);
    index.remove(&[2], UNRESOLVED | 6);
    let counts = || index.stats().map(|stats| (stats.count, stats.deleted)).unwrap();
    assert_eq!(counts(), (1, 2));
    index.expire_tombstones(5);
    assert_eq!(all(&index, |_| true), [1, 2, 3], "the bound itself may still be seen");
    index.expire_tombstones(6);
    assert_eq!(all(&index, |_| true), [2, 3]);
    index.resolve_commit(6);
    index.expire_tombstones(1_000);
    assert_eq!(all(&index, |_| true), [2, 3], "the deletion is not committed yet");
    index.resolve_commit(8);
    index.resolve_commit(20);
    index.expire_tombstones(8);
    assert_eq!(all(&index, |_| true), [2, 3], "resolved once, at the first commit seen");
    index.expire_tombstones(9);
    assert_eq!(all(&index, |_| true), [3]);
    assert_eq!(counts().0, 1);
    index.remove(&[2], 10);
    assert_eq!(counts().0, 1, "a dead row");
}

#[test]
fn a_row_twice_in_one_batch_keeps_its_last_vector() {
    let index = index(Metric::L2sq, 1);
    index.append(Origin::Host, &[4, 4, 4, 5], &[1.0, f32::NAN, 3.0, 1.0]).unwrap();
    assert_eq!(all(&index, |_| true), [4, 5]);
    link_all(&index, 1);
    let found = index.searcher().nearest(&[0.0], 2, 64, &AllVisible).unwrap();
    // A code of one element has no error.
    assert_eq!(
        found.rows.iter().map(|row| (row.row_id, row.distance.round())).collect::<Vec<_>>(),
        [(5, 1.0), (4, 9.0)]
    );
    index.remove(&[4, 5], 1);
    index.expire_tombstones(2);
    assert_eq!((index.stats().unwrap().count, all(&index, |_| true).len()), (0, 0));
}

#[test]
fn wrong_input_is_refused_and_changes_nothing() {
    let index = index(Metric::Cosine, 3);
    index.append(Origin::Host, &[ROW_ID_MAX], &[1.0, 2.0, 3.0]).unwrap();
    let before = index.stats().unwrap();
    let refused: [(&[i64], &[f32]); 4] =
        [(&[1], &[1.0, 2.0]), (&[1, 2], &[1.0; 3]), (&[1, -1], &[1.0; 6]), (&[ROW_ID_MAX + 1], &[1.0; 3])];
    for (rows, vectors) in refused {
        assert_eq!(index.append(Origin::Host, rows, vectors).unwrap_err().kind, ErrorKind::InvalidInput);
    }
    assert_eq!(index.searcher().nearest(&[1.0], 1, 64, &AllVisible).unwrap_err().kind, ErrorKind::InvalidInput);
    index.append(Origin::Host, &[], &[]).unwrap();
    assert_eq!(index.stats().unwrap(), before);
    assert_eq!(all(&index, |_| true), [ROW_ID_MAX]);
}

/// No row linked yet, all rows dead, no rows at all: the graph has no entry point, or one that must not be returned.
#[test]
fn empty_graphs_are_searched_without_harm() {
    let index = index(Metric::Ip, 2);
    assert!(index.searcher().nearest(&[1.0, 1.0], 5, 1, &AllVisible).unwrap().exhausted);
    index.maintenance().compact(&Uninterrupted).unwrap();
    for row in 0..1_000 {
        index.append(Origin::Host, &[row], &[row as f32, 1.0]).unwrap();
    }
    let found = index.searcher().nearest(&[1.0, 1.0], 1, 1, &AllVisible).unwrap();
    assert_eq!((found.rows[0].row_id, found.report.strategy), (999, SearchStrategy::Graph));
    link_all(&index, 1);
    index.remove(&(0..1_000).collect::<Vec<_>>(), 1);
    index.expire_tombstones(2);
    assert!(index.searcher().nearest(&[1.0, 1.0], 1, 1, &AllVisible).unwrap().exhausted);
    index.expire_tombstones(2);
    index.maintenance().compact(&Uninterrupted).unwrap();
    assert!(index.searcher().nearest(&[1.0, 1.0], 1, 1, &AllVisible).unwrap().rows.is_empty());
    assert_eq!(index.stats().unwrap().deleted, 0);
}

#[test]
fn rows_without_a_distance_come_only_where_they_may_be_wanted() {
    let ask = |index: &Index, undefined_last, k, ties| {
        let request = Request { undefined_last, ties, ..Request::new(&[1.0, 2.0], k, 64) };
        let found = index.searcher().search(request, &AllVisible).unwrap();
        (found.rows.iter().filter(|row| row.row_id >= 10_000).count(), found.exhausted)
    };
    for (metric, vector) in
        [(Metric::Cosine, [0.0, 0.0]), (Metric::Cosine, [1.0, f32::INFINITY]), (Metric::L2sq, [f32::NAN, 1.0])]
    {
        for linked in [false, true] {
            let index = index(metric, 2);
            for row in 0..300 {
                index.append(Origin::Host, &[row], &[row as f32 + 1.0, 2.0]).unwrap();
            }
            for row in 10_000..10_020 {
                index.append(Origin::Host, &[row], &vector).unwrap();
            }
            if linked {
                link_all(&index, 1);
            }
            for ties in [false, true] {
                assert_eq!(ask(&index, true, 3, ties), (0, false));
                assert_eq!(ask(&index, true, 305, ties), (20, true), "too few have a distance");
                assert_eq!(ask(&index, false, 3, ties).0, 20);
            }
            let narrows = Request { narrows: true, ..Request::new(&[1.0, 2.0], 3, 64) };
            let found = index.searcher().search(narrows, &AllVisible).unwrap();
            assert_eq!(found.rows.iter().filter(|row| row.row_id >= 10_000).count(), 20, "the table may know better");
            // A row that may rank anywhere, also if it had another vector before.
            index.append(Origin::Host, &[10_003], &[1e30, 1.0]).unwrap();
            assert_eq!(ask(&index, true, 3, false).0, 20, "{metric:?} {vector:?} {linked}");
            let all: Vec<i64> = (10_000..10_020).collect();
            index.remove(&all, 5);
            index.expire_tombstones(6);
            index.append(Origin::Host, &[10_000], &vector).unwrap();
            assert_eq!(ask(&index, true, 3, false), (0, false), "all rows before are gone");
        }
    }
}

#[test]
fn no_more_equal_rows_than_may_be_wanted() {
    for linked in [false, true] {
        let index = index(Metric::L2sq, 2);
        for row in 0..1_000 {
            let x = if row < 600 { 1.0 } else { row as f32 };
            index.append(Origin::Host, &[row], &[x, 2.0]).unwrap();
        }
        if linked {
            link_all(&index, 1);
        }
        let ask = |k, ties| {
            let request = Request { ties, forced: Some(SearchStrategy::Exact), ..Request::new(&[1.0, 2.0], k, 64) };
            index.searcher().search(request, &AllVisible).unwrap()
        };
        let found = ask(10, false);
        // Codes may be equal where vectors are not.
        let most = if exact_distances() { 10 + 64 } else { 600 };
        assert!((10..=most).contains(&found.rows.len()) && !found.exhausted, "{}", found.rows.len());
        assert_eq!(found.rows.len() < 600, exact_distances());
        assert_eq!(ask(10, true).rows.len(), 600);
        assert!(ask(100, false).rows.len() >= 100 && ask(700, false).rows.len() >= 700);
        assert!(ask(1_000, false).exhausted);
        // So far away that in `f32` all distances are equal.
        let request = Request::new(&[1e12, 1.0], 10, 64);
        let found =
            index.searcher().search(Request { forced: Some(SearchStrategy::Exact), ..request }, &AllVisible).unwrap();
        assert!(found.rows.len() >= 400, "{}", found.rows.len());
    }
}

/// Many rows with one direction: by the table's values any of them may be the nearest, so all would have to be read one by one.
#[test]
fn more_rows_that_tie_than_it_pays_to_fetch_are_for_the_table() {
    let index = index(Metric::Cosine, 2);
    let rows: Vec<i64> = (0..20_000).collect();
    index.append(Origin::Host, &rows, &[1.0, 2.0].repeat(rows.len())).unwrap();
    let even = filtered::row_set(rows.iter().copied().filter(|row| row % 2 == 0));
    for filter in [None, Some(&even)] {
        let forced = Some(SearchStrategy::Exact);
        let costs = ReadCosts { looked_up: 6.0, selected: 4.0, scanned: 1.0, ..ReadCosts::default() };
        let request = Request { filter, forced, costs, ..Request::new(&[1.0, 2.0], 5, 64) };
        let found = index.searcher().search(request, &AllVisible).unwrap();
        let all = rows.len() / if filter.is_some() { 2 } else { 1 };
        assert_eq!((found.outcome, found.rows.len()), (Outcome::Candidates, all), "where the table cannot be read");
        let found = index.searcher().search(Request { may_scan: true, ..request }, &AllVisible).unwrap();
        assert_eq!((found.outcome, found.rows.len()), (Outcome::Scan, 0));
    }
}

/// The host may rank the slightly farther rows first, because it sums in another order.
#[test]
fn as_many_equal_rows_as_are_wanted_of_those_that_tie_with_the_last() {
    for gone in [0, 100] {
        let index = index(Metric::L2sq, 2);
        for row in 0..1_000 {
            let y = if row < 200 { 2.0 } else { 2.000_000_2 };
            index.append(Origin::Host, &[row], &[1.0, y]).unwrap();
        }
        index.remove(&(200..200 + gone).collect::<Vec<_>>(), 1);
        let visible = |row_id: i64| !(200..200 + gone).contains(&row_id);
        let found = index.searcher().nearest(&[0.0, 0.0], 200, 64, &visible).unwrap();
        let farther = found.rows.iter().filter(|row| row.row_id >= 200).count();
        assert!(farther >= 200, "{farther} with {gone} gone");
    }
}

/// Vectors near to each other and with nearly one norm: an index of another metric has them in an order that says little about the wanted
/// order.
#[test]
fn what_another_metric_does_not_tell_apart_is_searched_wider() {
    let mut random = Random(3);
    let mut vector = |jitter: f32| -> Vec<f32> {
        let near: Vec<f32> = (0..16).map(|_| 1.0 + 0.05 * random.normal()).collect();
        let norm = near.iter().map(|x| x * x).sum::<f32>().sqrt();
        let scale = (1.0 + jitter * (random.below(1_000) as f32 / 1_000.0)) / norm;
        near.iter().map(|x| x * scale).collect()
    };
    let index = index(Metric::Ip, 16);
    let rows: Vec<(i64, Vec<f32>)> = (0..6_000).map(|row| (row, vector(0.0009))).collect();
    for (row, vector) in &rows {
        index.append(Origin::Host, &[*row], vector).unwrap();
    }
    link_all(&index, 2);
    let (mut shared, mut wanted) = (0, 0);
    for _ in 0..20 {
        let query = vector(0.0);
        let request = Request { metric: Some(Metric::Cosine), ..Request::new(&query, 10, 64) };
        let found = index.searcher().search(request, &AllVisible).unwrap();
        assert_eq!(found.outcome, Outcome::Candidates);
        let found: HashSet<i64> = found.rows.iter().map(|row| row.row_id).collect();
        let rows = rows.iter().map(|(row, vector)| (*row, vector.as_slice()));
        let exact = naive::nearest(Metric::Cosine, rows, &query, 10);
        shared += exact.iter().filter(|(row, _)| found.contains(row)).count();
        wanted += exact.len();
    }
    assert!(shared as f64 >= 0.97 * wanted as f64, "{shared} of {wanted}");
}

/// Many rows at one distance from the query, as vectors of zeros and ones are: a walk is enough, as any of them will do.
#[test]
fn rows_at_one_distance_do_not_make_a_search_exact() {
    const ROWS: usize = 20_000;
    const WIDE: usize = 16;
    for metric in [Metric::Ip, Metric::L2sq] {
        let index = index(metric, WIDE);
        let mut random = Random(23);
        let vectors: Vec<f32> = (0..ROWS * WIDE).map(|_| random.below(2) as f32).collect();
        append_all(&index, &vectors, WIDE);
        link_all(&index, 1);
        for query in vectors.chunks(WIDE).take(20) {
            let request = Request { narrows_query: true, ..Request::new(query, 10, 64) };
            let search = |request| index.searcher().search(request, &AllVisible).unwrap();
            let (found, plain) = (search(request), search(Request { narrows_query: false, ..request }));
            assert_eq!(found.report.strategy, plain.report.strategy, "{metric:?} {query:?}");
            // Codes may be too coarse for such vectors.
            assert!(!exact_distances() || found.report.strategy == SearchStrategy::Graph, "{metric:?} {query:?}");
            assert!(found.rows.len() >= 10);
        }
    }
}
