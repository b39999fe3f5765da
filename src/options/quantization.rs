//! How many bits of a vector an index keeps.

use crate::error::{Error, ErrorKind, Result};

/// How an index keeps vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantization {
    /// As `f32`, unchanged.
    #[default]
    None,
    /// As codes of 8 bits an element.
    Sq8,
    /// As codes of 4 bits an element.
    Sq4,
}

/// Each quantization with the name that it is shown by, then its aliases.
const NAMES: [(Quantization, &[&str]); 3] = [
    (Quantization::None, &["none", "f32"]),
    (Quantization::Sq8, &["sq8", "int8", "i8", "rabitq8"]),
    (Quantization::Sq4, &["sq4", "int4", "rabitq4"]),
];

/// Bytes of a row before its code: a scale and an offset.
const HEAD_BYTES: usize = 2 * size_of::<f32>();
/// Elements of a block of 4-bit elements, and the bytes of such a block.
const BLOCK_4: usize = 64;
const BLOCK_4_BYTES: usize = BLOCK_4 / 2;
/// The size of a row is a multiple of this many bytes.
const ALIGN: usize = 8;

impl Quantization {
    /// The quantization of this name or alias, in any case. Errors: `Binder`, listing the names.
    pub fn parse(given: &str) -> Result<Self> {
        Self::named(given).map_err(|allowed| {
            Error::new(ErrorKind::Binder, format!("HNSW option 'quantization' is '{given}'; {allowed}"))
        })
    }

    /// As `parse`, for the setting `hnsw_default_quantization`. Errors: `InvalidInput`, listing the names.
    pub fn parse_default(given: &str) -> Result<Self> {
        Self::named(given).map_err(|allowed| {
            Error::new(ErrorKind::InvalidInput, format!("hnsw_default_quantization is '{given}'; {allowed}"))
        })
    }

    /// The quantization of this name or alias, or a text that lists the names.
    fn named(given: &str) -> std::result::Result<Self, String> {
        let lower = given.to_ascii_lowercase();
        NAMES.iter().find(|(_, names)| names.contains(&lower.as_str())).map(|&(this, _)| this).ok_or_else(|| {
            let allowed: Vec<_> =
                NAMES.iter().map(|(_, names)| format!("'{}' ({})", names[0], names[1..].join(", "))).collect();
            let one_bit =
                if lower == "rabitq" { "; one bit an element is not offered, 'sq4' is the smallest" } else { "" };
            format!("use one of {}{one_bit}", allowed.join(", "))
        })
    }

    /// The name that users see.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1[0]
    }

    /// The number that stands for this quantization in files.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// The quantization for which this number stands.
    pub fn numbered(number: u64) -> Option<Self> {
        NAMES.iter().map(|&(this, _)| this).find(|this| this.number() == number)
    }

    /// Bytes that the elements of a vector take.
    pub fn code_bytes(self, dimensions: usize) -> usize {
        match self {
            Self::None => dimensions * size_of::<f32>(),
            Self::Sq8 => dimensions,
            Self::Sq4 => BLOCK_4_BYTES * (dimensions / BLOCK_4) + (dimensions % BLOCK_4).div_ceil(2),
        }
    }

    /// Bytes of a row: its head, if any, and the elements, padded.
    pub fn row_bytes(self, dimensions: usize) -> usize {
        match self {
            Self::None => self.code_bytes(dimensions),
            Self::Sq8 | Self::Sq4 => (HEAD_BYTES + self.code_bytes(dimensions)).next_multiple_of(ALIGN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_read_in_any_case() {
        for (quantization, names) in NAMES {
            assert_eq!(quantization.name(), names[0]);
            for name in names {
                assert_eq!(Quantization::parse(name), Ok(quantization));
                assert_eq!(Quantization::parse(&name.to_uppercase()), Ok(quantization));
            }
        }
    }

    #[test]
    fn unknown_names_are_refused_with_those_there_are() {
        let all = "use one of 'none' (f32), 'sq8' (int8, i8, rabitq8), 'sq4' (int4, rabitq4)";
        let refusal = |given| Quantization::parse(given).unwrap_err().message;
        assert_eq!(refusal("pq"), format!("HNSW option 'quantization' is 'pq'; {all}"));
        assert_eq!(
            refusal("RaBitQ"),
            format!(
                "HNSW option 'quantization' is 'RaBitQ'; {all}; one bit an element is not offered, 'sq4' is the smallest"
            )
        );
        let refused = Quantization::parse_default("pq").unwrap_err();
        assert_eq!(
            (refused.kind, refused.message),
            (ErrorKind::InvalidInput, format!("hnsw_default_quantization is 'pq'; {all}"))
        );
    }

    #[test]
    fn rows_are_as_long_as_their_codes() {
        let rows = |quantization: Quantization| [1, 8, 63, 64, 65, 384].map(|d| quantization.row_bytes(d));
        assert_eq!(rows(Quantization::None), [4, 32, 252, 256, 260, 1536]);
        assert_eq!(rows(Quantization::Sq8), [16, 16, 72, 72, 80, 392]);
        assert_eq!(rows(Quantization::Sq4), [16, 16, 40, 40, 48, 200]);
    }
}
