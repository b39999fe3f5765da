//! The protocols between index and host under many schedules: `shuttle` runs threads one at a time and decides at each lock which one goes
//! on. The host is as simple as DuckDB's behaviour allows: one table, serial commits, snapshots, scans that are not snapshots. At the end,
//! and in every search, the index has exactly the rows of the table.
//!
//! `make model` runs this. `VSS_SCHEDULES` and `VSS_SEED` say how many schedules, and which ones. A failure prints the schedule's seed.

mod host;

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use self::host::{Agreement, Disk, Host, Row, Stamp};
use super::defaults;
use crate::host::{Uninterrupted, Unlimited};
use crate::index::{Index, Origin};
use crate::options::{Metric, Options};

fn options() -> Options {
    Options { metric: Metric::L2sq, m: 2, m0: 4, ef_construction: 4, ..defaults() }
}

fn empty() -> Index {
    Index::new(options(), 2, Box::new(Unlimited)).unwrap()
}

fn committed(tag: u32) -> Row {
    Row { tag, inserted: Stamp::Committed(1), deleted: None }
}

/// An index that agrees with its table of `rows` rows.
fn in_step(rows: u32) -> Arc<Host> {
    let index = empty();
    let table: Vec<Row> = (0..rows).map(committed).collect();
    let vectors: Vec<f32> = table.iter().flat_map(|row| row.vector()).collect();
    index.append(Origin::Host, &(0..i64::from(rows)).collect::<Vec<_>>(), &vectors).unwrap();
    index.maintenance().link(usize::MAX, &Uninterrupted).unwrap();
    Host::new(index, Disk::default(), table, Agreement::InStep)
}

/// An index read from an image. The table has changed since: rows went, rows came, an id was reused.
fn loaded() -> Arc<Host> {
    let before = in_step(7);
    let disk = Disk::default();
    let image = before.index().images().store(&disk, 7, 0).unwrap();
    let (index, _) = Index::load(options(), 2, Box::new(Unlimited), &image, &disk).unwrap();
    let mut table: Vec<Row> = (0..6).map(committed).collect();
    table[1].deleted = Some(Stamp::Committed(2));
    table[5].tag = 50;
    table.extend([committed(60), committed(61)]);
    Host::new(index, disk, table, Agreement::Unknown)
}

/// An index made by CREATE INDEX that is not yet compared with its table: a row went while the table was scanned.
fn created() -> Arc<Host> {
    let index = empty();
    let mut table: Vec<Row> = (0..6).map(committed).collect();
    let vectors: Vec<f32> = table.iter().flat_map(|row| row.vector()).collect();
    index.append(Origin::Scan, &(0..6).collect::<Vec<_>>(), &vectors).unwrap();
    index.maintenance().link(4, &Uninterrupted).unwrap();
    table[2].deleted = Some(Stamp::Committed(3));
    Host::new(index, Disk::default(), table, Agreement::Recheck { after: 10 })
}

/// An index that is yet to be made.
fn unlisted(rows: u32) -> Arc<Host> {
    Host::new(empty(), Disk::default(), (0..rows).map(committed).collect(), Agreement::Unlisted)
}

/// An index that only the log knows. The first search opens it.
fn closed() -> Arc<Host> {
    Host::new(empty(), Disk::default(), (0..6).map(committed).collect(), Agreement::Closed)
}

/// Runs `work` a number of times on a thread of its own.
fn spawn(host: &Arc<Host>, times: usize, work: impl Fn(&Host) + Send + 'static) -> thread::JoinHandle<()> {
    let host = Arc::clone(host);
    thread::spawn(move || (0..times).for_each(|_| work(&host)))
}

/// One schedule: two writers, a reader, searches, background work, and copies of the graph.
fn schedule(start: fn() -> Arc<Host>) {
    let host = start();
    let writer = |host: &Host| {
        let mut random = thread_rng();
        let (inserts, deletes) = (random.gen_range(0..6), random.gen_range(0..4));
        host.write(inserts, deletes, random.gen_range(0..6) == 0);
    };
    let background = |host: &Host| {
        let index = host.index();
        match thread_rng().gen_range(0..5) {
            0 => index.maintenance().reconnect(300, &Uninterrupted),
            1 | 2 => index.maintenance().consolidate(3, &Uninterrupted),
            _ => index.maintenance().link(3, &Uninterrupted),
        }
        .unwrap();
    };
    let copier = |host: &Host| match thread_rng().gen_range(0..4) {
        0 => host.index().maintenance().compact(&Uninterrupted).unwrap(),
        1 => {
            // One at a time, like checkpoints.
            let _log = host.log.lock().unwrap();
            let image = host.index().images().store(&host.disk, 0, 0).unwrap();
            Index::load(options(), 2, Box::new(Unlimited), &image, &host.disk).unwrap();
        }
        2 => host.vacuum(),
        _ => {
            host.expire();
            host.index().maintenance().tend_own(1, &Uninterrupted).unwrap();
        }
    };
    let threads = [
        spawn(&host, 2, writer),
        spawn(&host, 2, writer),
        spawn(&host, 2, Host::read_only),
        spawn(&host, 2, Host::search),
        spawn(&host, 4, background),
        spawn(&host, 3, copier),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    host.check();
}

/// Copies and repairs of the graph meet again and again, while rows die.
fn copies_beside_repairs() {
    let host = in_step(12);
    let deletes = |host: &Host| {
        host.write(0, 3, false);
        host.expire();
    };
    let repairs = |host: &Host| {
        host.index().maintenance().consolidate(4, &Uninterrupted).unwrap();
    };
    let copies = |host: &Host| host.index().maintenance().compact(&Uninterrupted).unwrap();
    let counts = |host: &Host| {
        let generation = host.index().rows().generation();
        if generation.dead() > generation.graph.len() {
            host.fail(&format!("{} dead slots of {}", generation.dead(), generation.graph.len()));
        }
    };
    let threads =
        [spawn(&host, 3, deletes), spawn(&host, 8, repairs), spawn(&host, 3, copies), spawn(&host, 4, counts)];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    counts(&host);
    host.check();
}

/// The first search opens the index while a commit deletes rows.
fn opens_beside_deletes() {
    let host = closed();
    let deletes = |host: &Host| host.write(0, 3, false);
    let threads = [spawn(&host, 1, deletes), spawn(&host, 1, Host::search)];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    host.check();
}

/// An index is made and searched while commits delete and insert rows.
fn made_beside_commits() {
    let host = unlisted(6);
    let writes = |host: &Host| {
        let mut random = thread_rng();
        host.write(random.gen_range(0..3), random.gen_range(0..4), random.gen_range(0..4) == 0);
    };
    let threads = [
        spawn(&host, 1, Host::create),
        spawn(&host, 2, writes),
        spawn(&host, 2, Host::read_only),
        spawn(&host, 1, Host::search),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    host.check();
}

/// An index is listed and compared while a commit deletes rows.
fn listed_beside_deletes() {
    let host = unlisted(2);
    let lists = |host: &Host| {
        host.publish(0);
        host.reconcile();
    };
    let threads =
        [spawn(&host, 1, lists), spawn(&host, 1, |host| host.write(0, 1, false)), spawn(&host, 1, Host::read_only)];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    host.check();
}

/// Schedules of the quick run for each starting state.
const SCHEDULES: usize = 1_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// Half of the schedules are random. The others switch threads only a few times, at chosen places (probabilistic concurrency testing,
/// Burckhardt et al. 2010), which finds defects that need a thread to stand still for long.
fn explore(schedule: impl Fn() + Copy + Send + Sync + 'static) {
    let seed = number("VSS_SEED", 1);
    let half = number("VSS_SCHEDULES", SCHEDULES as u64) as usize / 2;
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.failure_persistence = shuttle::FailurePersistence::None;
    Runner::new(RandomScheduler::new_from_seed(seed, half), config.clone()).run(schedule);
    Runner::new(PctScheduler::new_from_seed(seed, 3, half), config).run(schedule);
}

#[test]
fn an_index_in_step_stays_in_step() {
    explore(|| schedule(|| in_step(8)));
}

#[test]
fn a_loaded_index_comes_in_step() {
    explore(|| schedule(loaded));
}

#[test]
fn an_index_that_is_opened_late_comes_in_step() {
    explore(|| schedule(closed));
}

#[test]
fn an_index_that_is_made_beside_commits_comes_in_step() {
    explore(made_beside_commits);
}

#[test]
fn an_index_that_is_listed_while_rows_are_deleted_lets_go_of_them() {
    explore(listed_beside_deletes);
}

#[test]
fn a_new_index_comes_in_step() {
    explore(|| schedule(created));
}

#[test]
fn an_index_that_is_opened_while_rows_are_deleted_lets_go_of_them() {
    explore(opens_beside_deletes);
}

#[test]
fn a_repair_that_a_copy_overtakes_stays_with_its_graph() {
    explore(copies_beside_repairs);
}
