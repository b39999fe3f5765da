//! Sets of small numbers, a bit each.

/// Adds a number; nothing happens beyond the end.
pub(crate) fn set(bits: &mut [u64], number: usize) {
    insert(bits, number);
}

/// Adds a number; true if it was not in the set. Nothing happens beyond the end, and false is returned.
#[inline]
pub(crate) fn insert(bits: &mut [u64], number: usize) -> bool {
    let Some(word) = bits.get_mut(number / 64) else { return false };
    let before = *word;
    *word |= 1 << (number % 64);
    *word != before
}

/// Removes a number; nothing happens beyond the end.
pub(crate) fn clear(bits: &mut [u64], number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word &= !(1 << (number % 64));
    }
}

/// Whether a number is in the set; none is beyond the end.
pub(crate) fn is_set(bits: &[u64], number: usize) -> bool {
    bits.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}
