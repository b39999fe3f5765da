//! Rows enter the graph from the pending area.

use crate::sync::atomic::Ordering;

use crate::error::{Error, ErrorKind, Result};
use crate::host::Interrupt;
use crate::index::rows::pending::Claim;
use crate::index::rows::{Place, State};
use crate::index::{Generation, Index};

impl Index {
    /// Announces that the index will hold `rows` rows, so that the graph's table need not move while they come, and that a
    /// refusal of memory can tell how much is needed.
    pub fn reserve_rows(&self, rows: usize) {
        self.generation().hint(rows);
        self.memory.expect(rows * Generation::row_bytes(&self.options, &self.codec));
    }

    /// Announces that many rows will be linked which were appended in any order; for the quality of the graph.
    pub fn scatter(&self) {
        self.rows().pending.scatter();
    }

    /// Links at most `max_rows` pending rows into the graph, oldest first, unless they were scattered; returns how many.
    /// Several threads may link at once. Stops while somebody copies the graph. Takes the graph's link guard for each row. Errors:
    /// `OutOfMemory`, `Interrupted`; the rows that are not linked stay pending.
    pub fn link(&self, max_rows: usize, interrupt: &dyn Interrupt) -> Result<usize> {
        for linked in 0..max_rows {
            check(interrupt)?;
            if self.paused.load(Ordering::Relaxed) > 0 {
                return Ok(linked);
            }
            let Some(claim) = self.rows().pending.claim() else { return Ok(linked) };
            if let Err(error) = self.link_one(&claim) {
                self.rows().pending.unclaim(&claim);
                return Err(error);
            }
        }
        Ok(max_rows)
    }

    /// Links one row into the current generation.
    fn link_one(&self, claim: &Claim) -> Result<()> {
        self.learn();
        let row = self.codec.coded(claim.row());
        loop {
            let generation = self.generation();
            let links = generation.graph.link();
            // It cannot be replaced any more: that is done with a read guard.
            if !std::ptr::eq(&*generation, &*self.generation()) {
                continue;
            }
            match generation.link(&row, &links) {
                Ok(Some(slot)) => {
                    self.publish_slot(&generation, slot, claim);
                    return Ok(());
                }
                Ok(None) => {
                    drop(links);
                    generation.grow()?;
                }
                Err((error, slot)) => {
                    if let Some(slot) = slot {
                        // Others may link to it, so it has to be repaired before it is free again.
                        let rows = self.rows();
                        generation.die(slot);
                        self.publish(&rows);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The claimed row is in the graph.
    fn publish_slot(&self, generation: &Generation, slot: u32, claim: &Claim) {
        let mut rows = self.rows();
        // The row may have been deleted, or replaced, while it was linked.
        let entry = claim.entry();
        generation.entries.at(slot).store(entry);
        if entry.state == State::Dead {
            generation.die(slot);
        } else {
            rows.places.set(entry.row_id, Place::Slot(slot));
            rows.pending.finish(claim.ticket());
        }
        self.publish(&rows);
    }
}

/// Errors: `Interrupted`.
pub(in crate::index) fn check(interrupt: &dyn Interrupt) -> Result<()> {
    if interrupt.interrupted() {
        return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
    }
    Ok(())
}
