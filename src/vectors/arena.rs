//! The arena that keeps the vectors of linked rows: slot → row.

use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use super::{Codec, Query};
use crate::error::Result;
use crate::memory::Memory;
use crate::memory::segments::Segments;

/// The size of an arena segment, about: the step in which memory for vectors is mapped.
const SEGMENT_BYTES: usize = 4 << 20;
/// Most rows of a segment, so that an index of short vectors does not start with a large one.
const SEGMENT_ROWS_MAX: usize = 1 << 14;
/// Rows that are fetched ahead in one go.
const FETCHED_AHEAD: usize = 32;
/// Bytes of rows that are measured from one query after another: so much stays in the processor's first-level cache.
const NEAR_BYTES: usize = 24 << 10;
/// Bytes of each row that are fetched ahead.
#[cfg(target_arch = "x86_64")]
const PREFETCH_BYTES: usize = 256;

/// Rows by slot. A row never moves. It is written before its slot is published, and does not change until the slot is free.
pub struct Arena {
    segments: Segments<u8>,
    row_bytes: usize,
}

impl Arena {
    /// An empty arena.
    pub fn new(memory: &Arc<Memory>, row_bytes: usize) -> Result<Self> {
        let rows = (SEGMENT_BYTES / row_bytes).clamp(1, SEGMENT_ROWS_MAX);
        Ok(Self { segments: Segments::new(memory, rows.ilog2(), row_bytes)?, row_bytes })
    }

    /// Slots that have memory.
    pub fn rows(&self) -> usize {
        self.segments.rows()
    }

    /// `log2` of the slots of a segment.
    pub fn shift(&self) -> u32 {
        self.segments.shift()
    }

    /// Gives memory to at least `rows` slots. Errors: `OutOfMemory`.
    pub fn extend(&self, rows: usize) -> Result<()> {
        self.segments.extend(rows)
    }

    /// The table that C++ indexes; see [`Segments::table`].
    pub fn table(&self) -> *const AtomicPtr<AtomicPtr<u8>> {
        self.segments.table()
    }

    /// Calls `each` with every one of `slots`, in order, and its distance to `query`. Measures four rows at a time while the next ones are
    /// fetched, because most of the time would be spent waiting for memory. Panics if a slot has no memory.
    ///
    /// # Safety
    /// As for `get`, for all slots.
    #[inline]
    pub unsafe fn measure(&self, codec: &Codec, query: &Query<'_>, slots: &[u32], mut each: impl FnMut(u32, f32)) {
        for slots in slots.chunks(FETCHED_AHEAD) {
            slots.iter().for_each(|&slot| self.prefetch(slot));
            // SAFETY: the caller's promise.
            unsafe { self.measure_fours(codec, query, slots, &mut each) };
        }
    }

    /// As `measure`, for each of several queries. `each` gets the number of a query, up to four slots, the distances of their rows from the
    /// query, and the norms of these rows (see [`Codec::norm`]; zeros if rows are floats). A few rows are measured from all queries before
    /// the next ones are fetched. Panics if a slot has no memory.
    ///
    /// # Safety
    /// As for `get`, for all slots.
    pub unsafe fn measure_all(
        &self,
        codec: &Codec,
        queries: &[Query<'_>],
        slots: &[u32],
        mut each: impl FnMut(usize, &[u32], &[f32], &[f32]),
    ) {
        let together = (NEAR_BYTES / self.row_bytes).next_multiple_of(4).clamp(4, 8 * FETCHED_AHEAD);
        let mut norms = vec![0.0; together];
        for slots in slots.chunks(together) {
            slots.iter().for_each(|&slot| self.prefetch(slot));
            if codec.estimates() {
                // SAFETY: the caller's promise.
                norms.iter_mut().zip(slots).for_each(|(norm, &slot)| *norm = codec.norm(unsafe { self.get(slot) }));
            }
            for (number, queries) in queries.chunks(2).enumerate() {
                for (four, norms) in slots.chunks(4).zip(norms.chunks(4)) {
                    // SAFETY: the caller's promise.
                    let row = |i: usize| unsafe { self.get(four[i.min(four.len() - 1)]) };
                    let rows = [row(0), row(1), row(2), row(3)];
                    let mut tell = |i: usize, distances: [f32; 4]| {
                        each(2 * number + i, four, &distances[..four.len()], &norms[..four.len()]);
                    };
                    if let [a, b] = queries {
                        let distances = codec.distances_of_two([a, b], rows);
                        distances.into_iter().enumerate().for_each(|(i, distances)| tell(i, distances));
                    } else {
                        queries.iter().enumerate().for_each(|(i, query)| tell(i, codec.distances(query, rows)));
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for `get`, for all slots.
    #[inline]
    unsafe fn measure_fours(&self, codec: &Codec, query: &Query<'_>, slots: &[u32], mut each: impl FnMut(u32, f32)) {
        for four in slots.chunks(4) {
            // SAFETY: the caller's promise.
            let row = |i: usize| unsafe { self.get(four[i.min(four.len() - 1)]) };
            let distances = match four {
                [_] => [codec.distance(query, row(0)); 4],
                _ => codec.distances(query, [row(0), row(1), row(2), row(3)]),
            };
            four.iter().zip(distances).for_each(|(&slot, distance)| each(slot, distance));
        }
    }

    /// Starts to fetch the row of `slot` into the cache; the processor's own prefetcher continues.
    #[inline]
    fn prefetch(&self, slot: u32) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let row = self.segments.at(slot as usize).cast::<i8>();
            for line in (0..self.row_bytes.min(PREFETCH_BYTES)).step_by(64) {
                // SAFETY: the address is within the row, and prefetching never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(row.add(line)) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = slot;
    }

    /// The row of `slot`. Panics if the slot has no memory.
    ///
    /// # Safety
    /// The slot was published, so its row is written, and the caller keeps the slot from becoming free.
    #[inline]
    pub unsafe fn get(&self, slot: u32) -> &[u8] {
        // SAFETY: `at` returns the start of `row_bytes` bytes that live as long as `self`; the caller vouches
        // that they are written and that nobody writes them now.
        unsafe { std::slice::from_raw_parts(self.segments.at(slot as usize), self.row_bytes) }
    }

    /// The place for the row of `slot`. Panics if the slot has no memory.
    ///
    /// # Safety
    /// Nobody else reads or writes the row meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn place(&self, slot: u32) -> &mut [u8] {
        // SAFETY: as in `get`; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.segments.at(slot as usize), self.row_bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unlimited;

    #[test]
    fn rows_stay_where_they_are() {
        let memory = Memory::new(Box::new(Unlimited));
        let arena = Arena::new(&memory, 400_000).unwrap();
        arena.extend(1).unwrap();
        let first = arena.segments.at(0);
        arena.extend(200).unwrap();
        assert_eq!(first, arena.segments.at(0));
        assert!(arena.rows() >= 200);
        assert!(memory.used() >= 200 * 400_000);
        drop(arena);
        assert_eq!(memory.used(), 0);
    }
}
