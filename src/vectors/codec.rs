//! How an index holds vectors: all that stands between a vector and its distances.
//!
//! A vector in stored form (see [`Space::store`]) is kept as a *row* of bytes, the same in memory and in a file. Distances are measured
//! from a *query*: a vector or a row that was prepared for this. Another way to hold vectors would be added here.
//!
//! Rows are floats or [codes](super::codes). A codec of codes is not ready until it knows the centre of the vectors. Vectors that come
//! before are *plain* rows, made by the codec of floats that it contains.

use std::borrow::Cow;
use std::ffi::c_void;

use super::codes::{self, Quantizer};
use super::distance::{Kernel, Kernel4, Kernels, Tile};
use super::{Norms, Space};
use crate::options::{Metric, Quantization};

// Rows are written to files as they are.
const _: () = assert!(cfg!(target_endian = "little"), "rows of vectors are little-endian");

/// Makes rows of vectors, and measures distances between queries and rows.
pub struct Codec {
    /// The space of the vectors.
    pub space: Space,
    /// Bytes of a row and of a query. Kept here because every distance checks them.
    row_bytes: usize,
    query_bytes: usize,
    form: Form,
}

enum Form {
    /// Rows are the `f32` elements.
    Floats { measure: Kernel, measure4: Kernel4, tile: Option<Tile> },
    /// Rows are codes. `plain`: the codec of the rows that come before there is a centre.
    Codes { quantizer: Quantizer, plain: Box<Codec> },
}

/// A vector as the index holds it.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// A plain row, made before the codec was ready.
    Plain(&'a [u8]),
    /// A row of the codec.
    Coded(&'a [u8]),
}

/// A vector or a row, prepared to measure distances from it to rows of its codec.
pub struct Query<'a>(Cow<'a, [u8]>);

impl Query<'_> {
    /// The address of the first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// What a codec of codes has learnt from its vectors. A file keeps this of a codec, and no more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learnt {
    /// Seed of the rotation.
    pub seed: u64,
    /// The largest error of a code, as a share of the norm of the centred vector.
    pub error: f32,
    /// `[dimensions]`; empty before the codec is ready.
    pub centre: Vec<f32>,
}

/// Makes rows of vectors, one after another: all coded if the codec was ready when the encoder was made, otherwise all plain.
pub struct Encoder<'a> {
    codec: &'a Codec,
    makes_coded: bool,
    stored: Vec<f32>,
    rotated: Vec<f32>,
}

impl Encoder<'_> {
    /// Whether it makes coded rows.
    pub fn makes_coded(&self) -> bool {
        self.makes_coded
    }

    /// Bytes of each row.
    pub fn row_bytes(&self) -> usize {
        if self.makes_coded { self.codec.row_bytes() } else { self.codec.plain().row_bytes() }
    }

    /// If a vector can be ranked (see [`Space::store`]), appends its row to `rows` and returns its norm. `vector`: as the user gave it.
    pub fn encode(&mut self, vector: &[f32], rows: &mut Vec<u8>) -> Option<Norms> {
        self.stored.clear();
        let norm = self.codec.space.store(vector, &mut self.stored);
        if norm.is_some() {
            match &self.codec.form {
                Form::Codes { quantizer, .. } if self.makes_coded => {
                    let from = rows.len();
                    rows.resize(from + self.row_bytes(), 0);
                    quantizer.encode(&self.stored, &mut self.rotated, &mut rows[from..]);
                }
                _ => rows.extend_from_slice(bytes(&self.stored)),
            }
        }
        norm
    }

    /// Bytes that this encoder has made, as a row.
    pub fn row<'a>(&self, bytes: &'a [u8]) -> Row<'a> {
        if self.makes_coded { Row::Coded(bytes) } else { Row::Plain(bytes) }
    }
}

/// Addresses of the codec's functions, for C++. A query and a row are passed as the addresses of their bytes.
pub struct Functions {
    /// `float (*)(const uint8_t *query, const uint8_t *row, size_t length)`: one distance.
    pub measure: usize,
    /// `void (*)(const uint8_t *query, const uint8_t *const rows[4], size_t length, float out[4])`: four distances.
    pub measure4: usize,
    /// The `length` to pass to both.
    pub length: usize,
    /// `const uint8_t *(*)(const void *codec, const uint8_t *row, uint8_t *scratch)`: the row as a query, which is written to `scratch`
    /// ([`Codec::scratch_bytes`] long) or is the row itself.
    pub prepare_row: usize,
}

impl Codec {
    /// A codec for vectors of `space`, held as `quantization` says.
    pub fn new(space: Space, quantization: Quantization) -> Self {
        if quantization == Quantization::None {
            let kernels = Kernels::detect();
            let (measure, measure4, tile) = match space.metric {
                Metric::L2sq => (kernels.l2sq, kernels.l2sq4, kernels.tiles.map(|(l2sq, _)| l2sq)),
                Metric::Cosine | Metric::Ip => (kernels.ip, kernels.ip4, kernels.tiles.map(|(_, ip)| ip)),
            };
            let bytes = quantization.row_bytes(space.dimensions);
            return Self {
                space,
                row_bytes: bytes,
                query_bytes: bytes,
                form: Form::Floats { measure, measure4, tile },
            };
        }
        let plain = Box::new(Self::new(space, Quantization::None));
        let quantizer = Quantizer::new(space, quantization, codes::SEED);
        let (row_bytes, query_bytes) = (quantizer.row_bytes(), quantizer.query_bytes());
        Self { space, row_bytes, query_bytes, form: Form::Codes { quantizer, plain } }
    }

    /// Whether rows are codes, so that distances are estimates.
    pub fn estimates(&self) -> bool {
        matches!(self.form, Form::Codes { .. })
    }

    /// The codec of plain rows, which are made of vectors that come before this codec is ready. A codec of floats, which is always ready,
    /// returns itself.
    pub fn plain(&self) -> &Self {
        match &self.form {
            Form::Floats { .. } => self,
            Form::Codes { plain, .. } => plain,
        }
    }

    /// Whether the codec can make rows and queries.
    pub fn is_ready(&self) -> bool {
        match &self.form {
            Form::Floats { .. } => true,
            Form::Codes { quantizer, .. } => quantizer.centre().is_some(),
        }
    }

    /// Makes the codec ready, if it is not. `rows`: plain rows, a sample of the vectors to come.
    pub fn learn<'a>(&self, rows: impl Iterator<Item = &'a [u8]> + Clone) {
        if let Form::Codes { quantizer, .. } = &self.form
            && quantizer.centre().is_none()
        {
            quantizer.set_centre(codes::centre(rows.map(floats), self.space.dimensions));
        }
    }

    /// What a file keeps of the codec; empty for floats. Without a centre if the codec is not ready.
    pub fn learnt(&self) -> Learnt {
        match &self.form {
            Form::Codes { quantizer, .. } => Learnt {
                seed: quantizer.seed(),
                error: quantizer.error(),
                centre: quantizer.centre().unwrap_or_default().to_vec(),
            },
            Form::Floats { .. } => Learnt::default(),
        }
    }

    /// A codec that has already learnt `learnt`. Panics if the centre has another number of dimensions.
    pub fn with(space: Space, quantization: Quantization, learnt: &Learnt) -> Self {
        let mut codec = Self::new(space, quantization);
        if let Form::Codes { quantizer, .. } = &mut codec.form {
            *quantizer = Quantizer::new(space, quantization, learnt.seed);
            quantizer.add_error(learnt.error);
            if !learnt.centre.is_empty() {
                quantizer.set_centre(learnt.centre.clone());
            }
        }
        codec
    }

    /// Bytes of a row.
    #[inline]
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Bytes of scratch memory in which a row becomes a query.
    pub fn scratch_bytes(&self) -> usize {
        match &self.form {
            Form::Floats { .. } => 0,
            Form::Codes { quantizer, .. } => quantizer.query_bytes(),
        }
    }

    /// Bytes of the codec itself.
    pub fn memory_bytes(&self) -> usize {
        match &self.form {
            Form::Floats { .. } => 0,
            Form::Codes { quantizer, .. } => quantizer.memory_bytes(),
        }
    }

    /// See [`Functions`].
    pub fn functions(&self) -> Functions {
        match &self.form {
            Form::Floats { measure, measure4, .. } => Functions {
                measure: *measure as *const () as usize,
                measure4: *measure4 as *const () as usize,
                length: self.space.dimensions,
                prepare_row: prepare_floats as *const () as usize,
            },
            Form::Codes { quantizer, .. } => Functions {
                measure: quantizer.measures().0 as *const () as usize,
                measure4: quantizer.measures().1 as *const () as usize,
                length: quantizer.code_bytes(),
                prepare_row: prepare_code as *const () as usize,
            },
        }
    }

    /// An encoder, which makes rows of vectors.
    pub fn encoder(&self) -> Encoder<'_> {
        let stored = Vec::with_capacity(self.space.dimensions);
        Encoder { codec: self, makes_coded: self.is_ready(), stored, rotated: Vec::new() }
    }

    /// A row as a coded one. The codec has to be ready.
    pub fn coded<'a>(&self, row: Row<'a>) -> Cow<'a, [u8]> {
        match (row, &self.form) {
            (Row::Plain(row), Form::Codes { quantizer, .. }) => {
                let mut coded = vec![0; self.row_bytes()];
                let vector: Vec<f32> = floats(row).collect();
                quantizer.encode(&vector, &mut Vec::new(), &mut coded);
                Cow::Owned(coded)
            }
            (Row::Plain(row) | Row::Coded(row), _) => Cow::Borrowed(row),
        }
    }

    /// Whether two rows hold the same vector, as far as their bytes show.
    pub fn same(&self, a: Row<'_>, b: Row<'_>) -> bool {
        // Zero has two forms, `0.0` and `-0.0`.
        let same = |a: &[u8], b: &[u8]| a == b || floats(a).eq(floats(b));
        match (a, b, &self.form) {
            (Row::Plain(a), Row::Plain(b), _) | (Row::Coded(a), Row::Coded(b), Form::Floats { .. }) => same(a, b),
            _ => self.coded(a) == self.coded(b),
        }
    }

    /// A vector, in stored form, as a query. The codec has to be ready.
    pub fn prepare<'a>(&self, vector: &'a [f32]) -> Query<'a> {
        assert_eq!(vector.len(), self.space.dimensions, "a vector of another space");
        match &self.form {
            Form::Floats { .. } => Query(Cow::Borrowed(bytes(vector))),
            Form::Codes { quantizer, .. } => Query(Cow::Owned(quantizer.prepare(vector))),
        }
    }

    /// A row of the codec as a query.
    pub fn prepare_row<'a>(&self, row: &'a [u8]) -> Query<'a> {
        assert_eq!(row.len(), self.row_bytes(), "a row of another codec");
        match &self.form {
            Form::Floats { .. } => Query(Cow::Borrowed(row)),
            Form::Codes { quantizer, .. } => {
                let mut query = vec![0; quantizer.query_bytes()];
                quantizer.prepare_row(row, &mut query);
                quantizer.add_error_of(row, &mut query);
                Query(Cow::Owned(query))
            }
        }
    }

    /// The distance of a query and a row of the codec, in the metric's unit: squared for `L2sq`, `1 - a·b` for the others. Always finite.
    /// Panics if one of them is of another codec.
    #[inline]
    pub fn distance(&self, query: &Query<'_>, row: &[u8]) -> f32 {
        assert!(query.0.len() == self.query_bytes && row.len() == self.row_bytes(), "of another codec");
        // SAFETY: both are as long as they have to be, just checked.
        unsafe {
            match &self.form {
                Form::Floats { measure, .. } => {
                    measure(query.as_ptr().cast(), row.as_ptr().cast(), self.space.dimensions)
                }
                Form::Codes { quantizer, .. } => {
                    (quantizer.measures().0)(query.as_ptr(), row.as_ptr(), quantizer.code_bytes())
                }
            }
        }
    }

    /// The distances of a query to four rows, each as by `distance`.
    #[inline]
    pub fn distances(&self, query: &Query<'_>, rows: [&[u8]; 4]) -> [f32; 4] {
        let bytes = self.row_bytes();
        let fit = rows.iter().all(|row| row.len() == bytes);
        assert!(query.0.len() == self.query_bytes && fit, "of another codec");
        let mut out = [0.0; 4];
        // SAFETY: all are as long as they have to be, just checked.
        unsafe {
            match &self.form {
                Form::Floats { measure4, .. } => {
                    let rows = rows.map(|row| row.as_ptr().cast());
                    measure4(query.as_ptr().cast(), &rows, self.space.dimensions, &mut out);
                }
                Form::Codes { quantizer, .. } => {
                    let rows = rows.map(|row| row.as_ptr());
                    (quantizer.measures().1)(query.as_ptr(), &rows, quantizer.code_bytes(), &mut out);
                }
            }
        }
        out
    }

    /// The distances of two queries to four rows, those of the first query first, each as by `distance`.
    #[inline]
    pub fn distances_of_two(&self, queries: [&Query<'_>; 2], rows: [&[u8]; 4]) -> [[f32; 4]; 2] {
        let bytes = self.row_bytes();
        let fit = rows.iter().all(|row| row.len() == bytes);
        assert!(queries.iter().all(|query| query.0.len() == self.query_bytes) && fit, "of another codec");
        let mut out = [[0.0; 4]; 2];
        // SAFETY: all are as long as they have to be, just checked.
        unsafe {
            match &self.form {
                Form::Floats { tile: Some(tile), .. } => {
                    let (queries, rows) =
                        (queries.map(|query| query.as_ptr().cast()), rows.map(|row| row.as_ptr().cast()));
                    tile(&queries, &rows, self.space.dimensions, &mut out);
                    return out;
                }
                Form::Codes { quantizer, .. } => {
                    if let Some(tile) = quantizer.tile() {
                        let (queries, rows) = (queries.map(Query::as_ptr), rows.map(|row| row.as_ptr()));
                        tile(&queries, &rows, quantizer.code_bytes(), &mut out);
                        return out;
                    }
                }
                Form::Floats { .. } => {}
            }
        }
        queries.map(|query| self.distances(query, rows))
    }

    /// How far a distance from this query may be from the true one, at `deviations` standard errors, for each unit of the row's
    /// [`norm`](Self::norm). 0 for floats.
    pub fn error_per_norm(&self, query: &Query<'_>, deviations: f32) -> f32 {
        match &self.form {
            Form::Floats { .. } => 0.0,
            Form::Codes { quantizer, .. } => quantizer.error_per_norm(&query.0, deviations),
        }
    }

    /// The norm of a row's vector as the user gave it; `None` if it cannot be told from the row.
    pub fn norm_given(&self, row: Row<'_>) -> Option<Norms> {
        match (row, &self.form) {
            (Row::Coded(_), Form::Codes { .. }) => None,
            (Row::Plain(row) | Row::Coded(row), _) => self.space.norm_given(floats(row)),
        }
    }

    /// The norm of the centred vector of a coded row, or a little more; 0 for floats.
    pub fn norm(&self, row: &[u8]) -> f32 {
        assert_eq!(row.len(), self.row_bytes(), "a row of another codec");
        match &self.form {
            Form::Floats { .. } => 0.0,
            Form::Codes { quantizer, .. } => quantizer.norm(row),
        }
    }
}

/// Floats as bytes.
fn bytes(floats: &[f32]) -> &[u8] {
    // SAFETY: every byte of a float is initialised, bytes need no alignment, and they live as long as the floats.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}

/// A plain row as floats.
fn floats(row: &[u8]) -> impl Iterator<Item = f32> {
    row.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x))
}

/// See [`Functions::prepare_row`].
unsafe extern "C" fn prepare_floats(_codec: *const c_void, row: *const u8, _scratch: *mut u8) -> *const u8 {
    row
}

/// See [`Functions::prepare_row`].
unsafe extern "C" fn prepare_code(codec: *const c_void, row: *const u8, scratch: *mut u8) -> *const u8 {
    // SAFETY: the caller has this address from the codec's `functions`; it passes the address of that codec, a row of it, and
    // `scratch_bytes` of scratch memory.
    unsafe {
        let codec = &*codec.cast::<Codec>();
        if let Form::Codes { quantizer, .. } = &codec.form {
            let query = std::slice::from_raw_parts_mut(scratch, quantizer.query_bytes());
            quantizer.prepare_row(std::slice::from_raw_parts(row, codec.row_bytes()), query);
        }
    }
    scratch
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Quantization; 3] = [Quantization::None, Quantization::Sq8, Quantization::Sq4];

    fn codec(metric: Metric, dimensions: usize, quantization: Quantization) -> Codec {
        let codec = Codec::new(Space::new(metric, dimensions), quantization);
        codec.learn(std::iter::once(bytes(&vec![0.5; dimensions])));
        codec
    }

    #[test]
    fn distances_of_the_largest_ordinary_vectors_are_finite() {
        for quantization in ALL {
            let mut stored = Vec::new();
            let codec = codec(Metric::L2sq, 2, quantization);
            assert!(codec.space.store(&[8.9e18, 0.0], &mut stored).is_some());
            assert!(codec.space.store(&[-8.9e18, 0.0], &mut stored).is_some());
            let mut row = Vec::new();
            codec.encoder().encode(&stored[2..], &mut row);
            assert!(codec.distance(&codec.prepare(&stored[..2]), &row).is_finite());
            assert!(codec.distance(&codec.prepare_row(&row), &row).is_finite());
        }
    }

    #[test]
    fn a_row_is_as_far_from_itself_as_its_vector() {
        for quantization in ALL {
            for metric in [Metric::L2sq, Metric::Cosine, Metric::Ip] {
                let codec = codec(metric, 9, quantization);
                let (mut vector, mut row) = (Vec::new(), Vec::new());
                assert!(codec.space.store(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], &mut vector).is_some());
                codec.encoder().encode(&vector, &mut row);
                let query = codec.prepare(&vector);
                let itself = codec.distance(&query, &row);
                assert_eq!([itself; 4], codec.distances(&query, [&row; 4]));
                let error = codec.error_per_norm(&query, f32::INFINITY) * codec.norm(&row);
                assert!((codec.distance(&codec.prepare_row(&row), &row) - itself).abs() <= 2.0 * error);
                let exact = if metric == Metric::Ip { 1.0 - 285.0 } else { 0.0 };
                assert!((itself - exact).abs() <= error + 1e-4, "{itself} {error}");
            }
        }
    }

    #[test]
    fn both_zeros_are_the_same() {
        for quantization in ALL {
            let codec = codec(Metric::L2sq, 2, quantization);
            let rows = [[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]].map(|vector| {
                let mut row = Vec::new();
                assert!(codec.encoder().encode(&vector, &mut row).is_some());
                row
            });
            let same = |a: &[u8], b: &[u8]| codec.same(Row::Coded(a), Row::Coded(b));
            assert!(same(&rows[0], &rows[1]) && !same(&rows[0], &rows[2]));
        }
    }

    #[test]
    fn plain_rows_come_before_the_centre_and_are_the_same_after() {
        for quantization in [Quantization::Sq8, Quantization::Sq4] {
            let codec = Codec::new(Space::new(Metric::Cosine, 10), quantization);
            let vector: Vec<f32> = (0..10).map(|x| x as f32).collect();
            let (mut early, mut plain) = (codec.encoder(), Vec::new());
            assert!(!codec.is_ready() && !early.makes_coded());
            early.encode(&vector, &mut plain);
            codec.learn([&plain[..]].into_iter());
            assert!(codec.is_ready());
            assert!(!early.makes_coded(), "all its rows are of one kind");
            let (mut late, mut coded) = (codec.encoder(), Vec::new());
            late.encode(&vector, &mut coded);
            assert_eq!(coded.len(), codec.row_bytes());
            assert!(codec.same(early.row(&plain), late.row(&coded)));
            let again = Codec::with(codec.space, quantization, &codec.learnt());
            assert_eq!(again.coded(Row::Plain(&plain)), coded);
            assert_eq!(again.learnt(), codec.learnt());
        }
    }
}
