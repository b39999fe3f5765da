//! The state of an index, and the work under way on it, read without waiting for that work.

use super::Index;
use super::progress::{Repair, Steps};

/// See [`Index::health`]. The numbers are read one after the other while others work, so they may not add up.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Live rows, pending and unrankable ones included.
    pub count: usize,
    /// Nodes of the graph: slots of rows, dead ones and free ones.
    pub slots: usize,
    /// Slots of rows that no snapshot sees any more. Links still lead to them.
    pub dead: usize,
    /// Slots that the next rows will reuse.
    pub free: usize,
    /// Deleted rows that a snapshot may still see.
    pub tombstones: usize,
    /// Rows (live or tombstones) that are not linked yet.
    pub pending: usize,
    /// Threads that are linking rows.
    pub linkers: usize,
    /// Bytes charged to the ledger.
    pub memory: usize,
    /// The largest share of the nearest rows that anybody has asked for; 0 if nobody has.
    pub wanted: f64,
    /// The last repair since the index was made or loaded.
    pub repair: Option<Repair>,
    /// The running consolidation: nodes that it has passed.
    pub consolidation: Steps,
    /// The running pass that looks for nodes out of reach: two steps a node.
    pub reconnection: Steps,
    /// The running compaction; see [`Maintenance::compaction`](super::Maintenance::compaction).
    pub compaction: Steps,
    /// The running measurement: its searches. The total grows if wider walks turn out to be needed.
    pub measurement: Steps,
}

impl Index {
    /// The state of the index now. Takes only locks that are held for an instant; neither the row lock nor a guard of the graph.
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
            // Kept as an f32; of the numbers that round to it, people give the shortest.
            wanted: (self.rows.widths.wanted() as f32).to_string().parse().expect("a float reads itself"),
            repair: self.maintenance.repair(),
            consolidation: generation.consolidating.steps(),
            reconnection: generation.reconnecting.steps(),
            compaction: self.maintenance.compaction(),
            measurement: self.rows.widths.measuring.steps(),
        }
    }
}
