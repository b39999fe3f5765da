//! Kernels for x86-64 with AVX2 and FMA: four sums of 8 lanes.

use std::arch::x86_64::*;

use super::Kernels;

pub(super) static KERNELS: Kernels = Kernels { name: "avx2", l2sq, dot };

#[target_feature(enable = "avx2,fma")]
unsafe extern "C" fn l2sq(a: *const f32, b: *const f32, len: usize) -> f32 {
    // SAFETY: the contract of `Kernel`.
    unsafe {
        fold(a, b, len, |sum, a, b| {
            let difference = _mm256_sub_ps(a, b);
            _mm256_fmadd_ps(difference, difference, sum)
        })
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe extern "C" fn dot(a: *const f32, b: *const f32, len: usize) -> f32 {
    // SAFETY: the contract of `Kernel`.
    unsafe { fold(a, b, len, |sum, a, b| _mm256_fmadd_ps(a, b, sum)) }
}

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
            let (mut a_tail, mut b_tail) = ([0.0f32; 8], [0.0f32; 8]);
            std::ptr::copy_nonoverlapping(a.add(at), a_tail.as_mut_ptr(), len - at);
            std::ptr::copy_nonoverlapping(b.add(at), b_tail.as_mut_ptr(), len - at);
            sums[1] = step(sums[1], _mm256_loadu_ps(a_tail.as_ptr()), _mm256_loadu_ps(b_tail.as_ptr()));
        }
    }
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps::<1>(quarter, quarter)))
}
