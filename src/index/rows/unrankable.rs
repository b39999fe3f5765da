//! Rows whose vectors cannot be ranked (see [`crate::vectors::Space::store`]): kept by id, returned to every search.

use crate::sync::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::index::rows::{AtomicSlotState, PLACE_BITS, SlotState, SlotStates, State};
use crate::memory::{Charge, Memory};

/// Unrankable rows by position. Read without locks; changed with the index's row lock held.
pub struct Unrankable {
    states: SlotStates,
    /// Positions ever used.
    end: AtomicUsize,
    /// At most this many rows may have a distance that is not NaN.
    comparable: AtomicUsize,
    free: Mutex<Free>,
}

/// Positions to use again. Has room for all positions, so that rows can die without allocation.
struct Free {
    positions: Vec<u32>,
    charge: Charge,
}

impl Unrankable {
    /// No rows; allocates nothing.
    pub fn new(memory: &Arc<Memory>) -> Result<Self> {
        let free = Mutex::new(Free { positions: Vec::new(), charge: memory.charge(0)? });
        Ok(Self { states: SlotStates::new(memory)?, end: AtomicUsize::new(0), comparable: AtomicUsize::new(0), free })
    }

    /// Rows that are not dead.
    pub fn len(&self) -> usize {
        self.end.load(Ordering::Acquire) - self.free().positions.len()
    }

    /// Notes that `rows` of the rows pushed next, or given another vector, may have distances.
    pub fn expect_comparable(&self, rows: usize) {
        // Without rows, none of those counted before is left.
        let before = if self.len() == 0 { 0 } else { self.comparable() };
        self.comparable.store(before + rows, Ordering::Release);
    }

    /// An upper bound of the rows that may have distances; those of the others are NaN. See [`crate::vectors::Space::is_undefined`].
    pub fn comparable(&self) -> usize {
        self.comparable.load(Ordering::Acquire)
    }

    /// Makes sure that the next `rows` pushes have memory. Errors: `OutOfMemory`.
    pub fn reserve(&self, rows: usize) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let full = || Error::new(ErrorKind::OutOfMemory, "too many unrankable vectors in an HNSW index");
        let end = self.end.load(Ordering::Relaxed) + rows;
        if end > 1 << PLACE_BITS {
            return Err(full());
        }
        let mut free = self.free();
        let missing = end.saturating_sub(free.positions.capacity());
        if missing > 0 {
            free.charge.grow(missing * size_of::<u32>())?;
            let additional = end - free.positions.len();
            free.positions.try_reserve_exact(additional).map_err(|_| full())?;
        }
        self.states.extend(end)
    }

    /// Publishes a row and returns its position. Needs a reservation.
    pub fn push(&self, row_id: i64) -> u32 {
        let position = self.free().positions.pop().unwrap_or_else(|| self.end.load(Ordering::Relaxed) as u32);
        self.states.at(position).store(SlotState::live(row_id));
        self.end.fetch_max(position as usize + 1, Ordering::Release);
        position
    }

    /// The state of a row that is not dead.
    pub fn state_of(&self, position: u32) -> &AtomicSlotState {
        self.states.at(position)
    }

    /// Marks the row dead and frees its position. Called once a row. Never allocates.
    pub fn finish(&self, position: u32) {
        self.states.at(position).set_state(State::Dead);
        self.free().positions.push(position);
    }

    /// One past the highest position ever used: all positions below it have a state.
    pub fn end(&self) -> u32 {
        self.end.load(Ordering::Acquire) as u32
    }

    /// Ids of the rows that are not dead.
    pub fn rows(&self) -> impl Iterator<Item = i64> {
        let states = (0..self.end()).map(|position| self.states.at(position).load());
        states
            .filter(|slot_state| matches!(slot_state.state, State::Live | State::Tombstone))
            .map(|slot_state| slot_state.row_id)
    }

    /// Ids of the rows that are live.
    pub fn live_rows(&self) -> impl Iterator<Item = i64> {
        let states = (0..self.end()).map(|position| self.states.at(position).load());
        states.filter(|slot_state| slot_state.state == State::Live).map(|slot_state| slot_state.row_id)
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unlimited;

    #[test]
    fn positions_are_used_again() {
        let memory = Memory::new(Box::new(Unlimited));
        let unrankable = Unrankable::new(&memory).unwrap();
        for row_id in 0..100_000 {
            unrankable.reserve(1).unwrap();
            let position = unrankable.push(row_id);
            assert!(position < 3);
            if row_id >= 2 {
                let oldest = unrankable.rows().min().unwrap();
                let at = (0..3).find(|&at| unrankable.state_of(at).load() == SlotState::live(oldest)).unwrap();
                unrankable.finish(at);
            }
        }
        assert_eq!(unrankable.len(), 2);
        drop(unrankable);
        assert_eq!(memory.used(), 0);
    }
}
