//! Searches among the rows of a set, by each strategy.

use super::*;
use crate::memory::Memory;
use crate::search::{ReadCosts, Request, RowSet};

pub(super) fn row_set(rows: impl Iterator<Item = i64>) -> RowSet {
    let mut set = RowSet::new(&Memory::new(Box::new(Unlimited))).unwrap();
    set.insert(&rows.collect::<Vec<_>>()).unwrap();
    set
}

fn find(index: &Index, query: &[f32], k: usize, rows: &RowSet, forced: Option<SearchStrategy>) -> Found {
    let request = Request { filter: Some(rows), forced, ..Request::new(query, k, 64) };
    index.searcher().search(request, &|_: i64| panic!("the rows of a filter are visible")).unwrap()
}

const FORCED: [Option<SearchStrategy>; 4] =
    [None, Some(SearchStrategy::Exact), Some(SearchStrategy::Recheck), Some(SearchStrategy::Filtered)];

/// No row outside the set, no row twice, never too few, nearest first, and exact search exact: on vectors with many ties, with pending
/// rows, tombstones, dead and unrankable rows.
#[test]
fn every_strategy_keeps_the_promises() {
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        let index = index(metric, DIMENSIONS);
        let mut random = Random(71);
        let vectors: Vec<Vec<f32>> = (0..3_000).map(|_| grid_vector(&mut random)).collect();
        append_all(&index, &vectors.concat(), DIMENSIONS);
        index.maintenance().link(2_900, &Uninterrupted).unwrap();
        index.remove(&(0..500).collect::<Vec<_>>(), 3);
        index.expire_tombstones(4);
        index.remove(&(500..600).collect::<Vec<_>>(), 5);
        let model = Model { metric, live: BTreeMap::new(), tombstones: BTreeMap::new() };
        for turn in 0..300 {
            let share = [1, 2, 5, 20, 200, 1_500][turn % 6];
            // Rows from 500 on are in the index; those from 3,000 on have no vector.
            let rows: Vec<i64> = (500..3_010).filter(|_| random.below(share) == 0).collect();
            let set = row_set(rows.iter().copied());
            let (query, k) = (vec![0.5, 1.0, -1.5, random.normal()], 1 + random.below(40));
            let ranked: Vec<(i64, &[f32])> = rows
                .iter()
                .filter(|&&row| row < 3_000)
                .map(|&row| (row, vectors[row as usize].as_slice()))
                .filter(|(_, vector)| model.ordinary(vector))
                .collect();
            for forced in FORCED {
                let found = find(&index, &query, k, &set, forced);
                let case =
                    format!("{metric:?} turn {turn}, {} rows, k {k}, {forced:?}: {:?}", rows.len(), found.report);
                assert_eq!(found.outcome, Outcome::Candidates, "{case}");
                let ids: std::collections::HashSet<i64> = found.rows.iter().map(|row| row.row_id).collect();
                assert_eq!(ids.len(), found.rows.len(), "{case}: a row twice");
                assert!(ids.iter().all(|&row| set.contains(row)), "{case}: a row that does not qualify");
                assert!(ids.len() >= k.min(rows.len()), "{case}: {} rows", ids.len());
                if found.report.strategy == SearchStrategy::All {
                    assert_eq!(ids.len(), rows.len(), "{case}");
                    continue;
                }
                let unrankable = found.rows.iter().filter(|row| row.distance.is_nan()).count();
                assert!(found.rows[..ids.len() - unrankable].is_sorted_by(|a, b| a.distance <= b.distance), "{case}");
                if found.report.strategy == SearchStrategy::Exact {
                    let exact = naive::nearest(metric, ranked.iter().copied(), &query, k);
                    let candidates = ranked.iter().copied().filter(|(row, _)| ids.contains(row));
                    let best = naive::nearest(metric, candidates, &query, k);
                    for (exact, best) in exact.iter().zip(&best) {
                        assert!((exact.1 - best.1).abs() < 1e-5 * (1.0 + exact.1.abs()), "{case}");
                    }
                }
            }
        }
    }
}

/// Sets of every size, spread over the vectors, near the query, and far from it.
#[test]
fn recall_is_high_whatever_qualifies() {
    const ROWS: usize = 12_000;
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        let index = index(metric, 16);
        let vectors = Random(81).clustered(ROWS, 16, 30);
        append_all(&index, &vectors, 16);
        link_all(&index, 1);
        let all: Vec<(i64, &[f32])> = vectors.chunks(16).enumerate().map(|(row, v)| (row as i64, v)).collect();
        let mut random = Random(82);
        let mut by_walk = 0;
        for share in [1.0, 0.9, 0.5, 0.3, 0.1, 0.01] {
            for part in ["spread", "near", "far"] {
                let mut recall = 0.0;
                for _ in 0..20 {
                    let query: Vec<f32> = all[random.below(ROWS)].1.iter().map(|x| x + 0.3 * random.normal()).collect();
                    let ranked = naive::nearest(metric, all.iter().copied(), &query, ROWS);
                    let count = (share * ROWS as f64) as usize;
                    let set = match part {
                        "spread" => row_set((0..ROWS as i64).filter(|_| random.below(10_000) < (share * 1e4) as usize)),
                        "near" => row_set(ranked[..count].iter().map(|&(row, _)| row)),
                        _ => row_set(ranked[ROWS - count..].iter().map(|&(row, _)| row)),
                    };
                    let found = find(&index, &query, 10, &set, None);
                    let exact: Vec<_> = ranked.into_iter().filter(|(row, _)| set.contains(*row)).take(10).collect();
                    recall += naive::recall(&exact, found.rows.iter().map(|row| row.row_id)) / 20.0;
                    by_walk += usize::from(found.report.strategy != SearchStrategy::Exact);
                }
                // Under the inner product, walks find less, with a filter and without.
                let demanded = if metric == Metric::Ip { 0.9 } else { 0.95 };
                assert!(recall >= demanded, "{metric:?}: recall {recall} of {share}, {part}");
            }
        }
        assert!(by_walk >= 60, "{by_walk} walks");
    }
}

/// Few links, and a set so small that its rows hardly reach each other over two of them, yet so large that a walk among them seems to pay.
#[test]
fn rows_that_do_not_reach_each_other_are_found() {
    const ROWS: usize = 36_000;
    let options = Options { metric: Metric::Cosine, m: 6, m0: 12, ..defaults() };
    let index = Index::new(options, 16, Box::new(Unlimited)).unwrap();
    let vectors = Random(83).clustered(ROWS, 16, 1_300);
    append_all(&index, &vectors, 16);
    link_all(&index, 1);
    let all: Vec<(i64, &[f32])> = vectors.chunks(16).enumerate().map(|(row, v)| (row as i64, v)).collect();
    let mut random = Random(84);
    for (percent, by_walk) in [(50, true), (5, false)] {
        let set = row_set((0..ROWS as i64).filter(|_| random.below(100) < percent));
        let (mut recall, mut walks) = (0.0, 0);
        for _ in 0..50 {
            let query: Vec<f32> = all[random.below(ROWS)].1.iter().map(|x| x + 0.3 * random.normal()).collect();
            let request = Request { filter: Some(&set), ..Request::new(&query, 5, 16) };
            let planned = index.searcher().filtered_strategy(5, 16, set.len(), &ReadCosts::default());
            assert_ne!(planned, SearchStrategy::Exact);
            let found = index.searcher().search(request, &AllVisible).unwrap();
            let exact =
                naive::nearest(Metric::Cosine, all.iter().copied().filter(|(row, _)| set.contains(*row)), &query, 5);
            recall += naive::recall(&exact, found.rows.iter().map(|row| row.row_id)) / 50.0;
            walks += usize::from(found.report.strategy == planned);
        }
        assert!(recall >= 0.95, "recall {recall} of {percent} %");
        assert_eq!(walks > 25, by_walk, "{walks} walks as planned among {percent} %");
    }
}

/// With a further order, all rows that tie with the last one are found, although no walk would find them all.
#[test]
fn ties_are_complete_when_asked_for() {
    let index = index(Metric::L2sq, 4);
    let mut random = Random(91);
    let vectors: Vec<f32> = (0..20_000)
        .flat_map(|row| {
            let shift = (row / 500) as f32;
            [shift, 0.0, if row < 10_000 { 0.0 } else { random.normal() }, 1.0]
        })
        .collect();
    append_all(&index, &vectors, 4);
    link_all(&index, 1);
    let all = row_set(0..20_000);
    for filter in [None, Some(&all)] {
        let query = [3.2, 0.0, 0.0, 1.0];
        let request = Request { ties: true, filter, ..Request::new(&query, 10, 64) };
        let found = index.searcher().search(request, &AllVisible).unwrap();
        let mut rows: Vec<i64> = found.rows.iter().map(|row| row.row_id).collect();
        rows.sort_unstable();
        if !exact_distances() {
            // Codes do not tell other rows from these.
            rows.retain(|row| (1_500..2_000).contains(row));
        }
        assert_eq!(rows, (1_500..2_000).collect::<Vec<_>>());
        assert_eq!(found.report.strategy, SearchStrategy::Exact);
        let plain = index.searcher().search(Request { ties: false, ..request }, &AllVisible).unwrap();
        assert_ne!(plain.report.strategy, SearchStrategy::Exact);
    }
}

/// If vectors cannot be ranked, or too few qualify, the caller gets all rows that qualify, or is told to scan.
#[test]
fn too_few_vectors_mean_all_rows() {
    let index = index(Metric::Cosine, 2);
    for row in 0..100 {
        index.append(Origin::Host, &[row], &[row as f32, 1.0]).unwrap();
    }
    let some = row_set((0..100).chain(500..600));
    let found = find(&index, &[1.0, 1.0], 150, &some, None);
    assert_eq!((found.rows.len(), found.report.strategy, found.exhausted), (200, SearchStrategy::All, true));
    let found = find(&index, &[0.0, 0.0], 10, &some, None);
    assert_eq!((found.rows.len(), found.report.strategy), (200, SearchStrategy::All));
    let many = row_set(0..10_000);
    let costs = ReadCosts { looked_up: 6.0, selected: 4.0, scanned: 1.0, ..ReadCosts::default() };
    let request = Request { filter: Some(&many), costs, ..Request::new(&[0.0, 0.0], 10, 64) };
    let found = index.searcher().search(request, &AllVisible).unwrap();
    assert_eq!((found.rows.len(), found.outcome), (0, Outcome::Scan));
    assert_eq!(find(&index, &[1.0, 0.0], 0, &some, None).rows.len(), 0);
    assert_eq!(find(&index, &[1.0, 0.0], 5, &row_set(0..0), None).rows.len(), 0);
}
