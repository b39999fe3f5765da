//! The record of what is known of an image's vectors. It stands beside the root: older images have none, and older versions of the
//! extension, which do not know it, still read images that have one.

use super::checksum::checksum;

/// What is known of the vectors of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The bits of the norms of the rankable vectors; see [`crate::vectors::Norms::to_bits`].
    pub norms: u64,
    /// At most this many unrankable vectors may have distances.
    pub comparable: u64,
}

/// The record: what is known, then a checksum of the root and this, because the record is valid for this image alone.
pub fn encode(known: Known, root: &[u8]) -> Vec<u8> {
    let words = [known.norms, known.comparable].map(u64::to_le_bytes).concat();
    let sum = checksum_of(&words, root);
    [words, sum.to_vec()].concat()
}

/// Reads a record; `None` if there is none, or if it is damaged or belongs to another root.
pub fn decode(record: &[u8], root: &[u8]) -> Option<Known> {
    let (words, sum) = record.split_last_chunk::<8>()?;
    match words.as_chunks::<8>() {
        ([norms, comparable], []) if *sum == checksum_of(words, root) => {
            Some(Known { norms: u64::from_le_bytes(*norms), comparable: u64::from_le_bytes(*comparable) })
        }
        _ => None,
    }
}

fn checksum_of(words: &[u8], root: &[u8]) -> [u8; 8] {
    checksum(&[root, words].concat()).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_its_root_and_whole() {
        let known = Known { norms: 0x0123_4567_89ab_cdef, comparable: 77 };
        let record = encode(known, b"root");
        assert_eq!(decode(&record, b"root"), Some(known));
        assert_eq!(decode(&record, b"toor"), None);
        assert_eq!(decode(&[], b"root"), None);
        for at in 0..record.len() {
            assert_eq!(decode(&record[..at], b"root"), None);
            for bit in 0..8 {
                let mut damaged = record.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(decode(&damaged, b"root"), None);
            }
        }
    }
}
