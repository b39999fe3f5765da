//! The index, in parts.
//!
//! | part | owns |
//! |---|---|
//! | [`Index`] | nothing but the other parts: rows come and go through it |
//! | `RowTable` | which rows there are and where, tombstones, pending and unrankable rows, the current generation |
//! | [`Maintenance`] | what links rows, and keeps the graph small and sound |
//! | [`Reconciler`] | comparisons of the index with its table |
//! | [`Images`] | the newest image: checkpoints |
//! | [`Health`] | nothing: what readers see of all these parts without waiting |
//! | [`Searcher`](crate::search::Searcher) | nothing: it searches |
//!
//! A row is in one *place*: pending (copied, searched exactly), in a slot (linked), or unrankable (by id only). Its state
//! there says whether it is live, a tombstone, or dead.
//!
//! # Locks
//! They are listed in the order in which they may be taken. None is held while the host is asked about visibility, except the graph's read
//! guard.
//!
//! | lock | guards | held |
//! |---|---|---|
//! | `Maintenance::compacting` | one compaction or renewal at a time | for a compaction or renewal |
//! | `RowTable::append` | one append at a time | for an append, or a renewal |
//! | `Images::newest` | the newest image | for a checkpoint |
//! | `Generation::growth` | growth of one generation | while its arrays are extended |
//! | `Generation::consolidation` | one consolidation of a generation at a time | for some nodes, or a compaction |
//! | `Generation::reconnection` | one pass of `reconnect` over a generation at a time | for some nodes |
//! | `Generation::graph` | the graph, see [`crate::graph::lock`] | for one search, link step, consolidation of some nodes, growth or copy |
//! | the pin of `Generation::graph` | rows read beside additions | for an exact search |
//! | `RowTable::rows`, the *row lock* | the row map, pending area, tombstones | some microseconds; for all rows when a compaction ends |
//! | `RowTable::generation` | which generation is current | to copy or replace a pointer |
//! | `Maintenance::repair` | what the last repair was | to copy it |
//!
//! The pin may be taken with the row lock held, because no thread ever waits for pins to end.

mod append;
mod debts;
mod delete;
#[allow(unsafe_code)]
mod generation;
mod health;
mod image;
mod load;
pub(crate) mod maintain;
mod norms;
pub(crate) mod progress;
mod reconcile;
pub mod rows;
mod setup;
mod store;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod widths;

use std::sync::Arc;

use self::setup::Setup;
use crate::error::Result;
use crate::graph::LevelStats;
use crate::host::Ledger;
use crate::memory::Memory;
use crate::options::Options;
use crate::vectors::{Codec, Space};

pub use self::append::Origin;
pub use self::debts::Own;
pub(crate) use self::generation::{Generation, PinnedRows};
pub use self::health::Health;
pub use self::image::{Image, Images};
pub use self::maintain::Maintenance;
pub use self::progress::{Repair, RepairKind, Steps};
pub use self::reconcile::Reconciler;
pub use self::rows::tombstones::UNRESOLVED;
pub(crate) use self::table::RowTable;
pub use crate::vectors::Norms;

/// An HNSW index over the vectors of one column. Shared between threads as `Arc<Index>`: `Send` and `Sync` follow from
/// its parts, as the compiler checks below; blocks and the graph assert them by hand, and argue it there.
pub struct Index {
    setup: Arc<Setup>,
    rows: Arc<RowTable>,
    maintenance: Arc<Maintenance>,
    reconciler: Reconciler,
    images: Images,
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
    /// Bytes of a vector as the graph keeps it.
    pub row_bytes: usize,
    /// The largest error of a code so far, as a share of the vector's distance from the codec's centre; 0 for floats.
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
    /// An empty index of vectors of `dimensions` elements (at least 1). Its memory comes from `ledger`, and goes back when the index is
    /// dropped. Errors: `OutOfMemory`.
    pub fn new(options: Options, dimensions: usize, ledger: Box<dyn Ledger>) -> Result<Self> {
        let codec = Codec::new(Space::new(options.metric, dimensions), options.quantization);
        Self::with_codec(options, codec, ledger)
    }

    /// As [`new`](Self::new), with the codec that `options` describe.
    fn with_codec(options: Options, codec: Codec, ledger: Box<dyn Ledger>) -> Result<Self> {
        let setup = Arc::new(Setup::new(options, codec, Memory::new(ledger))?);
        let rows = Arc::new(RowTable::new(Arc::clone(&setup))?);
        if let Some(share) = setup.options.target() {
            rows.widths.want(share);
        }
        let maintenance = Arc::new(Maintenance::new(Arc::clone(&rows)));
        Ok(Self {
            reconciler: Reconciler::new(Arc::clone(&rows)),
            images: Images::new(Arc::clone(&rows), Arc::clone(&maintenance)),
            setup,
            rows,
            maintenance,
        })
    }

    /// The part that links rows and keeps the graph small and sound.
    pub fn maintenance(&self) -> &Maintenance {
        &self.maintenance
    }

    /// The part that compares the index with its table.
    pub fn reconciler(&self) -> &Reconciler {
        &self.reconciler
    }

    /// The part that stores the index.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The part that knows the rows.
    pub(crate) fn rows(&self) -> &RowTable {
        &self.rows
    }

    /// The options that the index was made with.
    pub fn options(&self) -> &Options {
        &self.setup.options
    }

    /// Elements of a vector.
    pub fn dimensions(&self) -> usize {
        self.setup.codec.space.dimensions
    }

    /// Bytes charged to the ledger.
    pub fn memory_used(&self) -> usize {
        self.setup.memory.used()
    }

    /// Rows waiting to be linked, tombstones included. Takes no lock.
    pub fn pending(&self) -> usize {
        self.rows.pending()
    }

    /// Announces that the index will hold `rows` rows. Then the graph's table need not move while they come, and a refusal of memory can
    /// say how much is needed.
    pub fn reserve_rows(&self, rows: usize) {
        self.rows.generation().hint(rows);
        self.setup.memory.expect(rows * Generation::row_bytes(&self.setup));
    }

    /// What the index is made of. Visits every node of the graph with its read guard, then takes the row lock.
    /// Errors: `OutOfMemory`.
    pub fn stats(&self) -> Result<Stats> {
        let generation = self.rows.generation();
        let levels = {
            let graph = generation.graph.read();
            graph.levels()?
        };
        let rows = self.rows.read();
        Ok(Stats {
            count: rows.live,
            pending: rows.pending.len(),
            unrankable: self.rows.unrankable.len(),
            deleted: rows.tombstones.len() + generation.dead(),
            capacity: generation.capacity(),
            memory: self.memory_used(),
            row_bytes: self.setup.codec.row_bytes(),
            code_error: self.setup.codec.learnt().error,
            norms: rows.norms.held(),
            levels,
        })
    }
}
