//! The pending area: rows that were appended but are not linked into the graph yet. Searches look through all of them.
//!
//! The rows of a block are either all plain or all coded (see [`Row`]).

use std::alloc::Layout;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::index::rows::{AtomicSlotState, PLACE_BITS, SlotState, State};
use crate::memory::mapping::Mapping;
use crate::memory::{Charge, Memory};
use crate::random::Random;
use crate::vectors::Row;

/// Most rows of a block.
const BLOCK_ROWS_MAX: usize = 1024;
/// `log2` of `BLOCK_ROWS_MAX`: the bits of a ticket that give the position within a block.
const POSITION_BITS: u32 = BLOCK_ROWS_MAX.ilog2();
/// Fewest rows of a block, if `BLOCK_BYTES_MAX` allows.
const BLOCK_ROWS_MIN: usize = 16;
/// Most bytes of a block of more than one row.
const BLOCK_BYTES_MAX: usize = 4 << 20;
/// One in this many rows is claimed early; see [`Pending::seed_in_random_order`].
const ROWS_PER_SEED: usize = 16;
/// Spreads consecutive numbers over all 64-bit numbers: 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming 3, 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Tickets wrap around, so at most this many blocks may exist at once.
const BLOCKS_MASK: u32 = (1 << (PLACE_BITS - POSITION_BITS)) - 1;

/// Rows and their states, filled from the front. Where the state is not empty, the row is written.
pub struct Block {
    states: Box<[AtomicSlotState]>,
    /// Written by `Pending::push` alone, which needs `&mut Pending` and writes each position once, before it publishes the
    /// position's state; everyone else reads only positions whose state is published.
    rows: Mapping,
    row_bytes: usize,
    coded: bool,
    _charge: Charge,
}

impl Block {
    fn new(memory: &Arc<Memory>, rows: usize, row_bytes: usize, coded: bool) -> Result<Arc<Self>> {
        let full = || Error::out_of_memory("for new rows of an HNSW index");
        let layout = Layout::array::<u8>(rows * row_bytes).map_err(|_| full())?;
        let charge = memory.charge(layout.size() + rows * size_of::<AtomicSlotState>())?;
        let mut states = Vec::new();
        states.try_reserve_exact(rows).map_err(|_| full())?;
        states.resize_with(rows, AtomicSlotState::default);
        let rows = Mapping::new(layout).ok_or_else(full)?;
        Ok(Arc::new(Self { states: states.into_boxed_slice(), rows, row_bytes, coded, _charge: charge }))
    }

    /// The published rows, with their states as they are now.
    pub fn rows(&self) -> impl Iterator<Item = (SlotState, Row<'_>)> {
        let states = self.states.iter().map(AtomicSlotState::load).enumerate();
        states.take_while(|(_, slot_state)| slot_state.state != State::Empty).map(|(at, slot_state)| {
            // SAFETY: the state is published, so its row is written.
            (slot_state, unsafe { self.row(at) })
        })
    }

    /// Where the row at `at`, which must be one of the block's, begins.
    fn place(&self, at: usize) -> *mut u8 {
        self.rows.start().wrapping_add(at * self.row_bytes)
    }

    /// # Safety
    /// The state at `at` was published.
    unsafe fn row(&self, at: usize) -> Row<'_> {
        assert!(at < self.states.len());
        // SAFETY: in bounds; written before the state was published, and never again.
        let row = unsafe { std::slice::from_raw_parts(self.place(at), self.row_bytes) };
        if self.coded { Row::Coded(row) } else { Row::Plain(row) }
    }
}

/// A row that one linker has claimed. It ends with [`Pending::finish`] or [`Pending::unclaim`].
pub struct Claim {
    ticket: u32,
    block: Arc<Block>,
    at: usize,
}

impl Claim {
    /// The row's state as it is now.
    pub fn slot_state(&self) -> SlotState {
        self.block.states[self.at].load()
    }

    /// The row.
    pub fn row(&self) -> Row<'_> {
        // SAFETY: only published states are claimed.
        unsafe { self.block.row(self.at) }
    }

    /// The row's ticket.
    pub fn ticket(&self) -> u32 {
        self.ticket
    }
}

struct BlockState {
    block: Arc<Block>,
    /// The block takes no more rows.
    closed: bool,
    /// Slot states published.
    filled: usize,
    /// All positions below were claimed; a row that is handed back sets this back.
    next: usize,
    /// Published states that are not dead.
    remaining: usize,
    claimed: [u64; BLOCK_ROWS_MAX / 64],
}

/// The blocks. Guarded by the index's row lock; snapshots are read without it.
pub struct Pending {
    memory: Arc<Memory>,
    /// Bytes of a plain row, and of a coded row.
    plain_bytes: usize,
    coded_bytes: usize,
    /// The next rows to come are coded.
    coded: bool,
    /// Blocks by number, starting with `first`. `None`: the block was dropped, but an older one is still in use.
    blocks: VecDeque<Option<BlockState>>,
    first: u32,
    /// Entries that are not dead.
    remaining: usize,
    /// The free room is reserved for the next pushes.
    reserved: bool,
    /// Tickets to be claimed before the others, the last one first. Some may be outdated.
    seeds: Vec<u32>,
    /// About one in this many rows is not claimed; 0: all are claimed.
    held_out_of: u32,
}

impl Pending {
    /// An empty area. `plain_bytes`, `coded_bytes`: bytes of a plain row, and of a coded row.
    pub fn new(memory: &Arc<Memory>, plain_bytes: usize, coded_bytes: usize) -> Self {
        Self {
            memory: Arc::clone(memory),
            plain_bytes,
            coded_bytes,
            coded: false,
            blocks: VecDeque::new(),
            first: 0,
            remaining: 0,
            reserved: false,
            seeds: Vec::new(),
            held_out_of: 0,
        }
    }

    /// Rows that are not dead.
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// The blocks with rows, to be read without the lock.
    pub fn snapshot(&self) -> Vec<Arc<Block>> {
        let used = self.blocks.iter().flatten().filter(|state| state.remaining > 0);
        used.map(|state| Arc::clone(&state.block)).collect()
    }

    /// Makes sure that the next `rows` pushes, all of plain rows or all of coded ones, have memory, until [`release`](Self::release).
    /// Errors: `OutOfMemory`; the area stays usable.
    pub fn reserve(&mut self, rows: usize, coded: bool) -> Result<()> {
        self.reserved = true;
        if self.coded != coded {
            self.close_blocks();
            self.coded = coded;
        }
        let row_bytes = if coded { self.coded_bytes } else { self.plain_bytes };
        let open = self.blocks.iter().rev().map_while(|state| state.as_ref().filter(|state| !state.full()));
        let mut free: usize = open.map(|state| state.block.states.len() - state.filled).sum();
        while free < rows {
            let full = || Error::new(ErrorKind::OutOfMemory, "too many rows of an HNSW index are pending");
            if self.blocks.len() >= BLOCKS_MASK as usize || self.blocks.try_reserve(1).is_err() {
                return Err(full());
            }
            let most = (BLOCK_BYTES_MAX / row_bytes).clamp(1, BLOCK_ROWS_MAX);
            let size = (rows - free).max(self.remaining).max(BLOCK_ROWS_MIN).next_power_of_two().min(most);
            let block = Block::new(&self.memory, size, row_bytes, coded)?;
            self.blocks.push_back(Some(BlockState {
                block,
                closed: false,
                filled: 0,
                next: 0,
                remaining: 0,
                claimed: [0; BLOCK_ROWS_MAX / 64],
            }));
            free += size;
        }
        Ok(())
    }

    /// Ends the reservation.
    pub fn release(&mut self) {
        self.reserved = false;
        self.trim();
    }

    /// Publishes a row and returns its ticket. Panics without a reservation for its kind.
    pub fn push(&mut self, row_id: i64, row: Row<'_>) -> u32 {
        let (row, coded) = match row {
            Row::Plain(row) => (row, false),
            Row::Coded(row) => (row, true),
        };
        // Blocks fill from the front: all blocks before the first open one are full or dropped.
        let index = self.blocks.partition_point(|state| state.as_ref().is_none_or(BlockState::full));
        let state = self.blocks[index].as_mut().expect("open blocks are kept");
        let at = state.filled;
        assert_eq!((state.block.coded, state.block.row_bytes), (coded, row.len()), "a row of another kind");
        // SAFETY: the position is inside the block and not published; `&mut self` makes this the only writer.
        unsafe {
            let to = state.block.place(at);
            std::ptr::copy_nonoverlapping(row.as_ptr(), to, row.len());
        }
        state.block.states[at].store(SlotState::live(row_id));
        state.filled += 1;
        state.remaining += 1;
        self.remaining += 1;
        ticket(self.first.wrapping_add(index as u32), at)
    }

    /// The state of a row that is not dead.
    pub fn state_of(&self, ticket: u32) -> &AtomicSlotState {
        let (index, at) = self.locate(ticket);
        &self.state(index).block.states[at]
    }

    /// A row that is not dead.
    pub fn row(&self, ticket: u32) -> Row<'_> {
        let (index, at) = self.locate(ticket);
        // SAFETY: tickets are given out for published states.
        unsafe { self.state(index).block.row(at) }
    }

    /// Marks a row dead that is gone or linked, and drops its block if the row was the last one there. Called once a row.
    pub fn finish(&mut self, ticket: u32) {
        let (index, at) = self.locate(ticket);
        let state = self.blocks[index].as_mut().expect("a block with live states is kept");
        state.block.states[at].set_state(State::Dead);
        state.remaining -= 1;
        self.remaining -= 1;
        if state.remaining == 0 && state.full() {
            self.blocks[index] = None;
        }
        self.trim();
    }

    /// Closes all blocks: none takes more rows.
    fn close_blocks(&mut self) {
        for block in &mut self.blocks {
            if let Some(state) = block {
                state.closed = true;
                if state.remaining == 0 {
                    *block = None;
                }
            }
        }
        self.trim();
    }

    /// Drops the blocks before the oldest row; all blocks if there are no rows and no reservation.
    fn trim(&mut self) {
        let empty = self.remaining == 0 && !self.reserved;
        while self.blocks.front().is_some_and(|block| empty || block.is_none()) {
            self.blocks.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Puts rows from all over the area in front of the others, in random order. A graph that grows in several distant places at once, each
    /// time by rows close to the last, loses the links between these places, unless a sparse graph of all places is there first. Does
    /// nothing if there is no memory for the list.
    pub fn seed_in_random_order(&mut self) {
        let mut tickets = Vec::new();
        if tickets.try_reserve_exact(self.remaining / ROWS_PER_SEED + self.blocks.len()).is_err() {
            return;
        }
        let mut random = Random(self.remaining as u64);
        for (index, state) in self.blocks.iter().enumerate() {
            let filled = state.as_ref().map_or(0, |state| state.filled);
            let number = self.first.wrapping_add(index as u32);
            let somewhere = |begin: usize| begin + random.below(ROWS_PER_SEED.min(filled - begin));
            tickets.extend((0..filled).step_by(ROWS_PER_SEED).map(somewhere).map(|at| ticket(number, at)));
        }
        random.shuffle(&mut tickets);
        self.seeds = tickets;
    }

    /// From now on about one in `rows` rows, from all over the area, is not claimed.
    pub fn hold_out(&mut self, rows: u32) {
        self.held_out_of = rows;
    }

    /// Ends `hold_out`: all rows are claimed again.
    pub fn release_held_out(&mut self) {
        self.held_out_of = 0;
        self.blocks.iter_mut().flatten().for_each(|state| state.next = 0);
    }

    /// Claims a row: the next seed if there is one, otherwise the oldest row that is not claimed.
    pub fn claim(&mut self) -> Option<Claim> {
        let held_out_of = self.held_out_of;
        // As good as a random choice, and the same at every call.
        let is_held_out = |ticket: u32| {
            held_out_of > 0 && (u64::from(ticket).wrapping_mul(GOLDEN) >> 32).is_multiple_of(held_out_of.into())
        };
        while let Some(ticket) = self.seeds.pop() {
            if is_held_out(ticket) {
                continue;
            }
            let (index, at) = self.locate(ticket);
            let number = self.first.wrapping_add(index as u32);
            let state = self.blocks.get_mut(index).and_then(Option::as_mut);
            let claim = state.filter(|state| at < state.filled).and_then(|state| state.claim(number, at));
            if claim.is_some() {
                return claim;
            }
        }
        self.seeds = Vec::new();
        for (index, state) in self.blocks.iter_mut().enumerate() {
            let Some(state) = state else { continue };
            let number = self.first.wrapping_add(index as u32);
            while state.next < state.filled {
                state.next += 1;
                if is_held_out(ticket(number, state.next - 1)) {
                    continue;
                }
                let claim = state.claim(number, state.next - 1);
                if claim.is_some() {
                    return claim;
                }
            }
        }
        None
    }

    /// Hands a claimed row back: it was not linked.
    pub fn unclaim(&mut self, claim: &Claim) {
        if claim.slot_state().state != State::Dead {
            let (index, at) = self.locate(claim.ticket);
            if let Some(state) = self.blocks[index].as_mut() {
                state.claimed[at / 64] &= !(1 << (at % 64));
                state.next = state.next.min(at);
            }
        }
    }

    fn locate(&self, ticket: u32) -> (usize, usize) {
        let number = (ticket >> POSITION_BITS).wrapping_sub(self.first) & BLOCKS_MASK;
        (number as usize, ticket as usize % BLOCK_ROWS_MAX)
    }

    fn state(&self, index: usize) -> &BlockState {
        self.blocks[index].as_ref().expect("a block with live states is kept")
    }
}

impl BlockState {
    /// Claims the published row at `at`, unless it is claimed or dead. `number`: that of this block.
    fn claim(&mut self, number: u32, at: usize) -> Option<Claim> {
        let bit = 1 << (at % 64);
        if self.claimed[at / 64] & bit != 0 || self.block.states[at].load().state == State::Dead {
            return None;
        }
        self.claimed[at / 64] |= bit;
        Some(Claim { ticket: ticket(number, at), block: Arc::clone(&self.block), at })
    }

    fn full(&self) -> bool {
        self.closed || self.filled == self.block.states.len()
    }
}

fn ticket(block: u32, at: usize) -> u32 {
    (block & BLOCKS_MASK) << POSITION_BITS | at as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unlimited;

    /// A row of eight bytes.
    fn number(row: Row<'_>) -> i64 {
        let (Row::Plain(row) | Row::Coded(row)) = row;
        i64::from_le_bytes(row[..8].try_into().unwrap())
    }

    fn rows(blocks: &[Arc<Block>]) -> Vec<(i64, i64)> {
        let rows = blocks.iter().flat_map(|block| block.rows());
        rows.filter(|(slot_state, _)| slot_state.state == State::Live)
            .map(|(slot_state, row)| (slot_state.row_id, number(row)))
            .collect()
    }

    #[test]
    fn rows_are_claimed_once_and_blocks_given_back() {
        let memory = Memory::new(Box::new(Unlimited));
        let mut pending = Pending::new(&memory, 8, 16);
        for round in 0..5000 {
            pending.reserve(3, false).unwrap();
            for i in 0..3 {
                pending.push(round * 3 + i, Row::Plain(&i.to_le_bytes()));
            }
            pending.release();
            let mut claims: Vec<_> = std::iter::from_fn(|| pending.claim()).collect();
            assert_eq!(claims.len(), if round == 0 { 3 } else { 4 });
            assert!(pending.claim().is_none());
            let back = claims.remove(1);
            pending.unclaim(&back);
            for claim in &claims {
                assert_eq!(number(claim.row()), claim.slot_state().row_id % 3);
                pending.finish(claim.ticket());
            }
            assert_eq!(pending.len(), 1);
            assert_eq!(rows(&pending.snapshot()), [(back.slot_state().row_id, number(back.row()))]);
            if round > 0 {
                assert!(memory.used() < 4 * 16 * (8 + 8), "{}", memory.used());
            }
        }
        drop(pending);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn seeds_are_claimed_first_and_all_of_them_once() {
        const ROWS: usize = 5000;
        let memory = Memory::new(Box::new(Unlimited));
        let mut pending = Pending::new(&memory, 8, 16);
        pending.reserve(ROWS, false).unwrap();
        let tickets: Vec<_> = (0..ROWS).map(|i| pending.push(i as i64, Row::Plain(&i.to_le_bytes()))).collect();
        pending.release();
        // Some rows are finished before the seeds are chosen, and some after; among the latter is a whole block.
        (0..32).for_each(|i| pending.finish(tickets[i]));
        pending.seed_in_random_order();
        (32..64).chain(1024..2048).for_each(|i| pending.finish(tickets[i]));
        let back = pending.claim().unwrap();
        pending.unclaim(&back);
        drop(back);
        let mut claimed: Vec<i64> = Vec::new();
        while let Some(claim) = pending.claim() {
            claimed.push(claim.slot_state().row_id);
            pending.finish(claim.ticket());
        }
        let front = &claimed[..(ROWS - 1024 - 64) / ROWS_PER_SEED - 1];
        let groups: std::collections::HashSet<_> = front.iter().map(|row| row / ROWS_PER_SEED as i64).collect();
        assert_eq!(groups.len(), front.len());
        assert!(!front[..10].is_sorted());
        assert!(claimed[front.len() + 2..].is_sorted());
        claimed.sort();
        let expected = (64..ROWS as i64).filter(|row| !(1024..2048).contains(row));
        assert!(claimed.into_iter().eq(expected));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn snapshots_outlive_their_blocks() {
        let memory = Memory::new(Box::new(Unlimited));
        let mut pending = Pending::new(&memory, 8, 16);
        pending.reserve(16, false).unwrap();
        let tickets: Vec<_> = (0..16).map(|i| pending.push(i, Row::Plain(&i.to_le_bytes()))).collect();
        pending.release();
        let snapshot = pending.snapshot();
        pending.finish(tickets[3]);
        assert_eq!(rows(&snapshot).len(), 15);
        tickets.iter().filter(|&&t| t != tickets[3]).for_each(|&t| pending.finish(t));
        assert!(pending.snapshot().is_empty());
        assert_eq!(snapshot[0].rows().count(), 16);
        drop(snapshot);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn rows_of_both_kinds_are_pending_together() {
        let memory = Memory::new(Box::new(Unlimited));
        let mut pending = Pending::new(&memory, 8, 16);
        let mut tickets = Vec::new();
        for round in 0..6i64 {
            let coded = round % 2 == 1;
            pending.reserve(3, coded).unwrap();
            for i in 0..3 {
                let bytes = [(round * 3 + i).to_le_bytes(), [0; 8]].concat();
                let row = if coded { Row::Coded(&bytes) } else { Row::Plain(&bytes[..8]) };
                tickets.push(pending.push(round * 3 + i, row));
            }
            pending.release();
        }
        assert_eq!(rows(&pending.snapshot()), (0..18).map(|row| (row, row)).collect::<Vec<_>>());
        for (row, &ticket) in tickets.iter().enumerate() {
            assert_eq!(matches!(pending.row(ticket), Row::Coded(_)), row / 3 % 2 == 1);
        }
        for expected in 0..18 {
            let claim = pending.claim().unwrap();
            assert_eq!(number(claim.row()), expected);
            pending.finish(claim.ticket());
        }
        assert_eq!(memory.used(), 0);
    }
}
