//! The index against a model too simple to be wrong: a map from row ids to vectors and to the snapshots that may see them.

mod answers;
mod churn;
mod codes;
mod compared;
mod concurrent;
mod crowds;
mod equal;
mod filtered;
mod finish;
mod health;
mod image;
mod many;
mod memory;
#[cfg(feature = "model")]
mod model;
mod norms;
mod pairs;
mod ranges;
mod reconnect;
mod sources;
mod upkeep;
mod widths;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use proptest::prelude::*;

use super::{Index, Origin, UNRESOLVED};
use crate::error::ErrorKind;
use crate::host::{AllVisible, Interrupt, Uninterrupted, Unlimited};
use crate::index::rows::State;
use crate::memory::tests::Limited;
use crate::options::Metric;
use crate::options::{Options, Quantization};
use crate::search::{Found, Outcome, Strategy as SearchStrategy};
use crate::testing::naive::{self, Random};

const DIMENSIONS: usize = 4;

/// The default options of indexes under test; a test overrides those that it is about. The variable `VSS_TEST_QUANTIZATION` chooses the
/// codec: `make core` runs the tests with each codec.
fn defaults() -> Options {
    let quantization = std::env::var("VSS_TEST_QUANTIZATION")
        .map_or(Quantization::None, |name| Quantization::parse(&name).expect("a name of a quantization"));
    Options { quantization, ..Options::default() }
}

fn index(metric: Metric, dimensions: usize) -> Index {
    Index::new(Options { metric, ..defaults() }, dimensions, Box::new(Unlimited)).unwrap()
}

/// Whether distances are those of the vectors, not of their codes.
fn exact_distances() -> bool {
    defaults().quantization == Quantization::None
}

/// Whether a row is the nearest one of an answer. With codes: whether it may be, because then the host, which knows the vectors, decides.
fn may_be_nearest(found: &Found, row: i64) -> bool {
    if exact_distances() { found.rows[0].row_id == row } else { found.rows.iter().any(|found| found.row_id == row) }
}

/// A vector on a small grid, so that ties and equal vectors are common; some are unrankable.
fn grid_vector(random: &mut Random) -> Vec<f32> {
    let mut vector: Vec<f32> = (0..DIMENSIONS).map(|_| random.below(5) as f32 - 2.0).collect();
    match random.below(20) {
        0 => vector[0] = f32::NAN,
        1 => vector[1] = f32::INFINITY,
        2 => vector[2] = 1e30,
        _ => {}
    }
    vector
}

/// The rows that the index should hold.
struct Model {
    metric: Metric,
    live: BTreeMap<i64, Vec<f32>>,
    /// Deleted rows, with the bound until which snapshots may see them.
    tombstones: BTreeMap<i64, (u64, Vec<f32>)>,
}

impl Model {
    fn ordinary(&self, vector: &[f32]) -> bool {
        let norm: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        norm < 8e37 && (self.metric != Metric::Cosine || norm > 1e-30)
    }

    /// The rows that are visible; `tombstones`: whether tombstones are.
    fn visible(&self, tombstones: bool, hidden: i64) -> Vec<(i64, &[f32])> {
        let live = self.live.iter().map(|(&row, vector)| (row, vector.as_slice()));
        let dead = self.tombstones.iter().filter(|_| tombstones).map(|(&row, (_, vector))| (row, vector.as_slice()));
        live.chain(dead).filter(|(row, _)| row % 7 != hidden).collect()
    }

    /// Checks all promises of one search of the index.
    fn check(&self, index: &Index, query: &[f32], k: usize, ef: usize, tombstones: bool, hidden: i64) {
        let seen = |row: i64| {
            row % 7 != hidden && (self.live.contains_key(&row) || tombstones && self.tombstones.contains_key(&row))
        };
        let found = index.searcher().nearest(query, k, ef, &seen).unwrap();
        if !self.ordinary(query) {
            assert_eq!(found.outcome, Outcome::Scan);
            return;
        }
        let visible = self.visible(tombstones, hidden);
        let (ordinary, unrankable): (Vec<_>, Vec<_>) =
            visible.into_iter().partition(|(_, vector)| self.ordinary(vector));
        let rows: Vec<i64> = found.rows.iter().map(|candidate| candidate.row_id).collect();
        let unique: std::collections::HashSet<_> = rows.iter().collect();
        assert_eq!(unique.len(), rows.len(), "a row twice");
        let ranked = found.rows.iter().filter(|candidate| !candidate.distance.is_nan()).count();
        let undefined = |vector: &[f32]| {
            let zero = vector.iter().all(|&x| x == 0.0);
            let directed = vector.iter().all(|x| x.is_finite()) && !zero;
            vector.iter().any(|x| x.is_nan()) || self.metric == Metric::Cosine && !directed
        };
        let tail = &rows[ranked..];
        let comparable = unrankable.iter().any(|(_, vector)| !undefined(vector));
        if comparable || ranked < k && tail.len() < k - ranked {
            assert!(unrankable.iter().all(|(row, _)| tail.contains(row)), "unrankable rows follow the others");
        }
        assert!(rows.iter().all(|&row| seen(row)), "an invisible row");
        assert!(ranked >= k.min(ordinary.len()), "{ranked} rows of {} for {k}", ordinary.len());
        if found.exhausted {
            assert_eq!((ranked, tail.len()), (ordinary.len(), unrankable.len()));
        }
        if found.report.strategy == SearchStrategy::Graph {
            return; // which of the near rows it finds is for the recall tests
        }
        // The candidates hold the nearest rows; the host, which knows the vectors, would sort them.
        let exact = naive::nearest(self.metric, ordinary.iter().copied(), query, k);
        let candidates = ordinary.iter().copied().filter(|(row, _)| unique.contains(row));
        let found = naive::nearest(self.metric, candidates, query, k);
        for (exact, found) in exact.iter().zip(&found) {
            assert!((exact.1 - found.1).abs() < 1e-5 * (1.0 + exact.1.abs()), "{exact:?} {found:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { seed: u64, rows: usize },
    Remove { seed: u64, rows: usize },
    Link(usize),
    Commit,
    Consolidation(usize),
    Compact,
    Search { seed: u64, k: usize, tombstones: bool, hidden: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u64>(), 1usize..40).prop_map(|(seed, rows)| Step::Append { seed, rows }),
        2 => (any::<u64>(), 1usize..40).prop_map(|(seed, rows)| Step::Remove { seed, rows }),
        2 => (1usize..60).prop_map(Step::Link),
        2 => Just(Step::Commit),
        2 => (1usize..300).prop_map(Step::Consolidation),
        1 => Just(Step::Compact),
        4 => (any::<u64>(), 1usize..50, any::<bool>(), -1i64..7)
            .prop_map(|(seed, k, tombstones, hidden)| Step::Search { seed, k, tombstones, hidden }),
    ]
}

proptest! {
    /// Whatever the order of operations, every search keeps its promises and the statistics are exact.
    #[test]
    fn any_sequence_of_work_agrees_with_the_model(metric in 0usize..3, steps in proptest::collection::vec(step(), 1..60)) {
        let metric = [Metric::L2sq, Metric::Cosine, Metric::Ip][metric];
        let index = index(metric, DIMENSIONS);
        let mut model = Model { metric, live: BTreeMap::new(), tombstones: BTreeMap::new() };
        let mut last_commit = 1u64;
        for step in steps {
            match step {
                Step::Append { seed, rows } => {
                    let mut random = Random(seed);
                    let mut batch = BTreeMap::new();
                    for _ in 0..rows {
                        batch.insert(random.below(200) as i64, grid_vector(&mut random));
                    }
                    let ids: Vec<i64> = batch.keys().copied().collect();
                    index.append(Origin::Host, &ids, &batch.values().flatten().copied().collect::<Vec<_>>()).unwrap();
                    model.tombstones.retain(|row, _| !batch.contains_key(row));
                    model.live.extend(batch);
                }
                Step::Remove { seed, rows } => {
                    let mut random = Random(seed);
                    for _ in 0..rows {
                        let row = random.below(220) as i64;
                        index.remove(&[row], UNRESOLVED | last_commit);
                        if let Some(vector) = model.live.remove(&row) {
                            model.tombstones.insert(row, (last_commit + 1, vector));
                        }
                    }
                }
                Step::Link(rows) => {
                    index.maintenance().link(rows, &Uninterrupted).unwrap();
                }
                Step::Commit => {
                    last_commit += 1;
                    index.resolve_commit(last_commit);
                    // snapshots of the commit before may still be open
                    index.expire_tombstones(last_commit);
                    model.tombstones.retain(|_, (bound, _)| *bound >= last_commit);
                }
                Step::Consolidation(nodes) => {
                    index.maintenance().consolidate(nodes, &Uninterrupted).unwrap();
                }
                Step::Compact => {
                    index.expire_tombstones(last_commit);
                    index.maintenance().compact(&Uninterrupted).unwrap();
                }
                Step::Search { seed, k, tombstones, hidden } => {
                    let query = grid_vector(&mut Random(seed));
                    model.check(&index, &query, k, 1 + k / 2, tombstones, hidden);
                }
            }
            let stats = index.stats().unwrap();
            prop_assert_eq!(stats.count, model.live.len());
            prop_assert!(stats.deleted >= model.tombstones.len());
        }
    }
}

fn append_all(index: &Index, vectors: &[f32], dimensions: usize) {
    let rows: Vec<i64> = (0..(vectors.len() / dimensions) as i64).collect();
    for (rows, vectors) in rows.chunks(2048).zip(vectors.chunks(2048 * dimensions)) {
        index.append(Origin::Host, rows, vectors).unwrap();
    }
}

fn link_all(index: &Index, threads: usize) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| while index.maintenance().link(64, &Uninterrupted).unwrap() > 0 {});
        }
    });
}

fn recall(index: &Index, metric: Metric, vectors: &[f32], dimensions: usize, live: impl Fn(i64) -> bool) -> f64 {
    let rows: Vec<_> = vectors.chunks(dimensions).enumerate().map(|(row, vector)| (row as i64, vector)).collect();
    let mut random = Random(99);
    // Enough queries to know the mean to some thousandths; the test demands a hundredth less.
    let queries = 500;
    let mut sum = 0.0;
    for _ in 0..queries {
        let near = rows[random.below(rows.len())].1;
        let query: Vec<f32> = near.iter().map(|x| x + 0.3 * random.normal()).collect();
        let exact = naive::nearest(metric, rows.iter().copied().filter(|row| live(row.0)), &query, 10);
        let Found { rows: found, report, .. } = index.searcher().nearest(&query, 10, 64, &live).unwrap();
        assert_eq!(report.strategy, SearchStrategy::Graph, "{metric:?}");
        sum += naive::recall(&exact, found.iter().map(|candidate| candidate.row_id));
    }
    sum / f64::from(queries)
}

#[test]
fn recall_is_high_after_build_replacement_deletes_and_compaction() {
    const WIDE: usize = 64;
    const ROWS: i64 = 20_000;
    for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
        let index = index(metric, WIDE);
        let mut vectors = Random(5).clustered(ROWS as usize, WIDE, 40);
        index.reserve_rows(ROWS as usize);
        append_all(&index, &vectors, WIDE);
        index.maintenance().finish(&Uninterrupted).unwrap(); // one thread makes the same graph each time
        let built = recall(&index, metric, &vectors, WIDE, |_| true);
        assert!(built > 0.97, "{metric:?} after the build: {built}");
        let replaced: Vec<i64> = (0..ROWS).filter(|row| row % 10 < 3).collect();
        let others = Random(6).clustered(replaced.len(), WIDE, 40);
        for (&row, other) in replaced.iter().zip(others.chunks(WIDE)) {
            vectors[row as usize * WIDE..][..WIDE].copy_from_slice(other);
        }
        index.append(Origin::Host, &replaced, &others).unwrap();
        index.maintenance().finish(&Uninterrupted).unwrap();
        let changed = recall(&index, metric, &vectors, WIDE, |_| true);
        assert!(changed > 0.97, "{metric:?} after replacement: {changed}");
        let gone: Vec<i64> = (0..ROWS).filter(|row| row % 5 == 0).collect();
        index.remove(&gone, 1);
        index.expire_tombstones(2);
        let left = recall(&index, metric, &vectors, WIDE, |row| row % 5 != 0);
        assert!(left > 0.97, "{metric:?} after deletes: {left}");
        index.maintenance().compact(&Uninterrupted).unwrap();
        let stats = index.stats().unwrap();
        assert_eq!((stats.count, stats.deleted), (16_000, 0));
        let compacted = recall(&index, metric, &vectors, WIDE, |row| row % 5 != 0);
        assert!(compacted > 0.97, "{metric:?} after compaction: {compacted}");
    }
}

/// Linkers at work while the arena gets its 17th segment, and with it a new segment table. Links to rows of that segment appear in
/// neighbour lists that an older walk still has to read. Each row fills a segment, so every walk takes long, and nodes have few links, so
/// the lists are measured again and again.
#[test]
fn the_arena_may_grow_while_rows_are_linked() {
    const SEGMENT_WIDE: usize = 1 << 20;
    const BEFORE: usize = 14;
    const ROWS: usize = 20;
    for round in 0..8 {
        let options = Options { m: 4, m0: 4, ..defaults() };
        let index = Index::new(options, SEGMENT_WIDE, Box::new(Unlimited)).unwrap();
        let mut random = Random(round);
        for row in 0..ROWS as i64 {
            index.append(Origin::Host, &[row], &vec![random.normal(); SEGMENT_WIDE]).unwrap();
        }
        index.maintenance().link(BEFORE, &Uninterrupted).unwrap();
        link_all(&index, 4);
        assert_eq!(index.stats().unwrap().levels[0].nodes, ROWS);
    }
}

#[test]
fn a_refused_reservation_leaves_the_index_usable() {
    let vectors = Random(11).clustered(3_000, 8, 40);
    for refuse_from in 1.. {
        let ledger = Arc::new(Limited::default());
        ledger.refuse_from.store(refuse_from, Ordering::Relaxed);
        let made = Index::new(defaults(), 8, Box::new(Arc::clone(&ledger)));
        let mut refused = made.is_err();
        if let Ok(index) = made {
            let mut held = 0;
            for (rows, vectors) in (0..3_000).collect::<Vec<i64>>().chunks(500).zip(vectors.chunks(500 * 8)) {
                match index.append(Origin::Host, rows, vectors) {
                    Ok(()) => held += 500,
                    Err(error) => {
                        assert_eq!(error.kind, ErrorKind::OutOfMemory);
                        refused = true;
                    }
                }
                refused |= index.maintenance().link(100, &Uninterrupted).is_err();
            }
            ledger.refuse_from.store(0, Ordering::Relaxed);
            assert!(index.stats().unwrap().count >= held);
            append_all(&index, &vectors, 8);
            link_all(&index, 1);
            assert_eq!(index.stats().unwrap().count, 3_000);
            let found = index.searcher().nearest(&vectors[..8], 3, 64, &AllVisible).unwrap();
            assert!(may_be_nearest(&found, 0));
        }
        assert_eq!(ledger.reserved.load(Ordering::Relaxed), 0, "all memory is given back");
        if !refused {
            break;
        }
    }
}

#[test]
fn an_interrupt_stops_linking_and_compaction_without_harm() {
    struct After(AtomicI64);
    impl Interrupt for After {
        fn interrupted(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) <= 0
        }
    }
    let index = index(Metric::L2sq, 8);
    let vectors = Random(3).clustered(2_000, 8, 40);
    append_all(&index, &vectors, 8);
    assert_eq!(
        index.maintenance().link(usize::MAX, &After(AtomicI64::new(700))).unwrap_err().kind,
        ErrorKind::Interrupted
    );
    assert_eq!(index.pending(), 1_300);
    link_all(&index, 1);
    index.remove(&[1, 2, 3], 1);
    index.expire_tombstones(9);
    assert_eq!(index.maintenance().compact(&After(AtomicI64::new(50))).unwrap_err().kind, ErrorKind::Interrupted);
    let stats = index.stats().unwrap();
    assert_eq!((stats.count, stats.pending), (1_997, 0));
    assert!(may_be_nearest(&index.searcher().nearest(&vectors[..8], 1, 64, &AllVisible).unwrap(), 0));
}

/// Writers, linkers, searchers and a compactor at once; afterwards the index holds what the writers left.
#[test]
fn everything_at_once() {
    const WRITERS: i64 = 2;
    const TURNS: i64 = 4_000;
    /// Turns of the writers between two compactions.
    const COMPACT_EVERY: i64 = 1_000;
    let index = index(Metric::L2sq, 8);
    let turns = AtomicI64::new(0);
    let writing = || turns.load(Ordering::Relaxed) < WRITERS * TURNS;
    let vector = |row: i64| -> Vec<f32> { (0..8).map(|d| ((row * 31 + d * 17) % 101) as f32).collect() };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (index, turns) = (&index, &turns);
            scope.spawn(move || {
                let _stop = Stop(turns, WRITERS * TURNS);
                for turn in 0..TURNS {
                    let row = turn * WRITERS + writer;
                    index.append(Origin::Host, &[row], &vector(row)).unwrap();
                    if turn % 3 == 0 {
                        index.remove(&[row], turn as u64);
                    }
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while writing() {
                    index.maintenance().consolidate(64, &Uninterrupted).unwrap();
                    index.maintenance().link(16, &Uninterrupted).unwrap();
                }
            });
            scope.spawn(|| {
                let mut random = Random(1);
                while writing() {
                    let alive = |row: i64| (row / WRITERS) % 3 != 0;
                    let found = index.searcher().nearest(&vector(random.below(500) as i64), 10, 64, &alive).unwrap();
                    assert!(found.rows.iter().all(|candidate| alive(candidate.row_id)));
                }
            });
        }
        scope.spawn(|| {
            for bound in 1..=WRITERS * TURNS / COMPACT_EVERY {
                while turns.load(Ordering::Relaxed) < bound * COMPACT_EVERY {
                    std::thread::yield_now();
                }
                index.expire_tombstones(bound as u64);
                index.maintenance().compact(&Uninterrupted).unwrap();
            }
        });
    });
    link_all(&index, 1);
    let live = (WRITERS * (TURNS - (TURNS + 2) / 3)) as usize;
    let stats = index.stats().unwrap();
    assert_eq!((stats.count, stats.pending), (live, 0));
    let all = index.searcher().nearest(&vector(1), live + 10, 64, &|row: i64| (row / WRITERS) % 3 != 0).unwrap();
    assert!(all.exhausted);
    assert_eq!(all.rows.len(), live);
}

/// When a thread fails, raises a counter beyond its last value, so that threads that wait for the counter go on and the test ends.
struct Stop<'a>(&'a AtomicI64, i64);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fetch_add(self.1, Ordering::Relaxed);
        }
    }
}
