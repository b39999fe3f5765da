//! Kernels for any processor, written so that the compiler uses the vector instructions of the base set.

use super::Kernels;

/// Elements that are summed independently.
const LANES: usize = 16;

pub(super) static KERNELS: Kernels = Kernels { name: "portable", l2sq, ip, l2sq4, ip4, tiles: None };

unsafe extern "C" fn l2sq(a: *const f32, b: *const f32, len: usize) -> f32 {
    // SAFETY: the contract of `Kernel`.
    unsafe {
        fold(a, b, len, |a, b| {
            let difference = a - b;
            difference * difference
        })
    }
}

unsafe extern "C" fn ip(a: *const f32, b: *const f32, len: usize) -> f32 {
    // SAFETY: the contract of `Kernel`.
    1.0 - unsafe { fold(a, b, len, |a, b| a * b) }
}

unsafe extern "C" fn l2sq4(a: *const f32, b: &[*const f32; 4], len: usize, out: &mut [f32; 4]) {
    // SAFETY: the contract of `Kernel4`.
    *out = b.map(|b| unsafe { l2sq(a, b, len) });
}

unsafe extern "C" fn ip4(a: *const f32, b: &[*const f32; 4], len: usize, out: &mut [f32; 4]) {
    // SAFETY: the contract of `Kernel4`.
    *out = b.map(|b| unsafe { ip(a, b, len) });
}

/// # Safety
/// Both pointers are valid for reads of `len` floats.
#[inline(always)]
unsafe fn fold(a: *const f32, b: *const f32, len: usize, term: impl Fn(f32, f32) -> f32) -> f32 {
    // SAFETY: the caller's promise; as bytes they need no alignment.
    let (a, b) = unsafe { (std::slice::from_raw_parts(a.cast(), len), std::slice::from_raw_parts(b.cast(), len)) };
    let term = |a: [u8; 4], b: [u8; 4]| term(f32::from_ne_bytes(a), f32::from_ne_bytes(b));
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a, b)).sum();
    sums.iter().sum::<f32>() + rest
}
