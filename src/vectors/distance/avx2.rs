//! Kernels for x86-64 with AVX2 and FMA: four sums of 8 lanes for one pair, two sums each for four pairs.

use std::arch::x86_64::*;

use super::Kernels;

kernels!(
    "avx2",
    "avx2,fma",
    squared: |sum, a, b| {
        let difference = _mm256_sub_ps(a, b);
        _mm256_fmadd_ps(difference, difference, sum)
    },
    product: |sum, a, b| _mm256_fmadd_ps(a, b, sum),
    tiles: None
);

/// # Safety
/// Both pointers are valid for reads of `len` floats; the processor has AVX2 and FMA.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn fold(a: *const f32, b: *const f32, len: usize, step: impl Fn(__m256, __m256, __m256) -> __m256) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    let mut at = 0;
    // SAFETY: `at + 32 <= len` in the loop, `at + 8 <= len` in the second; the tail is copied from within `len`.
    unsafe {
        while at + 32 <= len {
            for (i, sum) in sums.iter_mut().enumerate() {
                let from = at + 8 * i;
                *sum = step(*sum, _mm256_loadu_ps(a.add(from)), _mm256_loadu_ps(b.add(from)));
            }
            at += 32;
        }
        while at + 8 <= len {
            sums[0] = step(sums[0], _mm256_loadu_ps(a.add(at)), _mm256_loadu_ps(b.add(at)));
            at += 8;
        }
        if at < len {
            sums[1] = step(sums[1], tail(a.add(at), len - at), tail(b.add(at), len - at));
        }
    }
    total(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])))
}

/// # Safety
/// All five pointers are valid for reads of `len` floats; the processor has AVX2 and FMA.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn fold4(
    a: *const f32,
    b: &[*const f32; 4],
    len: usize,
    step: impl Fn(__m256, __m256, __m256) -> __m256,
) -> [f32; 4] {
    let mut sums = [[_mm256_setzero_ps(); 2]; 4];
    let mut at = 0;
    // SAFETY: `at + 16 <= len` in the loop, `at + 8 <= len` after it; the tail is copied from within `len`.
    unsafe {
        while at + 16 <= len {
            let (low, high) = (_mm256_loadu_ps(a.add(at)), _mm256_loadu_ps(a.add(at + 8)));
            for (sums, b) in sums.iter_mut().zip(b) {
                sums[0] = step(sums[0], low, _mm256_loadu_ps(b.add(at)));
                sums[1] = step(sums[1], high, _mm256_loadu_ps(b.add(at + 8)));
            }
            at += 16;
        }
        if at + 8 <= len {
            let a = _mm256_loadu_ps(a.add(at));
            for (sums, b) in sums.iter_mut().zip(b) {
                sums[0] = step(sums[0], a, _mm256_loadu_ps(b.add(at)));
            }
            at += 8;
        }
        if at < len {
            let a = tail(a.add(at), len - at);
            for (sums, b) in sums.iter_mut().zip(b) {
                sums[1] = step(sums[1], a, tail(b.add(at), len - at));
            }
        }
    }
    sums.map(|sums| total(_mm256_add_ps(sums[0], sums[1])))
}

/// # Safety
/// The pointer is valid for reads of `len` floats, fewer than 8; the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tail(from: *const f32, len: usize) -> __m256 {
    let mut lanes = [0.0f32; 8];
    // SAFETY: the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), len);
        _mm256_loadu_ps(lanes.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn total(sum: __m256) -> f32 {
    let half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps::<1>(quarter, quarter)))
}
