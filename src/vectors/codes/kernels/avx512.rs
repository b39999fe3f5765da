//! Kernels for x86-64 with AVX-512 and VNNI, which adds products of unsigned and signed bytes directly in 32 bits.

use std::arch::x86_64::*;

use super::{BLOCK, HALF, Head};

super::kernels!(
    "avx512vnni",
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")],
    tiles: Some((sq8_tile, sq4_tile))
);
super::kernels!(tile sq8_tile, sums8, #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]);
super::kernels!(tile sq4_tile, sums4, #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sum8(head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
    // SAFETY: the contract of `Measure`.
    let [sum] = unsafe { fold8(query, &[code], length) };
    sum.wrapping_sub(head.shift)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sum8x4(head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
    // SAFETY: the contract of `Measure4`.
    unsafe { fold8(query, codes, length) }.map(|sum| sum.wrapping_sub(head.shift))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sum4(head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
    // SAFETY: the contract of `Measure`.
    let [sum] = unsafe { fold4(query, &[code], length) };
    2 * sum - head.shift
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sum4x4(head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
    // SAFETY: the contract of `Measure4`.
    unsafe { fold4(query, codes, length) }.map(|sum| 2 * sum - head.shift)
}

/// The sums may wrap around, and so may `Head::shift`, which is subtracted from them; the difference fits.
///
/// # Safety
/// As for [`super::Measure4`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn fold8<const N: usize>(query: *const i8, codes: &[*const u8; N], length: usize) -> [i32; N] {
    let mut sums = [[_mm512_setzero_si512(); 2]; N];
    let mut at = 0;
    // SAFETY: `at + 128 <= length` in the loop, `at + 64 <= length` after it; masked-off bytes are not read; the query goes on to the
    // end of its block.
    unsafe {
        while at + 2 * BLOCK <= length {
            let first = _mm512_loadu_si512(query.add(at).cast());
            let second = _mm512_loadu_si512(query.add(at + BLOCK).cast());
            for (sums, code) in sums.iter_mut().zip(codes) {
                sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_loadu_si512(code.add(at).cast()), first);
                sums[1] = _mm512_dpbusd_epi32(sums[1], _mm512_loadu_si512(code.add(at + BLOCK).cast()), second);
            }
            at += 2 * BLOCK;
        }
        if at + BLOCK <= length {
            let query = _mm512_loadu_si512(query.add(at).cast());
            for (sums, code) in sums.iter_mut().zip(codes) {
                sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_loadu_si512(code.add(at).cast()), query);
            }
            at += BLOCK;
        }
        if at < length {
            let mask = (1u64 << (length - at)) - 1;
            let query = _mm512_loadu_si512(query.add(at).cast());
            for (sums, code) in sums.iter_mut().zip(codes) {
                let code = _mm512_maskz_loadu_epi8(mask, code.add(at).cast());
                sums[1] = _mm512_dpbusd_epi32(sums[1], code, query);
            }
        }
    }
    sums.map(|sums| _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1])))
}

/// # Safety
/// As for [`super::Measure4`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn fold4<const N: usize>(query: *const i8, codes: &[*const u8; N], length: usize) -> [i32; N] {
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    let step = |sums: &mut [__m256i; 2], (lower, upper): (__m256i, __m256i), code: __m256i| {
        let mask = _mm256_set1_epi8(15);
        sums[0] = _mm256_dpbusd_epi32(sums[0], _mm256_and_si256(code, mask), lower);
        sums[1] = _mm256_dpbusd_epi32(sums[1], _mm256_and_si256(_mm256_srli_epi16::<4>(code), mask), upper);
    };
    // SAFETY: the query goes on to the end of its last block.
    let halves = |block: usize| unsafe {
        let from = query.add(BLOCK * block);
        (_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(HALF).cast()))
    };
    // SAFETY: all blocks of the loop are inside `length`; masked-off bytes are not read.
    unsafe {
        for block in 0..length / HALF {
            let query = halves(block);
            for (sums, code) in sums.iter_mut().zip(codes) {
                step(sums, query, _mm256_loadu_si256(code.add(HALF * block).cast()));
            }
        }
        let rest = length % HALF;
        if rest > 0 {
            let query = halves(length / HALF);
            for (sums, code) in sums.iter_mut().zip(codes) {
                let mask = (1u32 << rest) - 1;
                step(sums, query, _mm256_maskz_loadu_epi8(mask, code.add(length - rest).cast()));
            }
        }
    }
    sums.map(|sums| total(_mm256_add_epi32(sums[0], sums[1])))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn total(sum: __m256i) -> i32 {
    let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let quarter = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
    _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32::<0b00_00_00_01>(quarter)))
}

/// # Safety
/// As for [`super::MeasureTile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sums8(queries: &[*const i8; 2], codes: &[*const u8; 4], length: usize) -> [[i32; 4]; 2] {
    // SAFETY: as in `fold8`.
    unsafe {
        tile(queries, length.div_ceil(BLOCK), |block| {
            let at = BLOCK * block;
            let mask = if at + BLOCK <= length { u64::MAX } else { (1u64 << (length - at)) - 1 };
            codes.map(|code| _mm512_maskz_loadu_epi8(mask, code.add(at).cast()))
        })
    }
}

/// # Safety
/// As for [`super::MeasureTile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sums4(queries: &[*const i8; 2], codes: &[*const u8; 4], length: usize) -> [[i32; 4]; 2] {
    // SAFETY: as in `fold4`.
    let sums = unsafe {
        tile(queries, length.div_ceil(HALF), |block| {
            let at = HALF * block;
            let mask = if at + HALF <= length { u32::MAX } else { (1u32 << (length - at)) - 1 };
            codes.map(|code| {
                let code = _mm256_maskz_loadu_epi8(mask, code.add(at).cast());
                let upper = _mm256_srli_epi16::<4>(code);
                let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(code), upper);
                _mm512_and_si512(both, _mm512_set1_epi8(15))
            })
        })
    };
    sums.map(|sums| sums.map(|sum| 2 * sum))
}

/// Sums of the products of the numbers of two queries and the numbers of four rows. `codes` gives the latter for each block.
///
/// # Safety
/// The queries have `blocks` blocks, and `codes` may be called for each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile(queries: &[*const i8; 2], blocks: usize, codes: impl Fn(usize) -> [__m512i; 4]) -> [[i32; 4]; 2] {
    let mut sums = [[_mm512_setzero_si512(); 4]; 2];
    for block in 0..blocks {
        let codes = codes(block);
        for (sums, query) in sums.iter_mut().zip(queries) {
            // SAFETY: the caller's promise.
            let query = unsafe { _mm512_loadu_si512(query.add(BLOCK * block).cast()) };
            for (sum, code) in sums.iter_mut().zip(codes) {
                *sum = _mm512_dpbusd_epi32(*sum, code, query);
            }
        }
    }
    sums.map(|sums| totals(sums))
}

/// The sums of the lanes of four vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn totals(sums: [__m512i; 4]) -> [i32; 4] {
    let quarters = sums.map(|sum| {
        let half = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
        _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
    });
    let (first, second) = (_mm_hadd_epi32(quarters[0], quarters[1]), _mm_hadd_epi32(quarters[2], quarters[3]));
    let mut out = [0; 4];
    // SAFETY: there is room for four numbers.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_hadd_epi32(first, second)) };
    out
}
