//! Rows enter the graph from the pending area.

use super::{Counted, Maintenance};
use crate::error::Result;
use crate::host::Interrupt;
use crate::index::Generation;
use crate::index::rows::pending::Claim;
use crate::index::rows::{Place, State};

impl Maintenance {
    /// Announces that many rows will be linked which may have been appended in any order. It makes a better graph of them.
    pub fn seed_in_random_order(&self) {
        self.rows.seed_in_random_order();
    }

    /// Links at most `max_rows` pending rows into the graph, the seeds first, then the oldest; returns how many. Several threads may link
    /// at once. Stops early when another thread copies the graph. Takes the graph's link guard for each row. Errors: `OutOfMemory`,
    /// `Interrupted`; the rows that are not linked stay pending.
    pub fn link(&self, max_rows: usize, interrupt: &dyn Interrupt) -> Result<usize> {
        let _linker = Counted::new(&self.linkers);
        for linked in 0..max_rows {
            interrupt.check()?;
            if self.is_paused() {
                return Ok(linked);
            }
            let Some(claim) = self.rows.claim() else { return Ok(linked) };
            match self.link_one(&claim) {
                Ok(true) => {}
                Ok(false) => {
                    self.rows.unclaim(&claim);
                    return Ok(linked);
                }
                Err(error) => {
                    self.rows.unclaim(&claim);
                    return Err(error);
                }
            }
        }
        Ok(max_rows)
    }

    /// Links one row into the current generation; false if another thread copies that generation.
    fn link_one(&self, claim: &Claim) -> Result<bool> {
        self.rows.learn();
        let row = self.setup().codec.coded(claim.row());
        loop {
            let generation = self.rows.generation();
            let Some(links) = generation.graph.link_unless(&|| self.is_paused()) else { return Ok(false) };
            // From here on the generation cannot be replaced: that takes a read guard, which waits for this link guard.
            if !std::ptr::eq(&*generation, &*self.rows.generation()) {
                continue;
            }
            match generation.link(&row, &links) {
                Ok(Some(slot)) => {
                    self.publish_slot(&generation, slot, claim);
                    return Ok(true);
                }
                Ok(None) => {
                    drop(links);
                    if !generation.grow(&|| self.is_paused())? {
                        return Ok(false);
                    }
                }
                Err((error, slot)) => {
                    if let Some(slot) = slot {
                        // Other nodes may link to the slot, so a consolidation has to free it.
                        let _rows = self.rows.change();
                        generation.die(slot);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Publishes a claimed row that is in the graph now.
    fn publish_slot(&self, generation: &Generation, slot: u32, claim: &Claim) {
        let mut rows = self.rows.change();
        // The row may have been deleted, or replaced, while it was linked.
        let slot_state = claim.slot_state();
        generation.states.at(slot).store(slot_state);
        if slot_state.state == State::Dead {
            generation.die(slot);
        } else {
            rows.places.set(slot_state.row_id, Place::Slot(slot));
            rows.pending.finish(claim.ticket());
        }
    }
}
