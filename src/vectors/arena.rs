//! The stored form of vectors, and the arena that keeps them: slot → vector.

use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use crate::error::Result;
use crate::memory::Memory;
use crate::memory::segments::Segments;
use crate::options::Metric;
use crate::vectors::distance::Kernels;

/// About the size of an arena segment: the step in which vector memory is taken.
const SEGMENT_BYTES: usize = 4 << 20;
/// Most rows of a segment, so that an index of short vectors does not start with a large one.
const SEGMENT_ROWS_MAX: usize = 1 << 14;
/// Vectors that are fetched ahead.
const FETCHED_AHEAD: usize = 32;
/// Bytes of each of them.
#[cfg(target_arch = "x86_64")]
const PREFETCH_BYTES: usize = 256;
/// Squared norm from which a vector is unrankable. Two shorter vectors are at most `4 · 8e37` apart (squared), which `f32`
/// still holds.
const NORM_MAX: f64 = 8e37;
/// Squared norm up to which a vector has no usable direction.
const NORM_MIN: f64 = 1e-30;

/// How vectors of one index are compared.
#[derive(Clone, Copy)]
pub struct Space {
    /// What the index ranks by.
    pub metric: Metric,
    /// Elements of a vector.
    pub dimensions: usize,
    kernels: &'static Kernels,
}

impl Space {
    /// The space of `dimensions`-element vectors under `metric`.
    pub fn new(metric: Metric, dimensions: usize) -> Self {
        Self { metric, dimensions, kernels: Kernels::detect() }
    }

    /// Whether `vector` can be ranked in `f32`: elements finite, squared norm below 8e37 and, for cosine, above
    /// 1e-30. Other vectors are *unrankable*: they stay out of the graph, and the table decides where they rank.
    ///
    /// Appends its stored form to `stored` if so: as it is, or for cosine scaled to norm 1 (norm taken in `f64`).
    pub fn store(&self, vector: &[f32], stored: &mut Vec<f32>) -> bool {
        // A NaN or infinite element makes the norm NaN or infinite, and every comparison below refuses it.
        let norm = squared_norm(vector);
        match self.metric {
            Metric::Cosine => {
                let ordinary = norm > NORM_MIN && norm < NORM_MAX;
                if ordinary {
                    let scale = 1.0 / norm.sqrt();
                    stored.extend(vector.iter().map(|&x| (f64::from(x) * scale) as f32));
                }
                ordinary
            }
            Metric::L2sq | Metric::Ip => {
                let ordinary = norm < NORM_MAX;
                if ordinary {
                    stored.extend_from_slice(vector);
                }
                ordinary
            }
        }
    }

    /// The distance of two vectors in stored form, in the metric's unit: squared for `L2sq`, `1 - a·b` for the
    /// others. Always finite. Panics unless both have `dimensions` elements.
    #[inline]
    pub fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        assert!(a.len() == self.dimensions && b.len() == self.dimensions, "vectors of another space");
        // SAFETY: both slices hold `dimensions` elements, just checked.
        unsafe {
            match self.metric {
                Metric::L2sq => (self.kernels.l2sq)(a.as_ptr(), b.as_ptr(), self.dimensions),
                Metric::Cosine | Metric::Ip => 1.0 - (self.kernels.dot)(a.as_ptr(), b.as_ptr(), self.dimensions),
            }
        }
    }

    /// The distances of a vector to four others, all in stored form. See `distance`.
    #[inline]
    pub fn distances(&self, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
        let fits = |vector: &[f32]| vector.len() == self.dimensions;
        assert!(fits(a) && b.iter().all(|b| fits(b)), "vectors of another space");
        let (b, mut out) = (b.map(<[f32]>::as_ptr), [0.0; 4]);
        // SAFETY: all slices hold `dimensions` elements, just checked.
        unsafe {
            match self.metric {
                Metric::L2sq => (self.kernels.l2sq4)(a.as_ptr(), &b, self.dimensions, &mut out),
                Metric::Cosine | Metric::Ip => (self.kernels.dot4)(a.as_ptr(), &b, self.dimensions, &mut out),
            }
        }
        if self.metric == Metric::L2sq { out } else { out.map(|product| 1.0 - product) }
    }

    /// How far behind `distance` another one may be and still count as equal: our `f32` sums and the host's differ
    /// by rounding, and the host's order decides.
    pub fn tie(&self, distance: f32) -> f32 {
        let relative = 1e-5 * distance.abs();
        match self.metric {
            Metric::L2sq => relative,
            // The rounding is that of the inner product, which may be much larger than its distance from 1.
            Metric::Cosine | Metric::Ip => relative + 1e-6 * (1.0 - distance).abs(),
        }
    }
}

/// The sum of squares in `f64`; NaN or infinite if an element is. Eight lanes, as the compiler may not reorder sums.
fn squared_norm(vector: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let (blocks, rest) = vector.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += square(x);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&x| square(x)).sum::<f64>()
}

/// Vectors in stored form by slot. A vector never moves; it is written before its slot is published, and stays as it is
/// until the slot is free.
pub struct Arena {
    segments: Segments<f32>,
    dimensions: usize,
}

impl Arena {
    /// An empty arena.
    pub fn new(memory: &Arc<Memory>, dimensions: usize) -> Result<Self> {
        let rows = (SEGMENT_BYTES / (dimensions * size_of::<f32>())).clamp(1, SEGMENT_ROWS_MAX);
        Ok(Self { segments: Segments::new(memory, rows.ilog2(), dimensions)?, dimensions })
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

    /// The table that C++ indexes, see [`Segments::table`].
    pub fn table(&self) -> *const AtomicPtr<AtomicPtr<f32>> {
        self.segments.table()
    }

    /// Calls `each` with every one of `slots`, in order, and its distance to `query`, which is in stored form. Measures four
    /// vectors at a time while the next ones are fetched: most of this time is spent waiting for memory. Panics if a slot
    /// has no memory.
    ///
    /// # Safety
    /// As for `get`, for all the slots.
    #[inline]
    pub unsafe fn measure(&self, space: &Space, query: &[f32], slots: &[u32], mut each: impl FnMut(u32, f32)) {
        for slots in slots.chunks(FETCHED_AHEAD) {
            slots.iter().for_each(|&slot| self.prefetch(slot));
            for four in slots.chunks(4) {
                // SAFETY: the caller's promise.
                let vector = |i: usize| unsafe { self.get(four[i.min(four.len() - 1)]) };
                let distances = match four {
                    [_] => [space.distance(query, vector(0)); 4],
                    _ => space.distances(query, [vector(0), vector(1), vector(2), vector(3)]),
                };
                four.iter().zip(distances).for_each(|(&slot, distance)| each(slot, distance));
            }
        }
    }

    /// Starts to fetch the vector of `slot` into the cache; the processor's own prefetcher continues.
    #[inline]
    fn prefetch(&self, slot: u32) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let vector = self.segments.at(slot as usize).cast::<i8>();
            for line in (0..(self.dimensions * size_of::<f32>()).min(PREFETCH_BYTES)).step_by(64) {
                // SAFETY: within the vector; and prefetching never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(vector.add(line)) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = slot;
    }

    /// The vector of `slot`. Panics if the slot has no memory.
    ///
    /// # Safety
    /// The slot was published: its vector is written, and the caller keeps it from becoming free.
    #[inline]
    pub unsafe fn get(&self, slot: u32) -> &[f32] {
        // SAFETY: `at` returns the start of `dimensions` elements that live as long as `self`; the caller vouches
        // that they are written and that nobody writes them now.
        unsafe { std::slice::from_raw_parts(self.segments.at(slot as usize), self.dimensions) }
    }

    /// The place for the vector of `slot`. Panics if the slot has no memory.
    ///
    /// # Safety
    /// Nobody else reads or writes it meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn place(&self, slot: u32) -> &mut [f32] {
        // SAFETY: as in `get`; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.segments.at(slot as usize), self.dimensions) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unlimited;

    #[test]
    fn odd_vectors_are_recognised() {
        let mut stored = Vec::new();
        for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
            let space = Space::new(metric, 3);
            for unrankable in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e19] {
                assert!(!space.store(&[0.5, unrankable, 0.0], &mut stored));
            }
            assert!(space.store(&[8e18, 0.0, 1.0], &mut stored));
            let zero = space.store(&[0.0; 3], &mut stored);
            assert_eq!(zero, metric != Metric::Cosine);
        }
        assert!(stored.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn distances_of_the_largest_ordinary_vectors_are_finite() {
        let mut stored = Vec::new();
        let space = Space::new(Metric::L2sq, 2);
        assert!(space.store(&[8.9e18, 0.0], &mut stored) && space.store(&[-8.9e18, 0.0], &mut stored));
        assert!(space.distance(&stored[..2], &stored[2..]).is_finite());
    }

    #[test]
    fn cosine_stores_directions() {
        let mut stored = Vec::new();
        let space = Space::new(Metric::Cosine, 9);
        let v: Vec<f32> = (1..=9).map(|x| x as f32).collect();
        let tiny: Vec<f32> = v.iter().map(|x| x * 1e-18).collect();
        assert!(space.store(&v, &mut stored) && !space.store(&tiny, &mut stored));
        assert!((squared_norm(&stored) - 1.0).abs() < 1e-6);
        assert!(space.distance(&stored, &stored).abs() < 1e-6);
    }

    #[test]
    fn vectors_stay_where_they_are() {
        let memory = Memory::new(Box::new(Unlimited));
        let arena = Arena::new(&memory, 100_000).unwrap();
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
