//! Large pieces of memory, taken from the system and given back to it at once. Memory that is freed to the allocator instead may stay with
//! the process for ever, because the allocator cuts small pieces out of large ones that were freed before.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr;

/// Pieces below this size come from the allocator.
const MAPPED_MIN: usize = 64 << 10;

/// A piece of zeroed memory. Of a large piece, the parts that nobody touches cost nothing.
pub(crate) struct Mapping {
    start: *mut u8,
    layout: Layout,
}

// SAFETY: a mapping owns its memory, and only gives out the address; those who use the address answer for what they do with it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory of this size and alignment; `None` if there is none left. Panics if the size is 0.
    pub(crate) fn new(layout: Layout) -> Option<Self> {
        assert!(layout.size() > 0);
        let start = if Self::is_mapped(layout) {
            system::map(layout)?
        } else {
            // SAFETY: the size is not 0.
            unsafe { alloc_zeroed(layout) }
        };
        (!start.is_null()).then_some(Self { start, layout })
    }

    /// The address of the first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// Tells the system that the whole piece will be used soon, so that it takes huge pages if it can, which is faster.
    pub(crate) fn expect_whole(&self) {
        #[cfg(target_os = "linux")]
        if Self::is_mapped(self.layout) {
            // SAFETY: advice about our own mapping; nothing depends on whether it is taken.
            unsafe { libc::madvise(self.start.cast(), self.layout.size(), libc::MADV_HUGEPAGE) };
        }
    }

    fn is_mapped(layout: Layout) -> bool {
        cfg!(unix) && layout.size() >= MAPPED_MIN
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if Self::is_mapped(self.layout) {
            system::unmap(self.start, self.layout.size());
        } else {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.start, self.layout) };
        }
    }
}

#[cfg(unix)]
mod system {
    use super::*;

    /// At least the alignment of any mapping.
    const PAGE: usize = 4096;

    pub(super) fn map(layout: Layout) -> Option<*mut u8> {
        // The system chooses the address, and the ends that alignment leaves over are given back. `memmap2` cannot do that: it keeps a
        // mapping whole, so a segment of 4 MiB aligned to huge pages would count as 6 MiB on systems that commit memory to mappings.
        let spare = if layout.align() <= PAGE { 0 } else { layout.align() };
        let size = layout.size().checked_add(spare)?;
        let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, over nothing that exists.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), size, rights, kind, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let mapped = mapped.cast::<u8>();
        let before = mapped.align_offset(layout.align());
        let start = mapped.wrapping_add(before);
        let end = before + whole_pages(layout.size());
        unmap(mapped, before);
        unmap(start.wrapping_add(end - before), whole_pages(size).saturating_sub(end));
        Some(start)
    }

    pub(super) fn unmap(start: *mut u8, size: usize) {
        if size > 0 {
            // SAFETY: part of one of our mappings, which nobody uses any more.
            let result = unsafe { libc::munmap(start.cast(), size) };
            debug_assert_eq!(result, 0);
        }
    }

    fn whole_pages(size: usize) -> usize {
        // SAFETY: asks for a constant of the system.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(PAGE);
        size.next_multiple_of(page)
    }
}

#[cfg(not(unix))]
mod system {
    use super::*;

    pub(super) fn map(_: Layout) -> Option<*mut u8> {
        None
    }

    pub(super) fn unmap(_: *mut u8, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_aligned_and_all_there() {
        for size in [1, 100, MAPPED_MIN - 1, MAPPED_MIN, 100_001, 3 << 20, (4 << 20) + 1] {
            for align in [1, 64, 4096, 1 << 16, 2 << 20] {
                let mapping = Mapping::new(Layout::from_size_align(size, align).unwrap()).unwrap();
                assert_eq!(mapping.start().align_offset(align), 0);
                mapping.expect_whole();
                // SAFETY: the mapping has `size` bytes, and nobody else has its address.
                let bytes = unsafe { std::slice::from_raw_parts_mut(mapping.start(), size) };
                assert!(bytes.iter().all(|&byte| byte == 0));
                bytes.fill(1);
            }
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Mapping::new(Layout::from_size_align(1 << 60, 64).unwrap()).is_none());
    }
}
