//! A random rotation of vectors of any length, without training and without padding.
//!
//! Source: the fast Kac walk of Gao et al. 2024 (RaBitQ). Each round applies random signs, then a Walsh–Hadamard transform to the largest
//! power of two of elements (alternately the first and the last ones), then a rotation by 45 degrees of one half against the other.

use std::f32::consts::FRAC_1_SQRT_2;

use crate::random::Random;

/// Shorter vectors are not rotated.
pub(super) const ROTATED_MIN: usize = 8;
const ROUNDS: usize = 4;
/// Elements for which the first steps of the transform are done together.
const BLOCK: usize = 8;

/// An orthogonal map that a seed determines.
pub(super) struct Rotation {
    dimensions: usize,
    /// 1 or -1 for each element and round.
    signs: Vec<f32>,
}

impl Rotation {
    pub(super) fn new(dimensions: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let rounds = if dimensions < ROTATED_MIN { 0 } else { ROUNDS };
        let mut bits = 0;
        let mut sign = |at: usize| {
            if at.is_multiple_of(64) {
                bits = random.bits();
            }
            if bits >> (at % 64) & 1 == 0 { 1.0 } else { -1.0 }
        };
        Self { dimensions, signs: (0..rounds * dimensions).map(&mut sign).collect() }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.signs.len() * size_of::<f32>()
    }

    /// Rotates a vector.
    pub(super) fn apply(&self, vector: &mut [f32]) {
        assert_eq!(vector.len(), self.dimensions);
        if self.signs.is_empty() {
            return;
        }
        let power = 1 << self.dimensions.ilog2();
        let scale = 1.0 / (power as f32).sqrt();
        for (round, signs) in self.signs.chunks_exact(self.dimensions).enumerate() {
            vector.iter_mut().zip(signs).for_each(|(x, sign)| *x *= sign);
            let from = if round % 2 == 0 { 0 } else { self.dimensions - power };
            let part = &mut vector[from..from + power];
            transform(part);
            part.iter_mut().for_each(|x| *x *= scale);
            if power < self.dimensions {
                // With an odd number of elements, the one in the middle stays.
                let (front, back) = vector.split_at_mut(self.dimensions / 2);
                let skipped = back.len() - front.len();
                for (a, b) in front.iter_mut().zip(&mut back[skipped..]) {
                    (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
                }
            }
        }
    }
}

/// The Walsh–Hadamard transform, without its scale. The length is a power of two, at least `BLOCK`.
fn transform(values: &mut [f32]) {
    for block in values.as_chunks_mut::<BLOCK>().0 {
        for step in [1, 2, 4] {
            let before = *block;
            for (at, x) in block.iter_mut().enumerate() {
                let other = before[at ^ step];
                *x = if at & step == 0 { before[at] + other } else { other - before[at] };
            }
        }
    }
    let mut step = BLOCK;
    while step < values.len() {
        for pair in values.chunks_exact_mut(2 * step) {
            let (front, back) = pair.split_at_mut(step);
            for (a, b) in front.iter_mut().zip(back) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        step *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(vector: &[f32]) -> f64 {
        vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
    }

    #[test]
    fn lengths_and_angles_stay() {
        let mut random = Random(3);
        for dimensions in (1..300).chain([384, 768, 1024, 1536]) {
            let rotation = Rotation::new(dimensions, 7);
            let mut vector = || (0..dimensions).map(|_| random.normal()).collect::<Vec<f32>>();
            let (a, b) = (vector(), vector());
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
            let (mut rotated_a, mut rotated_b) = (a.clone(), b.clone());
            rotation.apply(&mut rotated_a);
            rotation.apply(&mut rotated_b);
            let scale = norm(&a) * norm(&b);
            assert!((norm(&a) - norm(&rotated_a)).abs() < 1e-5 * norm(&a), "{dimensions}");
            assert!((dot(&a, &b) - dot(&rotated_a, &rotated_b)).abs() < 1e-5 * scale, "{dimensions}");
        }
    }

    #[test]
    fn one_element_is_spread_over_all() {
        for dimensions in [8, 17, 100, 384, 1000] {
            let rotation = Rotation::new(dimensions, 7);
            for at in [0, dimensions / 2, dimensions - 1] {
                let mut vector = vec![0.0; dimensions];
                vector[at] = 1.0;
                rotation.apply(&mut vector);
                let largest = vector.iter().fold(0.0f32, |max, x| max.max(x.abs()));
                assert!(largest < 5.0 / (dimensions as f32).sqrt(), "{dimensions} {at} {largest}");
            }
        }
    }
}
