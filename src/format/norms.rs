//! The record of the norms of an image's vectors, beside the root: images have had none, and versions that do not know it read those
//! that have one.

use super::checksum::checksum;

/// The record: the norms as a number, then a checksum of the root and it, as they are of this image alone.
pub fn encode(norms: u64, root: &[u8]) -> Vec<u8> {
    let norms = norms.to_le_bytes();
    [norms, checksum_of(norms, root)].concat()
}

/// Reads a record. Nothing if there is none, it is damaged, or another root's.
pub fn decode(record: &[u8], root: &[u8]) -> Option<u64> {
    match record.as_chunks::<8>() {
        ([norms, sum], []) if *sum == checksum_of(*norms, root) => Some(u64::from_le_bytes(*norms)),
        _ => None,
    }
}

fn checksum_of(norms: [u8; 8], root: &[u8]) -> [u8; 8] {
    checksum(&[root, &norms].concat()).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_its_root_and_whole() {
        let record = encode(0x0123_4567_89ab_cdef, b"root");
        assert_eq!(decode(&record, b"root"), Some(0x0123_4567_89ab_cdef));
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
