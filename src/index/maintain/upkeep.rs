//! Upkeep: few rows are pending, and the graph is not much larger than its rows need.

use super::{Maintenance, wait_for};
use crate::error::Result;
use crate::host::Interrupt;
use crate::index::{Generation, Own};

/// A graph may have a slot in excess for so many rows, and `SPARE_MIN` more.
const ROWS_PER_SPARE: usize = 4;
/// See `ROWS_PER_SPARE`.
const SPARE_MIN: usize = if cfg!(feature = "model") { 4 } else { 2048 };
/// Rows linked between two looks at the size of the graph.
const LINK_ROWS: usize = 64;
/// Rows that a statement links beside its own, of others that are still at it, or were stopped, or are nobody's: some hundredths of a
/// second.
pub(in crate::index) const OTHERS_ROWS: usize = if cfg!(feature = "model") { 2 } else { 256 };
/// Nodes that it passes for slots that it does not owe: about as much.
pub(in crate::index) const OTHERS_NODES: usize = 8 * OTHERS_ROWS;
/// Nodes that it passes for a slot that it owes. A graph that is too large has a slot to be freed for four that stay, so it is not more and
/// more too large.
pub(in crate::index) const NODES_PER_DELETED: usize = 16;

impl Maintenance {
    /// Whether the graph has, or will have once all rows are linked, more slots than a quarter above what the rows need, and some
    /// thousand; or so little of it is alive that it is better given up. Slots of dead rows that nobody owes count as if their rows were
    /// there. Takes the lock of the free slots.
    pub fn oversize(&self) -> bool {
        let generation = self.rows.generation();
        self.slots_with(generation.free_slots_count()) > self.slots_allowed(&generation)
            || generation.unowed() > SPARE_MIN && self.renewal_pays(&generation)
    }

    /// What the calling thread has changed since it was asked: to be asked after a commit, on its thread, and given to `tend`.
    pub fn take_own(&self) -> Own {
        self.rows.take_own()
    }

    /// At the end of a statement: links rows until at most `pending_max` are pending, and keeps the graph from being
    /// [`oversize`](Self::oversize): slots of dead rows are used again, and when they are many, their memory goes back. While others copy
    /// the graph it waits, if rows of its own are left.
    ///
    /// To be called after changes by whoever made them, `own`, so that no rhythm of changes makes the index grow without bound. Costs
    /// about as much for each row that this statement has deleted, or added, as linking one, and for all others together, which
    /// may be any number, as linking `OTHERS_ROWS`, and at most one copy of the graph: what is left of them is left to those who made
    /// them, to the background, and to the next calls. Takes the locks of [`link`](Self::link) and [`compact`](Self::compact), and the row
    /// lock for moments. Errors: `OutOfMemory`, `Interrupted`; the index stays usable, and the work can go on later.
    pub fn tend(&self, own: Own, pending_max: usize, interrupt: &dyn Interrupt) -> Result<()> {
        self.rows.settle_debts(own.deleted);
        let mut nodes = OTHERS_NODES;
        let generation = self.rows.generation();
        if generation.unowed() > 0 && !self.renewal_pays(&generation) {
            nodes = nodes.saturating_sub(self.consolidate(nodes, interrupt)?);
        }
        drop(generation);
        nodes = nodes.saturating_add(own.deleted.saturating_mul(NODES_PER_DELETED));
        let (mut left, mut others) = (own.appended, OTHERS_ROWS);
        loop {
            if nodes > 0 && self.oversize() {
                left += self.shrink(&mut nodes, interrupt)?;
            }
            if self.rows.pending() <= pending_max {
                self.rows.pay_links(usize::MAX);
                return Ok(());
            }
            let owed = self.rows.owed_links();
            let of_own = left.min(owed);
            let linked = self.link(LINK_ROWS.min(if of_own > 0 { of_own } else { others }), interrupt)?;
            if linked == 0 && of_own > 0 && self.await_copy(interrupt)? {
                continue;
            }
            if linked == 0 {
                return Ok(());
            }
            self.rows.pay_links(linked);
            if of_own > 0 {
                left -= linked;
            } else {
                others -= linked;
            }
        }
    }

    /// The same for what this thread has changed.
    #[cfg(test)]
    pub(in crate::index) fn tend_own(&self, pending_max: usize, interrupt: &dyn Interrupt) -> Result<()> {
        self.tend(self.take_own(), pending_max, interrupt)
    }

    /// Does a part of `tend` in the background: true if the graph was oversize, and nobody else works on that. Errors: as for `tend`.
    pub fn shrink_if_oversize(&self, interrupt: &dyn Interrupt) -> Result<bool> {
        if !self.oversize() {
            return Ok(false);
        }
        let Some(_compacting) = self.compacting.try_lock() else { return Ok(false) };
        self.shrink_all(interrupt)?;
        Ok(true)
    }

    /// Frees slots for the pending rows, or gives the memory of those that are too many back; for as long as it takes to pass so many
    /// `nodes`, and if that is not all of them, unless others are at it; sets that to 0 if it was a part. Returns how many rows are owed
    /// to be linked by it. Errors: as for `tend`.
    fn shrink(&self, nodes: &mut usize, interrupt: &dyn Interrupt) -> Result<usize> {
        let generation = self.rows.generation();
        if *nodes >= generation.graph.len() {
            let _compacting = wait_for(&self.compacting, interrupt)?;
            return self.shrink_all(interrupt);
        }
        let most = std::mem::take(nodes);
        let Some(_compacting) = self.compacting.try_lock() else { return Ok(0) };
        if self.renewal_pays(&generation) {
            self.renew()?;
        } else if self.consolidate_due() {
            self.consolidate(most, interrupt)?;
        } else {
            self.compact_owed(interrupt)?;
        }
        Ok(0)
    }

    /// The same to the end. The compaction lock is held.
    fn shrink_all(&self, interrupt: &dyn Interrupt) -> Result<usize> {
        let generation = self.rows.generation();
        if !self.oversize() {
            return Ok(0); // somebody was faster
        }
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
