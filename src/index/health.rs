//! What an index is like now, and what is being done about it: told without waiting for anybody who works on it.

use super::Index;
use super::progress::{Repair, Steps};

/// See [`Index::health`]. The numbers are read one after the other while others work, so they may not add up.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Live rows, pending and unrankable ones included.
    pub count: usize,
    /// Nodes of the graph: slots of rows, dead ones and free ones.
    pub slots: usize,
    /// Slots of rows that nobody sees any more, to which links lead still.
    pub dead: usize,
    /// Slots to be used again.
    pub free: usize,
    /// Deleted rows that a snapshot may still see.
    pub tombstones: usize,
    /// Rows (live or tombstones) that are not linked yet.
    pub pending: usize,
    /// Threads that link some of these.
    pub linkers: usize,
    /// Bytes charged to the ledger.
    pub memory: usize,
    /// The largest share of the nearest rows that anybody has wanted; 0 if nobody has.
    pub wanted: f64,
    /// The last repair since the index was made, or loaded.
    pub repair: Option<Repair>,
    /// A consolidation: nodes that were passed.
    pub consolidation: Steps,
    /// A pass that looks for nodes out of reach: two steps a node.
    pub reconnection: Steps,
    /// A compaction, see [`Maintenance::compaction`](super::Maintenance::compaction).
    pub compaction: Steps,
    /// A measurement: searches. There are more than are known of at first if wider walks turn out to be needed.
    pub measurement: Steps,
}

impl Index {
    /// What the index is like now. Takes no lock that is held for longer than an instant, and none that a search takes.
    pub fn health(&self) -> Health {
        let generation = self.rows.generation();
        let (alive, count) = (self.rows.alive(), self.rows.live());
        Health {
            count,
            slots: generation.graph.len(),
            dead: generation.dead(),
            free: generation.free_slots_count(),
            tombstones: alive.saturating_sub(count),
            pending: self.rows.pending(),
            linkers: self.maintenance.linkers(),
            memory: self.memory_used(),
            wanted: self.rows.widths.wanted(),
            repair: self.maintenance.repair(),
            consolidation: generation.consolidating.steps(),
            reconnection: generation.reconnecting.steps(),
            compaction: self.maintenance.compaction(),
            measurement: self.rows.widths.measuring.steps(),
        }
    }
}
