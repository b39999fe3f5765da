//! Kernels for x86-64 with AVX-512F: four sums of 16 lanes, for four pairs two sums each; the tail under a mask.

use std::arch::x86_64::*;

use super::Kernels;

kernels!(
    "avx512",
    "avx512f",
    squared: |sum, a, b| {
        let difference = _mm512_sub_ps(a, b);
        _mm512_fmadd_ps(difference, difference, sum)
    },
    product: |sum, a, b| _mm512_fmadd_ps(a, b, sum)
);

/// # Safety
/// Both pointers are valid for reads of `len` floats; the processor has AVX-512F.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn fold(a: *const f32, b: *const f32, len: usize, step: impl Fn(__m512, __m512, __m512) -> __m512) -> f32 {
    let mut sums = [_mm512_setzero_ps(); 4];
    let mut at = 0;
    // SAFETY: `at + 64 <= len` in the loop, `at + 16 <= len` in the second; masked-off lanes are not read.
    unsafe {
        while at + 64 <= len {
            for (i, sum) in sums.iter_mut().enumerate() {
                let from = at + 16 * i;
                *sum = step(*sum, _mm512_loadu_ps(a.add(from)), _mm512_loadu_ps(b.add(from)));
            }
            at += 64;
        }
        while at + 16 <= len {
            sums[0] = step(sums[0], _mm512_loadu_ps(a.add(at)), _mm512_loadu_ps(b.add(at)));
            at += 16;
        }
        if at < len {
            let mask = (1u16 << (len - at)) - 1;
            let (a, b) = (_mm512_maskz_loadu_ps(mask, a.add(at)), _mm512_maskz_loadu_ps(mask, b.add(at)));
            sums[1] = step(sums[1], a, b);
        }
    }
    let sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    _mm512_reduce_add_ps(sum)
}

/// # Safety
/// All five pointers are valid for reads of `len` floats; the processor has AVX-512F.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn fold4(
    a: *const f32,
    b: &[*const f32; 4],
    len: usize,
    step: impl Fn(__m512, __m512, __m512) -> __m512,
) -> [f32; 4] {
    let mut sums = [[_mm512_setzero_ps(); 2]; 4];
    let mut at = 0;
    // SAFETY: `at + 32 <= len` in the loop, `at + 16 <= len` after it; masked-off lanes are not read.
    unsafe {
        while at + 32 <= len {
            let (low, high) = (_mm512_loadu_ps(a.add(at)), _mm512_loadu_ps(a.add(at + 16)));
            for (sums, b) in sums.iter_mut().zip(b) {
                sums[0] = step(sums[0], low, _mm512_loadu_ps(b.add(at)));
                sums[1] = step(sums[1], high, _mm512_loadu_ps(b.add(at + 16)));
            }
            at += 32;
        }
        if at + 16 <= len {
            let a = _mm512_loadu_ps(a.add(at));
            for (sums, b) in sums.iter_mut().zip(b) {
                sums[0] = step(sums[0], a, _mm512_loadu_ps(b.add(at)));
            }
            at += 16;
        }
        if at < len {
            let mask = (1u16 << (len - at)) - 1;
            let a = _mm512_maskz_loadu_ps(mask, a.add(at));
            for (sums, b) in sums.iter_mut().zip(b) {
                sums[1] = step(sums[1], a, _mm512_maskz_loadu_ps(mask, b.add(at)));
            }
        }
    }
    sums.map(|sums| _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1])))
}
