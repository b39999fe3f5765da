//! Which search width finds which share of the nearest rows: the index's measurements of itself, and the queries that it measures with.
//!
//! A measurement runs in small steps, each on whichever thread has time for one. Its searches are in `search::target`.

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

/// Most vectors that a measurement searches for. With this many, their mean recall is usually within .005 of the mean over all vectors.
pub(crate) const SAMPLE_MAX: usize = 1000;
/// Distances that the exact searches of a measurement may compute. It makes at least `SAMPLE_MIN` searches.
const DISTANCES_MAX: usize = 4_000_000_000;
/// Fewest vectors that a measurement searches for, however many rows there are.
const SAMPLE_MIN: usize = ASKED_MIN;
/// With at least this many remembered query vectors, an index is measured with them rather than with its own rows.
pub(crate) const ASKED_MIN: usize = 250;
/// Bytes that the remembered query vectors may take.
const ASKED_BYTES_MAX: usize = 4 << 20;
/// An index is measured again when one row has come for every `GROWTH` rows that it had.
const GROWTH: usize = 2;

/// What an index knows of its search widths.
pub(crate) struct Widths {
    /// The largest share that anybody has asked for, as the bits of an `f32`. The bits of positive floats have the order of the floats.
    wanted: AtomicUsize,
    newest: RwLock<Option<Arc<Measurement>>>,
    asked: Mutex<Asked>,
    /// The measurement under way; locked for each of its steps.
    pub(crate) under_way: Mutex<Option<Measuring>>,
    /// How far the measurement is.
    pub(crate) measuring: Arc<Progress>,
    /// Rows that have come since the index was measured, including those that replaced others.
    came: AtomicUsize,
    /// After a measurement failed for want of memory: the value that `came` must reach before the next one. Otherwise 0.
    failed: AtomicUsize,
}

/// The latest query vectors, in stored form, without duplicates.
struct Asked {
    vectors: Vec<Vec<f32>>,
    /// Their checksums, in the same order, and as a set.
    sums: Vec<u64>,
    known: HashSet<u64>,
    /// The vector that is replaced next, once there is no more room.
    oldest: usize,
    charge: Charge,
}

/// A vector that a measurement searches for.
pub(crate) enum Probe {
    /// A row of the index, as the codec keeps it. It does not count among its own neighbours, and no walk steps on it.
    Row {
        /// The row's slot in the generation that is measured, if it is linked.
        slot: Option<u32>,
        /// Its id.
        row_id: i64,
        /// Its vector.
        row: Vec<u8>,
    },
    /// A remembered query vector, in stored form.
    Asked(Vec<f32>),
}

/// A measurement under way.
pub(crate) struct Measuring {
    /// The generation to which the probes' slots belong.
    pub(crate) generation: Weak<Generation>,
    pub(crate) probes: Vec<Probe>,
    /// Rows with this id or a higher one came after the measurement began, and are left out.
    pub(crate) end: i64,
    /// `Widths::came` when the measurement began.
    pub(crate) came: usize,
    /// For each probe that is done: distance and id of its nearest rows, nearest first.
    pub(crate) exact: Vec<Vec<(f32, i64)>>,
    /// The width of the walks that are measured now.
    pub(crate) ef: usize,
    /// Recalls of the walks of width `ef`: one entry for each probe that is done, with one value for each of `K_LEVELS`.
    pub(crate) recalls: Vec<[f32; K_LEVELS.len()]>,
    pub(crate) steps: Vec<Step>,
    /// Rows of the index when the measurement began, and the share that is to be reached.
    pub(crate) rows: usize,
    pub(crate) wanted: f64,
    /// The probes are remembered query vectors, not rows.
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

    /// Forgets the measurement under way, unless a thread is running one of its steps.
    pub(crate) fn give_up(&self) {
        if let Some(mut under_way) = self.under_way.try_lock() {
            *under_way = None;
        }
    }

    /// Notes that somebody wants this share of the nearest rows, above 0 and below 1. From now on the index measures itself. Returns the
    /// share as rounded to `f32`.
    pub(crate) fn want(&self, share: f64) -> f64 {
        let share = share as f32;
        self.wanted.fetch_max(share.to_bits() as usize, Ordering::Relaxed);
        f64::from(share)
    }

    /// The largest share that anybody has asked for; 0 if nobody has.
    pub(crate) fn wanted(&self) -> f64 {
        f64::from(f32::from_bits(self.wanted.load(Ordering::Relaxed) as u32))
    }

    /// The newest measurement.
    pub(crate) fn newest(&self) -> Option<Arc<Measurement>> {
        self.newest.read().clone()
    }

    /// Notes that `rows` rows came.
    pub(super) fn add_rows(&self, rows: usize) {
        self.came.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows that have come since the newest measurement.
    pub(crate) fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }

    /// Takes over a measurement that is done, or that was read from an image. `came`: how many of the rows that came it has seen.
    pub(crate) fn adopt(&self, measurement: Measurement, came: usize) {
        *self.newest.write() = Some(Arc::new(measurement));
        self.came.fetch_sub(came, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }

    /// Notes that there was no memory to measure an index of `rows` rows. No measurement begins before half as many more have come.
    pub(crate) fn fail(&self, rows: usize) {
        self.failed.store(self.came() + rows.div_ceil(GROWTH), Ordering::Relaxed);
    }

    /// Whether an index of `rows` rows should be measured: it was never measured, many rows have come, a larger share is wanted than was
    /// reached, or there are twice as many query vectors to measure with. Takes the lock of the query vectors.
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

    /// Remembers a query vector, in stored form, in place of the oldest one if there are many. Does nothing if nobody wants a share, or if
    /// another thread holds the lock.
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

    /// The remembered query vectors, if they are enough to measure with.
    pub(crate) fn asked(&self) -> Option<Vec<Vec<f32>>> {
        let asked = self.asked.lock();
        (asked.vectors.len() >= ASKED_MIN).then(|| asked.vectors.clone())
    }
}

/// Most vectors that a measurement of an index of `rows` rows searches for.
pub(crate) fn sample_size(rows: usize) -> usize {
    (DISTANCES_MAX / rows.max(1)).clamp(SAMPLE_MIN, SAMPLE_MAX)
}
