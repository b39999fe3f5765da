//! The index and its ledger: all memory is given back, and a refusal at any point does no harm.

use std::sync::atomic::AtomicUsize;

use super::image::Disk;
use super::*;
use crate::error::{Error, Result};
use crate::host::Ledger;

/// Segments of narrow vectors are small, so few limits need to be tried.
const NARROW: usize = 8;

/// A ledger with a limit in bytes. The account asks again for the exact need when a step does not fit, so raising the
/// limit little by little refuses every single charge at some point.
struct Capped {
    limit: AtomicUsize,
    reserved: AtomicUsize,
}

impl Ledger for Arc<Capped> {
    fn reserve(&self, bytes: usize) -> Result<()> {
        let limit = self.limit.load(Ordering::Relaxed);
        let take = |reserved| (bytes <= limit.saturating_sub(reserved)).then(|| reserved + bytes);
        let taken = self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(|_| ()).map_err(|_| Error::new(ErrorKind::OutOfMemory, "the limit is reached"))
    }

    fn release(&self, bytes: usize) {
        let before = self.reserved.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "released {bytes} of {before}");
    }
}

/// The rows of the index with their distances from 0, by row id; NaN for unrankable rows.
fn contents(index: &Index) -> BTreeMap<i64, f32> {
    let found = index.searcher().nearest(&vec![0.0; index.dimensions()], 1_000_000, 64, &AllVisible).unwrap();
    assert!(found.exhausted);
    found.rows.iter().map(|candidate| (candidate.row_id, candidate.distance)).collect()
}

fn expected(model: &BTreeMap<i64, Vec<f32>>) -> BTreeMap<i64, f32> {
    model.iter().map(|(&row, vector)| (row, vector.iter().map(|x| x * x).sum())).collect()
}

fn assert_same(index: &Index, model: &BTreeMap<i64, Vec<f32>>, case: &str) {
    assert_eq!(index.stats().unwrap().count, model.len(), "{case}");
    let (found, expected) = (contents(index), expected(model));
    assert!(found.keys().eq(expected.keys()), "{case}: other rows");
    let error = if exact_distances() { 1e-4 } else { 0.2 };
    for (row, distance) in &expected {
        let ours = found[row];
        let same = if distance.is_nan() { ours.is_nan() } else { (ours - distance).abs() <= error * distance };
        assert!(same, "{case}: row {row} at {ours}, not {distance}");
    }
}

/// Work that makes every kind of allocation; some are refused. A refused append, link or compaction changes nothing, because these appends
/// are too small to be divided.
fn work(index: &Index, model: &mut BTreeMap<i64, Vec<f32>>) -> usize {
    let mut refusals = 0;
    let mut refused = |error: Error| {
        assert_eq!(error.kind, ErrorKind::OutOfMemory);
        refusals += 1;
    };
    let mut random = Random(17);
    for turn in 0..12 {
        // The row map gets new pages, and some rows get other vectors.
        let rows: Vec<i64> = (0..60).map(|row| turn / 2 * 5_000 + turn % 2 * 30 + row).collect();
        let vectors: Vec<Vec<f32>> = rows
            .iter()
            .map(|row| {
                let mut vector: Vec<f32> = (0..NARROW).map(|_| random.normal()).collect();
                if row % 20 == 0 {
                    vector[3] = f32::NAN;
                }
                vector
            })
            .collect();
        match index.append(Origin::Host, &rows, &vectors.concat()) {
            Ok(()) => model.extend(rows.iter().copied().zip(vectors)),
            Err(error) => refused(error),
        }
        if let Err(error) = index.maintenance().link(40, &Uninterrupted) {
            refused(error);
        }
        // Deletion needs no memory, whatever was refused before.
        let gone: Vec<i64> = rows.iter().copied().filter(|row| row % 11 == 0).collect();
        index.remove(&gone, turn as u64);
        model.retain(|row, _| !gone.contains(row));
        index.expire_tombstones(turn as u64 + 1);
        if turn % 4 == 3
            && let Err(error) = index.maintenance().compact(&Uninterrupted)
        {
            refused(error);
        }
        assert_same(index, model, &format!("turn {turn}"));
    }
    refusals
}

#[test]
fn a_refusal_at_any_limit_changes_nothing_and_all_memory_comes_back() {
    let ledger = Arc::new(Capped { limit: AtomicUsize::new(0), reserved: AtomicUsize::new(0) });
    let mut runs = 0;
    loop {
        let mut refusals = 1;
        match Index::new(defaults(), NARROW, Box::new(Arc::clone(&ledger))) {
            Err(error) => assert_eq!(error.kind, ErrorKind::OutOfMemory),
            Ok(index) => {
                let mut model = BTreeMap::new();
                refusals = work(&index, &mut model);
                assert!(ledger.reserved.load(Ordering::Relaxed) >= index.memory_used());
                // With memory again, the same index works as if nothing had happened.
                let limit = ledger.limit.swap(usize::MAX, Ordering::Relaxed);
                assert_eq!(work(&index, &mut model), 0);
                link_all(&index, 2);
                index.expire_tombstones(u64::MAX >> 1);
                index.maintenance().compact(&Uninterrupted).unwrap();
                assert_same(&index, &model, "in the end");
                assert_eq!(index.stats().unwrap().deleted, 0);
                ledger.limit.store(limit, Ordering::Relaxed);
            }
        }
        assert_eq!(ledger.reserved.load(Ordering::Relaxed), 0, "all memory is given back");
        runs += 1;
        if refusals == 0 {
            break;
        }
        ledger.limit.fetch_add(4_000, Ordering::Relaxed);
    }
    assert!(runs > 50, "{runs} limits");
}

/// Rows that come and go leave no memory behind if a compaction follows.
#[test]
fn memory_does_not_grow_with_turnover() {
    let ledger = Arc::new(Limited::default());
    let index = Index::new(defaults(), 16, Box::new(Arc::clone(&ledger))).unwrap();
    let vectors = Random(2).clustered(1_000, 16, 10);
    let mut after_first = 0;
    for round in 0..30i64 {
        // New row ids every time, and one unrankable row among them.
        let rows: Vec<i64> = (round * 1_000..(round + 1) * 1_000).collect();
        index.append(Origin::Host, &rows, &vectors).unwrap();
        index.append(Origin::Host, &[(round + 1) * 1_000_000], &[f32::NAN; 16]).unwrap();
        index.maintenance().link(500, &Uninterrupted).unwrap();
        index.remove(&rows, round as u64);
        index.remove(&[(round + 1) * 1_000_000], round as u64);
        index.expire_tombstones(round as u64 + 1);
        index.maintenance().compact(&Uninterrupted).unwrap();
        let stats = index.stats().unwrap();
        assert_eq!((stats.count, stats.deleted, stats.pending, stats.unrankable), (0, 0, 0, 0));
        if round == 0 {
            after_first = stats.memory;
        }
        assert!(stats.memory <= after_first + (64 << 10), "round {round}: {} after {after_first}", stats.memory);
    }
    drop(index);
    assert_eq!(ledger.reserved.load(Ordering::Relaxed), 0);
}

/// A commit that fails gives back the rows it has deleted. There must be no error, however short memory is.
#[test]
fn rows_come_back_without_memory() {
    let limited = Arc::new(Limited::default());
    let index = Index::new(defaults(), 4, Box::new(Arc::clone(&limited))).unwrap();
    let ids: Vec<i64> = (0..3_000).collect();
    let mut vectors = Random(4).clustered(3_000, 4, 9);
    vectors[0] = f32::NAN;
    index.append(Origin::Host, &ids, &vectors).unwrap();
    index.maintenance().link(2_000, &Uninterrupted).unwrap();
    index.remove(&ids, UNRESOLVED | 5);
    limited.refuse_from.store(1, Ordering::Relaxed);
    index.append(Origin::Host, &ids, &vectors).unwrap();
    assert_eq!(index.stats().unwrap().count, 3_000);
    index.expire(9, u64::MAX);
    assert_eq!(index.searcher().nearest(&[1.0; 4], usize::MAX, 64, &AllVisible).unwrap().rows.len(), 3_000);
}

/// After a refusal, the host takes back the chunks that it handed over before, but not the refused one.
#[test]
fn a_refused_append_leaves_none_of_its_rows() {
    const BATCHES: usize = 3;
    let per_batch = (64 << 10) / (NARROW * size_of::<f32>());
    let rows: Vec<i64> = (0..(BATCHES * per_batch) as i64).collect();
    let mut vectors = Random(5).clustered(rows.len(), NARROW, 4);
    let last_batch = (BATCHES - 1) * per_batch;
    (last_batch..rows.len()).for_each(|row| vectors[row * NARROW] = f32::NAN);
    // Only the unrankable rows of the last batch need more than is reserved for all rows.
    let ledger = Arc::new(Capped { limit: AtomicUsize::new(0), reserved: AtomicUsize::new(0) });
    let mut late = 0;
    for limit in (0..).step_by(16 << 10) {
        ledger.limit.store(limit, Ordering::Relaxed);
        let Ok(index) = Index::new(defaults(), NARROW, Box::new(Arc::clone(&ledger))) else { continue };
        if index.append(Origin::Host, &rows, &vectors).is_ok() {
            break;
        }
        assert_eq!(index.stats().unwrap().count, 0, "limit {limit}");
        late += usize::from(index.stats().unwrap().pending > 0 || index.stats().unwrap().deleted > 0);
        // Again, because some rows are there by now.
        if index.append(Origin::Host, &rows, &vectors).is_err() {
            assert_eq!(index.stats().unwrap().count, 0, "limit {limit}, again");
        }
        index.expire_tombstones(1);
        ledger.limit.store(usize::MAX, Ordering::Relaxed);
        index.append(Origin::Host, &rows, &vectors).unwrap();
        assert_eq!(index.stats().unwrap().count, rows.len());
    }
    assert!(late > 0, "no refusal came after part of the rows");
}

/// Rows that are gone take no memory, neither in the graph nor in the room that is kept for deleting them without memory.
#[test]
fn memory_goes_back_with_the_rows() {
    const ROWS: usize = 40_000;
    let keep = 100;
    for renewed in [false, true] {
        let index =
            Index::new(Options { m: 4, ef_construction: 8, ..defaults() }, NARROW, Box::new(Unlimited)).unwrap();
        append_all(&index, &Random(3).clustered(ROWS, NARROW, 20), NARROW);
        link_all(&index, 2);
        let full = index.memory_used();
        index.remove(&(keep..ROWS as i64).collect::<Vec<_>>(), 1);
        index.expire(2, 10);
        if renewed {
            index.maintenance().tend_own(0, &Uninterrupted)
        } else {
            index.maintenance().compact(&Uninterrupted)
        }
        .unwrap();
        assert_eq!(index.stats().unwrap().count, keep as usize);
        let left = index.memory_used();
        assert!(left < full / 16, "{left} of {full} bytes are left");
    }
}

/// A want of memory while an image is read is not reported as damage, for which the host would discard the image.
#[test]
fn an_image_that_does_not_fit_is_not_damaged() {
    let disk = Disk::new(4096);
    let ids: Vec<i64> = (0..1_000).collect();
    let index = Index::new(defaults(), NARROW, Box::new(Unlimited)).unwrap();
    index.append(Origin::Host, &ids, &Random(6).clustered(ids.len(), NARROW, 4)).unwrap();
    index.maintenance().link(ids.len(), &Uninterrupted).unwrap();
    let image = index.images().store(&disk, 1, 1).unwrap();
    let ledger = Arc::new(Capped { limit: AtomicUsize::new(0), reserved: AtomicUsize::new(0) });
    for limit in (0..).step_by(1 << 10) {
        ledger.limit.store(limit, Ordering::Relaxed);
        match Index::load(defaults(), NARROW, Box::new(Arc::clone(&ledger)), &image, &disk) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind, ErrorKind::OutOfMemory, "limit {limit}: {error}"),
        }
        assert_eq!(ledger.reserved.load(Ordering::Relaxed), 0, "limit {limit}");
    }
}
