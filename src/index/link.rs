//! Rows enter the graph from the pending area.

use super::{Core, Index};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Interrupt;
use crate::pending::Claim;
use crate::rooms::{Group, Visit};
use crate::rows::{Place, State};

impl Index {
    /// Announces that the index will hold `rows` rows, so that the graph's table need not move while they come.
    pub fn reserve_rows(&self, rows: usize) {
        self.core().hint(rows);
    }

    /// Links at most `max_rows` pending rows into the graph, oldest first; returns how many. Several threads may
    /// link at once. Enters the room as `Link` for each row. Errors: `OutOfMemory`, `Interrupted`; the rows that are
    /// not linked stay pending.
    pub fn link(&self, max_rows: usize, interrupt: &dyn Interrupt) -> Result<usize> {
        for linked in 0..max_rows {
            check(interrupt)?;
            let Some(claim) = self.rows().pending.claim() else { return Ok(linked) };
            if let Err(error) = self.link_one(&claim) {
                self.rows().pending.unclaim(&claim);
                return Err(error);
            }
        }
        Ok(max_rows)
    }

    fn link_one(&self, claim: &Claim) -> Result<()> {
        self.with_slot(|core, visit| {
            let (slot, _) = core.add(claim.vector(), visit)?;
            let mut rows = self.rows();
            // The row may have been deleted, or replaced, while it was linked.
            let entry = claim.entry();
            core.entries.at(slot).store(entry);
            if entry.state == State::Dead {
                rows.dead_slots += 1;
            } else {
                rows.places.set(entry.row_id, Place::Slot(slot));
                rows.pending.finish(claim.ticket());
            }
            self.publish(&rows);
            Ok(())
        })
    }

    /// Runs one link step on the current generation, which has a slot for it.
    fn with_slot(&self, step: impl FnOnce(&Core, &Visit<'_>) -> Result<()>) -> Result<()> {
        loop {
            let core = self.core();
            let visit = core.rooms.enter(Group::Link);
            // It cannot be replaced any more: that takes the room as `Exclusive`.
            if !std::ptr::eq(&*core, &*self.core()) {
                continue;
            }
            if core.take_slot() {
                return step(&core, &visit);
            }
            drop(visit);
            core.grow()?;
        }
    }
}

/// Errors: `Interrupted`.
pub(super) fn check(interrupt: &dyn Interrupt) -> Result<()> {
    if interrupt.interrupted() {
        return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
    }
    Ok(())
}
