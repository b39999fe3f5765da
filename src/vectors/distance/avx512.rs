//! Kernels for x86-64 with AVX-512F: four sums of 16 lanes for one pair, two sums each for four pairs; the tail is loaded under a mask.

use std::arch::x86_64::*;

use super::Kernels;

kernels!(
    "avx512",
    "avx512f",
    squared: |sum, a, b| {
        let difference = _mm512_sub_ps(a, b);
        _mm512_fmadd_ps(difference, difference, sum)
    },
    product: |sum, a, b| _mm512_fmadd_ps(a, b, sum),
    tiles: Some((l2sq_tile, ip_tile))
);

#[target_feature(enable = "avx512f")]
unsafe extern "C" fn l2sq_tile(a: &[*const f32; 2], b: &[*const f32; 4], len: usize, out: &mut [[f32; 4]; 2]) {
    let squared = |sum, a, b| {
        let difference = _mm512_sub_ps(a, b);
        _mm512_fmadd_ps(difference, difference, sum)
    };
    // SAFETY: the contract of `Tile`.
    *out = unsafe { fold_tile(a, b, len, squared) };
}

#[target_feature(enable = "avx512f")]
unsafe extern "C" fn ip_tile(a: &[*const f32; 2], b: &[*const f32; 4], len: usize, out: &mut [[f32; 4]; 2]) {
    // SAFETY: the contract of `Tile`.
    let products = unsafe { fold_tile(a, b, len, |sum, a, b| _mm512_fmadd_ps(a, b, sum)) };
    *out = products.map(|products| products.map(|product| 1.0 - product));
}

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
    totals(sums)
}

/// Sums in the order of `fold4`, so that the results equal those of `fold4` in every bit.
///
/// # Safety
/// All six pointers are valid for reads of `len` floats; the processor has AVX-512F.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn fold_tile(
    a: &[*const f32; 2],
    b: &[*const f32; 4],
    len: usize,
    step: impl Fn(__m512, __m512, __m512) -> __m512,
) -> [[f32; 4]; 2] {
    let mut sums = [[[_mm512_setzero_ps(); 2]; 4]; 2];
    let mut add = |half: usize, a: [__m512; 2], b: [__m512; 4]| {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sums, b) in sums.iter_mut().zip(b) {
                sums[half] = step(sums[half], a, b);
            }
        }
    };
    let mut at = 0;
    // SAFETY: `at + 32 <= len` in the loop, `at + 16 <= len` after it; masked-off lanes are not read.
    unsafe {
        while at + 32 <= len {
            add(0, a.map(|a| _mm512_loadu_ps(a.add(at))), b.map(|b| _mm512_loadu_ps(b.add(at))));
            add(1, a.map(|a| _mm512_loadu_ps(a.add(at + 16))), b.map(|b| _mm512_loadu_ps(b.add(at + 16))));
            at += 32;
        }
        if at + 16 <= len {
            add(0, a.map(|a| _mm512_loadu_ps(a.add(at))), b.map(|b| _mm512_loadu_ps(b.add(at))));
            at += 16;
        }
        if at < len {
            let mask = (1u16 << (len - at)) - 1;
            let load = |from: *const f32| _mm512_maskz_loadu_ps(mask, from.add(at));
            add(1, a.map(load), b.map(load));
        }
    }
    sums.map(|sums| totals(sums))
}

/// For each of four pairs of vectors, the sum of all lanes of both. A pair is added first, then halves, quarters and so on, in the order of
/// `_mm512_reduce_add_ps`.
#[inline]
#[target_feature(enable = "avx512f")]
fn totals(sums: [[__m512; 2]; 4]) -> [f32; 4] {
    let [a, b, c, d] = sums.map(|sums| {
        let sum = _mm512_add_ps(sums[0], sums[1]);
        let upper = _mm512_shuffle_f32x4::<0b01_00_11_10>(sum, sum);
        let half = _mm512_castps512_ps256(_mm512_add_ps(sum, upper));
        _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half))
    });
    let ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
    let cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    let totals = _mm_add_ps(_mm_shuffle_ps::<0b10_00_10_00>(ab, cd), _mm_shuffle_ps::<0b11_01_11_01>(ab, cd));
    let mut out = [0.0; 4];
    // SAFETY: there is room for four floats.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), totals) };
    out
}
