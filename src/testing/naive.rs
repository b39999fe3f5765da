//! Brute force, too simple to be wrong: the oracle of tests and benches. It also makes their data.

use crate::options::Metric;
pub use crate::random::Random;

/// The distance of two vectors in `f64`, in the metric's unit: squared, or one minus the (for cosine normalised) inner product.
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: fn(f64, f64) -> f64, a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f(x.into(), y.into())).sum()
    };
    let dot = |a, b| sum(|x, y| x * y, a, b);
    match metric {
        Metric::L2sq => sum(|x, y| (x - y) * (x - y), a, b),
        Metric::Ip => 1.0 - dot(a, b),
        Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
    }
}

/// The `k` rows nearest to `query`, nearest first, then by row id. `rows`: in any order; their distances must not be NaN.
pub fn nearest<'a>(
    metric: Metric,
    rows: impl IntoIterator<Item = (i64, &'a [f32])>,
    query: &[f32],
    k: usize,
) -> Vec<(i64, f64)> {
    let mut all: Vec<_> = rows.into_iter().map(|(id, vector)| (id, distance(metric, vector, query))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

/// The share of `exact` that is among `found`, 0 to 1.
pub fn recall(exact: &[(i64, f64)], found: impl IntoIterator<Item = i64>) -> f64 {
    let found: std::collections::HashSet<_> = found.into_iter().collect();
    exact.iter().filter(|(id, _)| found.contains(id)).count() as f64 / exact.len() as f64
}

impl Random {
    /// A roughly normally distributed number: mean 0, variance 1.
    pub fn normal(&mut self) -> f32 {
        let unit = |bits: u64| (bits >> 40) as f32 / (1 << 24) as f32;
        // Irwin & Hall: the sum of 12 uniform numbers has variance 1.
        (0..12).map(|_| unit(self.bits())).sum::<f32>() - 6.0
    }

    /// `rows × dimensions` numbers: vectors in `clusters` clusters, like embeddings. The spread within a cluster is half that of the
    /// cluster centres.
    pub fn clustered(&mut self, rows: usize, dimensions: usize, clusters: usize) -> Vec<f32> {
        let centres: Vec<f32> = (0..clusters * dimensions).map(|_| self.normal()).collect();
        let mut values = Vec::with_capacity(rows * dimensions);
        for _ in 0..rows {
            let centre = self.below(clusters) * dimensions;
            for x in &centres[centre..centre + dimensions] {
                values.push(x + 0.5 * self.normal());
            }
        }
        values
    }
}
