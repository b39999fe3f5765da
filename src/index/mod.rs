//! The index: rows ↔ places, the pending area, and the generation of linked rows.
//!
//! A row is in one *place*: pending (copied, searched exactly), in a slot (linked), or unrankable (by id only). Its entry
//! there says whether it is live, a tombstone, or dead.
//!
//! # Locks
//! In the order in which they may be taken; none is held while the host is asked about visibility, except the read guard of the graph.
//!
//! | lock | guards | held |
//! |---|---|---|
//! | `compacting` | one compaction or renewal at a time | for a compaction or renewal |
//! | `append` | one append at a time | for an append, or a renewal |
//! | `stored` | the newest image | for a checkpoint |
//! | `Generation::growth` | growth of one generation | while its arrays are extended |
//! | `Generation::consolidation` | one consolidation of a generation at a time | for some nodes, or a compaction |
//! | `Generation::graph` | the graph, see [`crate::graph::lock`] | for one search, link step, consolidation of some nodes, growth or copy |
//! | the pin of `Generation::graph` | rows read beside additions | for an exact search |
//! | `rows` | the row map, pending area, tombstones | some microseconds; for all rows when a compaction ends |
//! | `generation` | which generation is current | to copy or replace a pointer |
//!
//! The pin may also be taken with `rows` held, as nobody waits to have it alone.

mod append;
mod delete;
#[allow(unsafe_code)]
mod generation;
mod image;
mod load;
pub(crate) mod maintain;
mod norms;
mod reconcile;
pub mod rows;
mod store;
#[cfg(test)]
mod tests;

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock};
use std::sync::Arc;

use self::image::Stored;
use self::norms::HeldNorms;
use self::reconcile::Reconciliation;
use self::rows::tombstones::Tombstones;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::LevelStats;
use crate::host::Ledger;
use crate::index::rows::pending::Pending;
use crate::index::rows::unrankable::Unrankable;
use crate::index::rows::{AtomicSlotState, Place, Places, ROW_ID_MAX};
use crate::memory::{Charge, Memory};
use crate::options::Options;
use crate::vectors::{Codec, Space};

pub use self::append::Origin;
pub(crate) use self::generation::Generation;
pub use self::image::Image;
pub(crate) use self::maintain::compact::Paused;
pub use self::rows::tombstones::UNSETTLED;
pub use crate::vectors::Norms;

/// An HNSW index over the vectors of one column. Shared between threads as `Arc<Index>`: `Send` and `Sync` follow from
/// its parts, as the compiler checks below; those that say so themselves (blocks, the graph) argue it where they do.
pub struct Index {
    pub(crate) options: Options,
    pub(crate) codec: Arc<Codec>,
    _codec_memory: Charge,
    memory: Arc<Memory>,
    generation: RwLock<Arc<Generation>>,
    pub(crate) unrankable: Unrankable,
    rows: Mutex<Rows>,
    append: Mutex<()>,
    compacting: Mutex<()>,
    /// The newest image.
    pub(crate) stored: Mutex<Option<Stored>>,
    /// Who copies the graph: while it is not 0 nothing may be linked.
    pub(crate) paused: AtomicUsize,
    /// Grows with each renewal: rows go back from the graph to the pending area.
    renewals: AtomicUsize,
    /// See `deleted_after()`.
    deleted_after: AtomicU64,
    /// Grows with each change of what an image holds.
    changes: AtomicU64,
    /// Rows pending; written with `rows` locked, after what it counts.
    pending: AtomicUsize,
    /// Rows that are not dead; as above.
    alive: AtomicUsize,
    /// Bound of the oldest tombstone, `u64::MAX` without one; as above.
    oldest: AtomicU64,
    /// A commit not after that before the oldest unsettled tombstone, `u64::MAX` without one; as above.
    unsettled: AtomicU64,
    /// See `norms()`; as above.
    norms: AtomicU64,
}

/// What the row lock guards.
pub(crate) struct Rows {
    /// Every row that is live or a tombstone.
    pub(crate) places: Places,
    pub(crate) pending: Pending,
    /// Have room for every row in `places`, so that `remove` never allocates.
    tombstones: Tombstones,
    live: usize,
    norms: HeldNorms,
    /// While the index is compared with its table.
    comparison: Option<Reconciliation>,
}

/// What an index is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Live rows, pending and unrankable ones included.
    pub count: usize,
    /// Rows (live or tombstones) that are not linked yet.
    pub pending: usize,
    /// Rows (live or tombstones) whose vectors cannot be ranked.
    pub unrankable: usize,
    /// Tombstones, and slots of dead rows.
    pub deleted: usize,
    /// Slots that need no further growth.
    pub capacity: usize,
    /// Bytes charged to the ledger.
    pub memory: usize,
    /// Bytes of a vector, as the graph keeps it.
    pub row_bytes: usize,
    /// The largest error of a code so far, as a share of the vector's distance from their centre; 0 for floats.
    pub code_error: f32,
    /// See [`Index::norms`].
    pub norms: Norms,
    /// Levels of the graph, bottom first.
    pub levels: Vec<LevelStats>,
}

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Index>();
};

impl Index {
    /// An empty index of `dimensions`-element vectors (at least 1). Its memory comes from `ledger`, all of it given
    /// back on drop. Errors: `OutOfMemory`.
    pub fn new(options: Options, dimensions: usize, ledger: Box<dyn Ledger>) -> Result<Self> {
        let codec = Codec::new(Space::new(options.metric, dimensions), options.quantization);
        Self::with_codec(options, codec, ledger)
    }

    /// The same with a codec, which is the one of its options.
    fn with_codec(options: Options, codec: Codec, ledger: Box<dyn Ledger>) -> Result<Self> {
        let memory = Memory::new(ledger);
        let codec = Arc::new(codec);
        let rows = Rows {
            places: Places::new(&memory)?,
            pending: Pending::new(&memory, codec.plain().row_bytes(), codec.row_bytes()),
            tombstones: Tombstones::new(&memory)?,
            live: 0,
            norms: HeldNorms::EMPTY,
            comparison: None,
        };
        Ok(Self {
            generation: RwLock::new(Generation::new(&options, &codec, &memory)?),
            unrankable: Unrankable::new(&memory)?,
            _codec_memory: memory.charge(codec.memory_bytes())?,
            rows: Mutex::new(rows),
            append: Mutex::new(()),
            compacting: Mutex::new(()),
            stored: Mutex::new(None),
            paused: AtomicUsize::new(0),
            renewals: AtomicUsize::new(0),
            deleted_after: AtomicU64::new(u64::MAX),
            changes: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            alive: AtomicUsize::new(0),
            oldest: AtomicU64::new(u64::MAX),
            unsettled: AtomicU64::new(u64::MAX),
            norms: AtomicU64::new(Norms::EMPTY.to_bits()),
            options,
            codec,
            memory,
        })
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Elements of a vector.
    pub fn dimensions(&self) -> usize {
        self.codec.space.dimensions
    }

    /// Bytes charged to the ledger.
    pub fn memory_used(&self) -> usize {
        self.memory.used()
    }

    /// Rows waiting for [`link`](Self::link), tombstones included. Takes no lock.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// Rows in the index that are not dead. Takes no lock.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// What the index is made of. Visits every node of the graph with its read guard, then takes the row lock.
    /// Errors: `OutOfMemory`.
    pub fn stats(&self) -> Result<Stats> {
        let generation = self.generation();
        let levels = {
            let graph = generation.graph.read();
            graph.levels()?
        };
        let rows = self.rows();
        Ok(Stats {
            count: rows.live,
            pending: rows.pending.len(),
            unrankable: self.unrankable.len(),
            deleted: rows.tombstones.len() + generation.dead(),
            capacity: generation.capacity(),
            memory: self.memory.used(),
            row_bytes: self.codec.row_bytes(),
            code_error: self.codec.learnt().error,
            norms: rows.norms.held(),
            levels,
        })
    }

    /// How often the graph was renewed; see `find`.
    pub(crate) fn renewals(&self) -> usize {
        self.renewals.load(Ordering::Acquire)
    }

    /// The current generation.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.generation.read())
    }

    /// The account of its memory.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// How often something has changed that an image holds.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Replaces the generation. The caller keeps linkers out of the old one and holds the row lock.
    pub(crate) fn set_core(&self, generation: Arc<Generation>) {
        *self.generation.write() = generation;
    }

    /// Takes the row lock.
    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock()
    }

    /// Updates the counters that are read without the lock. To be called before the row lock is given back.
    pub(crate) fn publish(&self, rows: &Rows) {
        self.changes.fetch_add(1, Ordering::Release);
        self.pending.store(rows.pending.len(), Ordering::Release);
        self.alive.store(rows.live + rows.tombstones.len(), Ordering::Relaxed);
        self.oldest.store(rows.tombstones.oldest(), Ordering::Relaxed);
        self.unsettled.store(rows.tombstones.unsettled_after(), Ordering::Relaxed);
        self.norms.store(rows.norms.held().to_bits(), Ordering::Release);
    }

    /// The entry of a row that is not dead.
    fn entry<'a>(&'a self, rows: &'a Rows, generation: &'a Generation, place: Place) -> &'a AtomicSlotState {
        match place {
            Place::Slot(slot) => generation.entries.at(slot),
            Place::Pending(ticket) => rows.pending.entry(ticket),
            Place::Unrankable(position) => self.unrankable.entry(position),
        }
    }

    /// Errors: `InvalidInput` unless there is one vector a row and all row ids are in range.
    fn check(&self, row_ids: &[i64], vectors: &[f32]) -> Result<()> {
        let dimensions = self.dimensions();
        if vectors.len() != row_ids.len() * dimensions {
            let message =
                format!("{} rows of {dimensions} dimensions came with {} values", row_ids.len(), vectors.len());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        match row_ids.iter().find(|row_id| !(0..=ROW_ID_MAX).contains(*row_id)) {
            Some(row_id) => Err(Error::new(ErrorKind::InvalidInput, format!("row id {row_id} is not of a stored row"))),
            None => Ok(()),
        }
    }
}
