//! One caller does all the work that is left to background threads.

use std::sync::atomic::AtomicUsize;

use super::*;

const WIDE: usize = 8;
const ROWS: usize = 2_400;

/// Counts how often it was asked, and interrupts the n-th time.
struct Nth {
    asked: AtomicUsize,
    stop: usize,
}

impl Interrupt for Nth {
    fn interrupted(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) + 1 >= self.stop
    }
}

/// An index with rows to link and, once they are linked, links to repair and nodes to reach. 2,000 rows are left.
fn with_work(random: &mut Random) -> Index {
    let index = index(Metric::L2sq, WIDE);
    append_all(&index, &random.clustered(ROWS / 2, WIDE, 20), WIDE);
    link_all(&index, 1);
    let more: Vec<i64> = (ROWS as i64 / 2..ROWS as i64).collect();
    index.append(Origin::Host, &more, &random.clustered(ROWS / 2, WIDE, 20)).unwrap();
    index.remove(&(0..400).collect::<Vec<_>>(), 1);
    index.expire_tombstones(2);
    index
}

fn check_finished(index: &Index) {
    assert!(!index.maintenance().consolidate_due() && !index.maintenance().reconnect_due());
    let generation = index.rows().generation();
    assert!(generation.consolidation.lock().is_none() && generation.reconnection.lock().is_none());
    let stats = index.stats().unwrap();
    assert_eq!((stats.count, stats.pending), (2_000, 0));
    // Fewer than would make a repair due.
    assert!(stats.deleted < 2_000 / 16, "{} are left", stats.deleted);
}

#[test]
fn nothing_is_left() {
    let index = with_work(&mut Random(1));
    assert_eq!(index.stats().unwrap().pending, ROWS / 2);
    index.maintenance().finish(&Uninterrupted).unwrap();
    check_finished(&index);
    let before = index.stats().unwrap();
    index.maintenance().finish(&Uninterrupted).unwrap();
    assert_eq!(index.stats().unwrap().levels[0].edges, before.levels[0].edges, "there was nothing to do");
}

/// Waits for threads that are in a step of their own.
#[test]
fn nothing_is_left_to_others_either() {
    for seed in 0..4 {
        let index = with_work(&mut Random(seed));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        index.maintenance().consolidate(64, &Uninterrupted).unwrap();
                        index.maintenance().link(16, &Uninterrupted).unwrap();
                        index.maintenance().reconnect(64, &Uninterrupted).unwrap();
                    }
                });
            }
            index.maintenance().finish(&Uninterrupted).unwrap();
            check_finished(&index);
            stop.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn an_interrupt_stops_it_anywhere_and_it_can_go_on() {
    let asked = Nth { asked: AtomicUsize::new(0), stop: usize::MAX };
    with_work(&mut Random(2)).maintenance().finish(&asked).unwrap();
    let all = asked.asked.into_inner();
    assert!(all > ROWS / 2, "asked for every row");
    for part in 1..=4 {
        let index = with_work(&mut Random(2));
        let stop = Nth { asked: AtomicUsize::new(0), stop: all * part / 4 };
        assert_eq!(index.maintenance().finish(&stop).unwrap_err().kind, ErrorKind::Interrupted);
        index.maintenance().finish(&Uninterrupted).unwrap();
        check_finished(&index);
    }
}

/// While the graph is copied, nobody changes it. The work waits for the copy, and is done afterwards.
#[test]
fn it_waits_while_the_graph_is_copied() {
    let index = with_work(&mut Random(3));
    let paused = index.maintenance().pause();
    let asked = Nth { asked: AtomicUsize::new(0), stop: 10 };
    assert_eq!(
        index.maintenance().finish(&asked).unwrap_err().kind,
        ErrorKind::Interrupted,
        "it waits for as long as the copy takes"
    );
    assert_eq!(index.stats().unwrap().pending, ROWS / 2);
    std::thread::scope(|scope| {
        let finished = scope.spawn(|| index.maintenance().finish(&Uninterrupted).unwrap());
        drop(paused);
        finished.join().unwrap();
    });
    check_finished(&index);
}
