//! A growable array of rows that never moves: segments of equal size behind a table, indexed without locks.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::memory::{Charge, Memory};

/// Segments of at least this size are aligned to it, so that the system can back them with huge pages.
const HUGE_PAGE: usize = 2 << 20;
/// Alignment of smaller segments: a cache line.
const CACHE_LINE: usize = 64;
/// Slots of the first table; tables double.
const FIRST_TABLE: usize = 16;

/// What a segment may hold.
pub trait Element {
    /// Whether segments start zeroed. Vectors are only read after they were written, and zeroing would touch
    /// (and so claim) all pages at once.
    const ZEROED: bool;
}

impl Element for f32 {
    const ZEROED: bool = false;
}

impl Element for AtomicU64 {
    const ZEROED: bool = true;
}

/// Rows of `stride` elements in segments of `2^shift` rows. Readers take no lock; growing takes a short one.
pub struct Segments<T> {
    /// The newest of the tables in `growth`: a pointer per segment.
    table: AtomicPtr<AtomicPtr<T>>,
    rows: AtomicUsize,
    shift: u32,
    stride: usize,
    growth: Mutex<Growth<T>>,
}

struct Growth<T> {
    /// All tables ever used: a reader may still hold an old one. Together they are less than twice the newest.
    tables: Vec<Box<[AtomicPtr<T>]>>,
    segments: usize,
    charge: Charge,
}

impl<T: Element> Segments<T> {
    /// An empty array; allocates nothing. `stride`: elements of a row, at least 1.
    pub fn new(memory: &Arc<Memory>, shift: u32, stride: usize) -> Result<Self> {
        Ok(Self {
            table: AtomicPtr::new(ptr::null_mut()),
            rows: AtomicUsize::new(0),
            shift,
            stride,
            growth: Mutex::new(Growth { tables: Vec::new(), segments: 0, charge: memory.charge(0)? }),
        })
    }

    /// Rows that have memory.
    pub fn rows(&self) -> usize {
        self.rows.load(Ordering::Acquire)
    }

    /// `log2` of the rows of a segment.
    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// Gives memory to at least `rows` rows. Errors: `OutOfMemory`; rows that had memory keep it.
    pub fn extend(&self, rows: usize) -> Result<()> {
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        while growth.segments << self.shift < rows {
            self.add_segment(&mut growth)?;
        }
        Ok(())
    }

    /// The first element of `row`. Panics if the row has no memory.
    #[inline]
    pub fn at(&self, row: usize) -> *mut T {
        assert!(row < self.rows(), "row {row} has no memory");
        let offset = (row & ((1 << self.shift) - 1)) * self.stride;
        // SAFETY: `row` is below `rows`, which was published after its segment and after a table that holds it; both
        // live as long as `self`. The offset stays inside the segment.
        unsafe { (*self.newest().add(row >> self.shift)).load(Ordering::Relaxed).add(offset) }
    }

    /// Where the address of the segment table stands: a pointer per segment. C++ loads it (acquire) for every row, as a
    /// walk may meet rows that were added, and segments that were made, after it began.
    pub fn table(&self) -> *const AtomicPtr<AtomicPtr<T>> {
        &raw const self.table
    }

    fn newest(&self) -> *const AtomicPtr<T> {
        self.table.load(Ordering::Acquire)
    }

    fn layout(&self) -> Option<Layout> {
        let layout = Layout::array::<T>(self.stride.checked_mul(1 << self.shift)?).ok()?;
        layout.align_to(if layout.size() >= HUGE_PAGE { HUGE_PAGE } else { CACHE_LINE }).ok()
    }

    fn add_segment(&self, growth: &mut Growth<T>) -> Result<()> {
        let full = || Error::new(ErrorKind::OutOfMemory, "out of memory while growing an HNSW index");
        let layout = self.layout().ok_or_else(full)?;
        let at = growth.segments;
        if growth.tables.last().map_or(0, |table| table.len()) == at {
            let length = (2 * at).max(FIRST_TABLE);
            growth.charge.grow(length * size_of::<AtomicPtr<T>>())?;
            // SAFETY: only segments below `at` are read, all of the newest table.
            let old = (0..at).map(|i| unsafe { (*self.newest().add(i)).load(Ordering::Relaxed) });
            let table = old.chain(std::iter::repeat(ptr::null_mut())).take(length).map(AtomicPtr::new).collect();
            growth.tables.push(table);
            self.table.store(growth.tables[growth.tables.len() - 1].as_ptr().cast_mut(), Ordering::Release);
        }
        growth.charge.grow(layout.size())?;
        // SAFETY: the layout is not empty: stride and rows are at least 1, and no element type is zero-sized.
        let segment = unsafe { if T::ZEROED { alloc_zeroed(layout) } else { alloc(layout) } }.cast::<T>();
        if segment.is_null() {
            growth.charge.shrink(layout.size());
            return Err(full());
        }
        growth.tables[growth.tables.len() - 1][at].store(segment, Ordering::Release);
        growth.segments += 1;
        self.rows.store(growth.segments << self.shift, Ordering::Release);
        Ok(())
    }
}

impl<T> Drop for Segments<T> {
    fn drop(&mut self) {
        let growth = self.growth.get_mut().unwrap_or_else(PoisonError::into_inner);
        let bytes = (self.stride << self.shift) * size_of::<T>();
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { CACHE_LINE };
        if let (Some(table), Ok(layout)) = (growth.tables.last(), Layout::from_size_align(bytes, align)) {
            for segment in &table[..growth.segments] {
                // SAFETY: allocated in `add_segment` with this layout; nobody reads any more, `self` is going away.
                unsafe { dealloc(segment.load(Ordering::Relaxed).cast(), layout) };
            }
        }
    }
}
