//! However rows come and go, the graph does not become much larger than its rows need.

use super::*;
use crate::index::Own;
use crate::index::maintain::upkeep::{NODES_PER_DELETED, OTHERS_NODES, OTHERS_ROWS};

const WIDE: usize = 16;
const ROWS: usize = 12_000;
const PENDING_MAX: usize = 512;

/// Slots of the graph; and rows of the index that are not dead, plus the dead slots that no statement owes.
fn slots(index: &Index) -> (usize, usize) {
    let stats = index.stats().unwrap();
    let generation = index.rows().generation();
    let slots = generation.graph.len();
    (slots, stats.count + stats.deleted - generation.owed())
}

/// Does all the work of the background.
fn work_off(index: &Index) {
    let maintenance = index.maintenance();
    loop {
        while maintenance.shrink_if_oversize(&Uninterrupted).unwrap() {}
        assert_small(index, "meanwhile");
        let done = maintenance.consolidate(256, &Uninterrupted).unwrap();
        if done + maintenance.link(64, &Uninterrupted).unwrap() == 0 {
            return;
        }
    }
}

fn assert_small(index: &Index, what: &str) {
    let (slots, rows) = slots(index);
    assert!(10 * slots <= 13 * rows + 40_960, "{what}: {slots} slots for {rows} rows");
}

/// A table whose rows are replaced by others with new row ids, as by UPDATE.
struct Table {
    index: Index,
    rows: Vec<i64>,
    next: i64,
    commit: u64,
    random: Random,
}

impl Table {
    fn new() -> Self {
        let options = Options { metric: Metric::L2sq, m: 8, m0: 16, ef_construction: 32, ..defaults() };
        let index = Index::new(options, WIDE, Box::new(Unlimited)).unwrap();
        let mut table = Self { index, rows: Vec::new(), next: 0, commit: 1, random: Random(3) };
        table.insert(ROWS);
        table.index.maintenance().tend_own(0, &Uninterrupted).unwrap();
        table
    }

    fn insert(&mut self, rows: usize) {
        let ids: Vec<i64> = (self.next..self.next + rows as i64).collect();
        let vectors: Vec<f32> = (0..rows * WIDE).map(|_| self.random.normal()).collect();
        self.index.append(Origin::Host, &ids, &vectors).unwrap();
        self.rows.extend(ids);
        self.next += rows as i64;
    }

    fn delete(&mut self, rows: usize) {
        for at in (1..self.rows.len()).rev().take(rows) {
            self.rows.swap(at, self.random.below(at + 1));
        }
        let gone = self.rows.split_off(self.rows.len() - rows);
        self.index.remove(&gone, self.commit);
        self.commit += 1;
    }

    /// The work of a statement's thread at the end of the statement. `lowest_visible`: as for `expire`.
    fn end_statement(&mut self, lowest_visible: u64) {
        self.index.expire_tombstones(lowest_visible);
        self.index.maintenance().tend_own(PENDING_MAX, &Uninterrupted).unwrap();
    }

    fn check_answers(&self) {
        assert_eq!(self.index.stats().unwrap().count, self.rows.len());
        let expected: std::collections::HashSet<i64> = self.rows.iter().copied().collect();
        let found =
            self.index.searcher().nearest(&[0.0; WIDE], usize::MAX, 64, &|row: i64| expected.contains(&row)).unwrap();
        assert_eq!(found.rows.len(), expected.len());
    }
}

#[test]
fn no_rhythm_of_updates_makes_the_graph_grow() {
    for share in [1, 2, 3, 10, 100] {
        let mut table = Table::new();
        for _ in 0..(3 * share).clamp(8, 40) {
            table.insert(ROWS / share);
            table.delete(ROWS / share);
            let commit = table.commit;
            table.end_statement(commit);
            assert_small(&table.index, &format!("an update of one row in {share}"));
            assert!(table.index.pending() <= PENDING_MAX);
        }
        table.check_answers();
    }
}

#[test]
fn deletes_give_memory_back() {
    let mut table = Table::new();
    let full = table.index.memory_used();
    while table.rows.len() > 2_000 {
        table.delete(1_000);
        let commit = table.commit;
        table.end_statement(commit);
        assert_small(&table.index, "a delete");
    }
    table.check_answers();
    let left = table.index.memory_used();
    assert!(left < full / 2, "{left} of {full} bytes for a sixth of the rows");
}

/// Tombstones that a snapshot sees stay until the snapshot ends.
#[test]
fn a_snapshot_keeps_its_rows_and_no_longer() {
    let mut table = Table::new();
    let snapshot = table.commit;
    for _ in 0..3 {
        table.insert(ROWS / 2);
        table.delete(ROWS / 2);
        table.end_statement(snapshot);
        assert_small(&table.index, "beside a snapshot");
    }
    assert_eq!(slots(&table.index).1, ROWS + 3 * ROWS / 2);
    let commit = table.commit;
    table.end_statement(commit);
    assert_small(&table.index, "after a snapshot");
    assert_eq!(table.index.rows().alive(), ROWS);
    work_off(&table.index);
    let (slots, rows) = slots(&table.index);
    assert!(rows < ROWS * 11 / 10 && slots < ROWS * 3 / 2, "{slots} slots for {rows} rows");
    table.check_answers();
}

/// A table of whose deleted rows a snapshot has held back half, until now.
fn after_a_snapshot() -> Table {
    let mut table = Table::new();
    let snapshot = table.commit;
    table.delete(ROWS / 2);
    table.end_statement(snapshot);
    assert_eq!(table.index.rows().generation().dead(), 0);
    let commit = table.commit;
    table.index.expire_tombstones(commit);
    table
}

/// The nodes that the consolidation has passed; `None` if none is under way.
fn passed(index: &Index) -> Option<usize> {
    index.rows().generation().consolidation.lock().as_ref().map(|running| running.passed())
}

/// The next writer does not have to free the slots of all rows that a snapshot has held back.
#[test]
fn a_statement_frees_few_slots_that_it_does_not_owe() {
    let mut table = after_a_snapshot();
    assert_eq!(table.index.rows().generation().unowed(), ROWS / 2);
    assert_eq!(table.index.rows().alive(), ROWS / 2, "nobody sees the others");
    let mut statements = 0;
    while table.index.rows().generation().unowed() > ROWS / 20 {
        let before = passed(&table.index).unwrap_or(0);
        table.insert(1);
        table.delete(1);
        let commit = table.commit;
        table.end_statement(commit);
        if let Some(after) = passed(&table.index) {
            assert!(after <= before + OTHERS_NODES + NODES_PER_DELETED, "{after} nodes, {before} before one statement");
        }
        assert_small(&table.index, "after a statement");
        statements += 1;
        assert!(statements < 200, "{} left", table.index.rows().generation().unowed());
    }
    // At most one slot in eight is freed in a pass over all nodes.
    assert!(statements >= 4 * ROWS / 2 / OTHERS_NODES, "{statements} statements");
    table.check_answers();
}

/// Statements owe the work for what they delete, even while there are slots that no statement owes.
#[test]
fn statements_free_the_slots_that_they_owe_beside_others() {
    let mut table = after_a_snapshot();
    for _ in 0..6 {
        table.insert(ROWS / 2);
        table.delete(ROWS / 2);
        let commit = table.commit;
        table.end_statement(commit);
        assert_small(&table.index, "after an update");
        let generation = table.index.rows().generation();
        assert!(generation.graph.len() <= 5 * (ROWS + generation.unowed()) / 4 + 2048);
        assert!(generation.unowed() <= ROWS / 2);
    }
    table.check_answers();
}

/// A short snapshot keeps each statement's deleted rows until the next statement, so no row that dies is owed.
#[test]
fn snapshots_that_follow_each_other_do_not_make_the_graph_grow() {
    for share in [1, 3, 10] {
        let mut table = Table::new();
        for turn in 0..(6 * share).min(24) {
            let snapshot = table.commit;
            table.insert(ROWS / share);
            table.delete(ROWS / share);
            table.end_statement(snapshot);
            assert_small(&table.index, "an update");
            let generation = table.index.rows().generation();
            assert!(generation.unowed() <= 2 * ROWS / share, "{} after {turn} updates", generation.unowed());
        }
        table.check_answers();
    }
}

#[test]
fn the_background_frees_what_a_snapshot_has_held_back() {
    let table = after_a_snapshot();
    work_off(&table.index);
    let (slots, rows) = slots(&table.index);
    assert!(rows < ROWS * 6 / 10 && slots < ROWS * 9 / 10, "{slots} slots for {rows} rows");
    table.check_answers();
}

/// A graph of whose rows hardly any is left costs nothing to give up; the background links the rest.
#[test]
fn a_graph_of_which_a_snapshot_has_held_back_nearly_all_is_renewed() {
    let mut table = Table::new();
    let snapshot = table.commit;
    table.insert(ROWS / 4);
    table.delete(ROWS);
    table.end_statement(snapshot);
    let renewals = table.index.rows().renewals();
    table.insert(1);
    let commit = table.commit;
    table.end_statement(commit);
    assert_eq!(table.index.rows().renewals(), renewals + 1);
    assert_eq!(table.index.rows().generation().dead(), 0);
    let pending = table.index.pending();
    assert!(pending >= ROWS / 4 - OTHERS_ROWS, "{pending} rows are pending");
    table.check_answers();
}

/// The background links rows that no statement has appended. A statement links some of them, and all of its own.
#[test]
fn a_statement_links_few_rows_that_are_not_its_own() {
    for origin in [Origin::Log, Origin::Scan] {
        let mut table = Table::new();
        let others = PENDING_MAX + 10 * OTHERS_ROWS;
        let ids: Vec<i64> = (table.next..).take(others).collect();
        let vectors: Vec<f32> = (0..others * WIDE).map(|_| table.random.normal()).collect();
        table.index.append(origin, &ids, &vectors).unwrap();
        table.rows.extend(&ids);
        table.next += others as i64;
        table.insert(1);
        table.end_statement(0);
        assert_eq!(table.index.pending(), others - OTHERS_ROWS);
        table.insert(3 * PENDING_MAX);
        table.end_statement(0);
        assert_eq!(table.index.pending(), others - 2 * OTHERS_ROWS, "all of its own, and some");
        let mut statements = 0;
        while table.index.pending() > PENDING_MAX {
            table.end_statement(0);
            statements += 1;
        }
        assert_eq!(statements, 10 - 2);
        table.insert(3 * PENDING_MAX);
        table.end_statement(0);
        assert_eq!(table.index.pending(), PENDING_MAX);
        table.check_answers();
    }
}

/// The work of the log is not the next statement's either.
#[test]
fn rows_that_were_deleted_by_the_log_are_nobody_s() {
    let mut table = Table::new();
    let gone = table.rows.split_off(ROWS / 2);
    table.index.remove_as(Origin::Log, &gone, 1);
    table.delete(1);
    table.index.expire_tombstones(u64::MAX);
    let generation = table.index.rows().generation();
    // Which of them are the statement's is not known.
    assert_eq!((generation.dead(), generation.unowed()), (gone.len() + 1, gone.len()));
    table.check_answers();
}

/// A statement that is stopped leaves what it owes to the background, and the next statements do a piece of it.
#[test]
fn what_a_stopped_statement_owes_is_not_forgotten() {
    struct Stopped;
    impl Interrupt for Stopped {
        fn interrupted(&self) -> bool {
            true
        }
    }
    let mut table = Table::new();
    let rows = PENDING_MAX + 4 * OTHERS_ROWS;
    table.insert(rows);
    assert!(table.index.maintenance().tend_own(PENDING_MAX, &Stopped).is_err());
    assert_eq!(table.index.pending(), rows);
    for statements in 1..=4 {
        table.end_statement(0);
        assert_eq!(table.index.pending(), rows - statements * OTHERS_ROWS);
    }
    table.check_answers();
}

/// Rows that a thread has appended are its own, even if another thread ends a statement first.
#[test]
fn a_statement_does_not_wait_for_what_others_have_appended() {
    let mut table = Table::new();
    table.insert(4 * PENDING_MAX);
    let before = table.index.pending();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            table.insert(1);
            table.end_statement(0);
        });
    });
    let linked = before + 1 - table.index.pending();
    assert!((1..=OTHERS_ROWS + 1).contains(&linked), "{linked} rows linked");
    table.end_statement(0);
    assert_eq!(table.index.pending(), PENDING_MAX, "who has appended them links them");
    table.check_answers();
}

/// Nor does a statement work for what other statements have deleted, whether these still run or were stopped.
#[test]
fn a_statement_does_not_wait_for_what_others_have_deleted() {
    for at_it in [true, false] {
        let mut table = Table::new();
        table.delete(ROWS * 2 / 5);
        let of_deleter = table.index.maintenance().take_own();
        assert_eq!(of_deleter, Own { appended: 0, deleted: ROWS * 2 / 5 });
        let commit = table.commit;
        let at_work = at_it.then(|| table.index.maintenance().hold_compactions());
        table.index.append(Origin::Host, &[table.next], &[0.0; WIDE]).unwrap();
        table.index.expire_tombstones(commit);
        table.index.maintenance().tend_own(PENDING_MAX, &Uninterrupted).unwrap();
        drop(at_work);
        let dead = table.index.rows().generation().dead();
        assert_eq!(dead, ROWS * 2 / 5, "a piece of a pass frees nothing yet");
        if let Some(passed) = passed(&table.index) {
            assert!(passed <= OTHERS_NODES + NODES_PER_DELETED, "{passed} nodes passed");
        }
        table.index.maintenance().tend(of_deleter, PENDING_MAX, &Uninterrupted).unwrap();
        let (slots, rows) = slots(&table.index);
        assert!(10 * slots <= 13 * rows + 20_480, "{slots} slots for {rows} rows");
    }
}

/// A statement that appends rows while another thread copies the graph links them afterwards.
#[test]
fn a_statement_waits_for_a_copy_with_rows_of_its_own() {
    let mut table = Table::new();
    let maintenance = table.index.maintenance();
    let paused = maintenance.pause();
    let index = &table.index;
    std::thread::scope(|scope| {
        let others = scope.spawn(|| maintenance.tend_own(PENDING_MAX, &Uninterrupted).unwrap());
        others.join().unwrap();
        let first = table.next;
        let (began, begins) = std::sync::mpsc::channel();
        let owner = scope.spawn(move || {
            let ids: Vec<i64> = (first..).take(4 * PENDING_MAX).collect();
            index.append(Origin::Host, &ids, &vec![0.5; ids.len() * WIDE]).unwrap();
            began.send(()).unwrap();
            index.maintenance().tend_own(PENDING_MAX, &Uninterrupted).unwrap();
            index.pending()
        });
        begins.recv().unwrap();
        assert_eq!(index.pending(), 4 * PENDING_MAX);
        drop(paused);
        assert_eq!(owner.join().unwrap(), PENDING_MAX);
    });
    table.next += 4 * PENDING_MAX as i64;
}

/// A commit that fails takes its rows back, and nobody links them.
#[test]
fn rows_of_a_commit_that_has_failed_are_nobody_s() {
    let mut table = Table::new();
    let gone: Vec<i64> = (table.next..).take(4 * PENDING_MAX).collect();
    let vectors: Vec<f32> = (0..gone.len() * WIDE).map(|_| table.random.normal()).collect();
    table.index.append(Origin::Host, &gone, &vectors).unwrap();
    table.index.remove(&gone, table.commit);
    table.next += gone.len() as i64;
    let before = table.index.pending();
    table.insert(1);
    table.end_statement(0);
    let linked = before + 1 - table.index.pending();
    assert!(linked <= OTHERS_ROWS + 1, "{linked} rows linked");
    table.check_answers();
}

#[test]
fn updates_need_no_more_memory_the_longer_they_go_on() {
    let mut table = Table::new();
    let memory = table.index.memory_used();
    for _ in 0..20 {
        table.insert(ROWS);
        table.delete(ROWS);
        let most = table.index.memory_used();
        assert!(most < 4 * memory, "{most} bytes, {memory} at first");
        let commit = table.commit;
        table.end_statement(commit);
    }
    table.check_answers();
}

/// No running search misses rows that move from the graph back to the pending area.
#[test]
fn searches_find_the_rows_that_outlive_a_renewal() {
    const STABLE: i64 = 600;
    let vectors: Vec<f32> = (0..STABLE).flat_map(|row| [row as f32, 0.0]).collect();
    let index = index(Metric::L2sq, 2);
    index.append(Origin::Host, &(0..STABLE).collect::<Vec<_>>(), &vectors).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let searchers: Vec<_> = (0..2)
            .map(|seed| {
                let (index, done) = (&index, &done);
                scope.spawn(move || {
                    let mut random = Random(seed);
                    let mut searches = 0;
                    while !done.load(Ordering::Relaxed) || searches < 100 {
                        let row = random.below(STABLE as usize) as i64;
                        let found =
                            index.searcher().nearest(&[row as f32, 0.0], 1, 64, &|other: i64| other < STABLE).unwrap();
                        assert!(may_be_nearest(&found, row), "{:?}", found.report);
                        let all = index
                            .searcher()
                            .nearest(&[row as f32, 0.0], STABLE as usize, 64, &|other: i64| other < STABLE);
                        assert_eq!(all.unwrap().rows.len(), STABLE as usize);
                        searches += 1;
                    }
                })
            })
            .collect();
        let mut renewals = 0;
        for round in 0..24u64 {
            let ids: Vec<i64> = (0..3_000).map(|i| STABLE + i).collect();
            let others: Vec<f32> = ids.iter().flat_map(|&row| [row as f32, round as f32 + 1.0]).collect();
            index.append(Origin::Host, &ids, &others).unwrap();
            index.maintenance().tend_own(0, &Uninterrupted).unwrap();
            index.remove(&ids, round);
            index.expire_tombstones(round + 1);
            index.maintenance().tend_own(0, &Uninterrupted).unwrap();
            renewals = index.rows().renewals();
            if searchers.iter().any(|searcher| searcher.is_finished()) {
                break; // it has failed
            }
        }
        done.store(true, Ordering::Relaxed);
        searchers.into_iter().for_each(|searcher| searcher.join().unwrap());
        assert!(renewals >= 12, "{renewals} renewals");
    });
}
