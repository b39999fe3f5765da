//! Renewal: a graph whose rows are mostly dead is given up, and its other rows are linked again.

use super::{Maintenance, RepairKind};
use crate::error::Result;
use crate::index::Generation;
use crate::index::rows::{Place, State};
use crate::vectors::Row;

/// With at least this many dead slots per survivor, linking the survivors again costs less than repairing the links around the dead slots.
/// Measured: freeing a dead slot costs half as much as linking a row.
const DEAD_PER_SURVIVOR: usize = 2;
/// Most bytes of surviving vectors. They are copied while commits wait, and searched exactly until they are linked.
const SURVIVORS_BYTES_MAX: usize = 64 << 20;

impl Maintenance {
    /// Whether renewing the graph costs less than repairing it. Takes the lock of the free slots.
    pub(in crate::index) fn renewal_pays(&self, generation: &Generation) -> bool {
        let survivors = generation.survivors();
        generation.dead() >= DEAD_PER_SURVIVOR * survivors
            && survivors * self.setup().codec.row_bytes() <= SURVIVORS_BYTES_MAX
    }

    /// Begins a new generation without nodes. The rows of the old generation, tombstones included, become pending again; its memory goes
    /// back when the last search has left it. The caller holds the compaction lock. Takes the append lock, and the row lock while the
    /// vectors are copied. Returns how many of these rows statements owe to link. Errors: `OutOfMemory`; then nothing has changed.
    pub(in crate::index) fn renew(&self) -> Result<usize> {
        let old = self.rows.generation();
        let new = Generation::new(self.setup())?;
        // Held so that no append has room reserved in the pending area.
        let _appending = self.rows.appending();
        let _paused = self.pause();
        old.graph.drain();
        let graph = old.graph.read();
        let mut rows = self.rows.change();
        let reserved = rows.pending.reserve(old.survivors(), true);
        let mut survivors = 0;
        if reserved.is_ok() {
            for slot in 0..graph.len() as u32 {
                let slot_state = old.states.at(slot).load();
                if !matches!(slot_state.state, State::Live | State::Tombstone) {
                    continue;
                }
                let ticket = rows.pending.push(slot_state.row_id, Row::Coded(graph.row(slot)));
                rows.pending.state_of(ticket).set_state(slot_state.state);
                rows.places.set(slot_state.row_id, Place::Pending(ticket));
                survivors += 1;
            }
        }
        rows.pending.release();
        reserved?;
        // Linking these rows costs less than the work that was owed for the dead slots.
        let owed = old.survivors().min(old.owed());
        rows.debts.links += owed;
        rows.pending.seed_in_random_order();
        rows.trim();
        rows.renew(new);
        self.repaired(RepairKind::Renewal, graph.len() - survivors);
        Ok(owed)
    }
}
