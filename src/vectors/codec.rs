//! How an index holds vectors: all that is between a vector and its distances.
//!
//! A vector in stored form (see [`Space::store`]) is kept as a *row* of bytes, the same in memory and in a file. What distances are
//! measured from is a *query*: a vector, or a row, prepared for it. Who adds a way to hold vectors adds it here.

use std::borrow::Cow;
use std::ffi::c_void;

use super::Space;
use super::distance::{Kernel, Kernel4, Kernels};
use crate::options::Metric;

// Rows are written to files as they are.
const _: () = assert!(cfg!(target_endian = "little"), "rows of vectors are little-endian");

/// How the rows of an index hold vectors, and how far these are from each other: `f32`, as they are.
pub struct Codec {
    /// The vectors.
    pub space: Space,
    kernel: Kernel,
    kernel4: Kernel4,
}

/// A vector, or a row, from which distances to rows of its codec are measured.
pub struct Query<'a>(Cow<'a, [u8]>);

impl Query<'_> {
    /// Its first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// Makes rows of vectors, one after the other.
pub struct Encoder<'a> {
    codec: &'a Codec,
    stored: Vec<f32>,
}

impl Encoder<'_> {
    /// Appends the row of a vector, as the user gave it, to `rows`, if it can be ranked; see [`Space::store`]. Returns whether it can.
    pub fn encode(&mut self, vector: &[f32], rows: &mut Vec<u8>) -> bool {
        self.stored.clear();
        let rankable = self.codec.space.store(vector, &mut self.stored);
        if rankable {
            rows.extend_from_slice(self.codec.bytes(&self.stored));
        }
        rankable
    }
}

/// The codec's functions for those that know nothing of Rust. A query and a row are the addresses of their bytes.
pub struct Functions {
    /// `float (*)(const uint8_t *query, const uint8_t *row, size_t length)`: a distance.
    pub measure: usize,
    /// `void (*)(const uint8_t *query, const uint8_t *const rows[4], size_t length, float out[4])`: four of them.
    pub measure4: usize,
    /// The `length` that both want.
    pub length: usize,
    /// `const uint8_t *(*)(const void *codec, const uint8_t *row, uint8_t *scratch)`: the row as a query, which may be in
    /// `scratch`, [`Codec::query_bytes`] long, or be the row itself.
    pub prepare_row: usize,
}

impl Codec {
    /// Vectors of `space` as they are.
    pub fn new(space: Space) -> Self {
        let kernels = Kernels::detect();
        let (kernel, kernel4) = match space.metric {
            Metric::L2sq => (kernels.l2sq, kernels.l2sq4),
            Metric::Cosine | Metric::Ip => (kernels.ip, kernels.ip4),
        };
        Self { space, kernel, kernel4 }
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.space.dimensions * size_of::<f32>()
    }

    /// Bytes that a row needs to become a query.
    pub fn query_bytes(&self) -> usize {
        0
    }

    /// See [`Functions`].
    pub fn functions(&self) -> Functions {
        Functions {
            measure: self.kernel as *const () as usize,
            measure4: self.kernel4 as *const () as usize,
            length: self.space.dimensions,
            prepare_row: prepare_row as *const () as usize,
        }
    }

    /// What makes rows of vectors.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder { codec: self, stored: Vec::with_capacity(self.space.dimensions) }
    }

    /// Whether two rows hold the same vector.
    pub fn same(&self, a: &[u8], b: &[u8]) -> bool {
        assert!(a.len() == self.row_bytes() && b.len() == self.row_bytes(), "rows of another codec");
        let same = |(a, b): (&[u8; 4], &[u8; 4])| f32::from_le_bytes(*a) == f32::from_le_bytes(*b);
        // zero has two forms
        a == b || a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0).all(same)
    }

    /// A vector, in stored form, as a query.
    pub fn prepare<'a>(&self, vector: &'a [f32]) -> Query<'a> {
        Query(Cow::Borrowed(self.bytes(vector)))
    }

    /// A row as a query.
    pub fn prepare_row<'a>(&self, row: &'a [u8]) -> Query<'a> {
        assert_eq!(row.len(), self.row_bytes(), "a row of another codec");
        Query(Cow::Borrowed(row))
    }

    /// The distance of a query and a row, in the metric's unit: squared for `L2sq`, `1 - a·b` for the others. Always finite. Panics if
    /// they are of another codec.
    #[inline]
    pub fn distance(&self, query: &Query<'_>, row: &[u8]) -> f32 {
        let bytes = self.row_bytes();
        assert!(query.0.len() == bytes && row.len() == bytes, "vectors of another codec");
        // SAFETY: both hold `dimensions` floats, just checked.
        unsafe { (self.kernel)(query.as_ptr().cast(), row.as_ptr().cast(), self.space.dimensions) }
    }

    /// The distances of a query to four rows. See `distance`.
    #[inline]
    pub fn distances(&self, query: &Query<'_>, rows: [&[u8]; 4]) -> [f32; 4] {
        let bytes = self.row_bytes();
        assert!(query.0.len() == bytes && rows.iter().all(|row| row.len() == bytes), "vectors of another codec");
        let (rows, mut out) = (rows.map(|row| row.as_ptr().cast()), [0.0; 4]);
        // SAFETY: all hold `dimensions` floats, just checked.
        unsafe { (self.kernel4)(query.as_ptr().cast(), &rows, self.space.dimensions, &mut out) };
        out
    }

    fn bytes<'a>(&self, vector: &'a [f32]) -> &'a [u8] {
        assert_eq!(vector.len(), self.space.dimensions, "a vector of another space");
        // SAFETY: the floats as bytes, which every value is; they live as long.
        unsafe { std::slice::from_raw_parts(vector.as_ptr().cast(), size_of_val(vector)) }
    }
}

/// See [`Functions::prepare_row`].
unsafe extern "C" fn prepare_row(_codec: *const c_void, row: *const u8, _scratch: *mut u8) -> *const u8 {
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(metric: Metric, dimensions: usize) -> Codec {
        Codec::new(Space::new(metric, dimensions))
    }

    #[test]
    fn distances_of_the_largest_ordinary_vectors_are_finite() {
        let mut stored = Vec::new();
        let codec = codec(Metric::L2sq, 2);
        assert!(codec.space.store(&[8.9e18, 0.0], &mut stored) && codec.space.store(&[-8.9e18, 0.0], &mut stored));
        let mut row = Vec::new();
        codec.encoder().encode(&stored[2..], &mut row);
        assert!(codec.distance(&codec.prepare(&stored[..2]), &row).is_finite());
    }

    #[test]
    fn a_row_is_as_far_from_itself_as_its_vector() {
        for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
            let codec = codec(metric, 9);
            let (mut vector, mut row) = (Vec::new(), Vec::new());
            assert!(codec.space.store(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], &mut vector));
            codec.encoder().encode(&vector, &mut row);
            let itself = codec.distance(&codec.prepare_row(&row), &row);
            assert_eq!(itself, codec.distance(&codec.prepare(&vector), &row));
            assert_eq!([itself; 4], codec.distances(&codec.prepare(&vector), [&row; 4]));
            assert!(metric == Metric::Ip || itself.abs() < 1e-6);
        }
    }

    #[test]
    fn both_zeros_are_the_same() {
        let codec = codec(Metric::L2sq, 2);
        let mut rows = Vec::new();
        [[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]]
            .iter()
            .for_each(|vector| assert!(codec.encoder().encode(vector, &mut rows)));
        assert!(codec.same(&rows[..8], &rows[8..16]) && !codec.same(&rows[..8], &rows[16..]));
    }
}
