//! Kernels for x86-64 with AVX2.
//!
//! Two products are added in 16 bits. For 8 bits an element, both factors are at most 127 in magnitude, so the sum is at most 32,258; for 4
//! bits it is at most 3,810. Neither saturates.

use std::arch::x86_64::*;

use super::{BLOCK, HALF, Head};

super::kernels!("avx2", #[target_feature(enable = "avx2")]);

#[target_feature(enable = "avx2")]
unsafe fn sum8(_head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
    // SAFETY: the contract of `Measure`.
    let [sum] = unsafe { fold8(query, &[code], length) };
    sum
}

#[target_feature(enable = "avx2")]
unsafe fn sum8x4(_head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
    // SAFETY: the contract of `Measure4`.
    unsafe { fold8(query, codes, length) }
}

#[target_feature(enable = "avx2")]
unsafe fn sum4(head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
    // SAFETY: the contract of `Measure`.
    let [sum] = unsafe { fold4(query, &[code], length) };
    2 * sum - head.shift
}

#[target_feature(enable = "avx2")]
unsafe fn sum4x4(head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
    // SAFETY: the contract of `Measure4`.
    unsafe { fold4(query, codes, length) }.map(|sum| 2 * sum - head.shift)
}

/// # Safety
/// As for [`super::Measure4`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn fold8<const N: usize>(query: *const i8, codes: &[*const u8; N], length: usize) -> [i32; N] {
    let mut sums = [_mm256_setzero_si256(); N];
    let step = |sum: __m256i, query: __m256i, code: __m256i| {
        let number = _mm256_xor_si256(code, _mm256_set1_epi8(-128));
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(number), _mm256_sign_epi8(query, number));
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    };
    let mut at = 0;
    // SAFETY: `at + 32 <= length` in the loop; the tail is copied from within `length`, and the query goes on to the end of its block.
    unsafe {
        while at + 32 <= length {
            let query = _mm256_loadu_si256(query.add(at).cast());
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum = step(*sum, query, _mm256_loadu_si256(code.add(at).cast()));
            }
            at += 32;
        }
        if at < length {
            let query = _mm256_loadu_si256(query.add(at).cast());
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum = step(*sum, query, tail(code.add(at), length - at));
            }
        }
    }
    sums.map(|sum| total(sum))
}

/// # Safety
/// As for [`super::Measure4`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn fold4<const N: usize>(query: *const i8, codes: &[*const u8; N], length: usize) -> [i32; N] {
    let mut sums = [_mm256_setzero_si256(); N];
    let step = |sum: __m256i, (lower, upper): (__m256i, __m256i), code: __m256i| {
        let mask = _mm256_set1_epi8(15);
        let lower = _mm256_maddubs_epi16(_mm256_and_si256(code, mask), lower);
        let upper = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16::<4>(code), mask), upper);
        _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_add_epi16(lower, upper), _mm256_set1_epi16(1)))
    };
    // SAFETY: the query goes on to the end of its last block.
    let halves = |block: usize| unsafe {
        let from = query.add(BLOCK * block);
        (_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(HALF).cast()))
    };
    // SAFETY: all blocks of the loop are inside `length`; the tail is copied from within it.
    unsafe {
        for block in 0..length / HALF {
            let query = halves(block);
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum = step(*sum, query, _mm256_loadu_si256(code.add(HALF * block).cast()));
            }
        }
        let rest = length % HALF;
        if rest > 0 {
            let query = halves(length / HALF);
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum = step(*sum, query, tail(code.add(length - rest), rest));
            }
        }
    }
    sums.map(|sum| total(sum))
}

/// # Safety
/// The pointer is valid for reads of `length` bytes, fewer than 32.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tail(from: *const u8, length: usize) -> __m256i {
    let mut bytes = [0u8; 32];
    // SAFETY: the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), length);
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn total(sum: __m256i) -> i32 {
    let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let quarter = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
    _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32::<0b00_00_00_01>(quarter)))
}
