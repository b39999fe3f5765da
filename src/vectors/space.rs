//! The space of an index's vectors: how they rank, and which can be ranked.

use super::Norms;
use crate::options::Metric;

/// Squared norm from which a vector is unrankable. The squared distance of two shorter vectors is at most `4 · 8e37`, which `f32` still
/// holds.
const NORM_MAX: f64 = 8e37;
/// Squared norm up to which a vector has no usable direction.
const NORM_MIN: f64 = 1e-30;

/// The dimensions of an index's vectors, and the metric that ranks them.
#[derive(Clone, Copy)]
pub struct Space {
    /// The metric by which the index ranks.
    pub metric: Metric,
    /// Elements of a vector.
    pub dimensions: usize,
}

impl Space {
    /// The space of `dimensions`-element vectors under `metric`.
    pub fn new(metric: Metric, dimensions: usize) -> Self {
        Self { metric, dimensions }
    }

    /// The norm of `vector`, if the vector can be ranked in `f32`: its elements are finite, and its squared norm is below 8e37 and, for
    /// cosine, above 1e-30. Other vectors are *unrankable*: they stay out of the graph, and the table decides where they rank.
    ///
    /// If so, appends the stored form to `stored`: the vector as it is, or for cosine scaled to norm 1 (the norm is taken in `f64`).
    pub fn store(&self, vector: &[f32], stored: &mut Vec<f32>) -> Option<Norms> {
        // A NaN or infinite element makes the norm NaN or infinite, and every comparison below is then false.
        let norm = squared_norm(vector);
        let ordinary = match self.metric {
            Metric::Cosine => {
                let ordinary = norm > NORM_MIN && norm < NORM_MAX;
                if ordinary {
                    let scale = 1.0 / norm.sqrt();
                    stored.extend(vector.iter().map(|&x| (f64::from(x) * scale) as f32));
                }
                ordinary
            }
            Metric::L2sq | Metric::Ip => {
                let ordinary = norm < NORM_MAX;
                if ordinary {
                    stored.extend_from_slice(vector);
                }
                ordinary
            }
        };
        ordinary.then(|| Norms::of_square(norm))
    }

    /// Whether the distance of this vector from any other is NaN: because an element is NaN, or because an angle needs a direction and
    /// there is none.
    pub fn is_undefined(&self, vector: &[f32]) -> bool {
        let directed = || vector.iter().any(|&x| x != 0.0) && vector.iter().all(|x| x.is_finite());
        vector.iter().any(|x| x.is_nan()) || self.metric == Metric::Cosine && !directed()
    }

    /// The norm of the vector of which this is the stored form; `None` for cosine, which does not keep norms.
    pub fn norm_given(&self, stored: impl Iterator<Item = f32>) -> Option<Norms> {
        match self.metric {
            Metric::Cosine => None,
            Metric::L2sq | Metric::Ip => Some(Norms::of_square(stored.map(|x| f64::from(x) * f64::from(x)).sum())),
        }
    }

    /// How far behind `distance` a row may seem to be whose true distance from `query` is smaller, because vectors were rounded to `f32`.
    /// Rounding changes each element by at most a part in 2²⁴, and so each vector by that part of its norm. `norms`: of all vectors.
    pub fn narrowed(&self, distance: f32, query: &[f32], norms: Norms) -> f32 {
        let query = squared_norm(query).sqrt();
        let part = 1.5 * f64::from(f32::EPSILON);
        (match self.metric {
            Metric::L2sq => {
                // The query, the row and the row compared with it are rounded; the norm of a row is at most that of the query plus the
                // distance.
                let root = f64::from(distance.max(0.0)).sqrt();
                let off = part * (2.0 * query + root);
                2.0 * root * off + off * off
            }
            Metric::Ip if norms.is_empty() => 0.0,
            Metric::Ip => part * 2.0 * query * f64::from(norms.max),
            // Directions lose less than `tie` allows.
            Metric::Cosine => 0.0,
        }) as f32
    }

    /// How far behind a row's distance that of another row may be which is nearer to `query` by `metric`. `norms`: of all vectors. 0 for
    /// the space's own metric; infinite or NaN if the norms are not known.
    ///
    /// Let `x` and `y` be vectors with norms `a` and `b`. If one of `|x|² + |q|² - 2x·q`, `1 - x·q` and `1 - x·q / (|x||q|)` is not greater
    /// for `x` than for `y`, then each of the others is greater for `x` by at most an amount that follows from `a - b`.
    pub fn other_metric(&self, metric: Option<Metric>, norms: Norms, query: &[f32]) -> f32 {
        let Some(metric) = metric.filter(|&metric| metric != self.metric && !norms.is_empty()) else { return 0.0 };
        let (min, max) = (f64::from(norms.min), f64::from(norms.max));
        let (longer, squares) = (max - min, (max - min) * (max + min));
        let query = squared_norm(query).sqrt();
        (match (self.metric, metric) {
            (Metric::L2sq, Metric::Ip) => squares,
            (Metric::L2sq, _) => squares + 2.0 * query * longer,
            (Metric::Ip, Metric::L2sq) => squares / 2.0,
            (Metric::Ip, _) => query * longer,
            (Metric::Cosine, Metric::Ip) => longer / min,
            (Metric::Cosine, _) => longer / min + squares / (2.0 * query * min),
        }) as f32
    }

    /// How much a distance of about `distance` may differ between the index and the host. The host may compute in `f32` or `f64` and sum in
    /// any order, and the vectors may have been rounded to `f32` for the index. In the metric's unit. `norms`: of all vectors; if they are
    /// not known, the result may be infinite. 0 for an infinite distance.
    ///
    /// Each step of a sum of `n` products may be off by a part `u` in 2²⁴ of what was summed (Higham, "Accuracy and Stability of Numerical
    /// Algorithms", section 3.1), so the whole sum may be off by `n · u` of it. This counts once for the index and once for the host, or
    /// three times for a cosine, which also has two norms in its denominator.
    pub fn rounding(&self, distance: f64, query: &[f32], norms: Norms) -> f64 {
        /// Steps besides those of the sum, and an allowance for products of roundings.
        const MORE_STEPS: f64 = 32.0;
        if !distance.is_finite() {
            return 0.0;
        }
        let steps = self.dimensions as f64 + MORE_STEPS;
        let unit = f64::from(f32::EPSILON) / 2.0;
        let part = 3.0 * steps * unit;
        // What is lost if products are too small for `f32`.
        let tiny = steps * f64::from(f32::MIN_POSITIVE);
        match self.metric {
            Metric::L2sq => {
                let rounded = f64::from(self.narrowed(distance as f32, query, norms));
                part * distance.abs() + 2.0 * rounded + 4.0 * tiny
            }
            Metric::Cosine => 2.0 * part,
            Metric::Ip if norms.is_empty() => 0.0,
            Metric::Ip => part * (1.0 + squared_norm(query).sqrt() * f64::from(norms.max)) + 4.0 * tiny,
        }
    }

    /// How far behind `distance` another distance may be and still count as equal: the `f32` sums of the index and of the host differ by
    /// rounding, and the host's order decides.
    pub fn tie(&self, distance: f32) -> f32 {
        let relative = 1e-5 * distance.abs();
        match self.metric {
            Metric::L2sq => relative,
            // The inner product is what is rounded, and it may be much larger than the distance.
            Metric::Cosine | Metric::Ip => relative + 1e-6 * (1.0 - distance).abs(),
        }
    }
}

/// The sum of squares in `f64`; NaN or infinite if an element is. It uses eight lanes, because the compiler may not reorder sums.
fn squared_norm(vector: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let (blocks, rest) = vector.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += square(x);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&x| square(x)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_vectors_are_recognised() {
        let mut stored = Vec::new();
        for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
            let space = Space::new(metric, 3);
            for unrankable in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e19] {
                assert!(space.store(&[0.5, unrankable, 0.0], &mut stored).is_none());
            }
            assert!(space.store(&[8e18, 0.0, 1.0], &mut stored).is_some());
            let zero = space.store(&[0.0; 3], &mut stored).is_some();
            assert_eq!(zero, metric != Metric::Cosine);
        }
        assert!(stored.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn cosine_stores_directions() {
        let mut stored = Vec::new();
        let space = Space::new(Metric::Cosine, 9);
        let v: Vec<f32> = (1..=9).map(|x| x as f32).collect();
        let tiny: Vec<f32> = v.iter().map(|x| x * 1e-18).collect();
        assert!(space.store(&v, &mut stored).is_some() && space.store(&tiny, &mut stored).is_none());
        assert!((squared_norm(&stored) - 1.0).abs() < 1e-6);
    }
}
