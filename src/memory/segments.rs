//! A growable array of rows that never moves: segments of equal size behind a table, indexed without locks.

use crate::sync::Mutex;
use std::alloc::Layout;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::memory::mapping::Mapping;
use crate::memory::{Charge, Memory};

/// Segments of at least this size are aligned to it, so that the system can back them with huge pages.
const HUGE_PAGE: usize = 2 << 20;
/// Alignment of smaller segments: a cache line.
const CACHE_LINE: usize = 64;
/// Segments of the first table; each new table has twice as many.
const FIRST_TABLE: usize = 16;

/// Rows are given (and charged) memory in steps of `STEP_BYTES`, or of one row for every `STEP_SHARE` that there are, if that is more. The
/// rest of a segment takes no memory before it is used.
const STEP_BYTES: usize = 64 << 10;
const STEP_SHARE: usize = 64;

/// A type that a segment may hold: zero bytes are a valid value.
pub trait Element {}

impl Element for u8 {}

impl Element for AtomicU64 {}

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
    /// All tables ever used, because a reader may still hold an old one. Together they take less than twice the memory of the newest.
    tables: Vec<Box<[AtomicPtr<T>]>>,
    segments: Vec<Mapping>,
    /// The memory of the tables, and of the rows that have memory.
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
            growth: Mutex::new(Growth { tables: Vec::new(), segments: Vec::new(), charge: memory.charge(0)? }),
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
        let mut growth = self.growth.lock();
        let row_bytes = self.stride * size_of::<T>();
        while self.rows() < rows {
            let now = self.rows();
            if now >> self.shift == growth.segments.len() {
                self.add_segment(&mut growth)?;
                if growth.segments.len() << self.shift <= rows
                    && let Some(segment) = growth.segments.last()
                {
                    segment.expect_whole();
                }
            }
            let step = (STEP_BYTES / row_bytes).max(now / STEP_SHARE).max(1);
            let then = rows.max(now + step).min(growth.segments.len() << self.shift);
            growth.charge.grow((then - now) * row_bytes)?;
            self.rows.store(then, Ordering::Release);
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

    /// Points to the address of the segment table, which has a pointer for each segment. C++ loads that address (acquire) for every row,
    /// because a walk may meet rows that were added, and segments that were made, after it began.
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
        let full = || Error::out_of_memory("while growing an HNSW index");
        let at = growth.segments.len();
        if growth.tables.last().map_or(0, |table| table.len()) == at {
            let length = (2 * at).max(FIRST_TABLE);
            growth.charge.grow(length * size_of::<AtomicPtr<T>>())?;
            let old = growth.segments.iter().map(|segment| segment.start().cast::<T>());
            let table = old.chain(std::iter::repeat(ptr::null_mut())).take(length).map(AtomicPtr::new).collect();
            growth.tables.push(table);
            self.table.store(growth.tables[growth.tables.len() - 1].as_ptr().cast_mut(), Ordering::Release);
        }
        growth.segments.try_reserve(1).map_err(|_| full())?;
        let segment = self.layout().and_then(Mapping::new).ok_or_else(full)?;
        growth.tables[growth.tables.len() - 1][at].store(segment.start().cast(), Ordering::Release);
        growth.segments.push(segment);
        Ok(())
    }
}
