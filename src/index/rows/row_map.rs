//! Rows ↔ places: the state of every slot, and the map from row ids to the places that hold them.

use std::alloc::{Layout, alloc_zeroed};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

use crate::bits;
use crate::error::{Error, Result};
use crate::memory::segments::Segments;
use crate::memory::{Charge, Memory};

/// The state of a place and of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No row was published here yet, or none since the place became free.
    Empty,
    /// The row is in the index.
    Live,
    /// The row was deleted, but snapshots may still see it.
    Tombstone,
    /// No snapshot sees the row any more, or the row lives at another place by now. Never returned.
    Dead,
}

/// State and row id of a place, in one word so that searchers always read a matching pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// The state.
    pub state: State,
    /// The row; 0 when empty.
    pub row_id: i64,
}

/// Bits of a row id. DuckDB's stay below 2^55.
const ROW_ID_BITS: u32 = 62;
/// Largest row id the index can hold.
pub const ROW_ID_MAX: i64 = (1 << ROW_ID_BITS) - 1;

impl SlotState {
    /// No row.
    pub const EMPTY: Self = Self { state: State::Empty, row_id: 0 };

    /// A live row.
    pub fn live(row_id: i64) -> Self {
        Self { state: State::Live, row_id }
    }

    /// The state and the row id in one word.
    pub fn pack(self) -> u64 {
        (self.state as u64) << ROW_ID_BITS | self.row_id as u64
    }

    /// The slot state that a word holds.
    pub fn unpack(word: u64) -> Self {
        let state = match word >> ROW_ID_BITS {
            0 => State::Empty,
            1 => State::Live,
            2 => State::Tombstone,
            _ => State::Dead,
        };
        Self { state, row_id: (word & ROW_ID_MAX as u64) as i64 }
    }
}

/// A [`SlotState`] that searchers read without locks. Publishing one publishes the vector written before it.
#[derive(Default)]
#[repr(transparent)]
pub struct AtomicSlotState(AtomicU64);

impl AtomicSlotState {
    /// The slot state now.
    #[inline]
    pub fn load(&self) -> SlotState {
        SlotState::unpack(self.0.load(Ordering::Acquire))
    }

    /// Publishes `entry`.
    pub fn store(&self, entry: SlotState) {
        self.0.store(entry.pack(), Ordering::Release);
    }

    /// Replaces the state, keeps the row.
    pub fn set_state(&self, state: State) {
        self.store(SlotState { state, ..self.load() });
    }
}

/// `log2` of the entries of a segment: 128 KiB.
const ENTRY_SHIFT: u32 = 14;

/// Slot states by slot, read without locks.
pub struct SlotStates(Segments<AtomicU64>);

impl SlotStates {
    /// No entries; allocates nothing.
    pub fn new(memory: &Arc<Memory>) -> Result<Self> {
        Ok(Self(Segments::new(memory, ENTRY_SHIFT, 1)?))
    }

    /// Slots whose states have memory. A state that was never stored is empty.
    pub fn rows(&self) -> usize {
        self.0.rows()
    }

    /// Gives memory to at least `rows` entries. Errors: `OutOfMemory`.
    pub fn extend(&self, rows: usize) -> Result<()> {
        self.0.extend(rows)
    }

    /// The entry of `slot`. Panics if it has no memory.
    #[inline]
    pub fn at(&self, slot: u32) -> &AtomicSlotState {
        // SAFETY: `at` returns a zeroed or stored atomic that lives as long as `self`; `AtomicSlotState` is transparent.
        unsafe { &*self.0.at(slot as usize).cast::<AtomicSlotState>() }
    }
}

/// Where a row is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the graph, at this slot.
    Slot(u32),
    /// In the pending area, at this ticket.
    Pending(u32),
    /// Among the unrankable rows, at this position.
    Unrankable(u32),
}

/// Bits of a pending ticket or unrankable position.
pub const PLACE_BITS: u32 = 30;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;

impl Place {
    fn pack(self) -> u32 {
        match self {
            Self::Slot(slot) => slot + 1,
            Self::Pending(ticket) => 0b10 << PLACE_BITS | ticket & PLACE_MASK,
            Self::Unrankable(position) => 0b11 << PLACE_BITS | position & PLACE_MASK,
        }
    }

    fn unpack(word: u32) -> Option<Self> {
        match word >> PLACE_BITS {
            0b10 => Some(Self::Pending(word & PLACE_MASK)),
            0b11 => Some(Self::Unrankable(word & PLACE_MASK)),
            _ => word.checked_sub(1).map(Self::Slot),
        }
    }
}

/// Rows of a page.
const PAGE: usize = 4096;

struct Page {
    /// Rows with a place, plus reservations.
    used: u32,
    /// A bit for each row that the host handed over itself.
    hosted: [u64; PAGE / 64],
    words: [u32; PAGE],
}

/// Row id → place: pages of 4096 words, each kept while one of its rows is in use. It takes about 4 bytes a row for the dense row ids of a
/// table; a row far from all others costs a whole page, 17 kB.
pub struct Places {
    /// Asked for every row, and by numbers of the host: their hash need not withstand anybody.
    pages: HashMap<i64, Box<Page>, FixedState>,
    charge: Charge,
}

impl Places {
    /// No rows.
    pub fn new(memory: &Arc<Memory>) -> Result<Self> {
        Ok(Self { pages: HashMap::default(), charge: memory.charge(0)? })
    }

    /// Keeps the pages of these rows in memory until [`release`](Self::release) is called for the same rows, so that `set` cannot fail for
    /// them. Errors: `OutOfMemory`; then nothing is kept.
    pub fn reserve(&mut self, row_ids: &[i64]) -> Result<()> {
        for (i, row_id) in row_ids.iter().enumerate() {
            if let Err(error) = self.keep_page(row_id / PAGE as i64) {
                self.release(&row_ids[..i]);
                return Err(error);
            }
        }
        Ok(())
    }

    fn keep_page(&mut self, number: i64) -> Result<()> {
        if let Some(page) = self.pages.get_mut(&number) {
            page.used += 1;
            return Ok(());
        }
        self.charge.grow(size_of::<Page>())?;
        let page = self.pages.try_reserve(1).ok().and_then(|()| new_page());
        let Some(mut page) = page else {
            self.charge.shrink(size_of::<Page>());
            return Err(Error::out_of_memory("for the rows of an HNSW index"));
        };
        page.used = 1;
        self.pages.insert(number, page);
        Ok(())
    }

    /// Ends the reservation of these rows.
    pub fn release(&mut self, row_ids: &[i64]) {
        for row_id in row_ids {
            self.drop_use(row_id / PAGE as i64);
        }
    }

    fn drop_use(&mut self, number: i64) {
        if let Some(page) = self.pages.get_mut(&number) {
            page.used -= 1;
            if page.used == 0 {
                self.pages.remove(&number);
                self.charge.shrink(size_of::<Page>());
            }
        }
    }

    /// The place of a row, if it has one. Any row id may be asked for.
    pub fn get(&self, row_id: i64) -> Option<Place> {
        let number = usize::try_from(row_id).ok()? / PAGE;
        let page = self.pages.get(&(number as i64))?;
        Place::unpack(page.words[row_id as usize % PAGE])
    }

    /// The slots of rows `4096 number + position`, in the order of the positions; rows without a slot are left out.
    pub fn slots(&self, number: usize, positions: impl Iterator<Item = usize>, slots: &mut Vec<u32>) {
        let Some(page) = self.pages.get(&(number as i64)) else { return };
        slots.extend(positions.filter_map(|position| match Place::unpack(page.words[position]) {
            Some(Place::Slot(slot)) => Some(slot),
            _ => None,
        }));
    }

    /// Sets the place of a row that is reserved or has a place.
    pub fn set(&mut self, row_id: i64, place: Place) {
        if let Some(page) = self.pages.get_mut(&(row_id / PAGE as i64)) {
            let word = &mut page.words[row_id as usize % PAGE];
            page.used += u32::from(*word == 0);
            *word = place.pack();
        }
    }

    /// Notes that the host handed over a row that has a place, until the row is forgotten.
    pub fn set_hosted(&mut self, row_id: i64) {
        if let Some(page) = self.pages.get_mut(&(row_id / PAGE as i64)) {
            bits::set(&mut page.hosted, row_id as usize % PAGE);
        }
    }

    /// Whether the host handed over this row, which has a place. Any row id may be asked for.
    pub fn hosted(&self, row_id: i64) -> bool {
        let Ok(row) = usize::try_from(row_id) else { return false };
        let page = self.pages.get(&((row / PAGE) as i64));
        page.is_some_and(|page| bits::is_set(&page.hosted, row % PAGE))
    }

    /// Every row that has a place, the place, and whether the host handed the row over.
    pub fn entries(&self) -> impl Iterator<Item = (i64, Place, bool)> {
        self.pages.iter().flat_map(|(number, page)| {
            (0..PAGE).filter_map(move |i| {
                let place = Place::unpack(page.words[i])?;
                Some((number * PAGE as i64 + i as i64, place, bits::is_set(&page.hosted, i)))
            })
        })
    }

    /// One past the highest row id that has a place, or a larger number.
    pub fn end(&self) -> i64 {
        let Some((&number, page)) = self.pages.iter().max_by_key(|&(&number, _)| number) else { return 0 };
        // The last page may hold nothing but reservations.
        let used = page.words.iter().rposition(|&word| word != 0).map_or(0, |last| last as i64 + 1);
        number * PAGE as i64 + used
    }

    /// Forgets a row that has a place. Never allocates.
    pub fn forget(&mut self, row_id: i64) {
        let number = row_id / PAGE as i64;
        if let Some(page) = self.pages.get_mut(&number) {
            page.words[row_id as usize % PAGE] = 0;
            bits::clear(&mut page.hosted, row_id as usize % PAGE);
            self.drop_use(number);
        }
    }
}

fn new_page() -> Option<Box<Page>> {
    // SAFETY: the layout is not empty; zero bytes are a valid empty page; the pointer came from the global allocator
    // with the layout that `Box` frees it with.
    unsafe {
        let page = alloc_zeroed(Layout::new::<Page>()).cast::<Page>();
        (!page.is_null()).then(|| Box::from_raw(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unlimited;
    use crate::options::SLOTS_MAX;

    #[test]
    fn entries_and_places_survive_packing() {
        for state in [State::Empty, State::Live, State::Tombstone, State::Dead] {
            for row_id in [0, 1, ROW_ID_MAX] {
                let entry = SlotState { state, row_id };
                assert_eq!(SlotState::unpack(entry.pack()), entry);
            }
        }
        for at in [0, 1, PLACE_MASK] {
            for place in [Place::Slot(at), Place::Slot(SLOTS_MAX as u32 - 1), Place::Pending(at), Place::Unrankable(at)]
            {
                assert_eq!(Place::unpack(place.pack()), Some(place));
            }
        }
        assert_eq!(Place::unpack(0), None);
    }

    #[test]
    fn sparse_row_ids_cost_a_page_each_and_give_it_back() {
        let memory = Memory::new(Box::new(Unlimited));
        let mut places = Places::new(&memory).unwrap();
        let rows = [0, 5, 4095, 4096, 1 << 54, ROW_ID_MAX];
        places.reserve(&rows).unwrap();
        for (i, &row_id) in rows.iter().enumerate() {
            places.set(row_id, Place::Slot(i as u32));
        }
        places.release(&rows);
        assert_eq!(memory.used(), 4 * size_of::<Page>());
        assert_eq!(places.get(5), Some(Place::Slot(1)));
        assert_eq!(places.get(6), None);
        for row_id in rows {
            places.forget(row_id);
        }
        assert_eq!(memory.used(), 0);
    }
}
