//! What `health` reports about work under way and about the last repair.

use super::*;
use crate::index::{RepairKind, Steps};

const WIDE: usize = 8;
const ROWS: usize = 2_000;

const NONE: Steps = Steps { done: 0, total: 0 };

fn linked(rows: usize) -> Index {
    let index = index(Metric::L2sq, WIDE);
    append_all(&index, &Random(1).clustered(rows, WIDE, 20), WIDE);
    link_all(&index, 1);
    index
}

fn die(index: &Index, rows: std::ops::Range<i64>) {
    index.remove(&rows.collect::<Vec<_>>(), 1);
    index.expire_tombstones(2);
}

/// Whether no work is reported as under way.
fn at_rest(index: &Index) -> bool {
    let health = index.health();
    [health.consolidation, health.reconnection, health.compaction, health.measurement]
        .iter()
        .all(|steps| steps.total == 0)
}

#[test]
fn rows_and_slots_are_counted() {
    let index = linked(ROWS);
    index.append(Origin::Host, &[5_000, 5_001], &[1.0; 2 * WIDE]).unwrap();
    index.remove(&(0..300).collect::<Vec<_>>(), 1);
    let health = index.health();
    assert_eq!((health.count, health.tombstones, health.pending), (ROWS - 298, 300, 2));
    assert_eq!((health.slots, health.dead, health.free), (ROWS, 0, 0));
    index.expire_tombstones(2);
    let health = index.health();
    assert_eq!((health.count, health.tombstones, health.dead), (ROWS - 298, 0, 300));
    index.maintenance().consolidate(usize::MAX, &Uninterrupted).unwrap();
    let health = index.health();
    assert_eq!((health.slots, health.dead + health.free), (ROWS, 300));
    assert!(health.free >= ROWS / 8 && health.memory == index.memory_used() && health.wanted == 0.0);
}

#[test]
fn a_repair_is_remembered_once_it_is_done() {
    let index = linked(ROWS);
    assert_eq!(index.health().repair, None);
    die(&index, 0..200);
    index.maintenance().consolidate(100, &Uninterrupted).unwrap();
    assert_eq!(index.health().repair, None, "it is under way");
    index.maintenance().consolidate(usize::MAX, &Uninterrupted).unwrap();
    let first = index.health().repair.unwrap();
    // A dead slot stays if walks begin there.
    assert!(first.kind == RepairKind::Consolidation && (199..=200).contains(&first.slots));
    assert!(first.time > 1_600_000_000_000_000);

    die(&index, 200..300);
    index.maintenance().compact(&Uninterrupted).unwrap();
    let second = index.health().repair.unwrap();
    assert_eq!((second.kind, second.slots), (RepairKind::Compaction, 300));
    assert!(second.time >= first.time);
    // There is nothing to do.
    index.maintenance().compact(&Uninterrupted).unwrap();
    assert_eq!(index.health().repair, Some(second));

    die(&index, 300..1_900);
    index.maintenance().renew().unwrap();
    let third = index.health().repair.unwrap();
    assert_eq!((third.kind, third.slots), (RepairKind::Renewal, 1_600));
    assert!(at_rest(&index));
}

#[test]
fn a_consolidation_tells_how_far_it_is() {
    let index = linked(ROWS);
    die(&index, 0..200);
    assert_eq!(index.health().consolidation, NONE);
    index.maintenance().consolidate(96, &Uninterrupted).unwrap();
    assert_eq!(index.health().consolidation, Steps { done: 96, total: ROWS });
    // A graph that is given up takes its consolidation along.
    die(&index, 200..2_000);
    index.maintenance().renew().unwrap();
    assert!(at_rest(&index));
}

/// Interrupts the n-th time that it is asked, and notes how far a compaction is meanwhile.
struct Watching<'a> {
    index: &'a Index,
    left: std::cell::Cell<usize>,
    seen: std::cell::RefCell<Vec<Steps>>,
}

impl Interrupt for Watching<'_> {
    fn interrupted(&self) -> bool {
        self.seen.borrow_mut().push(self.index.health().compaction);
        self.left.set(self.left.get() - 1);
        self.left.get() == 0
    }
}

#[test]
fn a_compaction_tells_how_far_it_is() {
    let index = linked(ROWS);
    die(&index, 0..700);
    let watching = |left| Watching { index: &index, left: std::cell::Cell::new(left), seen: Default::default() };
    let stopped = watching(20);
    index.maintenance().compact(&stopped).unwrap_err();
    assert_eq!(index.health().compaction, NONE);
    assert!(index.health().consolidation.total > 0, "that goes on later");

    let whole = watching(usize::MAX);
    index.maintenance().compact(&whole).unwrap();
    let seen = whole.seen.into_inner();
    let share = |steps: &Steps| steps.done as f64 / steps.total as f64;
    assert!(seen.iter().all(|steps| steps.total > 0 && steps.done <= steps.total));
    assert!(seen.is_sorted_by(|a, b| share(a) <= share(b)));
    assert!(share(&seen[0]) < 0.1 && share(seen.last().unwrap()) > 0.9, "{seen:?}");
    assert!(at_rest(&index));
}

#[test]
fn a_measurement_tells_how_far_it_is() {
    let options = Options { metric: Metric::L2sq, target_recall: 0.9, ..defaults() };
    let index = Index::new(options, WIDE, Box::new(Unlimited)).unwrap();
    append_all(&index, &Random(2).clustered(8_000, WIDE, 20), WIDE);
    link_all(&index, 1);
    assert_eq!(index.health().measurement, NONE);
    let mut before = NONE;
    while index.searcher().measure_step(16, &Uninterrupted).unwrap() {
        let now = index.health().measurement;
        assert!(now.done >= before.done && now.total >= before.total.max(now.done) && now.total > 0);
        before = now;
    }
    assert!(before.done > 0 && at_rest(&index) && index.health().wanted > 0.89);
}

#[test]
fn health_counts_who_links() {
    struct Looks<'a>(&'a Index);
    impl Interrupt for Looks<'_> {
        fn interrupted(&self) -> bool {
            self.0.health().linkers == 1
        }
    }
    let index = index(Metric::L2sq, 8);
    append_all(&index, &Random(3).clustered(10, 8, 4), 8);
    assert_eq!(index.health().linkers, 0);
    let stopped = index.maintenance().link(usize::MAX, &Looks(&index)).unwrap_err();
    assert_eq!((stopped.kind, index.pending()), (ErrorKind::Interrupted, 10));
    assert_eq!(index.health().linkers, 0);
}
