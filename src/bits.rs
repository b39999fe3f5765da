//! Sets of small numbers, a bit each.

/// Adds a number; nothing happens beyond the end.
pub(crate) fn set(bits: &mut [u64], number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

/// Whether a number is in the set; none is beyond the end.
pub(crate) fn is_set(bits: &[u64], number: usize) -> bool {
    bits.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}
