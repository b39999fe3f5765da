//! Upkeep: keeps few rows pending, and the graph not much larger than its rows need.

use super::{Maintenance, wait_for};
use crate::error::Result;
use crate::host::Interrupt;
use crate::index::{Generation, Own};

/// A graph may have one slot too many for every `ROWS_PER_SPARE` rows, and `SPARE_MIN` more.
const ROWS_PER_SPARE: usize = 4;
/// See `ROWS_PER_SPARE`.
const SPARE_MIN: usize = if cfg!(feature = "model") { 4 } else { 2048 };
/// Rows linked between two looks at the size of the graph.
const LINK_ROWS: usize = 64;
/// Rows that a statement links besides its own: rows of statements that still run or were stopped, and rows that no statement owes. It
/// takes some hundredths of a second.
pub(in crate::index) const OTHERS_ROWS: usize = if cfg!(feature = "model") { 2 } else { 256 };
/// Nodes that a statement passes in consolidations for slots that it does not owe. It takes about as long.
pub(in crate::index) const OTHERS_NODES: usize = 8 * OTHERS_ROWS;
/// Nodes that a statement passes for each slot that it owes. An oversize graph has at least one slot to free for every four that stay, so
/// this keeps it from growing further.
pub(in crate::index) const NODES_PER_DELETED: usize = 16;

impl Maintenance {
    /// Whether the graph has too many slots, or will have once all rows are linked: more than `1 + 1 / ROWS_PER_SPARE` a row, and
    /// `SPARE_MIN`. Dead slots that no statement owes count as if their rows were there, but when they are more than `SPARE_MIN` and a
    /// renewal pays, the graph is oversize, too. Takes the lock of the free slots.
    pub fn oversize(&self) -> bool {
        let generation = self.rows.generation();
        self.slots_with(generation.free_slots_count()) > self.slots_allowed(&generation)
            || generation.unowed() > SPARE_MIN && self.renewal_pays(&generation)
    }

    /// What the calling thread has changed since the last call. The host calls it after a commit, on the committing thread, and passes the
    /// result to `tend`.
    pub fn take_own(&self) -> Own {
        self.rows.take_own()
    }

    /// The work at the end of a statement: links rows until at most `pending_max` are pending, and keeps the graph from being
    /// [`oversize`](Self::oversize). Slots of dead rows are reused, and when they are many, their memory goes back. While another thread
    /// copies the graph, this waits if rows of the statement are left to link.
    ///
    /// Each statement that changes rows calls this with its changes, `own`, so that no rhythm of changes makes the index grow without
    /// bound. Each row that the statement has appended or deleted costs about as much as linking one. All other rows together, of which
    /// there may be any number, cost about as much as linking `OTHERS_ROWS` rows, and at most one copy of the graph. The rest of them is
    /// left to the statements that made them, to the background, and to the next calls. Takes the locks of [`link`](Self::link) and
    /// [`compact`](Self::compact), and the row lock for moments. Errors: `OutOfMemory`, `Interrupted`; the index stays usable, and the work
    /// can go on later.
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

    /// As `tend`, for the changes of this thread.
    #[cfg(test)]
    pub(in crate::index) fn tend_own(&self, pending_max: usize, interrupt: &dyn Interrupt) -> Result<()> {
        self.tend(self.take_own(), pending_max, interrupt)
    }

    /// Does the background's part of `tend`. Returns true if the graph was oversize and no other thread was shrinking it. Errors: as for
    /// `tend`.
    pub fn shrink_if_oversize(&self, interrupt: &dyn Interrupt) -> Result<bool> {
        if !self.oversize() {
            return Ok(false);
        }
        let Some(_compacting) = self.compacting.try_lock() else { return Ok(false) };
        self.shrink_all(interrupt)?;
        Ok(true)
    }

    /// Frees slots for the pending rows, or gives back the memory of slots that are too many. If `nodes` covers the whole graph, it does
    /// all of that work, and returns how many more rows are owed to be linked. Otherwise it passes at most `nodes` nodes, sets `nodes` to
    /// 0, and does nothing if another thread is shrinking the graph. Errors: as for `tend`.
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

    /// As `shrink`, to its end. The caller holds the compaction lock.
    fn shrink_all(&self, interrupt: &dyn Interrupt) -> Result<usize> {
        let generation = self.rows.generation();
        if !self.oversize() {
            return Ok(0); // another thread was faster
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

    /// Slots of the graph once all rows are linked, if `free` slots are free now.
    fn slots_with(&self, free: usize) -> usize {
        self.rows.generation().graph.len() + self.rows.pending().saturating_sub(free)
    }

    fn slots_allowed(&self, generation: &Generation) -> usize {
        let rows = self.rows.alive() + generation.unowed();
        rows + rows / ROWS_PER_SPARE + SPARE_MIN
    }
}
