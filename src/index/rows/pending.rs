//! The pending area: rows that were appended but are not linked into the graph yet. Searched exactly.

use std::alloc::Layout;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::index::rows::{AtomicSlotState, PLACE_BITS, SlotState, State};
use crate::memory::mapping::Mapping;
use crate::memory::{Charge, Memory};
use crate::random::Random;

/// Most rows of a block.
const BLOCK_ROWS_MAX: usize = 1024;
/// `log2` of it: the bits of a ticket that count within a block.
const POSITION_BITS: u32 = BLOCK_ROWS_MAX.ilog2();
/// Fewest rows of a block, if `BLOCK_BYTES_MAX` allows.
const BLOCK_ROWS_MIN: usize = 16;
/// Most bytes of a block of more than one row.
const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Of so many rows one is claimed early, see [`Pending::scatter`].
const ROWS_PER_SCATTERED: usize = 16;
/// Tickets wrap around; so many blocks may exist at once.
const BLOCKS_MASK: u32 = (1 << (PLACE_BITS - POSITION_BITS)) - 1;

/// Rows of the codec and their entries, filled from the front. An entry that is not empty has its row.
pub struct Block {
    entries: Box<[AtomicSlotState]>,
    /// Written by `Pending::push` alone, which needs `&mut Pending` and writes each position once, before it publishes the
    /// position's entry; everyone else reads only positions whose entry is published.
    rows: Mapping,
    row_bytes: usize,
    _charge: Charge,
}

impl Block {
    fn new(memory: &Arc<Memory>, rows: usize, row_bytes: usize) -> Result<Arc<Self>> {
        let full = || Error::out_of_memory("for new rows of an HNSW index");
        let layout = Layout::array::<u8>(rows * row_bytes).map_err(|_| full())?;
        let charge = memory.charge(layout.size() + rows * size_of::<AtomicSlotState>())?;
        let mut entries = Vec::new();
        entries.try_reserve_exact(rows).map_err(|_| full())?;
        entries.resize_with(rows, AtomicSlotState::default);
        let rows = Mapping::new(layout).ok_or_else(full)?;
        Ok(Arc::new(Self { entries: entries.into_boxed_slice(), rows, row_bytes, _charge: charge }))
    }

    /// The published rows: entries as they are now, with what the codec has of their vectors.
    pub fn rows(&self) -> impl Iterator<Item = (SlotState, &[u8])> {
        let entries = self.entries.iter().map(AtomicSlotState::load).enumerate();
        entries.take_while(|(_, entry)| entry.state != State::Empty).map(|(at, entry)| {
            // SAFETY: the entry is published, so its row is written.
            (entry, unsafe { self.row(at) })
        })
    }

    /// Where the row at `at`, which must be one of the block's, begins.
    fn place(&self, at: usize) -> *mut u8 {
        self.rows.start().wrapping_add(at * self.row_bytes)
    }

    /// # Safety
    /// The entry at `at` was published.
    unsafe fn row(&self, at: usize) -> &[u8] {
        assert!(at < self.entries.len());
        // SAFETY: in bounds; written before the entry was published, and never again.
        unsafe { std::slice::from_raw_parts(self.place(at), self.row_bytes) }
    }
}

/// A row that one linker has taken on. Handed back with [`Pending::finish`] or [`Pending::unclaim`].
pub struct Claim {
    ticket: u32,
    block: Arc<Block>,
    at: usize,
}

impl Claim {
    /// The row's entry as it is now.
    pub fn entry(&self) -> SlotState {
        self.block.entries[self.at].load()
    }

    /// The row, as the codec has its vector.
    pub fn row(&self) -> &[u8] {
        // SAFETY: only published entries are claimed.
        unsafe { self.block.row(self.at) }
    }

    /// Where the row is pending.
    pub fn ticket(&self) -> u32 {
        self.ticket
    }
}

struct Slot {
    block: Arc<Block>,
    /// Slot states published.
    filled: usize,
    /// Entries below were claimed, except those handed back (which set it back).
    next: usize,
    /// Published entries that are not dead.
    remaining: usize,
    claimed: [u64; BLOCK_ROWS_MAX / 64],
}

/// The blocks. Guarded by the index's row lock; snapshots are read without it.
pub struct Pending {
    memory: Arc<Memory>,
    row_bytes: usize,
    /// Blocks by number, the first being `first`. `None`: dropped, but an older block is still in use.
    blocks: VecDeque<Option<Slot>>,
    first: u32,
    /// Entries that are not dead.
    remaining: usize,
    /// Free room is promised to pushes to come.
    reserved: bool,
    /// Tickets to be claimed before the others, the last first; some are outdated.
    scattered: Vec<u32>,
}

impl Pending {
    /// Nothing pending. `row_bytes`: those of a row of the codec.
    pub fn new(memory: &Arc<Memory>, row_bytes: usize) -> Self {
        Self {
            memory: Arc::clone(memory),
            row_bytes,
            blocks: VecDeque::new(),
            first: 0,
            remaining: 0,
            reserved: false,
            scattered: Vec::new(),
        }
    }

    /// Rows that are not dead.
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// The blocks with rows, to be read without the lock.
    pub fn snapshot(&self) -> Vec<Arc<Block>> {
        let used = self.blocks.iter().flatten().filter(|slot| slot.remaining > 0);
        used.map(|slot| Arc::clone(&slot.block)).collect()
    }

    /// Makes sure that the next `rows` pushes have memory, until [`release`](Self::release). Errors: `OutOfMemory`;
    /// the area stays usable.
    pub fn reserve(&mut self, rows: usize) -> Result<()> {
        self.reserved = true;
        let open = self.blocks.iter().rev().map_while(|slot| slot.as_ref().filter(|slot| !slot.full()));
        let mut free: usize = open.map(|slot| slot.block.entries.len() - slot.filled).sum();
        while free < rows {
            let full = || Error::new(ErrorKind::OutOfMemory, "too many rows of an HNSW index are pending");
            if self.blocks.len() >= BLOCKS_MASK as usize || self.blocks.try_reserve(1).is_err() {
                return Err(full());
            }
            let most = (BLOCK_BYTES_MAX / self.row_bytes).clamp(1, BLOCK_ROWS_MAX);
            let size = (rows - free).max(self.remaining).max(BLOCK_ROWS_MIN).next_power_of_two().min(most);
            let block = Block::new(&self.memory, size, self.row_bytes)?;
            self.blocks.push_back(Some(Slot {
                block,
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

    /// Publishes a row, as the codec has it, and returns its ticket. Panics without a reservation.
    pub fn push(&mut self, row_id: i64, row: &[u8]) -> u32 {
        assert_eq!(row.len(), self.row_bytes);
        // Blocks fill from the front: the first open one is behind the last that is full or dropped.
        let closed = self.blocks.iter().rposition(|slot| slot.as_ref().is_none_or(Slot::full));
        let index = closed.map_or(0, |last| last + 1);
        let slot = self.blocks[index].as_mut().expect("open blocks are kept");
        let at = slot.filled;
        // SAFETY: the position is inside the block and not published; `&mut self` makes this the only writer.
        unsafe {
            let to = slot.block.place(at);
            std::ptr::copy_nonoverlapping(row.as_ptr(), to, self.row_bytes);
        }
        slot.block.entries[at].store(SlotState::live(row_id));
        slot.filled += 1;
        slot.remaining += 1;
        self.remaining += 1;
        ticket(self.first.wrapping_add(index as u32), at)
    }

    /// The entry of a row that is not dead.
    pub fn entry(&self, ticket: u32) -> &AtomicSlotState {
        let (index, at) = self.locate(ticket);
        &self.slot(index).block.entries[at]
    }

    /// What the codec has of a row that is not dead.
    pub fn row(&self, ticket: u32) -> &[u8] {
        let (index, at) = self.locate(ticket);
        // SAFETY: tickets are given out for published entries.
        unsafe { self.slot(index).block.row(at) }
    }

    /// The row is gone or linked: marks its entry dead and drops its block if it was the last one there. Once a row.
    pub fn finish(&mut self, ticket: u32) {
        let (index, at) = self.locate(ticket);
        let slot = self.blocks[index].as_mut().expect("a block with live entries is kept");
        slot.block.entries[at].set_state(State::Dead);
        slot.remaining -= 1;
        self.remaining -= 1;
        if slot.remaining == 0 && slot.full() {
            self.blocks[index] = None;
        }
        self.trim();
    }

    /// Drops blocks that nobody needs: those before the oldest row, and without rows or a reservation all.
    fn trim(&mut self) {
        let empty = self.remaining == 0 && !self.reserved;
        while self.blocks.front().is_some_and(|block| empty || block.is_none()) {
            self.blocks.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Puts rows from all over the area in front of the others, in random order. Graphs that grow in several far places
    /// at once, each by rows close to the last, lose touch between these; with a sparse net below they do not. Without
    /// memory for it nothing happens.
    pub fn scatter(&mut self) {
        let mut tickets = Vec::new();
        if tickets.try_reserve_exact(self.remaining / ROWS_PER_SCATTERED + self.blocks.len()).is_err() {
            return;
        }
        let mut random = Random(self.remaining as u64);
        for (index, slot) in self.blocks.iter().enumerate() {
            let filled = slot.as_ref().map_or(0, |slot| slot.filled);
            let number = self.first.wrapping_add(index as u32);
            let somewhere = |begin: usize| begin + random.below(ROWS_PER_SCATTERED.min(filled - begin));
            tickets.extend((0..filled).step_by(ROWS_PER_SCATTERED).map(somewhere).map(|at| ticket(number, at)));
        }
        for last in (1..tickets.len()).rev() {
            tickets.swap(last, random.below(last + 1));
        }
        self.scattered = tickets;
    }

    /// Takes on the oldest row that nobody has claimed, if none was put in front.
    pub fn claim(&mut self) -> Option<Claim> {
        while let Some(ticket) = self.scattered.pop() {
            let (index, at) = self.locate(ticket);
            let number = self.first.wrapping_add(index as u32);
            let slot = self.blocks.get_mut(index).and_then(Option::as_mut);
            let claim = slot.filter(|slot| at < slot.filled).and_then(|slot| slot.claim(number, at));
            if claim.is_some() {
                return claim;
            }
        }
        self.scattered = Vec::new();
        for (index, slot) in self.blocks.iter_mut().enumerate() {
            let Some(slot) = slot else { continue };
            let number = self.first.wrapping_add(index as u32);
            while slot.next < slot.filled {
                slot.next += 1;
                let claim = slot.claim(number, slot.next - 1);
                if claim.is_some() {
                    return claim;
                }
            }
        }
        None
    }

    /// Hands a claimed row back: it was not linked.
    pub fn unclaim(&mut self, claim: &Claim) {
        if claim.entry().state != State::Dead {
            let (index, at) = self.locate(claim.ticket);
            if let Some(slot) = self.blocks[index].as_mut() {
                slot.claimed[at / 64] &= !(1 << (at % 64));
                slot.next = slot.next.min(at);
            }
        }
    }

    fn locate(&self, ticket: u32) -> (usize, usize) {
        let number = (ticket >> POSITION_BITS).wrapping_sub(self.first) & BLOCKS_MASK;
        (number as usize, ticket as usize % BLOCK_ROWS_MAX)
    }

    fn slot(&self, index: usize) -> &Slot {
        self.blocks[index].as_ref().expect("a block with live entries is kept")
    }
}

impl Slot {
    /// Takes on a published row of this block, whose number is given, unless it is claimed or dead.
    fn claim(&mut self, number: u32, at: usize) -> Option<Claim> {
        let bit = 1 << (at % 64);
        if self.claimed[at / 64] & bit != 0 || self.block.entries[at].load().state == State::Dead {
            return None;
        }
        self.claimed[at / 64] |= bit;
        Some(Claim { ticket: ticket(number, at), block: Arc::clone(&self.block), at })
    }

    fn full(&self) -> bool {
        self.filled == self.block.entries.len()
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
    fn number(row: &[u8]) -> i64 {
        i64::from_le_bytes(row.try_into().unwrap())
    }

    fn rows(blocks: &[Arc<Block>]) -> Vec<(i64, i64)> {
        let rows = blocks.iter().flat_map(|block| block.rows());
        rows.filter(|(entry, _)| entry.state == State::Live).map(|(entry, row)| (entry.row_id, number(row))).collect()
    }

    #[test]
    fn rows_are_claimed_once_and_blocks_given_back() {
        let memory = Memory::new(Box::new(Unlimited));
        let mut pending = Pending::new(&memory, 8);
        for round in 0..5000 {
            pending.reserve(3).unwrap();
            for i in 0..3 {
                pending.push(round * 3 + i, &i.to_le_bytes());
            }
            pending.release();
            let mut claims: Vec<_> = std::iter::from_fn(|| pending.claim()).collect();
            assert_eq!(claims.len(), if round == 0 { 3 } else { 4 });
            assert!(pending.claim().is_none());
            let back = claims.remove(1);
            pending.unclaim(&back);
            for claim in &claims {
                assert_eq!(number(claim.row()), claim.entry().row_id % 3);
                pending.finish(claim.ticket());
            }
            assert_eq!(pending.len(), 1);
            assert_eq!(rows(&pending.snapshot()), [(back.entry().row_id, number(back.row()))]);
            if round > 0 {
                assert!(memory.used() < 4 * 16 * (8 + 8), "{}", memory.used());
            }
        }
        drop(pending);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn scattered_rows_are_claimed_first_and_all_of_them_once() {
        const ROWS: usize = 5000;
        let memory = Memory::new(Box::new(Unlimited));
        let mut pending = Pending::new(&memory, 8);
        pending.reserve(ROWS).unwrap();
        let tickets: Vec<_> = (0..ROWS).map(|i| pending.push(i as i64, &i.to_le_bytes())).collect();
        pending.release();
        // gone before, and after, some were put in front; among them a whole block
        (0..32).for_each(|i| pending.finish(tickets[i]));
        pending.scatter();
        (32..64).chain(1024..2048).for_each(|i| pending.finish(tickets[i]));
        let back = pending.claim().unwrap();
        pending.unclaim(&back);
        drop(back);
        let mut claimed: Vec<i64> = Vec::new();
        while let Some(claim) = pending.claim() {
            claimed.push(claim.entry().row_id);
            pending.finish(claim.ticket());
        }
        let front = &claimed[..(ROWS - 1024 - 64) / ROWS_PER_SCATTERED - 1];
        let groups: std::collections::HashSet<_> = front.iter().map(|row| row / ROWS_PER_SCATTERED as i64).collect();
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
        let mut pending = Pending::new(&memory, 8);
        pending.reserve(16).unwrap();
        let tickets: Vec<_> = (0..16).map(|i| pending.push(i, &i.to_le_bytes())).collect();
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
}
