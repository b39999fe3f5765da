//! Kernels for AArch64, whose base set has NEON: four sums of 4 lanes.

use std::arch::aarch64::*;

use super::Kernels;

pub(super) static KERNELS: Kernels = Kernels { name: "neon", l2sq, ip, l2sq4, ip4, tiles: None };

unsafe extern "C" fn l2sq(a: *const f32, b: *const f32, len: usize) -> f32 {
    // SAFETY: the contract of `Kernel`.
    unsafe {
        fold(a, b, len, |sum, a, b| {
            let difference = vsubq_f32(a, b);
            vfmaq_f32(sum, difference, difference)
        })
    }
}

unsafe extern "C" fn ip(a: *const f32, b: *const f32, len: usize) -> f32 {
    // SAFETY: the contract of `Kernel`.
    1.0 - unsafe { fold(a, b, len, |sum, a, b| vfmaq_f32(sum, a, b)) }
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
unsafe fn fold(
    a: *const f32,
    b: *const f32,
    len: usize,
    step: impl Fn(float32x4_t, float32x4_t, float32x4_t) -> float32x4_t,
) -> f32 {
    // SAFETY: NEON is part of the base set; `at + 16 <= len` in the loop, `at + 4 <= len` in the second; the tail is
    // copied from within `len`.
    unsafe {
        let mut sums = [vdupq_n_f32(0.0); 4];
        let mut at = 0;
        while at + 16 <= len {
            for (i, sum) in sums.iter_mut().enumerate() {
                let from = at + 4 * i;
                *sum = step(*sum, vld1q_f32(a.add(from)), vld1q_f32(b.add(from)));
            }
            at += 16;
        }
        while at + 4 <= len {
            sums[0] = step(sums[0], vld1q_f32(a.add(at)), vld1q_f32(b.add(at)));
            at += 4;
        }
        if at < len {
            let (mut a_tail, mut b_tail) = ([0.0f32; 4], [0.0f32; 4]);
            std::ptr::copy_nonoverlapping(a.add(at), a_tail.as_mut_ptr(), len - at);
            std::ptr::copy_nonoverlapping(b.add(at), b_tail.as_mut_ptr(), len - at);
            sums[1] = step(sums[1], vld1q_f32(a_tail.as_ptr()), vld1q_f32(b_tail.as_ptr()));
        }
        vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])))
    }
}
