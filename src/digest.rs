//! Digests: a few bytes in the place of a vector, to tell it from others.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Not known to anybody, so that nobody can make up two vectors with one digest.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());

/// The digest of the elements of a vector and of the places of its NULLs, which may be empty. Equal ones have equal digests. Others have
/// different digests: that any two of a million have the same is less likely than 2⁻⁸⁸. Digests are good for this process only.
///
/// Source: XXH3 (Collet), 128 bits.
pub fn digest(elements: &[u8], nulls: &[u8]) -> u128 {
    let digest = xxh3_128_with_seed(elements, *SEED);
    if nulls.is_empty() {
        return digest;
    }
    // vectors with NULLs are rare: the digest of their elements is a part of their own
    let parts = [&digest.to_le_bytes()[..], nulls].concat();
    xxh3_128_with_seed(&parts, !*SEED)
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn vectors_are_told_apart_by_their_elements_and_nulls() {
        let digests = [
            digest(&[], &[]),
            digest(&[1; 32], &[]),
            digest(&[1; 31], &[]),
            digest(&[1; 32], &[1, 0]),
            digest(&[1; 32], &[0, 1]),
            digest(&[0; 32], &[1, 0]),
        ];
        for (at, one) in digests.iter().enumerate() {
            assert!(digests[..at].iter().all(|other| other != one));
        }
        assert_eq!(digests[3], digest(&[1; 32], &[1, 0]));
    }
}
