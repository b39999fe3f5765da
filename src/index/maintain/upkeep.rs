//! Upkeep: few rows are pending, and the graph is not much larger than its rows need.

use super::Maintenance;
use crate::error::Result;
use crate::host::Interrupt;
use crate::index::Generation;

/// A graph may have a slot in excess for so many rows, and `SPARE_MIN` more.
const ROWS_PER_SPARE: usize = 4;
/// See `ROWS_PER_SPARE`.
const SPARE_MIN: usize = if cfg!(feature = "model") { 4 } else { 2048 };
/// Rows linked between two looks at the size of the graph.
const LINK_ROWS: usize = 64;
/// Rows that a statement links beside its own: some hundredths of a second.
pub(in crate::index) const OTHERS_ROWS: usize = if cfg!(feature = "model") { 2 } else { 512 };
/// Rows that it links beside its own of those that other statements owe: these are still at it, or were stopped.
const OTHERS_OWED_ROWS: usize = 4 * OTHERS_ROWS;
/// Nodes that it passes for slots that it does not owe: about as much.
pub(in crate::index) const OTHERS_NODES: usize = 4 * OTHERS_ROWS;

impl Maintenance {
    /// Whether the graph has, or will have once all rows are linked, more slots than a quarter above what the rows need, and some
    /// thousand; or so little of it is alive that it is better given up. Slots of dead rows that nobody owes count as if their rows were
    /// there. Takes the lock of the free slots.
    pub fn oversize(&self) -> bool {
        let generation = self.rows.generation();
        self.slots_with(generation.free_slots_count()) > self.slots_allowed(&generation)
            || generation.unowed() > SPARE_MIN && self.renewal_pays(&generation)
    }

    /// At the end of a statement: links rows until at most `pending_max` are pending, and keeps the graph from being
    /// [`oversize`](Self::oversize): slots of dead rows are used again, and when they are many, their memory goes back. Ends early when
    /// others copy the graph.
    ///
    /// To be called after changes by whoever made them, so that no rhythm of changes makes the index grow without bound. Costs
    /// about as much for each row that statements have deleted, or this one has added, as linking one, and for all others together, which
    /// may be any number, as linking `OTHERS_OWED_ROWS`, and at most one copy of the graph: what is left of them is left to the
    /// background, and to the next calls. Takes the locks of [`link`](Self::link) and [`compact`](Self::compact), and the row lock for
    /// moments. Errors: `OutOfMemory`, `Interrupted`; the index stays usable, and the work can go on later.
    pub fn tend(&self, pending_max: usize, interrupt: &dyn Interrupt) -> Result<()> {
        let mut most = self.rows.settle_debts() + OTHERS_OWED_ROWS;
        if self.rows.generation().unowed() > 0 {
            self.consolidate(OTHERS_NODES, interrupt)?;
        }
        let mut others = OTHERS_ROWS;
        loop {
            if self.oversize() {
                most += self.shrink(interrupt)?;
            }
            if self.rows.pending() <= pending_max {
                self.rows.pay_links(usize::MAX);
                return Ok(());
            }
            let owed = self.rows.owed_links();
            let linked = self.link(LINK_ROWS.min(if owed > 0 { owed.min(most) } else { others }), interrupt)?;
            if linked == 0 {
                return Ok(());
            }
            if owed > 0 {
                self.rows.pay_links(linked);
                most -= linked;
            } else {
                others -= linked;
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

    /// Frees slots for the pending rows, or gives the memory of those that are too many back; returns how many rows are owed to be linked
    /// by it. Errors: as for `tend`.
    fn shrink(&self, interrupt: &dyn Interrupt) -> Result<usize> {
        let generation = self.rows.generation();
        if self.renewal_pays(&generation) {
            return self.renew();
        }
        if self.slots_with(generation.free_slots_count() + generation.owed()) <= self.slots_allowed(&generation) {
            self.consolidate_owed(&generation, interrupt, &|_| ())?;
        } else {
            self.compact_owed(interrupt)?;
        }
        Ok(0)
    }

    /// Slots of the graph when all rows are linked, if so many are free.
    fn slots_with(&self, free: usize) -> usize {
        self.rows.generation().graph.len() + self.rows.pending().saturating_sub(free)
    }

    fn slots_allowed(&self, generation: &Generation) -> usize {
        let rows = self.rows.alive() + generation.unowed();
        rows + rows / ROWS_PER_SPARE + SPARE_MIN
    }
}
