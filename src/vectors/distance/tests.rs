use proptest::prelude::*;

use super::{Kernel, Kernel4, Kernels};

/// Lengths around every block size of every kernel, and those of real embeddings.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=130).chain([384, 1023, 1024, 1536, 4096])
}

fn oracle(a: &[f32], b: &[f32], term: fn(f64, f64) -> f64) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| term(f64::from(a), f64::from(b))).sum()
}

fn l2sq(a: f64, b: f64) -> f64 {
    (a - b) * (a - b)
}

fn dot(a: f64, b: f64) -> f64 {
    a * b
}

fn ip(a: &[f32], b: &[f32]) -> f64 {
    1.0 - oracle(a, b, dot)
}

fn call(kernel: Kernel, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // SAFETY: both slices hold `len` floats; only kernels of supported sets are tested.
    unsafe { kernel(a.as_ptr(), b.as_ptr(), a.len()) }
}

fn call4(kernel: Kernel4, a: &[f32], b: [&[f32]; 4]) -> [f32; 4] {
    assert!(b.iter().all(|b| b.len() == a.len()));
    let mut out = [f32::NAN; 4];
    // SAFETY: all slices hold `len` floats; only kernels of supported sets are tested.
    unsafe { kernel(a.as_ptr(), &b.map(|b| b.as_ptr()), a.len(), &mut out) };
    out
}

/// Numbers in [-1, 1) from a seed, the same on every machine.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

fn assert_close(name: &str, got: f32, want: f64, scale: f64) {
    let error = (f64::from(got) - want).abs();
    assert!(error <= 1e-5 * scale + 1e-6, "{name}: {got} instead of {want}");
}

#[test]
fn every_kernel_agrees_with_the_oracle_at_every_length_and_alignment() {
    for kernels in Kernels::all_supported() {
        for len in lengths() {
            for offset in [0, 1, 3, 7, 15] {
                let (a, b) = (numbers(len as u64, len + offset), numbers(1_000 + len as u64, len + 15 - offset));
                let (a, b) = (&a[offset..], &b[15 - offset..]);
                let scale = len as f64;
                assert_close(kernels.name, call(kernels.l2sq, a, b), oracle(a, b, l2sq), scale);
                assert_close(kernels.name, call(kernels.ip, a, b), ip(a, b), scale);
            }
        }
    }
}

#[test]
fn four_pairs_agree_with_the_oracle_at_every_length_and_alignment() {
    for kernels in Kernels::all_supported() {
        for len in lengths() {
            let all: Vec<_> = (0..5).map(|i| numbers(5 * len as u64 + i, len + 3 * i as usize)).collect();
            let (a, b) = (&all[0][..], [1, 2, 3, 4].map(|i| &all[i][3 * i..]));
            let (l2sqs, ips) = (call4(kernels.l2sq4, a, b), call4(kernels.ip4, a, b));
            for (i, b) in b.into_iter().enumerate() {
                assert_close(kernels.name, l2sqs[i], oracle(a, b, l2sq), len as f64);
                assert_close(kernels.name, ips[i], ip(a, b), len as f64);
            }
        }
    }
}

#[test]
fn tiles_agree_with_four_pairs_in_every_bit() {
    for kernels in Kernels::all_supported() {
        let Some((l2sq_tile, ip_tile)) = kernels.tiles else { continue };
        for len in lengths() {
            let all: Vec<_> = (0..6).map(|i| numbers(6 * len as u64 + i, len + 3 * i as usize)).collect();
            let (a, b) = ([0, 1].map(|i| &all[i][3 * i..]), [2, 3, 4, 5].map(|i| &all[i][3 * i..]));
            let (mut l2sqs, mut ips) = ([[f32::NAN; 4]; 2], [[f32::NAN; 4]; 2]);
            // SAFETY: all slices hold `len` floats; only kernels of supported sets are tested.
            unsafe {
                l2sq_tile(&a.map(|a| a.as_ptr()), &b.map(|b| b.as_ptr()), len, &mut l2sqs);
                ip_tile(&a.map(|a| a.as_ptr()), &b.map(|b| b.as_ptr()), len, &mut ips);
            }
            for (i, a) in a.into_iter().enumerate() {
                assert_eq!(l2sqs[i], call4(kernels.l2sq4, a, b), "{} {len}", kernels.name);
                assert_eq!(ips[i], call4(kernels.ip4, a, b), "{} {len}", kernels.name);
            }
        }
    }
}

#[test]
fn special_values_propagate_from_every_position() {
    for kernels in Kernels::all_supported() {
        for len in [1, 5, 16, 17, 63, 64, 65, 100] {
            for at in 0..len {
                let ones = vec![1.0f32; len];
                let mut special = ones.clone();
                special[at] = f32::NAN;
                assert!(call(kernels.l2sq, &ones, &special).is_nan(), "{}", kernels.name);
                assert!(call(kernels.ip, &ones, &special).is_nan(), "{}", kernels.name);
                special[at] = f32::INFINITY;
                assert_eq!(call(kernels.l2sq, &ones, &special), f32::INFINITY, "{}", kernels.name);
                assert_eq!(call(kernels.ip, &ones, &special), f32::NEG_INFINITY, "{}", kernels.name);
                let four = call4(kernels.l2sq4, &ones, [&ones, &special, &ones, &special]);
                assert_eq!(four, [0.0, f32::INFINITY, 0.0, f32::INFINITY], "{}", kernels.name);
            }
        }
    }
}

proptest! {
    #[test]
    fn kernels_agree_with_the_portable_one(pairs in proptest::collection::vec((-1e3f32..1e3, -1e3f32..1e3), 0..300)) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let all = Kernels::all_supported();
        let portable = all[all.len() - 1];
        let scale: f64 = oracle(&a, &a, dot) + oracle(&b, &b, dot);
        for kernels in all {
            assert_close(kernels.name, call(kernels.l2sq, &a, &b), f64::from(call(portable.l2sq, &a, &b)), scale);
            assert_close(kernels.name, call(kernels.ip, &a, &b), f64::from(call(portable.ip, &a, &b)), scale);
        }
    }
}
