//! Rows are replaced and deleted again and again: recall stays, and dead slots are reused.

use super::*;

const WIDE: usize = 64;
const ROWS: usize = 10_000;

/// The work that the host would do in the background.
fn work(index: &Index) {
    while index.maintenance().consolidate(256, &Uninterrupted).unwrap()
        + index.maintenance().link(64, &Uninterrupted).unwrap()
        > 0
    {}
    index.maintenance().reconnect(usize::MAX, &Uninterrupted).unwrap();
}

/// Recall with default settings over `rows`, the rows of the index.
fn recall_of(index: &Index, metric: Metric, rows: &BTreeMap<i64, Vec<f32>>) -> f64 {
    let mut random = Random(99);
    let near: Vec<_> = rows.values().collect();
    let queries = 300;
    let mut sum = 0.0;
    for _ in 0..queries {
        let query: Vec<f32> = near[random.below(near.len())].iter().map(|x| x + 0.3 * random.normal()).collect();
        let exact = naive::nearest(metric, rows.iter().map(|(&row, vector)| (row, vector.as_slice())), &query, 10);
        let found = index.searcher().nearest(&query, 10, 64, &|row: i64| rows.contains_key(&row)).unwrap();
        assert_eq!(found.report.strategy, SearchStrategy::Graph);
        sum += naive::recall(&exact, found.rows.iter().map(|candidate| candidate.row_id));
    }
    sum / f64::from(queries)
}

fn put(index: &Index, rows: &BTreeMap<i64, Vec<f32>>, ids: &[i64]) {
    let vectors: Vec<f32> = ids.iter().flat_map(|row| rows[row].iter().copied()).collect();
    index.append(Origin::Host, ids, &vectors).unwrap();
}

fn fresh(metric: Metric, rows: &BTreeMap<i64, Vec<f32>>) -> Index {
    let index = index(metric, WIDE);
    put(&index, rows, &rows.keys().copied().collect::<Vec<_>>());
    work(&index);
    index
}

/// All rows are replaced, a tenth at a time, as by an UPDATE: the new rows have other row ids.
#[test]
fn replacing_all_rows_in_tenths_keeps_recall_and_space() {
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        let vectors = Random(5).clustered(2 * ROWS, WIDE, 40);
        let vector = |row: usize| vectors[row * WIDE..][..WIDE].to_vec();
        let mut rows: BTreeMap<i64, Vec<f32>> = (0..ROWS).map(|row| (row as i64, vector(row))).collect();
        let index = fresh(metric, &rows);
        let mut random = Random(8);
        let mut order: Vec<i64> = (0..ROWS as i64).collect();
        random.shuffle(&mut order);
        for (step, gone) in (0..).zip(order.chunks(ROWS / 10)) {
            let come: Vec<i64> = (0..gone.len()).map(|i| (ROWS + step * gone.len() + i) as i64).collect();
            gone.iter().for_each(|row| drop(rows.remove(row)));
            rows.extend(come.iter().map(|&row| (row, vector(row as usize))));
            put(&index, &rows, &come);
            index.remove(gone, step as u64);
            index.expire_tombstones(step as u64 + 1);
            work(&index);
            let stats = index.stats().unwrap();
            assert_eq!((stats.count, stats.pending), (ROWS, 0));
            let space = stats.levels[0].nodes;
            assert!(space - ROWS <= space / 5, "{metric:?}, step {step}: {space} slots for {ROWS} rows");
        }
        let (churned, rebuilt) = (recall_of(&index, metric, &rows), recall_of(&fresh(metric, &rows), metric, &rows));
        assert!(churned >= rebuilt - 0.02, "{metric:?}: {churned} after churn, {rebuilt} when built anew");
        index.expire_tombstones(100);
        index.maintenance().compact(&Uninterrupted).unwrap();
        let compacted = recall_of(&index, metric, &rows);
        assert!(compacted >= rebuilt - 0.02, "{metric:?}: {compacted} after compaction, {rebuilt} when built anew");
        let stats = index.stats().unwrap();
        assert_eq!((stats.count, stats.deleted, stats.levels[0].nodes), (ROWS, 0, ROWS));
    }
}

/// Half of the rows go before any repair.
#[test]
fn compaction_of_a_half_dead_index_keeps_recall() {
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        let vectors = Random(5).clustered(2 * ROWS, WIDE, 40);
        let mut rows: BTreeMap<i64, Vec<f32>> =
            vectors.chunks(WIDE).enumerate().map(|(row, vector)| (row as i64, vector.to_vec())).collect();
        let index = fresh(metric, &rows);
        let gone: Vec<i64> = rows.keys().copied().filter(|row| row * 7919 % 1000 < 500).collect();
        gone.iter().for_each(|row| drop(rows.remove(row)));
        index.remove(&gone, 1);
        index.expire_tombstones(2);
        index.maintenance().compact(&Uninterrupted).unwrap();
        let stats = index.stats().unwrap();
        assert_eq!((stats.count, stats.deleted, stats.levels[0].nodes), (rows.len(), 0, rows.len()));
        let (compacted, rebuilt) = (recall_of(&index, metric, &rows), recall_of(&fresh(metric, &rows), metric, &rows));
        assert!(compacted >= rebuilt - 0.02, "{metric:?}: {compacted} after compaction, {rebuilt} when built anew");
    }
}

/// Only deletions, of neighbours together, so that whole regions of the graph go.
#[test]
fn deleting_whole_clusters_keeps_the_rest_in_reach() {
    let vectors = Random(5).clustered(ROWS, WIDE, 20);
    let mut rows: BTreeMap<i64, Vec<f32>> =
        vectors.chunks(WIDE).enumerate().map(|(row, vector)| (row as i64, vector.to_vec())).collect();
    let index = fresh(Metric::L2sq, &rows);
    // Around some rows, all rows within a distance.
    for centre in 0..8 {
        let near = naive::nearest(
            Metric::L2sq,
            rows.iter().map(|(&r, v)| (r, v.as_slice())),
            &vectors[centre * WIDE * 7..][..WIDE],
            300,
        );
        let gone: Vec<i64> = near.iter().map(|hit| hit.0).collect();
        gone.iter().for_each(|row| drop(rows.remove(row)));
        index.remove(&gone, 1);
        index.expire_tombstones(2);
        work(&index);
    }
    let stats = index.stats().unwrap();
    assert_eq!(stats.count, rows.len());
    assert!(stats.deleted <= ROWS / 16, "{} dead slots are left", stats.deleted);
    let (left, rebuilt) =
        (recall_of(&index, Metric::L2sq, &rows), recall_of(&fresh(Metric::L2sq, &rows), Metric::L2sq, &rows));
    assert!(left >= rebuilt - 0.02, "{left} after deletes, {rebuilt} when built anew");
}

#[test]
fn an_index_can_be_emptied_and_filled_again() {
    let vectors = Random(5).clustered(2_000, 8, 20);
    let ids: Vec<i64> = (0..2_000).collect();
    for compact in [false, true] {
        let index = index(Metric::L2sq, 8);
        for round in 0..4 {
            append_all(&index, &vectors, 8);
            work(&index);
            let slots = index.stats().unwrap().levels[0].nodes;
            assert!(slots <= 2_001, "slots are used again");
            let found = index.searcher().nearest(&vectors[80..88], 1, 64, &AllVisible).unwrap();
            assert_eq!(found.rows[0].row_id, 10);
            index.remove(&ids, round);
            index.expire_tombstones(round + 1);
            if compact {
                index.expire_tombstones(round + 1);
                index.maintenance().compact(&Uninterrupted).unwrap();
                assert!(index.stats().unwrap().levels.is_empty());
            } else {
                work(&index);
                assert_eq!(index.stats().unwrap().deleted, 1, "only the entry of the graph cannot be freed");
            }
            assert!(index.searcher().nearest(&vectors[..8], 1, 64, &AllVisible).unwrap().rows.is_empty());
        }
    }
}

/// Who reads rows keeps their slots from being used again; nobody else does, as there would be no end to it beside many readers.
#[test]
fn slots_are_not_freed_under_a_reader() {
    let index = index(Metric::L2sq, 4);
    append_all(&index, &Random(1).clustered(200, 4, 5), 4);
    work(&index);
    index.remove(&(0..100).collect::<Vec<_>>(), 1);
    index.expire_tombstones(2);
    let generation = index.rows().generation();
    let pinned = generation.pin_rows();
    while index.maintenance().consolidate(256, &Uninterrupted).unwrap() > 0 {}
    assert_eq!(index.stats().unwrap().deleted, 100);
    let later = generation.pin_rows();
    {
        // to ask again takes no guard for which searches would wait, so that one may be held
        let _searching = generation.graph.read();
        assert_eq!(index.maintenance().consolidate(256, &Uninterrupted).unwrap(), 0);
    }
    assert_eq!(index.stats().unwrap().deleted, 100);
    drop(pinned);
    assert!(index.maintenance().consolidate(256, &Uninterrupted).unwrap() > 0);
    let deleted = index.stats().unwrap().deleted;
    assert!(deleted < 100, "{deleted}");
    drop(later);
    while index.maintenance().consolidate(256, &Uninterrupted).unwrap() > 0 {}
    assert!(index.stats().unwrap().deleted < 16);
}
