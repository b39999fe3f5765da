//! Kernels for AArch64: with the dot products of Armv8.2 where the processor has them, otherwise with NEON's widening products.

use std::arch::aarch64::*;

use super::{BLOCK, HALF, Head};

pub(super) mod dotprod {
    use super::*;

    super::super::kernels!("dotprod", #[target_feature(enable = "neon,dotprod")]);

    /// Adds the products of four bytes to each lane.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    fn step(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        let mut sum = sum;
        // SAFETY: an instruction on registers; the processor has it. The intrinsic is not stable in the oldest Rust that builds this.
        unsafe {
            std::arch::asm!(
                "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
                sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn sum8(_head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
        // SAFETY: the contract of `Measure`.
        let [sum] = unsafe { fold8(query, &[code], length, |sum, a, b| step(sum, a, b)) };
        sum
    }

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn sum8x4(_head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
        // SAFETY: the contract of `Measure4`.
        unsafe { fold8(query, codes, length, |sum, a, b| step(sum, a, b)) }
    }

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn sum4(head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
        // SAFETY: the contract of `Measure`.
        let [sum] = unsafe { fold4(query, &[code], length, |sum, a, b| step(sum, a, b)) };
        2 * sum - head.shift
    }

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn sum4x4(head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
        // SAFETY: the contract of `Measure4`.
        unsafe { fold4(query, codes, length, |sum, a, b| step(sum, a, b)) }.map(|sum| 2 * sum - head.shift)
    }
}

super::kernels!("neon",);

/// Adds the products of four bytes to each lane. Products are made in 16 bits, and then added in 32.
#[inline(always)]
fn step(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: NEON is part of the base set.
    unsafe {
        let sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
        vpadalq_s16(sum, vmull_s8(vget_high_s8(a), vget_high_s8(b)))
    }
}

unsafe fn sum8(_head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
    // SAFETY: the contract of `Measure`.
    let [sum] = unsafe { fold8(query, &[code], length, step) };
    sum
}

unsafe fn sum8x4(_head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
    // SAFETY: the contract of `Measure4`.
    unsafe { fold8(query, codes, length, step) }
}

unsafe fn sum4(head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
    // SAFETY: the contract of `Measure`.
    let [sum] = unsafe { fold4(query, &[code], length, step) };
    2 * sum - head.shift
}

unsafe fn sum4x4(head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
    // SAFETY: the contract of `Measure4`.
    unsafe { fold4(query, codes, length, step) }.map(|sum| 2 * sum - head.shift)
}

/// # Safety
/// As for [`super::Measure4`].
#[inline(always)]
unsafe fn fold8<const N: usize>(
    query: *const i8,
    codes: &[*const u8; N],
    length: usize,
    step: impl Fn(int32x4_t, int8x16_t, int8x16_t) -> int32x4_t,
) -> [i32; N] {
    // SAFETY: NEON is part of the base set; `at + 16 <= length` in the loop; the tail is copied from within `length`, and the query goes
    // on to the end of its block.
    unsafe {
        let mut sums = [vdupq_n_s32(0); N];
        let number = |code: uint8x16_t| vreinterpretq_s8_u8(veorq_u8(code, vdupq_n_u8(128)));
        let mut at = 0;
        while at + 16 <= length {
            let query = vld1q_s8(query.add(at));
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum = step(*sum, query, number(vld1q_u8(code.add(at))));
            }
            at += 16;
        }
        if at < length {
            let query = vld1q_s8(query.add(at));
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum = step(*sum, query, number(tail(code.add(at), length - at)));
            }
        }
        sums.map(|sum| vaddvq_s32(sum))
    }
}

/// # Safety
/// As for [`super::Measure4`].
#[inline(always)]
unsafe fn fold4<const N: usize>(
    query: *const i8,
    codes: &[*const u8; N],
    length: usize,
    step: impl Fn(int32x4_t, int8x16_t, int8x16_t) -> int32x4_t,
) -> [i32; N] {
    // SAFETY: NEON is part of the base set; all whole pieces are inside `length`, the tail is copied from within it; the query goes on to
    // the end of its last block.
    unsafe {
        let mut sums = [vdupq_n_s32(0); N];
        let mut at = 0;
        while at < length {
            let from = query.add(BLOCK * (at / HALF) + at % HALF);
            let (lower, upper) = (vld1q_s8(from), vld1q_s8(from.add(HALF)));
            for (sum, code) in sums.iter_mut().zip(codes) {
                let code = if at + 16 <= length { vld1q_u8(code.add(at)) } else { tail(code.add(at), length - at) };
                *sum = step(*sum, lower, vreinterpretq_s8_u8(vandq_u8(code, vdupq_n_u8(15))));
                *sum = step(*sum, upper, vreinterpretq_s8_u8(vshrq_n_u8::<4>(code)));
            }
            at += 16;
        }
        sums.map(|sum| vaddvq_s32(sum))
    }
}

/// # Safety
/// The pointer is valid for reads of `length` bytes, fewer than 16.
#[inline(always)]
unsafe fn tail(from: *const u8, length: usize) -> uint8x16_t {
    let mut bytes = [0u8; 16];
    // SAFETY: the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), length);
        vld1q_u8(bytes.as_ptr())
    }
}
