//! Rows enter the graph: from the pending area, or straight from CREATE INDEX.

use super::{Core, Index};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Interrupt;
use crate::pending::Claim;
use crate::rooms::{Group, Visit};
use crate::rows::{Entry, Place, State};

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

    /// Adds rows like [`append`](Self::append), but links them at once: CREATE INDEX's sink, called from many threads
    /// with different rows. Enters the room as `Link` for each row. Errors: `InvalidInput`, `OutOfMemory`,
    /// `Interrupted`; the rows before the error stay.
    pub fn build_insert(&self, row_ids: &[i64], vectors: &[f32], interrupt: &dyn Interrupt) -> Result<()> {
        self.check(row_ids, vectors)?;
        self.rows().reserve(row_ids)?;
        let mut stored = Vec::new();
        let built =
            row_ids.iter().zip(vectors.chunks_exact(self.space.dimensions)).try_for_each(|(&row_id, vector)| {
                check(interrupt)?;
                stored.clear();
                if self.space.store(vector, &mut stored) {
                    self.build_one(row_id, &stored)
                } else {
                    self.build_odd(row_id)
                }
            });
        self.rows().places.release(row_ids);
        built
    }

    fn build_one(&self, row_id: i64, vector: &[f32]) -> Result<()> {
        let mut revived = Vec::new();
        let kept = {
            let mut rows = self.rows();
            let kept = self.keep(&mut rows, &self.core(), row_id, Some(vector), &mut revived);
            // A killed place is no place: until the new one is set, the row has none.
            if !kept && rows.places.get(row_id).is_some() {
                rows.places.forget(row_id);
            }
            rows.forget_tombstones(revived);
            self.publish(&rows);
            kept
        };
        if kept {
            return Ok(());
        }
        self.with_slot(|core, visit| {
            let (slot, _) = core.add(vector, visit)?;
            let mut rows = self.rows();
            core.entries.at(slot).store(Entry::live(row_id));
            rows.places.set(row_id, Place::Slot(slot));
            rows.live += 1;
            self.publish(&rows);
            Ok(())
        })
    }

    fn build_odd(&self, row_id: i64) -> Result<()> {
        let mut rows = self.rows();
        self.odd.reserve(1)?;
        let mut revived = Vec::new();
        if !self.keep(&mut rows, &self.core(), row_id, None, &mut revived) {
            let place = Place::Odd(self.odd.push(row_id));
            rows.places.set(row_id, place);
            rows.live += 1;
        }
        rows.forget_tombstones(revived);
        self.publish(&rows);
        Ok(())
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
