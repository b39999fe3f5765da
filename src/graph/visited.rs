//! The nodes that a walk has met.

use crate::bits;

/// Nodes that a walk probably meets for each of its `ef`, and the most places that are allocated at the start.
const MET_PER_EF: usize = 24;
const MET_MAX: usize = 1 << 16;

/// The nodes that were met.
pub(crate) enum VisitedSet {
    /// A bit for each node, for graphs of up to `BITS_MAX` nodes: clearing the bits is cheaper than hashing.
    Bits(Vec<u64>),
    /// A hash set with linear probing, for larger graphs: its cost does not depend on the size of the graph.
    Hashed(Hashed),
}

/// The number of places is a power of two; at most half of them are used.
pub(crate) struct Hashed {
    places: Vec<u32>,
    count: usize,
}

impl VisitedSet {
    const BITS_MAX: usize = 1 << 20;

    /// `ef`: the width of the search.
    pub(crate) fn new(nodes: usize, ef: usize) -> Self {
        if nodes <= Self::BITS_MAX {
            return Self::Bits(vec![0; nodes.div_ceil(64)]);
        }
        let places = (2 * MET_PER_EF * ef).min(MET_MAX).next_power_of_two();
        Self::Hashed(Hashed { places: vec![Hashed::FREE; places], count: 0 })
    }

    /// Adds a node; true if it was not met before.
    pub(crate) fn insert(&mut self, slot: u32) -> bool {
        match self {
            Self::Bits(met) => bits::insert(met, slot as usize),
            Self::Hashed(set) => set.insert(slot),
        }
    }

    /// Whether a node was met.
    pub(crate) fn contains(&self, slot: u32) -> bool {
        match self {
            Self::Bits(met) => bits::is_set(met, slot as usize),
            Self::Hashed(set) => set.contains(slot),
        }
    }

    /// Removes the nodes from `slots` that were met before, and adds the others to the set.
    #[inline]
    pub(crate) fn keep_new(&mut self, slots: &mut Vec<u32>) {
        match self {
            // Without a branch, because the processor could not predict it.
            Self::Bits(met) => {
                let mut kept = 0;
                for at in 0..slots.len() {
                    let slot = slots[at];
                    slots[kept] = slot;
                    kept += usize::from(bits::insert(met, slot as usize));
                }
                slots.truncate(kept);
            }
            Self::Hashed(set) => slots.retain(|&slot| set.insert(slot)),
        }
    }
}

impl Hashed {
    /// Marks a free place.
    const FREE: u32 = u32::MAX;

    /// True if the slot was not in the set.
    fn insert(&mut self, slot: u32) -> bool {
        if !Self::put(&mut self.places, slot) {
            return false;
        }
        self.count += 1;
        if 2 * self.count > self.places.len() {
            let mut places = vec![Self::FREE; 2 * self.places.len()];
            for &slot in self.places.iter().filter(|&&slot| slot != Self::FREE) {
                Self::put(&mut places, slot);
            }
            self.places = places;
        }
        true
    }

    fn contains(&self, slot: u32) -> bool {
        self.places[Self::place(&self.places, slot)] == slot
    }

    fn put(places: &mut [u32], slot: u32) -> bool {
        let at = Self::place(places, slot);
        std::mem::replace(&mut places[at], slot) != slot
    }

    /// The place of the slot, or the free place where it would go.
    fn place(places: &[u32], slot: u32) -> usize {
        let mask = places.len() - 1;
        // Fibonacci hashing: the upper bits of the product are well mixed.
        let mut at = slot.wrapping_mul(0x9E37_79B9) as usize >> (32 - mask.count_ones()) & mask;
        while places[at] != Self::FREE && places[at] != slot {
            at = (at + 1) & mask;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_forms_keep_what_is_new(lists in proptest::collection::vec(proptest::collection::vec(0u32..5000, 0..64), 0..200)) {
            let mut seen = std::collections::HashSet::new();
            let (mut bits, mut hashed) = (VisitedSet::new(5000, 1), VisitedSet::new(VisitedSet::BITS_MAX + 1, 1));
            prop_assert!(matches!(&hashed, VisitedSet::Hashed(set) if set.places.len() <= 64));
            for list in lists {
                let (mut a, mut b) = (list.clone(), list.clone());
                for &slot in &list {
                    prop_assert_eq!(bits.contains(slot), seen.contains(&slot));
                    prop_assert_eq!(hashed.contains(slot), seen.contains(&slot));
                }
                bits.keep_new(&mut a);
                hashed.keep_new(&mut b);
                let new: Vec<u32> = list.into_iter().filter(|&slot| seen.insert(slot)).collect();
                prop_assert_eq!(&a, &new);
                prop_assert_eq!(&b, &new);
            }
        }
    }
}
