//! A host as simple as DuckDB's behaviour allows: one table, serial commits, snapshots, scans that are not snapshots; and its disk.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::sync::{Mutex, MutexGuard, RwLock};

use super::empty;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{AllVisible, Pages, Uninterrupted};
use crate::index::{Index, Origin, UNRESOLVED};

/// Rows that a scan reads at a time, and that a commit hands over at a time.
const CHUNK: usize = 2;
/// The bound when there is no snapshot.
const ALL_COMMITS: u64 = u64::MAX >> 1;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stamp {
    /// The transaction is under way.
    Running,
    Committed(u64),
}

impl Stamp {
    /// Whether a snapshot with this bound sees the commit: it sees commits below `bound`.
    fn below(self, bound: u64) -> bool {
        matches!(self, Self::Committed(commit) if commit < bound)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The content of the row's vector; no two rows have the same.
    pub(super) tag: u32,
    pub(super) inserted: Stamp,
    pub(super) deleted: Option<Stamp>,
}

impl Row {
    pub(super) fn vector(self) -> [f32; 2] {
        [self.tag as f32, 1.0]
    }
}

/// Guarded by the transaction lock. A commit holds that lock from its first deleted row to its end.
struct Transactions {
    /// Bounds of the open snapshots.
    snapshots: Vec<u64>,
}

/// The agreement of index and table, as `HNSWIndex` knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Agreement {
    /// The index is being made: it is not in the table's list, and hears of no changes.
    Unlisted,
    /// The index takes no rows, because its options are not known yet.
    Closed,
    /// Rows may be missing: queries scan the table.
    Unknown,
    /// No row is missing, but the index may hold rows that are gone.
    Recheck {
        after: u64,
    },
    InStep,
}

pub(super) struct Host {
    /// The index in its catalog entry; replaced exclusively, even by commits.
    entry: RwLock<Arc<Index>>,
    /// The disk with the index's image.
    pub(super) disk: Disk,
    /// What has happened, for the reader of a failure.
    events: std::sync::Mutex<Vec<String>>,
    rows: Mutex<Vec<Row>>,
    append: Mutex<()>,
    pub(super) log: Mutex<()>,
    transactions: Mutex<Transactions>,
    /// Changed with the transaction lock held; read without it, even in the middle of a commit.
    last_commit: AtomicU64,
    /// Every snapshot sees the commits below this; locked like `last_commit`.
    lowest: AtomicU64,
    /// Held shared, it keeps row ids from being reused.
    vacuum: RwLock<()>,
    agreement: Mutex<Agreement>,
    /// The last commit before the latest one that has deleted rows.
    deleted_after: AtomicU64,
    comparing: Mutex<()>,
    tags: Mutex<u32>,
}

impl Host {
    pub(super) fn new(index: Index, disk: Disk, rows: Vec<Row>, agreement: Agreement) -> Arc<Self> {
        Arc::new(Self {
            disk,
            events: std::sync::Mutex::default(),
            entry: RwLock::new(Arc::new(index)),
            rows: Mutex::new(rows),
            append: Mutex::new(()),
            log: Mutex::new(()),
            transactions: Mutex::new(Transactions { snapshots: Vec::new() }),
            last_commit: AtomicU64::new(10),
            lowest: AtomicU64::new(ALL_COMMITS),
            vacuum: RwLock::new(()),
            agreement: Mutex::new(agreement),
            deleted_after: AtomicU64::new(u64::MAX),
            comparing: Mutex::new(()),
            tags: Mutex::new(1000),
        })
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows.lock().unwrap()
    }

    fn transactions(&self) -> MutexGuard<'_, Transactions> {
        self.transactions.lock().unwrap()
    }

    fn last_commit(&self) -> u64 {
        self.last_commit.load(Ordering::SeqCst)
    }

    fn lowest(&self) -> u64 {
        self.lowest.load(Ordering::SeqCst)
    }

    /// A handle on the index.
    pub(super) fn index(&self) -> Arc<Index> {
        Arc::clone(&self.entry.read().unwrap())
    }

    /// `HNSWIndex::TakeRows`.
    fn hand_over(&self, ids: &[i64], rows: &[Row]) {
        let index = self.entry.write().unwrap();
        if !matches!(*self.agreement.lock().unwrap(), Agreement::Unlisted | Agreement::Closed) {
            let vectors: Vec<f32> = rows.iter().flat_map(|row| row.vector()).collect();
            index.append(Origin::Host, ids, &vectors).unwrap();
            self.note(format!("append {ids:?}"));
        }
    }

    /// `HNSWIndex::TryDelete`.
    fn remove(&self, ids: &[i64]) {
        let index = self.entry.write().unwrap();
        if *self.agreement.lock().unwrap() != Agreement::Unlisted {
            let last_commit = self.last_commit();
            self.deleted_after.store(last_commit, Ordering::SeqCst);
            index.remove(ids, UNRESOLVED | last_commit);
            self.note(format!("remove {ids:?}"));
        }
    }

    fn note(&self, event: impl Into<String>) {
        self.events.lock().unwrap().push(event.into());
    }

    /// Fails the test, and prints all that has happened.
    pub(super) fn fail(&self, what: &str) -> ! {
        panic!("{}\n{what}", self.events.lock().unwrap().join("\n"));
    }

    fn tag(&self) -> u32 {
        let mut tag = self.tags.lock().unwrap();
        *tag += 1;
        *tag
    }

    /// Begins a transaction; returns the bound of its snapshot.
    fn begin(&self) -> u64 {
        let mut transactions = self.transactions();
        let bound = self.last_commit() + 1;
        transactions.snapshots.push(bound);
        self.lowest.fetch_min(bound, Ordering::SeqCst);
        self.note(format!("snapshot of commits below {bound}"));
        bound
    }

    /// Ends a transaction.
    fn end(&self, mut transactions: MutexGuard<'_, Transactions>, bound: u64) {
        let at = transactions.snapshots.iter().position(|&other| other == bound).unwrap();
        transactions.snapshots.swap_remove(at);
        let lowest = transactions.snapshots.iter().copied().min().unwrap_or(ALL_COMMITS);
        self.lowest.store(lowest, Ordering::SeqCst);
        self.note(format!("snapshot of commits below {bound} ends"));
    }

    /// A transaction that inserts and deletes. It may fail after its rows are in the table.
    pub(super) fn write(&self, inserts: usize, deletes: usize, fails: bool) {
        let bound = self.begin();
        let _log = self.log.lock().unwrap();
        let start = self.rows().len();
        if inserts > 0 {
            let _append = self.append.lock().unwrap();
            let new: Vec<Row> =
                (0..inserts).map(|_| Row { tag: self.tag(), inserted: Stamp::Running, deleted: None }).collect();
            for (chunk, rows) in new.chunks(CHUNK).enumerate() {
                let ids: Vec<i64> = (0..rows.len()).map(|i| (start + chunk * CHUNK + i) as i64).collect();
                self.hand_over(&ids, rows);
            }
            self.rows().extend(new);
            self.note(format!("{inserts} rows are in the table from {start} on"));
        }
        let transactions = self.transactions();
        let gone: Vec<usize> = {
            let rows = self.rows();
            let mut alive: Vec<usize> = (0..start).filter(|&at| rows[at].deleted.is_none()).collect();
            (0..deletes.min(alive.len())).map(|_| alive.swap_remove(thread_rng().gen_range(0..alive.len()))).collect()
        };
        let commit = self.last_commit() + 1;
        for gone in gone.chunks(CHUNK) {
            gone.iter().for_each(|&at| self.rows()[at].deleted = Some(Stamp::Committed(commit)));
            self.remove(&gone.iter().map(|&at| at as i64).collect::<Vec<_>>());
        }
        if fails {
            self.revert(start, inserts, &gone);
            self.end(transactions, bound);
            return;
        }
        self.rows()[start..].iter_mut().for_each(|row| row.inserted = Stamp::Committed(commit));
        self.last_commit.store(commit, Ordering::SeqCst);
        self.note(format!("commit {commit}: rows from {start} on, without {gone:?}"));
        self.end(transactions, bound);
    }

    /// Undoes a commit: its deleted rows come back, and its inserted rows go. The caller holds the transaction lock.
    fn revert(&self, start: usize, inserts: usize, deleted: &[usize]) {
        for deleted in deleted.rchunks(CHUNK) {
            let ids: Vec<i64> = deleted.iter().map(|&at| at as i64).collect();
            self.note(format!("the commit fails: {ids:?} come back"));
            deleted.iter().for_each(|&at| self.rows()[at].deleted = None);
            let back: Vec<Row> = deleted.iter().map(|&at| self.rows()[at]).collect();
            self.hand_over(&ids, &back);
        }
        let _append = self.append.lock().unwrap();
        let ids: Vec<i64> = (start as i64..(start + inserts) as i64).collect();
        self.note(format!("the commit fails: {ids:?} go"));
        ids.chunks(CHUNK).for_each(|ids| self.remove(ids));
        self.rows().truncate(start);
    }

    /// A transaction that only reads.
    pub(super) fn read_only(&self) {
        let _transactions = self.transactions();
        self.last_commit.fetch_add(1, Ordering::SeqCst);
    }

    /// Removes trailing rows that no snapshot sees; their ids will be reused.
    pub(super) fn vacuum(&self) {
        let Ok(_vacuum) = self.vacuum.try_write() else { return };
        let _log = self.log.lock().unwrap();
        let _append = self.append.lock().unwrap();
        let transactions = self.transactions();
        if !transactions.snapshots.is_empty() {
            return;
        }
        let mut rows = self.rows();
        while rows.last().is_some_and(|row| row.deleted.is_some_and(|deleted| deleted.below(u64::MAX))) {
            rows.pop();
        }
        self.note(format!("vacuum leaves {} rows", rows.len()));
    }

    pub(super) fn expire(&self) {
        let last_commit = self.last_commit();
        let lowest = self.lowest();
        self.note(format!("expire {last_commit}, {lowest}"));
        self.index().expire(last_commit, lowest);
    }

    /// Scans the rows in `range` that no commit below a bound has deleted, and passes row ids and vectors to `consume` chunk by chunk.
    fn scan(&self, range: Range<usize>, deleted_below: impl Fn() -> u64, consume: &mut dyn FnMut(&[i64], &[f32])) {
        for begin in range.clone().step_by(CHUNK) {
            let bound = deleted_below();
            let (ids, vectors): (Vec<i64>, Vec<f32>) = {
                let rows = self.rows();
                let some = (begin..range.end.min(begin + CHUNK).min(rows.len()))
                    .filter(|&at| !rows[at].deleted.is_some_and(|deleted| deleted.below(bound)));
                let some: Vec<_> = some.map(|at| (at as i64, rows[at].vector())).collect();
                (some.iter().map(|row| row.0).collect(), some.iter().flat_map(|row| row.1).collect())
            };
            consume(&ids, &vectors);
        }
    }

    /// `PhysicalCreateHNSW`: makes the index beside commits, and publishes it.
    pub(super) fn create(&self) {
        let bound = self.begin();
        // No row below this belongs to a commit that may still fail.
        let scanned = {
            let _log = self.log.lock().unwrap();
            self.rows().len()
        };
        let index = self.index();
        self.scan(0..scanned, || self.lowest(), &mut |ids, vectors| index.append(Origin::Scan, ids, vectors).unwrap());
        self.publish(scanned);
        let transactions = self.transactions();
        self.last_commit.fetch_add(1, Ordering::SeqCst);
        self.end(transactions, bound);
    }

    /// Takes the rows from `scanned` on, and puts the index into the table's list.
    pub(super) fn publish(&self, scanned: usize) {
        let index = self.index();
        let _append = self.append.lock().unwrap();
        let end = self.rows().len();
        self.scan(scanned..end, || 0, &mut |ids, vectors| index.append(Origin::Scan, ids, vectors).unwrap());
        let publish = |after| {
            let _entry = self.entry.write().unwrap();
            *self.agreement.lock().unwrap() = Agreement::Recheck { after };
            self.note(format!("published, to be compared after {after}"));
        };
        publish(u64::MAX);
        // From now on the index hears of deletions. Those that it did not hear of are committed when the next commit is.
        publish(self.last_commit());
    }

    /// `HNSWIndex::OpenLate`: from now on the index hears of all changes that commits make.
    fn open(&self) {
        let mut entry = self.entry.write().unwrap();
        *entry = Arc::new(empty());
        *self.agreement.lock().unwrap() = Agreement::Unknown;
        self.note("opened");
    }

    /// `HNSWIndex::Reconcile`.
    pub(super) fn reconcile(&self) {
        let due = |agreement| match agreement {
            Agreement::Closed | Agreement::Unknown => true,
            Agreement::Recheck { after } => after < self.last_commit(),
            Agreement::Unlisted | Agreement::InStep => false,
        };
        let _comparing = self.comparing.lock().unwrap();
        let mut agreement = *self.agreement.lock().unwrap();
        if !due(agreement) {
            return;
        }
        if agreement == Agreement::Closed {
            self.open();
            agreement = Agreement::Unknown;
        }
        let index = self.index();
        drop(self.append.lock().unwrap());
        let _vacuum = self.vacuum.read().unwrap();
        if agreement == Agreement::Unknown {
            let end = self.rows().len();
            index.reconciler().begin(end).unwrap();
            self.note(format!("comparison of {end} rows, with vectors"));
            self.scan(0..end, || self.lowest(), &mut |ids, vectors| {
                index.append(Origin::Scan, ids, vectors).unwrap();
                self.note(format!("scanned {ids:?}"));
            });
        }
        let last_commit = self.last_commit();
        let deleting = self.deleted_after.load(Ordering::SeqCst) == last_commit;
        let end = self.rows().len();
        index.reconciler().begin(end).unwrap();
        self.note(format!("comparison of {end} rows"));
        self.scan(0..end, || self.last_commit() + 1, &mut |ids, _| {
            index.reconciler().seen(ids);
            self.note(format!("saw {ids:?}"));
        });
        let gone = index.reconciler().end(UNRESOLVED | self.last_commit());
        self.note(format!("comparison ends, {gone} rows are gone"));
        *self.agreement.lock().unwrap() =
            if deleting { Agreement::Recheck { after: last_commit } } else { Agreement::InStep };
    }

    /// Whether the index serves queries.
    fn serves(&self) -> bool {
        !matches!(*self.agreement.lock().unwrap(), Agreement::Unlisted | Agreement::Closed | Agreement::Unknown)
    }

    /// Takes a snapshot and searches in it, if the index serves.
    pub(super) fn search(&self) {
        let bound = self.begin();
        self.reconcile();
        if self.serves() {
            self.expire();
            let _vacuum = self.vacuum.read().unwrap();
            let expected: BTreeMap<i64, u32> = {
                let rows = self.rows();
                let sees = |row: &Row| row.inserted.below(bound) && !row.deleted.is_some_and(|by| by.below(bound));
                rows.iter().enumerate().filter(|(_, row)| sees(row)).map(|(at, row)| (at as i64, row.tag)).collect()
            };
            self.assert_finds(&expected, "in a search");
        }
        self.end(self.transactions(), bound);
    }

    /// Checks that the index finds exactly these rows, with these vectors.
    fn assert_finds(&self, expected: &BTreeMap<i64, u32>, when: &str) {
        let found = self
            .index()
            .searcher()
            .nearest(&[0.0, 1.0], usize::MAX, 8, &|row: i64| expected.contains_key(&row))
            .unwrap();
        let found: BTreeMap<i64, u32> =
            found.rows.iter().map(|row| (row.row_id, row.distance.sqrt().round() as u32)).collect();
        if &found != expected {
            self.fail(&format!("{when}: found {found:?}, expected {expected:?}"));
        }
    }

    /// The check after all threads have ended.
    pub(super) fn check(&self) {
        for when in ["at the end", "tended", "linked", "compacted"] {
            match when {
                "tended" => self.index().maintenance().tend_own(0, &Uninterrupted).unwrap(),
                "linked" => {
                    let index = self.index();
                    while index.maintenance().consolidate(usize::MAX, &Uninterrupted).unwrap()
                        + index.maintenance().link(usize::MAX, &Uninterrupted).unwrap()
                        > 0
                    {}
                    index.maintenance().reconnect(usize::MAX, &Uninterrupted).unwrap();
                }
                "compacted" => self.index().maintenance().compact(&Uninterrupted).unwrap(),
                _ => {
                    self.read_only();
                    self.reconcile();
                    self.read_only();
                    self.reconcile();
                    self.expire();
                }
            }
            let expected: BTreeMap<i64, u32> = {
                let rows = self.rows();
                rows.iter()
                    .enumerate()
                    .filter(|(_, row)| row.deleted.is_none())
                    .map(|(at, row)| (at as i64, row.tag))
                    .collect()
            };
            let found = self.index().searcher().nearest(&[0.0, 1.0], usize::MAX, 8, &AllVisible).unwrap();
            let ids: Vec<i64> = found.rows.iter().map(|row| row.row_id).collect();
            if !ids.iter().all(|id| expected.contains_key(id)) {
                self.fail(&format!("{when}: found {ids:?}, expected {expected:?}"));
            }
            self.assert_finds(&expected, when);
            let stats = self.index().stats().unwrap();
            assert_eq!(stats.count, expected.len(), "{when}: the count");
            let generation = self.index().rows().generation();
            assert!(
                generation.dead() + generation.free_slots_count() <= generation.graph.len(),
                "{when}: dead and free slots"
            );
            assert_eq!(stats.deleted, generation.dead(), "{when}: tombstones are left");
            assert!(
                generation.unowed() <= generation.dead(),
                "{when}: {} dead slots are not owed",
                generation.unowed()
            );
        }
        assert_eq!(self.index().rows().generation().dead(), 0, "compacted");
    }
}

/// Pages in memory.
#[derive(Default)]
pub(super) struct Disk(std::sync::Mutex<(i64, BTreeMap<i64, Vec<u8>>)>);

impl Pages for Disk {
    fn page_bytes(&self) -> usize {
        4096
    }
    fn readers(&self) -> usize {
        1
    }
    fn write(&self, bytes: &[u8]) -> Result<i64> {
        let mut disk = self.0.lock().unwrap();
        disk.0 += 1;
        let id = disk.0;
        disk.1.insert(id, bytes.to_vec());
        Ok(id)
    }
    fn read(&self, id: i64, out: &mut [u8]) -> Result<()> {
        let disk = self.0.lock().unwrap();
        let page = disk.1.get(&id).ok_or_else(|| Error::new(ErrorKind::Storage, "no such page"))?;
        out.copy_from_slice(page);
        Ok(())
    }
    fn free(&self, id: i64) {
        self.0.lock().unwrap().1.remove(&id);
    }
}
