//! Indexes that hold codes, compared with those that hold floats: the rows that they find, once the host has sorted them, and the memory
//! that they take.

use std::collections::HashSet;

use super::image::Disk;
use super::*;
use crate::memory::Memory;
use crate::search::RowSet;
use crate::search::{Request, Strategy};

const CODES: [Quantization; 2] = [Quantization::Sq8, Quantization::Sq4];
const METRICS: [Metric; 3] = [Metric::L2sq, Metric::Cosine, Metric::Ip];

fn options(metric: Metric, quantization: Quantization) -> Options {
    Options { metric, quantization, ..Options::default() }
}

fn of(metric: Metric, quantization: Quantization, vectors: &[f32], dimensions: usize) -> Index {
    let index = Index::new(options(metric, quantization), dimensions, Box::new(Unlimited)).unwrap();
    append_all(&index, vectors, dimensions);
    index
}

/// For 300 queries: the share of the 10 nearest rows that the candidates hold, and the number of candidates a query.
fn quality(index: &Index, metric: Metric, vectors: &[f32], dimensions: usize, ef: usize) -> (f64, f64) {
    const QUERIES: usize = 200;
    let rows: Vec<_> = (0..).zip(vectors.chunks_exact(dimensions)).collect();
    let mut random = Random(17);
    let (mut sum, mut candidates) = (0.0, 0);
    for _ in 0..QUERIES {
        let near = rows[random.below(rows.len())].1;
        let query: Vec<f32> = near.iter().map(|x| x + 0.3 * random.normal()).collect();
        let exact = naive::nearest(metric, rows.iter().copied(), &query, 10);
        let found = index.searcher().nearest(&query, 10, ef, &AllVisible).unwrap();
        // If codes do not tell rows apart, all rows are looked at.
        let looked_at_all = index.setup.codec.estimates() && found.report.strategy == SearchStrategy::Exact;
        assert!(looked_at_all || found.report.strategy == SearchStrategy::Graph);
        assert!(found.rows.is_sorted_by(|a, b| a.distance <= b.distance));
        candidates += found.rows.len();
        sum += naive::recall(&exact, found.rows.iter().map(|row| row.row_id));
    }
    (sum / QUERIES as f64, candidates as f64 / QUERIES as f64)
}

#[test]
fn candidates_hold_what_floats_find() {
    const WIDE: usize = 48;
    let vectors = Random(5).clustered(8_000, WIDE, 30);
    for metric in METRICS {
        for offset in [0.0, 50.0] {
            // If all vectors are far from the origin, their directions are nearly the same.
            if offset > 0.0 && metric != Metric::L2sq {
                continue;
            }
            let moved: Vec<f32> = vectors.iter().map(|x| x + offset).collect();
            let build = |quantization| {
                let index = of(metric, quantization, &moved, WIDE);
                link_all(&index, 1);
                index
            };
            let floats = build(Quantization::None);
            for quantization in CODES {
                let codes = build(quantization);
                for ef in [16, 64] {
                    let (recall, candidates) = quality(&codes, metric, &moved, WIDE, ef);
                    let (as_floats, _) = quality(&floats, metric, &moved, WIDE, ef);
                    let what = format!("{metric:?} {quantization:?} ef {ef} offset {offset}: {recall} of {as_floats}");
                    assert!(recall >= as_floats - 0.012, "{what}");
                    let most = if quantization == Quantization::Sq8 { 20 } else { 2 * ef };
                    assert!(candidates <= most as f64, "{what}: {candidates}");
                }
            }
        }
    }
}

#[test]
fn no_floats_are_kept_of_linked_rows() {
    const WIDE: usize = 256;
    const ROWS: usize = 20_000;
    let vectors = Random(6).clustered(ROWS, WIDE, 30);
    for quantization in CODES {
        let ledger = Arc::new(Limited::default());
        let index = Index::new(options(Metric::L2sq, quantization), WIDE, Box::new(Arc::clone(&ledger))).unwrap();
        let mut most = 0;
        for (rows, vectors) in (0..ROWS as i64).collect::<Vec<_>>().chunks(1000).zip(vectors.chunks(1000 * WIDE)) {
            index.append(Origin::Host, rows, vectors).unwrap();
            most = most.max(index.memory_used());
        }
        let floats = ROWS * WIDE * size_of::<f32>();
        assert!(most < floats * 3 / 4, "{quantization:?}: {most} bytes for rows that wait, {floats} as floats");
        index.maintenance().finish(&Uninterrupted).unwrap();
        let row = quantization.row_bytes(WIDE) + 4 * (1 + 32) + 4 * (1 + 16) / 15 + 24;
        let used = index.memory_used();
        // The graph's table and the segments grow in steps.
        assert!(used < ROWS * row * 13 / 10 + (1 << 20), "{quantization:?}: {} bytes a row, {row} needed", used / ROWS);
    }
}

#[test]
fn exact_searches_are_exact() {
    for dimensions in [1, 2, 7, 8, 33, 100] {
        for metric in METRICS {
            let vectors: Vec<f32> = Random(7)
                .clustered(3_000, dimensions, 10)
                .into_iter()
                .map(|x| x + if metric == Metric::L2sq { 50.0 } else { 0.0 })
                .collect();
            for quantization in CODES {
                let index = of(metric, quantization, &vectors, dimensions);
                index.maintenance().link(2_500, &Uninterrupted).unwrap();
                let mut set = RowSet::new(&Memory::new(Box::new(Unlimited))).unwrap();
                let some: Vec<i64> = (0..3_000).filter(|row| row % 3 == 1).collect();
                set.insert(&some).unwrap();
                let mut random = Random(8);
                for turn in 0..20 {
                    let query: Vec<f32> = vectors[random.below(3_000) * dimensions..][..dimensions]
                        .iter()
                        .map(|x| x + 0.1 * random.normal())
                        .collect();
                    let filter = (turn % 2 == 0).then_some(&set);
                    let request = Request {
                        rescore: 0.0,
                        ties: turn % 3 == 0,
                        filter,
                        forced: Some(Strategy::Exact),
                        ..Request::new(&query, 10, 64)
                    };
                    let found = index.searcher().search(request, &AllVisible).unwrap();
                    let ids: HashSet<i64> = found.rows.iter().map(|row| row.row_id).collect();
                    let rows = (0..).zip(vectors.chunks_exact(dimensions));
                    let rows = rows.filter(|&(row, _)| filter.is_none_or(|set| set.contains(row)));
                    let exact = naive::nearest(metric, rows, &query, 10);
                    let missing: Vec<_> = exact.iter().filter(|(row, _)| !ids.contains(row)).collect();
                    // A row that ties with the last one may take its place.
                    let worst = exact[9].1;
                    assert!(
                        missing.iter().all(|(_, distance)| (worst - distance).abs() <= 1e-5 * (1.0 + worst.abs())),
                        "{metric:?} {quantization:?} {dimensions}: {missing:?} of {exact:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_wider_bound_means_more_candidates() {
    let vectors = Random(9).clustered(6_000, 32, 30);
    let index = of(Metric::Cosine, Quantization::Sq4, &vectors, 32);
    link_all(&index, 1);
    let candidates = |rescore: f32| {
        let request = Request { rescore, ..Request::new(&vectors[..32], 10, 64) };
        index.searcher().search(request, &AllVisible).unwrap().rows.len()
    };
    assert_eq!(candidates(0.0), 10);
    assert!(candidates(1.0) >= 10);
    assert!(candidates(1.9) > 10);
    assert!(candidates(4.0) >= candidates(1.9));
    assert!(candidates(100.0) <= 64);
}

/// With codes there are nearly always more candidates than wanted rows, which is no reason to take them for ties. Equal vectors are one.
#[test]
fn a_further_order_makes_a_search_exact_only_where_vectors_are_equal() {
    const COPIES: i64 = 200;
    let vectors = Random(12).clustered(6_000, 64, 30);
    let cases = METRICS.into_iter().flat_map(|metric| CODES.map(|quantization| (metric, quantization)));
    for (metric, quantization) in cases {
        let index = of(metric, quantization, &vectors, 64);
        let query = |row: usize| &vectors[row * 64..][..64];
        let copies: Vec<i64> = (10_000..10_000 + COPIES).collect();
        index.append(Origin::Host, &copies, &query(7).repeat(COPIES as usize)).unwrap();
        link_all(&index, 1);
        let ask = |row: usize| {
            let request = Request { ties: true, ..Request::new(query(row), 10, 64) };
            index.searcher().search(request, &AllVisible).unwrap()
        };
        let (mut found, mut by_walk) = (0, 0);
        for row in (300..6_000).step_by(300) {
            let answer = ask(row);
            by_walk += usize::from(answer.report.strategy == Strategy::Graph);
            let exact = naive::nearest(metric, (0..).zip(vectors.chunks_exact(64)), query(row), 10);
            found += exact.iter().filter(|(row, _)| answer.rows.iter().any(|hit| hit.row_id == *row)).count();
        }
        // The clusters are so small and so dense that half bytes do not tell their rows apart.
        assert_eq!(by_walk == 19, quantization == Quantization::Sq8, "{metric:?}: {by_walk} walks");
        assert!(found >= 180, "{metric:?} {quantization:?}: {found} of 190");
        if metric != Metric::Ip {
            let answer = ask(7);
            assert_eq!(answer.report.strategy, Strategy::Exact, "{metric:?}");
            let ids: HashSet<i64> = answer.rows.iter().map(|hit| hit.row_id).collect();
            assert!(ids.contains(&7) && copies.iter().all(|id| ids.contains(id)), "{metric:?}: {} rows", ids.len());
        }
    }
}

/// Row ids and estimated distances of answers, to be compared in every bit.
fn answers(index: &Index, vectors: &[f32], dimensions: usize) -> Vec<(i64, u32)> {
    let queries = vectors.chunks_exact(dimensions).step_by(97);
    let found = queries.flat_map(|query| index.searcher().nearest(query, 10, 64, &AllVisible).unwrap().rows);
    found.map(|row| (row.row_id, row.distance.to_bits())).collect()
}

#[test]
fn images_hold_codes_and_what_is_to_become_codes() {
    const WIDE: usize = 20;
    let vectors = Random(10).clustered(4_000, WIDE, 20);
    for metric in METRICS {
        for quantization in CODES {
            let disk = Disk::new(4096);
            let reload = |index: &Index| {
                let image = index.images().store(&disk, 9_000, 1).unwrap();
                let options = options(metric, quantization);
                Index::load(options, WIDE, Box::new(Unlimited), &image, &disk).unwrap().0
            };
            let rows = |range: std::ops::Range<usize>| &vectors[range.start * WIDE..range.end * WIDE];
            // No row is linked, and nothing is learnt.
            let index = of(metric, quantization, rows(0..300), WIDE);
            let loaded = reload(&index);
            assert_eq!(
                (loaded.pending(), answers(&loaded, rows(0..300), WIDE)),
                (300, answers(&index, rows(0..300), WIDE))
            );
            loaded.maintenance().finish(&Uninterrupted).unwrap();
            let index = loaded;
            // The codec has learnt from these rows; others are pending.
            let ids = |range: std::ops::Range<i64>| range.collect::<Vec<_>>();
            index.append(Origin::Host, &ids(300..3_000), rows(300..3_000)).unwrap();
            let loaded = reload(&index);
            assert_eq!(answers(&loaded, &vectors, WIDE), answers(&index, &vectors, WIDE));
            loaded.maintenance().finish(&Uninterrupted).unwrap();
            let index = loaded;
            // Rows linked since the graph was stored come back as pending rows, in codes.
            reload(&index);
            index.append(Origin::Host, &ids(3_000..3_020), rows(3_000..3_020)).unwrap();
            index.maintenance().finish(&Uninterrupted).unwrap();
            let loaded = reload(&index);
            assert_eq!(loaded.pending(), 20);
            let distances = |index: &Index| {
                let found = index.searcher().nearest(rows(5..6), 9_000, 64, &AllVisible).unwrap();
                found.rows.into_iter().map(|row| (row.row_id, row.distance.to_bits())).collect::<BTreeMap<_, _>>()
            };
            assert_eq!(distances(&loaded), distances(&index));
            loaded.maintenance().finish(&Uninterrupted).unwrap();
            assert_eq!(distances(&loaded), distances(&index), "linked from a code, it is the same code");
            // A list has up to 32 links of 4 bytes.
            let root = crate::format::root::Root::decode(&loaded.images().store(&disk, 1, 0).unwrap().root).unwrap();
            assert!(root.base_bytes > 0 && root.base_bytes < 48 * root.slots, "{} bytes", root.base_bytes / root.slots);
            // An upsert of the same vectors changes nothing.
            let before = loaded.rows().changes();
            loaded.append(Origin::Scan, &ids(0..3_020), rows(0..3_020)).unwrap();
            assert_eq!((loaded.pending(), loaded.stats().unwrap().deleted), (0, 0), "{before}");
        }
    }
}

/// Rows of an old graph go back to the pending area as codes.
#[test]
fn renewal_and_compaction_keep_codes() {
    const WIDE: usize = 12;
    let vectors = Random(12).clustered(9_000, WIDE, 20);
    for quantization in CODES {
        let index = of(Metric::L2sq, quantization, &vectors, WIDE);
        index.maintenance().finish(&Uninterrupted).unwrap();
        let gone: Vec<i64> = (0..9_000).filter(|row| row % 8 != 0).collect();
        let distances = |index: &Index| {
            let found = index.searcher().nearest(&vectors[..WIDE], 20_000, 64, &|row: i64| row % 8 == 0).unwrap();
            found.rows.into_iter().map(|row| (row.row_id, row.distance.to_bits())).collect::<BTreeMap<_, _>>()
        };
        let before = distances(&index);
        assert_eq!(before.len(), 1_125);
        index.remove(&gone, 1);
        index.expire_tombstones(2);
        let renewals = index.rows().renewals();
        index.maintenance().tend_own(usize::MAX, &Uninterrupted).unwrap();
        assert!(index.rows().renewals() > renewals && index.pending() == 1_125);
        assert_eq!(distances(&index), before);
        index.maintenance().finish(&Uninterrupted).unwrap();
        assert_eq!(distances(&index), before);
        index.remove(&(0..500).collect::<Vec<_>>(), 3);
        index.expire_tombstones(4);
        index.maintenance().compact(&Uninterrupted).unwrap();
        let kept: BTreeMap<_, _> = before.into_iter().filter(|&(row, _)| row >= 500).collect();
        assert_eq!(distances(&index), kept);
    }
}

/// Codes with a centre far from all vectors hardly tell the vectors apart. A walk goes on if no row that it met is, by its code, certainly
/// farther than the wanted ones.
#[test]
fn a_walk_goes_on_until_its_codes_tell() {
    const WIDE: usize = 32;
    let vectors: Vec<f32> = Random(3).clustered(8_000, WIDE, 30).iter().map(|x| x + 50.0).collect();
    for quantization in CODES {
        let index = of(Metric::L2sq, quantization, &[0.0; WIDE], WIDE);
        link_all(&index, 1);
        for (row, vector) in (1..).zip(vectors.chunks_exact(WIDE)) {
            index.append(Origin::Host, &[row], vector).unwrap();
        }
        link_all(&index, 1);
        let rows = || (1..).zip(vectors.chunks_exact(WIDE));
        // A single pending row far away says nothing about the others.
        index.append(Origin::Host, &[100_000], &[-1e4; WIDE]).unwrap();
        let mut random = Random(17);
        let recall: f64 = (0..100)
            .map(|row| {
                let query: Vec<f32> = vectors[80 * row * WIDE..][..WIDE].iter().map(|x| x + random.normal()).collect();
                let exact = naive::nearest(Metric::L2sq, rows(), &query, 10);
                let found = index.searcher().nearest(&query, 10, 64, &AllVisible).unwrap();
                naive::recall(&exact, found.rows.iter().map(|row| row.row_id))
            })
            .sum();
        assert!(recall / 100.0 > 0.97, "{quantization:?}: {}", recall / 100.0);
    }
}

/// A few vectors that are far from all others do not move the centre.
#[test]
fn far_rows_do_not_spoil_codes() {
    const WIDE: usize = 64;
    let mut vectors = Random(4).clustered(6_000, WIDE, 30);
    for (row, far) in [(0, 1e8), (3_000, -1e6)] {
        vectors[row * WIDE] = far;
    }
    for quantization in CODES {
        let index = of(Metric::L2sq, quantization, &vectors, WIDE);
        link_all(&index, 1);
        let error =
            f64::from(index.setup.codec.error_per_norm(&index.setup.codec.prepare(&vectors[WIDE..2 * WIDE]), 1.0));
        assert!(error < 1.0, "{quantization:?}: {error}");
        let (recall, _) = quality(&index, Metric::L2sq, &vectors, WIDE, 64);
        assert!(recall > 0.98, "{quantization:?}: {recall}");
    }
}

/// Once the codec has learnt its centre, rows that are pending as floats go to the graph as codes. A search that began before finds each of
/// them in one place or the other.
#[test]
fn searches_find_rows_that_are_linked_while_the_codec_gets_ready() {
    const ROWS: usize = 400;
    for round in 0..300 {
        let index = Index::new(options(Metric::L2sq, Quantization::Sq4), 2, Box::new(Unlimited)).unwrap();
        let vectors: Vec<f32> = (0..ROWS).flat_map(|row| [row as f32, round as f32]).collect();
        index.append(Origin::Host, &(0..ROWS as i64).collect::<Vec<_>>(), &vectors).unwrap();
        std::thread::scope(|scope| {
            let linker = scope.spawn(|| index.maintenance().link(ROWS, &Uninterrupted).unwrap());
            while !linker.is_finished() {
                let found = index.searcher().nearest(&[0.0, 0.0], ROWS, 64, &AllVisible).unwrap();
                assert_eq!(found.rows.len(), ROWS, "round {round}");
            }
        });
    }
}

/// For 200 queries near some of `rows`: the share of the 10 nearest rows that the candidates hold.
fn recall_of(index: &Index, metric: Metric, rows: &BTreeMap<i64, Vec<f32>>, ef: usize) -> f64 {
    const QUERIES: usize = 200;
    let mut random = Random(41);
    let near: Vec<_> = rows.values().collect();
    let sum: f64 = (0..QUERIES)
        .map(|_| {
            let query: Vec<f32> = near[random.below(near.len())].iter().map(|x| x + 0.3 * random.normal()).collect();
            let exact = naive::nearest(metric, rows.iter().map(|(&row, vector)| (row, vector.as_slice())), &query, 10);
            let found = index.searcher().nearest(&query, 10, ef, &|row: i64| rows.contains_key(&row)).unwrap();
            let looked_at_all = index.setup.codec.estimates() && found.report.strategy == SearchStrategy::Exact;
            assert!(looked_at_all || found.report.strategy == SearchStrategy::Graph);
            naive::recall(&exact, found.rows.iter().map(|row| row.row_id))
        })
        .sum();
    sum / QUERIES as f64
}

/// The centre is learnt from the first half of the rows; the second half lies elsewhere. Codes of both halves find what floats find.
#[test]
fn vectors_that_drift_are_found() {
    const WIDE: usize = 48;
    const HALF: usize = 4_000;
    let (first, mut second) = (Random(21).clustered(HALF, WIDE, 20), Random(22).clustered(HALF, WIDE, 20));
    let mut random = Random(23);
    let direction: Vec<f32> = (0..WIDE).map(|_| 0.7 * random.normal()).collect();
    second.chunks_mut(WIDE).for_each(|row| row.iter_mut().zip(&direction).for_each(|(x, d)| *x += d));
    for metric in METRICS {
        let build = |quantization| {
            let index = of(metric, quantization, &first, WIDE);
            index.maintenance().finish(&Uninterrupted).unwrap();
            let before = index.setup.codec.learnt().centre;
            let ids: Vec<i64> = (HALF as i64..2 * HALF as i64).collect();
            index.append(Origin::Host, &ids, &second).unwrap();
            index.maintenance().finish(&Uninterrupted).unwrap();
            assert_eq!(index.setup.codec.learnt().centre, before, "the centre stays");
            index
        };
        let half = |vectors: &[f32], from: usize| -> BTreeMap<i64, Vec<f32>> {
            (from as i64..).zip(vectors.chunks(WIDE).map(<[f32]>::to_vec)).collect()
        };
        let mut rows = half(&first, 0);
        rows.extend(half(&second, HALF));
        let floats = recall_of(&build(Quantization::None), metric, &rows, 64);
        for quantization in CODES {
            let codes = recall_of(&build(quantization), metric, &rows, 64);
            assert!(codes >= floats - 0.012, "{metric:?} {quantization:?}: {codes} of {floats}");
        }
    }
}

/// A quarter of the rows is replaced again and again: recall does not fall, and the graph does not grow. `VSS_TEST_CHURN` sets the number
/// of rounds.
#[test]
fn churn_of_codes_keeps_recall() {
    const WIDE: usize = 48;
    const ROWS: usize = 8_000;
    let rounds = std::env::var("VSS_TEST_CHURN").map_or(9, |rounds| rounds.parse().expect("a number"));
    let metric = Metric::L2sq;
    let index = of(metric, Quantization::Sq4, &[], WIDE);
    let mut random = Random(31);
    let mut rows = BTreeMap::new();
    let mut next = 0;
    let mut recalls = Vec::new();
    for round in 0..rounds {
        let gone: Vec<i64> = rows.keys().copied().filter(|_| round > 0 && random.below(4) == 0).collect();
        gone.iter().for_each(|row| drop(rows.remove(row)));
        index.remove(&gone, round);
        let come = ROWS - rows.len();
        let vectors = Random(100 + round).clustered(come, WIDE, 20);
        let ids: Vec<i64> = (next..next + come as i64).collect();
        next += come as i64;
        index.append(Origin::Host, &ids, &vectors).unwrap();
        rows.extend(ids.iter().copied().zip(vectors.chunks(WIDE).map(<[f32]>::to_vec)));
        index.expire(round + 1, round + 2);
        index.maintenance().tend_own(0, &Uninterrupted).unwrap();
        index.maintenance().finish(&Uninterrupted).unwrap();
        let stats = index.stats().unwrap();
        assert_eq!((stats.count, stats.pending), (ROWS, 0));
        assert!(stats.levels[0].nodes <= ROWS + ROWS / 4 + 2048, "{} slots", stats.levels[0].nodes);
        recalls.push(recall_of(&index, metric, &rows, 16));
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (before, after) = (mean(&recalls[..recalls.len() / 3]), mean(&recalls[recalls.len() * 2 / 3..]));
    assert!(after >= before - 0.01, "recall falls from {before} to {after}");
    println!("recall {before:.4}, after {rounds} rounds {after:.4}");
}
