//! Compaction: a new generation from the rows that are not dead.

use std::sync::PoisonError;

use super::link::check;
use super::{Core, Index};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Interrupt;
use crate::memory::Charge;
use crate::rooms::Group;
use crate::rows::{Place, State};

/// So few rows linked during a round of copying are left for the last one, which keeps searches out.
const LAST_ROUND: usize = 64;

impl Index {
    /// Rebuilds graph, vectors and slots without dead rows, after [`advance`](Self::advance). Searches, appends,
    /// removals and linking go on meanwhile and are not lost; only the exchange at the end takes the room as
    /// `Exclusive`, and the row lock for all rows. Rows keep the order in which they were linked.
    ///
    /// Errors: `OutOfMemory` (both generations exist until the end), `Interrupted`; then nothing changed.
    pub fn compact(&self, lowest_visible: u64, interrupt: &dyn Interrupt) -> Result<()> {
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        self.advance(lowest_visible);
        let old = self.core();
        let mut copy = Copy {
            new: Core::new(&self.options, &self.space, &self.memory)?,
            origins: Vec::new(),
            next: 0,
            charge: self.memory.charge(0)?,
        };
        copy.new.hint(self.alive());
        while copy.round(&old, interrupt)? > LAST_ROUND {}

        let _alone = old.rooms.enter(Group::Exclusive);
        copy.round(&old, interrupt)?;
        let mut rows = self.rows();
        rows.dead_slots = 0;
        for (slot, &origin) in copy.origins.iter().enumerate() {
            // Now, not when it was copied: the row may have been deleted or replaced since.
            let entry = old.entries.at(origin).load();
            copy.new.entries.at(slot as u32).store(entry);
            if entry.state == State::Dead {
                rows.dead_slots += 1;
            } else {
                rows.places.set(entry.row_id, Place::Slot(slot as u32));
            }
        }
        self.set_core(copy.new);
        Ok(())
    }
}

/// A generation being copied.
struct Copy {
    new: std::sync::Arc<Core>,
    /// The old slot of each new one.
    origins: Vec<u32>,
    /// Old slots before this one are done.
    next: u32,
    charge: Charge,
}

impl Copy {
    /// Copies the rows that are not dead, up to the first that is being linked right now; returns how many slots it
    /// passed. Alone in the old room it passes all.
    fn round(&mut self, old: &Core, interrupt: &dyn Interrupt) -> Result<usize> {
        let first = self.next;
        let end = old.graph.len() as u32;
        self.charge.grow((end - first) as usize * size_of::<u32>())?;
        if self.origins.try_reserve((end - first) as usize).is_err() {
            return Err(Error::new(ErrorKind::OutOfMemory, "out of memory while compacting an HNSW index"));
        }
        while self.next < end {
            let state = old.entries.at(self.next).load().state;
            if state == State::Empty {
                break;
            }
            if state != State::Dead {
                check(interrupt)?;
                while !self.new.take_slot() {
                    self.new.grow()?;
                }
                // SAFETY: the entry is published.
                let vector = unsafe { old.arena.get(self.next) };
                // Nobody else knows the new generation, but its rules hold here too.
                let visit = self.new.rooms.enter(Group::Link);
                self.new.add(vector, &visit)?;
                self.origins.push(self.next);
            }
            self.next += 1;
        }
        Ok((self.next - first) as usize)
    }
}
