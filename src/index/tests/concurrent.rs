//! Everything at once: rows are replaced, are deleted and come back, while others are never touched.

use super::*;

const WIDE: usize = 8;
const WRITERS: i64 = 2;
/// Rows that nobody changes.
const STABLE: i64 = 600;
/// Row ids of each writer, which are all reused again and again.
const ROWS: usize = 1_500;
/// Changes that each writer makes.
const TURNS: i64 = 8_000;
/// Changes between two compactions.
const COMPACT_EVERY: i64 = 400;

/// The n-th vector of a row; some are unrankable.
fn vector(row: i64, version: u64) -> Vec<f32> {
    let mut random = Random(row as u64 ^ version << 32);
    let mut vector: Vec<f32> = (0..WIDE).map(|_| random.normal()).collect();
    if random.below(25) == 0 {
        vector[2] = f32::INFINITY;
    }
    vector
}

/// Around zero, like the vectors of the other rows, so that codes have the same centre whichever rows they learn it from.
fn stable(row: i64) -> Vec<f32> {
    (0..WIDE as i64).map(|d| ((row * 31 + d * 17) % 101 - 50) as f32 / 20.0).collect()
}

/// How far a row's distance from this query may be off.
fn error(index: &Index, query: &[f32], vector: &[f32]) -> f64 {
    let learnt = index.setup.codec.learnt();
    let centred: f64 = vector.iter().zip(&learnt.centre).map(|(&x, &y)| f64::from(x - y).powi(2)).sum();
    let per_norm = index.setup.codec.error_per_norm(&index.setup.codec.prepare(query), f32::INFINITY);
    1e-3 + f64::from(per_norm) * centred.sqrt()
}

#[test]
fn untouched_rows_are_always_found_and_the_others_end_as_their_writers_left_them() {
    let index = index(Metric::L2sq, WIDE);
    for row in 0..STABLE {
        index.append(Origin::Host, &[row], &stable(row)).unwrap();
    }
    let turns = AtomicI64::new(0);
    let commit = AtomicI64::new(1);
    let running = || turns.load(Ordering::Relaxed) < WRITERS * TURNS;
    let models: Vec<BTreeMap<i64, Vec<f32>>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (index, turns, commit) = (&index, &turns, &commit);
                scope.spawn(move || {
                    let _stop = Stop(turns, WRITERS * TURNS);
                    let mut random = Random(writer as u64);
                    let mut model = BTreeMap::new();
                    for version in 1..=TURNS as u64 {
                        // Rows of both writers share blocks and pages.
                        let some: Vec<i64> = (0..1 + random.below(40))
                            .map(|_| STABLE + random.below(ROWS) as i64 * WRITERS + writer)
                            .collect();
                        if random.below(5) < 3 {
                            let vectors: Vec<f32> = some.iter().flat_map(|&row| vector(row, version)).collect();
                            index.append(Origin::Host, &some, &vectors).unwrap();
                            model.extend(some.iter().map(|&row| (row, vector(row, version))));
                        } else {
                            let now = commit.fetch_add(1, Ordering::Relaxed) as u64;
                            index.remove(&some, now);
                            model.retain(|row, _| !some.contains(row));
                        }
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                    model
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                let _stop = Stop(&turns, WRITERS * TURNS);
                while running() {
                    index.maintenance().link(16, &Uninterrupted).unwrap();
                    index.maintenance().reconnect(300, &Uninterrupted).unwrap();
                }
            });
        }
        for seed in 0..2 {
            let (index, running, turns) = (&index, &running, &turns);
            scope.spawn(move || {
                let _stop = Stop(turns, WRITERS * TURNS);
                let mut random = Random(seed);
                while running() {
                    let row = random.below(STABLE as usize) as i64;
                    let ef = if exact_distances() { 1 } else { 64 };
                    let found = index.searcher().nearest(&stable(row), 1, ef, &|other: i64| other < STABLE).unwrap();
                    let itself = may_be_nearest(&found, row) || found.rows[0].distance == 0.0;
                    // By their codes, more rows than a walk keeps may be as near.
                    let walked = !exact_distances() && found.report.strategy == SearchStrategy::Graph;
                    assert!(itself || walked, "row {row}, {:?}", found.report.strategy);
                    let found = index
                        .searcher()
                        .nearest(&stable(row), STABLE as usize, 8, &|other: i64| other < STABLE)
                        .unwrap();
                    assert_eq!(found.rows.len(), STABLE as usize, "{:?}", found.report.strategy);
                    let found = index.searcher().nearest(&stable(row), 10, 2, &AllVisible).unwrap();
                    assert!(found.rows.len() >= 10);
                    let ranked = found.rows.iter().take_while(|candidate| !candidate.distance.is_nan()).count();
                    assert!(found.rows[..ranked].is_sorted_by(|a, b| a.distance <= b.distance));
                }
            });
        }
        scope.spawn(|| {
            let _stop = Stop(&turns, WRITERS * TURNS);
            for compaction in 1..=WRITERS * TURNS / COMPACT_EVERY {
                while turns.load(Ordering::Relaxed) < compaction * COMPACT_EVERY {
                    std::thread::yield_now();
                }
                let lowest = commit.load(Ordering::Relaxed) as u64;
                index.expire_tombstones(lowest.saturating_sub(20));
                index.maintenance().compact(&Uninterrupted).unwrap();
                let stats = index.stats().unwrap();
                assert!(stats.count >= STABLE as usize);
                index.expire_tombstones(lowest);
            }
        });
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });

    let mut model: BTreeMap<i64, Vec<f32>> = models.into_iter().flatten().collect();
    model.extend((0..STABLE).map(|row| (row, stable(row))));
    index.expire_tombstones(commit.load(Ordering::Relaxed) as u64 + 1);
    for work in ["at the end", "linked", "compacted"] {
        match work {
            "linked" => link_all(&index, 2),
            "compacted" => index.maintenance().compact(&Uninterrupted).unwrap(),
            _ => {}
        }
        assert_eq!(index.stats().unwrap().count, model.len(), "{work}");
        let found = index.searcher().nearest(&[0.0; WIDE], usize::MAX, 64, &AllVisible).unwrap();
        assert!(found.exhausted);
        assert_eq!(found.rows.len(), model.len(), "{work}");
        for candidate in &found.rows {
            let vector = &model[&candidate.row_id];
            let norm = naive::distance(Metric::L2sq, vector, &[0.0; WIDE]);
            let same = (norm - f64::from(candidate.distance)).abs() < error(&index, &[0.0; WIDE], vector);
            assert!(same || norm.is_infinite() && candidate.distance.is_nan(), "{work}: {candidate:?}, not {norm}");
        }
    }
    let stats = index.stats().unwrap();
    assert_eq!((stats.pending, stats.deleted), (0, 0));
}
