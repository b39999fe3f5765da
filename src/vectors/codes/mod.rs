//! Codes: vectors in 8 or 4 bits an element.
//!
//! A vector is centred, rotated, and rounded to a grid with a scale of its own:
//!
//! ```text
//! r = P (x − c)                                       ‖r‖ = ‖x − c‖
//! 8 bits: g_i = round(127 r_i / max |r|)              4 bits: g_i = floor(s r_i) + ½, at most 7½; s: the best of some
//! scale a = ‖r‖² / <r, g>,  so that a <g, y> is on average <r, y> for a y independent of the rounding
//! offset e = ‖r‖² for l2sq, −<x − c, c> for the others
//! ```
//!
//! A query `q` becomes `y = P (q − c)`, rounded to 8 bits in both cases, and `distance ≈ K + e − w a <g, y>` with `w = 2`, `K = ‖y‖²` for
//! l2sq, `w = 1`, `K = 1 − <q, c>` for the others.
//!
//! Source: RaBitQ (Gao & Long 2024; Gao et al. 2024 for more than one bit), with a grid that suits kernels of whole numbers.

#[allow(unsafe_code)]
pub(super) mod kernels;
mod rotation;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use self::kernels::{BLOCK, HALF, Head, Kernels, Measure, Measure4, MeasureTile, QUERY_HEAD, ROW_HEAD, nibble};
use self::rotation::{ROTATED_MIN, Rotation};
use super::Space;
use crate::options::{Metric, Quantization};

/// Seed of the rotation.
pub(super) const SEED: u64 = 0x7673_732d_686e_7377;
/// The largest number in a query, and in a code of 8 bits.
const LARGEST: f32 = 127.0;
/// Scales tried for 4 bits. At 1.0 the largest element falls on the end of the grid.
const SCALES: [f32; 6] = [1.0, 1.1, 1.2, 1.35, 1.5, 1.7];
/// A centred vector whose largest element is smaller counts as the centre itself.
const SMALLEST: f32 = 1e-36;
/// How far the squared norm of a centred vector may be off when it is computed from the row's offset (cosine).
const NORM_ERROR: f32 = 1e-6;
/// How far the arithmetic in `f32` may be off, in products of the two norms, besides the error of the codes.
const ROUNDING: f32 = 2e-6;
const LANES: usize = 16;

/// Turns vectors in stored form into codes.
pub(super) struct Quantizer {
    space: Space,
    quantization: Quantization,
    seed: u64,
    kernels: &'static Kernels,
    rotation: Rotation,
    centre: OnceLock<Centre>,
    /// The largest error of all codes so far, as a share of the norm of the centred vector: the bits of an `f32`.
    error: AtomicU32,
}

struct Centre {
    vector: Vec<f32>,
    /// The squared norm of `vector`.
    norm: f64,
}

/// Inner products of a vector `r` and its rounded form `g`.
struct Sums {
    /// `<r, r>`, then `<r, g>` and `<g, g>`; `r` is divided by its largest element.
    rr: f64,
    rg: f64,
    gg: f64,
}

impl Sums {
    fn of(r: &[f32], g: impl Fn(f32) -> f32) -> Self {
        let mut lanes = [[0.0f32; LANES]; 3];
        let mut add = |values: &[f32; LANES]| {
            for (lane, &r) in values.iter().enumerate() {
                let g = g(r);
                lanes[0][lane] += r * r;
                lanes[1][lane] += r * g;
                lanes[2][lane] += g * g;
            }
        };
        let (blocks, rest) = r.as_chunks::<LANES>();
        blocks.iter().for_each(&mut add);
        let mut sums = lanes.map(|lanes| lanes.iter().map(|&x| f64::from(x)).sum::<f64>());
        for &r in rest {
            let g = g(r);
            let products = [r * r, r * g, g * g];
            sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += f64::from(product));
        }
        Self { rr: sums[0], rg: sums[1], gg: sums[2] }
    }

    /// The distance of `r` from `g` scaled so that both agree along `r`, in norms of `r`.
    fn error(&self) -> f64 {
        ((self.rr * self.gg / (self.rg * self.rg)) - 1.0).max(0.0).sqrt()
    }
}

/// The nearest whole number, for numbers below 2²² in magnitude.
fn nearest(x: f32) -> i32 {
    // Beyond 2²³ an `f32` has no digits after the point, and its lowest bits are the whole number.
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

impl Quantizer {
    pub(super) fn new(space: Space, quantization: Quantization, seed: u64) -> Self {
        Self {
            space,
            quantization,
            seed,
            kernels: Kernels::detect(),
            rotation: Rotation::new(space.dimensions, seed),
            centre: OnceLock::new(),
            error: AtomicU32::new(0),
        }
    }

    /// Seed of the rotation.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Bytes of a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.quantization.row_bytes(self.space.dimensions)
    }

    /// Bytes of the centre and the rotation.
    pub(super) fn memory_bytes(&self) -> usize {
        self.space.dimensions * size_of::<f32>() + self.rotation.memory_bytes()
    }

    /// Bytes of a code.
    pub(super) fn code_bytes(&self) -> usize {
        self.quantization.code_bytes(self.space.dimensions)
    }

    /// Numbers of a query, including the zeros at its end.
    fn query_numbers(&self) -> usize {
        self.space.dimensions.next_multiple_of(BLOCK)
    }

    /// Bytes of a query.
    pub(super) fn query_bytes(&self) -> usize {
        QUERY_HEAD + self.query_numbers()
    }

    /// The kernels for one row and for four rows.
    pub(super) fn measures(&self) -> (Measure, Measure4) {
        match self.quantization {
            Quantization::Sq4 => (self.kernels.sq4, self.kernels.sq4x4),
            _ => (self.kernels.sq8, self.kernels.sq8x4),
        }
    }

    /// The kernel for two queries and four rows, if there is one.
    pub(super) fn tile(&self) -> Option<MeasureTile> {
        let (sq8, sq4) = self.kernels.tiles?;
        Some(if self.quantization == Quantization::Sq4 { sq4 } else { sq8 })
    }

    /// The centre, once there is one.
    pub(super) fn centre(&self) -> Option<&[f32]> {
        self.centre.get().map(|centre| &centre.vector[..])
    }

    /// Sets the centre, unless there is one already.
    pub(super) fn set_centre(&self, vector: Vec<f32>) {
        assert_eq!(vector.len(), self.space.dimensions);
        let norm = dot(&vector, &vector);
        let _ = self.centre.set(Centre { vector, norm });
    }

    /// The largest error of all codes so far, as a share of the norm of the centred vector.
    pub(super) fn error(&self) -> f32 {
        f32::from_bits(self.error.load(Ordering::Relaxed))
    }

    /// Notes that a code has this error.
    pub(super) fn add_error(&self, error: f32) {
        // Positive floats are in the order of their bits.
        if error > self.error() {
            self.error.fetch_max(error.to_bits(), Ordering::Relaxed);
        }
    }

    fn weight(&self) -> f64 {
        if self.space.metric == Metric::L2sq { 2.0 } else { 1.0 }
    }

    fn ready(&self) -> &Centre {
        self.centre.get().expect("a centre is set before anything is encoded")
    }

    /// Writes the centred and rotated vector to `rotated`, divided by its largest element. Returns that element (0 if the vector is nearly
    /// the centre), and the squared norm of the centred vector and its inner product with the centre.
    fn rotate(&self, vector: &[f32], rotated: &mut Vec<f32>) -> (f32, f64, f64) {
        let centre = self.ready();
        rotated.clear();
        rotated.extend(vector.iter().zip(&centre.vector).map(|(x, c)| x - c));
        let (norm, along) = (dot(rotated, rotated), dot(rotated, &centre.vector));
        self.rotation.apply(rotated);
        let largest = rotated.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        if largest < SMALLEST {
            return (0.0, norm, along);
        }
        let scale = 1.0 / largest;
        rotated.iter_mut().for_each(|x| *x *= scale);
        (largest, norm, along)
    }

    /// Writes the code of a vector, in stored form, to `row`. `rotated`: scratch.
    pub(super) fn encode(&self, vector: &[f32], rotated: &mut Vec<f32>, row: &mut [u8]) {
        let (largest, norm, along) = self.rotate(vector, rotated);
        let (head, code) = row.split_at_mut(ROW_HEAD);
        code.fill(0);
        let mut scale = 0.0;
        if self.quantization == Quantization::Sq4 {
            scale = self.encode_4(rotated, largest, code);
        } else if largest > 0.0 {
            let sums = Sums::of(rotated, |r| nearest(LARGEST * r) as f32);
            code.iter_mut().zip(&*rotated).for_each(|(code, &r)| *code = (nearest(LARGEST * r) + 128) as u8);
            scale = f64::from(largest) * sums.rr / sums.rg;
            self.add_error(sums.error() as f32);
        } else {
            code[..self.space.dimensions].fill(128);
        }
        let offset = if self.space.metric == Metric::L2sq { norm } else { -along };
        head[..4].copy_from_slice(&(scale as f32).to_le_bytes());
        head[4..].copy_from_slice(&(offset as f32).to_le_bytes());
    }

    /// Writes a code of 4 bits; returns the scale.
    fn encode_4(&self, rotated: &[f32], largest: f32, code: &mut [u8]) -> f64 {
        if largest == 0.0 {
            return 0.0;
        }
        // Half a step is subtracted (7.5, not 8), so rounding to the nearest rounds down.
        let number = |scale: f32, r: f32| nearest((8.0 * scale * r + 7.5).clamp(0.0, 15.0));
        let mut best = (0.0, SCALES[0], Sums { rr: 0.0, rg: 1.0, gg: 0.0 });
        for scale in SCALES {
            let sums = Sums::of(rotated, |r| number(scale, r) as f32 - 7.5);
            let cosine = sums.rg * sums.rg / sums.gg;
            if cosine > best.0 {
                best = (cosine, scale, sums);
            }
        }
        let (_, scale, sums) = best;
        for (at, byte) in code[..self.code_bytes()].iter_mut().enumerate() {
            let number = |upper| self.element(nibble(at, upper)).map_or(0, |element| number(scale, rotated[element]));
            *byte = (number(false) | number(true) << 4) as u8;
        }
        self.add_error(sums.error() as f32);
        f64::from(largest) * sums.rr / sums.rg
    }

    /// The element of a vector that stands at a place in a query; `None` where the query has a zero.
    ///
    /// For 8 bits, element and place have the same number. For 4 bits, the elements of a last block that is not full are divided into two
    /// halves, so that only the last byte of a code may hold a single element.
    fn element(&self, place: usize) -> Option<usize> {
        let dimensions = self.space.dimensions;
        let begin = place - place % BLOCK;
        let left = dimensions - begin;
        if self.quantization != Quantization::Sq4 || left >= BLOCK {
            return (place < dimensions).then_some(place);
        }
        let half = left.div_ceil(2);
        let at = place - begin;
        let element = if at < HALF { Some(at).filter(|&at| at < half) } else { Some(half + at - HALF) };
        element.map(|at| begin + at).filter(|&element| element < dimensions)
    }

    /// A vector, in stored form, as a query.
    pub(super) fn prepare(&self, vector: &[f32]) -> Vec<u8> {
        let mut rotated = Vec::with_capacity(vector.len());
        let (largest, norm, along) = self.rotate(vector, &mut rotated);
        let mut query = vec![0; self.query_bytes()];
        let centre = self.ready();
        let mut head = Head {
            constant: match self.space.metric {
                Metric::L2sq => norm,
                Metric::Cosine | Metric::Ip => 1.0 - along - centre.norm,
            },
            norm: norm.sqrt() as f32,
            ..Head::default()
        };
        if largest > 0.0 {
            let sums = Sums::of(&rotated, |r| nearest(LARGEST * r) as f32);
            let step = 1.0 / f64::from(LARGEST);
            let left = (sums.rr - 2.0 * step * sums.rg + step * step * sums.gg).max(0.0);
            head.rounding = (left / sums.rr).sqrt() as f32;
            head.scale = self.weight() * f64::from(largest) * step;
            let numbers = &mut query[QUERY_HEAD..];
            for (place, number) in numbers.iter_mut().enumerate() {
                *number = self.element(place).map_or(0, |element| nearest(LARGEST * rotated[element]) as i8 as u8);
            }
        }
        self.finish(head, &mut query);
        query
    }

    /// Writes a row as a query; its numbers are exact. This is done for every node that is compared while links are chosen, so it leaves
    /// out what only [`error_per_norm`](Self::error_per_norm) needs; see [`add_error_of`](Self::add_error_of).
    pub(super) fn prepare_row(&self, row: &[u8], query: &mut [u8]) {
        let code = &row[ROW_HEAD..][..self.code_bytes()];
        let numbers = &mut query[QUERY_HEAD..];
        let (scale, offset) = (f64::from(float(row, 0)), f64::from(float(row, 4)));
        let mut factor = self.weight() * scale;
        if self.quantization == Quantization::Sq4 {
            factor *= 0.5;
            numbers[code.len() / HALF * BLOCK..].fill(0);
            let odd = |number: u8| (2 * i16::from(number) - 15) as i8 as u8;
            for (block, code) in numbers.chunks_exact_mut(BLOCK).zip(code.chunks(HALF)) {
                let (lower, upper) = block.split_at_mut(HALF);
                lower.iter_mut().zip(code).for_each(|(number, &byte)| *number = odd(byte & 15));
                upper.iter_mut().zip(code).for_each(|(number, &byte)| *number = odd(byte >> 4));
            }
            // The last byte may hold a single element.
            let last = nibble(code.len() - 1, true);
            if self.element(last).is_none() {
                numbers[last] = 0;
            }
        } else {
            let (used, rest) = numbers.split_at_mut(code.len());
            used.iter_mut().zip(code).for_each(|(number, &byte)| *number = ((byte ^ 128) as i8).max(-127) as u8);
            rest.fill(0);
        }
        let head = Head {
            constant: match self.space.metric {
                Metric::L2sq => offset,
                Metric::Cosine | Metric::Ip => 1.0 - self.ready().norm + offset,
            },
            scale: factor,
            ..Head::default()
        };
        self.finish(head, query);
    }

    /// Completes a query made of this row with the numbers from which its error follows.
    pub(super) fn add_error_of(&self, row: &[u8], query: &mut [u8]) {
        let head = Head { norm: self.norm(row), rounding: self.error(), ..Head::read(query) };
        head.write(query);
    }

    /// Writes the head of a query, with its numbers' sum taken into account.
    fn finish(&self, mut head: Head, query: &mut [u8]) {
        let sum: i32 = query[QUERY_HEAD..].iter().map(|&number| i32::from(number as i8)).sum();
        if self.quantization == Quantization::Sq4 {
            // The kernels return twice the sum of the products.
            head.scale *= 0.5;
            head.shift = 15 * sum;
        } else {
            head.shift = 128 * sum;
        }
        head.write(query);
    }

    /// The norm of the centred vector of a row, or a little more.
    pub(super) fn norm(&self, row: &[u8]) -> f32 {
        let offset = float(row, 4);
        match self.space.metric {
            Metric::L2sq => offset.max(0.0).sqrt(),
            Metric::Cosine => ((1.0 - self.ready().norm) as f32 + 2.0 * offset).max(0.0).sqrt() + NORM_ERROR.sqrt(),
            Metric::Ip => {
                let code = &row[ROW_HEAD..][..self.code_bytes()];
                let squares: f32 = if self.quantization == Quantization::Sq4 {
                    let square = |number: u8| (f32::from(number) - 7.5) * (f32::from(number) - 7.5);
                    code.iter().map(|&byte| square(byte & 15) + square(byte >> 4)).sum()
                } else {
                    code.iter().map(|&byte| f32::from((byte ^ 128) as i8) * f32::from((byte ^ 128) as i8)).sum()
                };
                float(row, 0) * squares.sqrt()
            }
        }
    }

    /// How far a distance from a query may be from the true one, at `deviations` standard errors, for each unit of the norm of the row's
    /// centred vector.
    ///
    /// The error of a code is orthogonal to its vector, in a random direction, so the standard error of its product with a query is that of
    /// one of `dimensions − 1` elements. The query's own rounding is another such error. The result is never larger than the Cauchy–Schwarz
    /// bound, which always holds. A vector of few elements is not rotated, so its error is not random, and only that bound holds.
    pub(super) fn error_per_norm(&self, query: &[u8], deviations: f32) -> f32 {
        let head = Head::read(query);
        let (code, rounding) = (self.error(), head.rounding);
        let longer = (1.0 + code * code).sqrt();
        let dimensions = self.space.dimensions;
        let always = code + longer * rounding;
        let error = if dimensions < ROTATED_MIN {
            always
        } else {
            let both = (code * code + longer * longer * rounding * rounding).sqrt();
            always.min(deviations * both / ((dimensions - 1) as f32).sqrt())
        };
        self.weight() as f32 * head.norm * (error + ROUNDING)
    }
}

/// A vector counts for the centre if its distance from the mean is at most this many times the median distance.
const FAR: f64 = 3.0;

/// The centre of vectors of `dimensions` elements: the mean of those that are not far from the others. Zeros if there are none.
pub(super) fn centre<V: Iterator<Item = f32>>(vectors: impl Iterator<Item = V> + Clone, dimensions: usize) -> Vec<f32> {
    let all = mean(vectors.clone(), dimensions);
    let square = |vector: V| vector.zip(&all).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
    let squares: Vec<f64> = vectors.clone().map(square).collect();
    let mut sorted = squares.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some(&median) = sorted.get(sorted.len() / 2) else { return all };
    let near = vectors.zip(&squares).filter(|&(_, &square)| square <= FAR * FAR * median).map(|(vector, _)| vector);
    mean(near, dimensions)
}

fn mean(vectors: impl Iterator<Item: Iterator<Item = f32>>, dimensions: usize) -> Vec<f32> {
    let (mut sums, mut count) = (vec![0.0f64; dimensions], 0.0f64);
    for vector in vectors {
        sums.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(x));
        count += 1.0;
    }
    sums.into_iter().map(|sum| (sum / count.max(1.0)) as f32).collect()
}

fn float(row: &[u8], at: usize) -> f32 {
    f32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]])
}

/// The inner product in `f64`. It uses eight lanes, because the compiler may not reorder sums.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            lanes[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    lanes.iter().sum::<f64>() + rest
}
