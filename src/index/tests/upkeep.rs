//! However rows come and go, the graph is not much larger than they need.

use super::*;

const WIDE: usize = 16;
const ROWS: usize = 12_000;
const PENDING_MAX: usize = 512;

/// Slots of the graph, and rows in the index that are not dead.
fn slots(index: &Index) -> (usize, usize) {
    let stats = index.stats().unwrap();
    let generation = index.rows().generation();
    let slots = generation.graph.len();
    (slots, stats.count + stats.deleted - generation.dead())
}

fn assert_small(index: &Index, what: &str) {
    let (slots, rows) = slots(index);
    assert!(10 * slots <= 13 * rows + 40_960, "{what}: {slots} slots for {rows} rows");
}

/// A table whose rows are replaced by others, with new row ids, as UPDATE does it.
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
        table.index.maintenance().tend(0, &Uninterrupted).unwrap();
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

    /// What the statement's thread does at its end. `lowest_visible`: the oldest snapshot.
    fn end_statement(&mut self, lowest_visible: u64) {
        self.index.advance(lowest_visible);
        self.index.maintenance().tend(PENDING_MAX, &Uninterrupted).unwrap();
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

/// Tombstones that a snapshot sees stay, and go with it.
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
    assert_eq!(slots(&table.index).1, ROWS);
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

/// Rows that go back from the graph to the pending area are missed by no search that is going on.
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
        for round in 0..60u64 {
            let ids: Vec<i64> = (0..3_000).map(|i| STABLE + i).collect();
            let others: Vec<f32> = ids.iter().flat_map(|&row| [row as f32, round as f32 + 1.0]).collect();
            index.append(Origin::Host, &ids, &others).unwrap();
            index.maintenance().tend(0, &Uninterrupted).unwrap();
            index.remove(&ids, round);
            index.advance(round + 1);
            index.maintenance().tend(0, &Uninterrupted).unwrap();
            renewals = index.rows().renewals();
            if searchers.iter().any(|searcher| searcher.is_finished()) {
                break; // it has failed
            }
        }
        done.store(true, Ordering::Relaxed);
        searchers.into_iter().for_each(|searcher| searcher.join().unwrap());
        assert!(renewals >= 30, "{renewals} renewals");
    });
}
