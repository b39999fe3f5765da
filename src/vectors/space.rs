//! What vectors of an index are ranked by, and which can be.

use super::Norms;
use crate::options::Metric;

/// Squared norm from which a vector is unrankable. Two shorter vectors are at most `4 · 8e37` apart (squared), which `f32`
/// still holds.
const NORM_MAX: f64 = 8e37;
/// Squared norm up to which a vector has no usable direction.
const NORM_MIN: f64 = 1e-30;

/// What the vectors of an index are, and how they rank.
#[derive(Clone, Copy)]
pub struct Space {
    /// What the index ranks by.
    pub metric: Metric,
    /// Elements of a vector.
    pub dimensions: usize,
}

impl Space {
    /// The space of `dimensions`-element vectors under `metric`.
    pub fn new(metric: Metric, dimensions: usize) -> Self {
        Self { metric, dimensions }
    }

    /// The norm of `vector`, if it can be ranked in `f32`: elements finite, squared norm below 8e37 and, for cosine, above
    /// 1e-30. Other vectors are *unrankable*: they stay out of the graph, and the table decides where they rank.
    ///
    /// Appends its stored form to `stored` if so: as it is, or for cosine scaled to norm 1 (norm taken in `f64`).
    pub fn store(&self, vector: &[f32], stored: &mut Vec<f32>) -> Option<Norms> {
        // A NaN or infinite element makes the norm NaN or infinite, and every comparison below refuses it.
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

    /// Whether the distance of this vector from any other is NaN: an element is, or there is no direction for an angle.
    pub fn is_undefined(&self, vector: &[f32]) -> bool {
        let directed = || vector.iter().any(|&x| x != 0.0) && vector.iter().all(|x| x.is_finite());
        vector.iter().any(|x| x.is_nan()) || self.metric == Metric::Cosine && !directed()
    }

    /// The norm that a vector had of which this is the stored form, if that tells.
    pub fn norm_given(&self, stored: impl Iterator<Item = f32>) -> Option<Norms> {
        match self.metric {
            Metric::Cosine => None,
            Metric::L2sq | Metric::Ip => Some(Norms::of_square(stored.map(|x| f64::from(x) * f64::from(x)).sum())),
        }
    }

    /// How far behind `distance` a row may be whose distance from `query` is smaller by the digits that its vector, and others, lost when
    /// they became `f32`: each element a part in 2²⁴, so a vector is off by that part of its norm. All norms are between these.
    pub fn narrowed(&self, distance: f32, query: &[f32], norms: Norms) -> f32 {
        let query = squared_norm(query).sqrt();
        let part = 1.5 * f64::from(f32::EPSILON);
        (match self.metric {
            Metric::L2sq => {
                // the query, this row, and the one that is compared with it: their norms are at most the query's and the distance
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

    /// How far behind a row's distance that of another one may be which is nearer to `query` by `metric`, where all norms are between
    /// these. 0 for the space's own metric; infinite or NaN if nothing is known.
    ///
    /// With norms `a` and `b` of two vectors `x` and `y`: of `|x|² + |q|² - 2x·q`, `1 - x·q` and `1 - x·q / (|x||q|)`, one of which is not
    /// greater for `x` than for `y`, the others are greater at most by what `a - b` makes of them.
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

    /// By how much two may differ of: a distance as the index measures it, and as the host does, in `f32` or `f64`, in any order of its
    /// sums, of vectors that may have been rounded to `f32` for the index. In the metric's unit, where one of them is about `distance`.
    /// All norms are between these; if nobody knows them it may be infinite. 0 for an infinite distance.
    ///
    /// Of a sum of `n` products each step may be off by a part in 2²⁴, `u`, of what was summed (Higham, "Accuracy and Stability of
    /// Numerical Algorithms", section 3.1): `n · u` of it in all, once for the index and once for the host, or thrice for a cosine,
    /// which has two norms below it.
    pub fn rounding(&self, distance: f64, query: &[f32], norms: Norms) -> f64 {
        /// Steps besides those of a sum, and what is lost to products of roundings.
        const MORE_STEPS: f64 = 32.0;
        if !distance.is_finite() {
            return 0.0;
        }
        let steps = self.dimensions as f64 + MORE_STEPS;
        let unit = f64::from(f32::EPSILON) / 2.0;
        let part = 3.0 * steps * unit;
        // what products lose that are too small for `f32`
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

    /// How far behind `distance` another one may be and still count as equal: our `f32` sums and the host's differ
    /// by rounding, and the host's order decides.
    pub fn tie(&self, distance: f32) -> f32 {
        let relative = 1e-5 * distance.abs();
        match self.metric {
            Metric::L2sq => relative,
            // The rounding is that of the inner product, which may be much larger than its distance from 1.
            Metric::Cosine | Metric::Ip => relative + 1e-6 * (1.0 - distance).abs(),
        }
    }
}

/// The sum of squares in `f64`; NaN or infinite if an element is. Eight lanes, as the compiler may not reorder sums.
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
