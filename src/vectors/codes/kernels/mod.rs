//! Kernels over codes: the distances of a query to rows, chosen once at run time for the processor.
//!
//! All of them sum products of whole numbers, so their results equal those of the portable kernels in every bit.
//!
//! A row is two `f32`, its scale and its offset, then its code. In a code of 8 bits an element is one byte, its number plus 128. In a code
//! of 4 bits a byte holds two elements, each its number plus 7½; [`nibble`] says which. A query is a [`Head`], then an `i8` for each
//! element of a code, then zeros.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

/// The distance of a query and a row. `length`: bytes of the row's code.
///
/// # Safety
/// The row has a head and `length` bytes of code. The query has a head and numbers for the whole code, with zeros up to a multiple of
/// [`BLOCK`]. Neither needs an alignment. The processor has the instructions of the kernel's set.
pub(crate) type Measure = unsafe extern "C" fn(query: *const u8, row: *const u8, length: usize) -> f32;

/// The distances of a query to four rows.
///
/// # Safety
/// As for [`Measure`], for all four rows.
pub(crate) type Measure4 =
    unsafe extern "C" fn(query: *const u8, rows: &[*const u8; 4], length: usize, out: &mut [f32; 4]);

/// The distances of each of two queries to each of four rows, those of the first query first. Each query and row is loaded once for all its
/// distances.
///
/// # Safety
/// As for [`Measure`], for all queries and rows.
pub(crate) type MeasureTile =
    unsafe extern "C" fn(queries: &[*const u8; 2], rows: &[*const u8; 4], length: usize, out: &mut [[f32; 4]; 2]);

/// The kernels of one instruction set.
pub(crate) struct Kernels {
    /// The instruction set, for messages of tests.
    #[cfg(test)]
    pub(crate) name: &'static str,
    /// One row, 8 bits an element.
    pub(crate) sq8: Measure,
    /// The same, four rows.
    pub(crate) sq8x4: Measure4,
    /// One row, 4 bits an element.
    pub(crate) sq4: Measure,
    /// The same, four rows.
    pub(crate) sq4x4: Measure4,
    /// Two queries and four rows, for 8 and for 4 bits; only where there are registers for so many sums.
    pub(crate) tiles: Option<(MeasureTile, MeasureTile)>,
}

impl Kernels {
    /// The fastest kernels that this processor runs.
    pub(crate) fn detect() -> &'static Self {
        static CHOICE: OnceLock<&'static Kernels> = OnceLock::new();
        CHOICE.get_or_init(|| Self::all_supported()[0])
    }

    /// All kernels that this processor runs, fastest first; the last is portable.
    pub(crate) fn all_supported() -> Vec<&'static Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let vnni = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
            if vnni && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
                kernels.push(&avx512::KERNELS);
            }
            if is_x86_feature_detected!("avx2") {
                kernels.push(&avx2::KERNELS);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                kernels.push(&neon::dotprod::KERNELS);
            }
            kernels.push(&neon::KERNELS);
        }
        kernels.push(&portable::KERNELS);
        kernels
    }
}

/// Bytes of a row before its code.
pub(crate) const ROW_HEAD: usize = 2 * size_of::<f32>();
/// Bytes of code that a kernel takes at once, for 4 bits.
pub(crate) const HALF: usize = 32;
/// The numbers of a query are a multiple of this; those behind the last element are 0.
pub(crate) const BLOCK: usize = 64;

/// The head of a query, which stands in front of the numbers.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Head {
    /// The part that all distances from the query have in common.
    pub(crate) constant: f64,
    /// The factor of the sum of products, besides the row's scale.
    pub(crate) scale: f64,
    /// The number that a kernel subtracts from its first sum: for 8 bits 128 times the sum of the query's numbers, for 4 bits 15 times.
    pub(crate) shift: i32,
    /// Norm of the centred query.
    pub(crate) norm: f32,
    /// The distance of the query's numbers from the exact query, in norms of the centred query.
    pub(crate) rounding: f32,
    pub(crate) unused: u32,
}

impl Head {
    /// Writes the head to the front of a query.
    pub(crate) fn write(&self, query: &mut [u8]) {
        query[..8].copy_from_slice(&self.constant.to_le_bytes());
        query[8..16].copy_from_slice(&self.scale.to_le_bytes());
        query[16..20].copy_from_slice(&self.shift.to_le_bytes());
        query[20..24].copy_from_slice(&self.norm.to_le_bytes());
        query[24..28].copy_from_slice(&self.rounding.to_le_bytes());
    }

    /// The head of a query.
    pub(crate) fn read(query: &[u8]) -> Self {
        assert!(query.len() >= QUERY_HEAD);
        // SAFETY: so many bytes are there, and any bytes are a valid head.
        unsafe { query.as_ptr().cast::<Self>().read_unaligned() }
    }
}

/// Bytes of a query before its numbers.
pub(crate) const QUERY_HEAD: usize = size_of::<Head>();

/// The place in a query of an element of a 4-bit code: the lower half of byte `j` of the code belongs to place `64 (j / 32) + j % 32`, the
/// upper half to the place 32 further on.
pub(crate) fn nibble(byte: usize, upper: bool) -> usize {
    BLOCK * (byte / HALF) + byte % HALF + if upper { HALF } else { 0 }
}

/// The distance, given the sum of the products of the query's numbers and the row's numbers; for 4 bits twice that sum.
///
/// # Safety
/// `row` has a head.
#[inline(always)]
unsafe fn distance(head: &Head, row: *const u8, sum: i32) -> f32 {
    // SAFETY: the caller's promise.
    let (scale, offset) = unsafe { (row.cast::<f32>().read_unaligned(), row.cast::<f32>().add(1).read_unaligned()) };
    let product = f64::from(scale) * head.scale * f64::from(sum);
    ((head.constant + f64::from(offset)) - product).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// Defines the kernels of an instruction set by means of its sums of products: `sum8` and `sum4` for one row, `sum8x4` and `sum4x4` for
/// four. Each is called with the query's head, the address of the query's numbers, the address of the code (or of four codes), and the
/// bytes of a code.
macro_rules! kernels {
    ($name:literal, $(#[$feature:meta])?) => {
        $crate::vectors::codes::kernels::kernels!($name, $(#[$feature])?, tiles: None);
    };
    ($name:literal, $(#[$feature:meta])?, tiles: $tiles:expr) => {
        use $crate::vectors::codes::kernels as set;

        pub(in $crate::vectors::codes::kernels) static KERNELS: set::Kernels =
            set::Kernels { #[cfg(test)] name: $name, sq8, sq8x4, sq4, sq4x4, tiles: $tiles };

        set::kernels!(one sq8, sum8, $(#[$feature])?);
        set::kernels!(one sq4, sum4, $(#[$feature])?);
        set::kernels!(four sq8x4, sum8x4, $(#[$feature])?);
        set::kernels!(four sq4x4, sum4x4, $(#[$feature])?);
    };
    (tile $kernel:ident, $sums:ident, $(#[$feature:meta])?) => {
        $(#[$feature])?
        unsafe extern "C" fn $kernel(
            queries: &[*const u8; 2],
            rows: &[*const u8; 4],
            length: usize,
            out: &mut [[f32; 4]; 2],
        ) {
            // SAFETY: the contract of `MeasureTile`.
            unsafe {
                let numbers = queries.map(|query| query.add(set::QUERY_HEAD).cast());
                let sums = $sums(&numbers, &rows.map(|row| row.add(set::ROW_HEAD)), length);
                for i in 0..2 {
                    let head = queries[i].cast::<set::Head>().read_unaligned();
                    for j in 0..4 {
                        out[i][j] = set::distance(&head, rows[j], sums[i][j].wrapping_sub(head.shift));
                    }
                }
            }
        }
    };
    (one $kernel:ident, $sum:ident, $(#[$feature:meta])?) => {
        $(#[$feature])?
        unsafe extern "C" fn $kernel(query: *const u8, row: *const u8, length: usize) -> f32 {
            // SAFETY: the contract of `Measure`.
            unsafe {
                let head = query.cast::<set::Head>().read_unaligned();
                let numbers = query.add(set::QUERY_HEAD).cast();
                let sum = $sum(&head, numbers, row.add(set::ROW_HEAD), length);
                set::distance(&head, row, sum)
            }
        }
    };
    (four $kernel:ident, $sum:ident, $(#[$feature:meta])?) => {
        $(#[$feature])?
        unsafe extern "C" fn $kernel(query: *const u8, rows: &[*const u8; 4], length: usize, out: &mut [f32; 4]) {
            // SAFETY: the contract of `Measure4`.
            unsafe {
                let head = query.cast::<set::Head>().read_unaligned();
                let numbers = query.add(set::QUERY_HEAD).cast();
                let sums = $sum(&head, numbers, &rows.map(|row| row.add(set::ROW_HEAD)), length);
                for i in 0..4 {
                    out[i] = set::distance(&head, rows[i], sums[i]);
                }
            }
        }
    };
}
use kernels;
