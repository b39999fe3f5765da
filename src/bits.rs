//! Sets of small numbers, a bit each, in words that the caller owns.
//!
//! `fixedbitset` does not serve here, because it owns its words and aborts if there is no memory for them. Sets of all rows or nodes are
//! allocated fallibly, and some stand inside a page of the row map. As in `fixedbitset`, no set contains a number beyond its end, and
//! adding one panics.

/// Adds a number.
pub(crate) fn set(bits: &mut [u64], number: usize) {
    insert(bits, number);
}

/// Adds a number; true if it was not in the set.
#[inline]
pub(crate) fn insert(bits: &mut [u64], number: usize) -> bool {
    let word = &mut bits[number / 64];
    let before = *word;
    *word |= 1 << (number % 64);
    *word != before
}

/// Removes a number.
pub(crate) fn clear(bits: &mut [u64], number: usize) {
    bits[number / 64] &= !(1 << (number % 64));
}

/// Whether a number is in the set; false beyond the end.
pub(crate) fn is_set(bits: &[u64], number: usize) -> bool {
    bits.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}
