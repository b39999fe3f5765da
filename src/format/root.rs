//! The root of an image: what the image holds, and the checksum of each of its pages. The root is kept outside the pages.

use super::checksum::checksum;
use super::layout::{GRAPH, Layout, ROWS, Region};
use super::links::packed_bytes_max;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{LEVELS_MAX, Metric, Options, Quantization, SLOTS_MAX};

/// First bytes of every root.
const MAGIC: [u8; 8] = *b"vss-hnsw";
/// The version of an image whose vectors are floats: the first one.
const VERSION_FLOATS: u64 = 1;
/// The version of an image whose vectors are codes.
const VERSION_CODES: u64 = 2;
/// Numbers after magic and version, before the checksums.
const FIELDS: usize = 14;
/// Numbers after `FIELDS`, if vectors are codes.
const CODE_FIELDS: usize = 6;

/// The root. Numbers are stored as little-endian `u64`, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// The metric: 0 `l2sq`, 1 `cosine`, 2 `ip`.
    pub metric: u64,
    /// Elements of a vector.
    pub dimensions: u64,
    /// Most links of a node on a level above the bottom.
    pub m: u64,
    /// Most links of a node on the bottom level.
    pub m0: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Nodes of the graph.
    pub slots: u64,
    /// The node where walks begin.
    pub entry: u64,
    /// Lists of links above the bottom level.
    pub upper: u64,
    /// Rows that are not linked.
    pub pending: u64,
    /// Rows whose vectors cannot be ranked.
    pub unrankable: u64,
    /// The rows [0, covered) of the table had been handed to the index.
    pub covered: u64,
    /// The checkpoint at which index and table were known to agree; 0 if none.
    pub verified: u64,
    /// How vectors are kept.
    pub quantization: Quantization,
    /// With codes: the seed of their rotation.
    pub seed: u64,
    /// With codes: the bits of their largest error, an `f32`.
    pub error: u32,
    /// With codes: the bits of the elements of their centre, `f32` each, one a dimension; empty before there is a centre.
    pub centre: Vec<u32>,
    /// With codes: bytes of the packed lists on the bottom level.
    pub base_bytes: u64,
    /// With codes: bytes of the packed lists above the bottom level.
    pub upper_bytes: u64,
    /// Checksums of the pages of the graph.
    pub graph_sums: Vec<u64>,
    /// Checksums of the pages of the rows.
    pub rows_sums: Vec<u64>,
}

/// The number that stands for a metric.
fn metric_number(metric: Metric) -> u64 {
    match metric {
        Metric::L2sq => 0,
        Metric::Cosine => 1,
        Metric::Ip => 2,
    }
}

impl Root {
    /// The root of an index without rows.
    pub fn new(options: &Options, dimensions: usize, page_bytes: usize) -> Self {
        Self {
            metric: metric_number(options.metric),
            quantization: options.quantization,
            dimensions: dimensions as u64,
            m: options.m as u64,
            m0: options.m0 as u64,
            page_bytes: page_bytes as u64,
            ..Self::default()
        }
    }

    /// Whether the lists of links are packed, and so are not records of equal size.
    pub fn packs_links(&self) -> bool {
        self.quantization != Quantization::None
    }

    /// Bytes of a record of a region. For packed lists: bytes of an unpacked one.
    pub fn record(&self, region: Region) -> usize {
        match region {
            Region::Levels => 1,
            Region::Base | Region::Upper => 4 * (1 + self.links_max(region)),
            Region::Vectors => self.quantization.row_bytes(self.dimensions as usize),
            Region::PendingVectors => {
                let kept = if self.pending_are_codes() { self.quantization } else { Quantization::None };
                kept.row_bytes(self.dimensions as usize)
            }
            Region::SlotStates | Region::PendingRows | Region::Unrankable => 8,
        }
    }

    /// Whether the vectors of pending rows are kept like those of the graph. With codes they are not until there is a centre.
    pub fn pending_are_codes(&self) -> bool {
        self.quantization == Quantization::None || !self.centre.is_empty()
    }

    /// Records of a region.
    pub fn records(&self, region: Region) -> usize {
        let records = match region {
            Region::Levels | Region::Base | Region::Vectors | Region::SlotStates => self.slots,
            Region::Upper => self.upper,
            Region::PendingRows | Region::PendingVectors => self.pending,
            Region::Unrankable => self.unrankable,
        };
        records as usize
    }

    /// Most links of a list of a region; 0 if the region holds no lists.
    pub fn links_max(&self, region: Region) -> usize {
        match region {
            Region::Base => self.m0 as usize,
            Region::Upper => self.m as usize,
            _ => 0,
        }
    }

    /// Bytes of a region.
    pub fn length(&self, region: Region) -> u128 {
        match region {
            Region::Base if self.packs_links() => self.base_bytes.into(),
            Region::Upper if self.packs_links() => self.upper_bytes.into(),
            _ => self.records(region) as u128 * self.record(region) as u128,
        }
    }

    /// The layout of the graph's pages.
    pub fn graph_layout(&self) -> Layout {
        self.layout(&GRAPH)
    }

    /// The layout of the rows' pages.
    pub fn rows_layout(&self) -> Layout {
        self.layout(&ROWS)
    }

    fn layout(&self, regions: &[Region]) -> Layout {
        let length = |&region: &Region| (region, self.length(region) as usize);
        Layout::new(&regions.iter().map(length).collect::<Vec<_>>(), self.page_bytes as usize)
    }

    fn fields(&self) -> [u64; FIELDS] {
        [
            self.metric,
            self.dimensions,
            self.m,
            self.m0,
            self.page_bytes,
            self.slots,
            self.entry,
            self.upper,
            self.pending,
            self.unrankable,
            self.covered,
            self.verified,
            self.graph_sums.len() as u64,
            self.rows_sums.len() as u64,
        ]
    }

    /// The stored form: magic, version, fields, fields of codes, checksums of the pages, centre, and a checksum of all before it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let coded = self.packs_links();
        let mut words = vec![if coded { VERSION_CODES } else { VERSION_FLOATS }];
        words.extend(self.fields());
        if coded {
            let centre = self.centre.len() as u64;
            let error = u64::from(self.error);
            words.extend([self.quantization.number(), self.seed, error, centre, self.base_bytes, self.upper_bytes]);
        }
        words.extend(self.graph_sums.iter().chain(&self.rows_sums));
        // Two numbers a word.
        let pair = |pair: &[u32]| u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32;
        words.extend(self.centre.chunks(2).map(pair));
        bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a stored form. The numbers are checked against each other; the pages may still be damaged. Errors: `Corrupt`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let Some(rest) = bytes.strip_prefix(&MAGIC) else {
            return Err(corrupt("it is not one of this extension's"));
        };
        let words: Vec<u64> = rest.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let version = words.first().copied().unwrap_or(0);
        if ![VERSION_FLOATS, VERSION_CODES].contains(&version) {
            let known = format!("{VERSION_FLOATS} and {VERSION_CODES}");
            return Err(corrupt(format!("it has format version {version}, this version of vss reads {known}")));
        }
        let damaged = || corrupt("its root is damaged");
        let fields = FIELDS + if version == VERSION_CODES { CODE_FIELDS } else { 0 };
        let body = bytes.len().checked_sub(8).filter(|_| rest.len() % 8 == 0 && words.len() >= fields + 2);
        let body = body.ok_or_else(damaged)?;
        if checksum(&bytes[..body]) != words[words.len() - 1] {
            return Err(damaged());
        }
        let (field, code_field) = words[1..=fields].split_at(FIELDS);
        let number = |word: u64| usize::try_from(word).map_err(|_| damaged());
        let (graph_sums, rest) =
            words[1 + fields..words.len() - 1].split_at_checked(number(field[12])?).ok_or_else(damaged)?;
        let (rows_sums, centre) = rest.split_at_checked(number(field[13])?).ok_or_else(damaged)?;
        let (quantization, seed, error, elements, lists) = match code_field {
            [quantization, seed, error, elements, lists @ ..] => {
                let quantization = Quantization::numbered(*quantization).filter(|&known| known != Quantization::None);
                let error = u32::try_from(*error).map_err(|_| damaged())?;
                (quantization.ok_or_else(damaged)?, *seed, error, number(*elements)?, lists)
            }
            [] | [_] | [_, _] | [_, _, _] => (Quantization::None, 0, 0, 0, &[0, 0][..]),
        };
        if centre.len() != elements.div_ceil(2) {
            return Err(damaged());
        }
        let mut centre: Vec<u32> = centre.iter().flat_map(|&pair| [pair as u32, (pair >> 32) as u32]).collect();
        if centre[elements..].iter().any(|&rest| rest != 0) {
            return Err(damaged());
        }
        centre.truncate(elements);
        let root = Self {
            metric: field[0],
            dimensions: field[1],
            m: field[2],
            m0: field[3],
            page_bytes: field[4],
            slots: field[5],
            entry: field[6],
            upper: field[7],
            pending: field[8],
            unrankable: field[9],
            covered: field[10],
            verified: field[11],
            quantization,
            seed,
            error,
            centre,
            base_bytes: lists[0],
            upper_bytes: lists[1],
            graph_sums: graph_sums.to_vec(),
            rows_sums: rows_sums.to_vec(),
        };
        if root.fits() { Ok(root) } else { Err(damaged()) }
    }

    /// Whether the numbers are possible, and there are as many pages as they require.
    fn fits(&self) -> bool {
        let small = |number: u64, max: u64| number <= max;
        let ranges = small(self.dimensions, 1 << 20)
            && self.dimensions > 0
            && small(self.m, 1 << 10)
            && small(self.m0, 1 << 10)
            && small(self.slots, SLOTS_MAX as u64)
            && small(self.upper, LEVELS_MAX as u64 * self.slots)
            && small(self.pending, SLOTS_MAX as u64)
            && small(self.unrankable, SLOTS_MAX as u64)
            && self.entry < self.slots.max(1)
            && self.page_bytes >= 64
            && self.page_bytes.is_multiple_of(8);
        let finite = |&bits: &u32| f32::from_bits(bits).is_finite();
        let codes = [0, self.dimensions].contains(&(self.centre.len() as u64))
            && (self.slots == 0 || self.pending_are_codes())
            && self.centre.iter().all(finite)
            && finite(&self.error);
        let lists = |bytes: u64, count: u64, links: u64| {
            u128::from(bytes) <= u128::from(count) * packed_bytes_max(links as usize) as u128
        };
        let packed = lists(self.base_bytes, self.slots, self.m0) && lists(self.upper_bytes, self.upper, self.m);
        // Checked before a layout is made, which impossible numbers would let fill the memory.
        let bytes = |regions: &[Region]| -> u128 { regions.iter().map(|&region| self.length(region)).sum() };
        let enough = |regions: &[Region], pages: usize| bytes(regions) <= pages as u128 * u128::from(self.page_bytes);
        ranges
            && codes
            && packed
            && enough(&GRAPH, self.graph_sums.len())
            && enough(&ROWS, self.rows_sums.len())
            && self.graph_layout().pages.len() == self.graph_sums.len()
            && self.rows_layout().pages.len() == self.rows_sums.len()
    }

    /// Whether the image was made with these options, as far as they matter for reading it.
    pub fn made_with(&self, options: &Options, dimensions: usize) -> bool {
        (self.metric, self.dimensions, self.m, self.m0, self.quantization)
            == (
                metric_number(options.metric),
                dimensions as u64,
                options.m as u64,
                options.m0 as u64,
                options.quantization,
            )
    }
}

/// A `Corrupt` error about the stored index.
pub(crate) fn corrupt(reason: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the stored index cannot be used: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with floats, one with codes, and one with codes but no centre yet.
    fn roots() -> [Root; 3] {
        let codes = Root { seed: 3, error: 0.1f32.to_bits(), ..root(Quantization::Sq8) };
        let centre = vec![1.0f32.to_bits(), 0, (-2.5f32).to_bits()];
        let mut coming = Root { slots: 0, entry: 0, upper: 0, ..codes.clone() };
        let mut codes = Root { centre, base_bytes: 1500, upper_bytes: 77, ..codes };
        sum_pages(&mut codes);
        sum_pages(&mut coming);
        [root(Quantization::None), codes, coming]
    }

    fn sum_pages(root: &mut Root) {
        root.graph_sums = (0..root.graph_layout().pages.len() as u64).collect();
        root.rows_sums = (0..root.rows_layout().pages.len() as u64).collect();
    }

    fn root(quantization: Quantization) -> Root {
        let mut root = Root::new(&Options { quantization, ..Options::default() }, 3, 1024);
        (root.slots, root.entry, root.upper, root.pending, root.unrankable) = (100, 7, 12, 5, 2);
        (root.covered, root.verified) = (110, 3);
        sum_pages(&mut root);
        root
    }

    #[test]
    fn a_root_survives_encoding() {
        for root in roots() {
            assert_eq!(Root::decode(&root.encode()), Ok(root));
        }
    }

    #[test]
    fn every_damaged_root_is_refused() {
        for bytes in roots().map(|root| root.encode()) {
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= 1 << bit;
                    assert_eq!(Root::decode(&damaged).unwrap_err().kind, ErrorKind::Corrupt);
                }
                assert_eq!(Root::decode(&bytes[..at]).unwrap_err().kind, ErrorKind::Corrupt);
            }
        }
    }

    #[test]
    fn impossible_numbers_are_refused_with_a_right_checksum() {
        for good in roots().map(|root| root.encode()) {
            for at in (16..good.len() - 8).step_by(8) {
                for value in [0, 1, 2, 3, 1 << 31, 1 << 62, u64::MAX] {
                    let mut bytes = good.clone();
                    bytes[at..][..8].copy_from_slice(&value.to_le_bytes());
                    let body = bytes.len() - 8;
                    let sum = checksum(&bytes[..body]);
                    bytes[body..].copy_from_slice(&sum.to_le_bytes());
                    if let Ok(read) = Root::decode(&bytes) {
                        assert!(read.fits());
                    }
                }
            }
        }
    }

    #[test]
    fn floats_are_stored_as_they_always_were() {
        assert_eq!(root(Quantization::None).encode()[8], 1);
        assert_eq!(root(Quantization::Sq4).encode()[8], 2);
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = root(Quantization::None).encode();
        bytes[8] = 3;
        assert!(
            Root::decode(&bytes).unwrap_err().message.contains("format version 3, this version of vss reads 1 and 2")
        );
    }
}
