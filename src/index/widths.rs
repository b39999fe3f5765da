//! Which search width finds which share of the nearest rows: what the index has measured of itself, and by what.
//!
//! A measurement runs in small steps, from whichever thread has time for one; the searches of it are in `search::target`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Weak};

use super::Generation;
use super::progress::{Progress, UnderWay};
use crate::error::Result;
pub(crate) use crate::format::widths::{K_LEVELS, Measurement, Share, Step};
use crate::memory::{Charge, Memory};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, RwLock};

/// Vectors that a measurement searches for, if there are so many: then the mean of their recalls is within .005 of that of all, usually.
pub(crate) const SAMPLE_MAX: usize = 1000;
/// Distances of exact searches that a measurement may cost, with `SAMPLE_MIN` searches at least.
const DISTANCES_MAX: usize = 4_000_000_000;
/// See `DISTANCES_MAX`.
const SAMPLE_MIN: usize = ASKED_MIN;
/// Query vectors that were asked from which these are what an index is measured by, rather than its own rows.
pub(crate) const ASKED_MIN: usize = 250;
/// Bytes that the query vectors asked lately may take.
const ASKED_BYTES_MAX: usize = 4 << 20;
/// An index is measured again when rows have come for half of those that it had: for one row of so many.
const GROWTH: usize = 2;

/// What an index knows of its search widths.
pub(crate) struct Widths {
    /// The largest share that anybody has asked for: the bits of an `f32`, which order as positive numbers do.
    wanted: AtomicUsize,
    newest: RwLock<Option<Arc<Measurement>>>,
    asked: Mutex<Asked>,
    /// A measurement under way; locked for each of its steps.
    pub(crate) under_way: Mutex<Option<Measuring>>,
    /// How far it is.
    pub(crate) measuring: Arc<Progress>,
    /// Rows that have come since the index was measured, whether it grew or they took the place of others.
    came: AtomicUsize,
    /// Rows that must have come before another measurement, as one failed for want of memory; 0 if none did.
    failed: AtomicUsize,
}

/// The query vectors asked lately, in stored form, each once.
struct Asked {
    vectors: Vec<Vec<f32>>,
    /// Their checksums, in the same order, and as a set.
    sums: Vec<u64>,
    known: HashSet<u64>,
    /// The one that is replaced next, once there are as many as are kept.
    oldest: usize,
    charge: Charge,
}

/// What is searched for in a measurement.
pub(crate) enum Probe {
    /// A row of the index, as the codec keeps it. It is not among its own neighbours, and no walk steps on it.
    Row {
        /// Where it is in the generation that is measured, if it is linked.
        slot: Option<u32>,
        /// Its id.
        row_id: i64,
        /// Its vector.
        row: Vec<u8>,
    },
    /// A query vector that was asked, in stored form.
    Asked(Vec<f32>),
}

/// A measurement under way.
pub(crate) struct Measuring {
    /// Its slots are those of the probes.
    pub(crate) generation: Weak<Generation>,
    pub(crate) probes: Vec<Probe>,
    /// Rows from here on came after it began: nobody looks for them.
    pub(crate) end: i64,
    /// Rows that had come by then.
    pub(crate) came: usize,
    /// For each probe that is done its nearest rows: their distances and ids, nearest first.
    pub(crate) exact: Vec<Vec<(f32, i64)>>,
    /// The width of the walks that are measured now.
    pub(crate) ef: usize,
    /// Recalls of the walks of this width, one a probe that is done, for each of `K_LEVELS`.
    pub(crate) recalls: Vec<[f32; K_LEVELS.len()]>,
    pub(crate) steps: Vec<Step>,
    /// Rows of the index when it began, and the share that is to be reached.
    pub(crate) rows: usize,
    pub(crate) wanted: f64,
    /// The probes are query vectors that were asked.
    pub(crate) asked: bool,
    /// In searches.
    pub(crate) progress: UnderWay,
    pub(crate) _charge: Charge,
}

impl Widths {
    pub(super) fn new(memory: &Arc<Memory>) -> Result<Self> {
        let charge = memory.charge(0)?;
        let asked = Asked { vectors: Vec::new(), sums: Vec::new(), known: HashSet::new(), oldest: 0, charge };
        Ok(Self {
            wanted: AtomicUsize::new(0),
            newest: RwLock::new(None),
            asked: Mutex::new(asked),
            under_way: Mutex::new(None),
            measuring: Arc::default(),
            came: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        })
    }

    /// Forgets the measurement that is under way, unless a thread is at it.
    pub(crate) fn give_up(&self) {
        if let Some(mut under_way) = self.under_way.try_lock() {
            *under_way = None;
        }
    }

    /// Somebody wants this share of the nearest rows, above 0 and below 1: from now on the index measures itself. The share as it is
    /// remembered.
    pub(crate) fn want(&self, share: f64) -> f64 {
        let share = share as f32;
        self.wanted.fetch_max(share.to_bits() as usize, Ordering::Relaxed);
        f64::from(share)
    }

    /// The largest share that anybody has wanted; 0 if nobody has.
    pub(crate) fn wanted(&self) -> f64 {
        f64::from(f32::from_bits(self.wanted.load(Ordering::Relaxed) as u32))
    }

    /// The newest measurement.
    pub(crate) fn newest(&self) -> Option<Arc<Measurement>> {
        self.newest.read().clone()
    }

    /// So many rows came.
    pub(super) fn add_rows(&self, rows: usize) {
        self.came.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows that have come since the newest measurement.
    pub(crate) fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }

    /// A measurement is done, or was read from an image. `came`: those of `came` that it has seen.
    pub(crate) fn adopt(&self, measurement: Measurement, came: usize) {
        *self.newest.write() = Some(Arc::new(measurement));
        self.came.fetch_sub(came, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }

    /// There was no memory for a measurement of so many rows: not before many more have come.
    pub(crate) fn fail(&self, rows: usize) {
        self.failed.store(self.came() + rows.div_ceil(GROWTH), Ordering::Relaxed);
    }

    /// Whether an index of so many rows is to be measured: nobody has yet, rows have come, more is wanted than was measured for, or there
    /// are more query vectors to measure by. Takes the lock of the query vectors.
    pub(crate) fn due(&self, rows: usize) -> bool {
        let wanted = self.wanted();
        if wanted == 0.0 || rows == 0 || self.came() < self.failed.load(Ordering::Relaxed) {
            return false;
        }
        let Some(newest) = self.newest() else { return true };
        if self.came() >= (newest.rows as usize).div_ceil(GROWTH) || !newest.reaches(wanted) {
            return true;
        }
        let asked = self.asked.lock().vectors.len().min(sample_size(rows));
        let before = if newest.asked { newest.queries as usize } else { ASKED_MIN / 2 };
        asked >= 2 * before
    }

    /// A query vector was asked for, in stored form. Forgets the oldest one if there are many; takes no time if another thread tells
    /// its own, or nobody wants a share.
    pub(crate) fn ask(&self, vector: &[f32]) {
        if self.wanted() == 0.0 {
            return;
        }
        let Some(mut asked) = self.asked.try_lock() else { return };
        let mut sum = DefaultHasher::new();
        vector.iter().for_each(|x| sum.write_u32(x.to_bits()));
        let sum = sum.finish();
        if asked.known.contains(&sum) {
            return;
        }
        let most = (ASKED_BYTES_MAX / size_of_val(vector).max(1)).clamp(ASKED_MIN, SAMPLE_MAX);
        if asked.vectors.len() < most {
            let bytes = (asked.vectors.len() + 1) * (size_of_val(vector) + 64);
            if asked.charge.resize(bytes).is_err() {
                return;
            }
            asked.vectors.push(vector.to_vec());
            asked.sums.push(sum);
        } else {
            let at = asked.oldest;
            asked.oldest = (at + 1) % most;
            asked.vectors[at].copy_from_slice(vector);
            let before = std::mem::replace(&mut asked.sums[at], sum);
            asked.known.remove(&before);
        }
        asked.known.insert(sum);
    }

    /// The query vectors asked lately, if they are enough to measure by.
    pub(crate) fn asked(&self) -> Option<Vec<Vec<f32>>> {
        let asked = self.asked.lock();
        (asked.vectors.len() >= ASKED_MIN).then(|| asked.vectors.clone())
    }
}

/// Vectors that an index of so many rows is measured by, at most.
pub(crate) fn sample_size(rows: usize) -> usize {
    (DISTANCES_MAX / rows.max(1)).clamp(SAMPLE_MIN, SAMPLE_MAX)
}
