//! Upkeep: few rows are pending, and the graph is not much larger than its rows need.

use super::Maintenance;
use crate::error::Result;
use crate::host::Interrupt;

/// A graph may have a slot in excess for so many rows, and `SPARE_MIN` more.
const ROWS_PER_SPARE: usize = 4;
/// See `ROWS_PER_SPARE`.
const SPARE_MIN: usize = if cfg!(feature = "model") { 4 } else { 2048 };
/// Rows linked between two looks at the size of the graph.
const LINK_ROWS: usize = 64;

impl Maintenance {
    /// Whether the graph has, or will have once all rows are linked, more slots than a quarter above what the rows need, and some
    /// thousand. Takes the lock of the free slots.
    pub fn oversize(&self) -> bool {
        let generation = self.rows.generation();
        self.slots_with(generation.free_slots_count()) > self.slots_allowed()
    }

    /// Links rows until at most `pending_max` are pending, and keeps the graph from being [`oversize`](Self::oversize): slots of
    /// dead rows are used again, and when they are many, their memory goes back. Ends early when others copy the graph.
    ///
    /// To be called after changes by whoever made them, so that no rhythm of changes makes the index grow without bound. Costs
    /// about as much for each row deleted or added as linking one. Takes the locks of [`link`](Self::link) and
    /// [`compact`](Self::compact). Errors: `OutOfMemory`, `Interrupted`; the index stays usable, and the work can go on later.
    pub fn tend(&self, pending_max: usize, interrupt: &dyn Interrupt) -> Result<()> {
        loop {
            if self.oversize() {
                self.shrink(interrupt)?;
            }
            if self.rows.pending() <= pending_max || self.link(LINK_ROWS, interrupt)? == 0 {
                return Ok(());
            }
        }
    }

    /// Does a part of `tend` in the background: true if the graph was oversize, and nobody else works on that. Errors: as for `tend`.
    pub fn shrink_if_oversize(&self, interrupt: &dyn Interrupt) -> Result<bool> {
        if !self.oversize() || self.compacting.try_lock().is_none() {
            return Ok(false);
        }
        self.shrink(interrupt)?;
        Ok(true)
    }

    /// Frees slots for the pending rows, or gives the memory of those that are too many back. Errors: as for `tend`.
    fn shrink(&self, interrupt: &dyn Interrupt) -> Result<()> {
        let generation = self.rows.generation();
        if self.renewal_pays(&generation) {
            return self.renew();
        }
        if self.slots_with(generation.free_slots_count() + generation.dead()) <= self.slots_allowed() {
            return self.consolidate_all(&generation, interrupt, &|_| ());
        }
        self.compact(interrupt)
    }

    /// Slots of the graph when all rows are linked, if so many are free.
    fn slots_with(&self, free: usize) -> usize {
        self.rows.generation().graph.len() + self.rows.pending().saturating_sub(free)
    }

    fn slots_allowed(&self) -> usize {
        self.rows.alive() + self.rows.alive() / ROWS_PER_SPARE + SPARE_MIN
    }
}
