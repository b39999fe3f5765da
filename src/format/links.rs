//! Packed lists of links, as images of version 2 hold them: the links are in ascending order, each is stored as its difference from the one
//! before, and every difference takes as many bits as the largest one needs. Posting lists of search engines are packed so, and Qdrant
//! packs the links of its graphs so.

/// Bytes before the links: the number of links, and the bits of each difference.
pub const HEAD_BYTES: usize = 2;
/// Bits that a difference can have.
const BITS_MAX: u8 = u32::BITS as u8;

/// Most bytes of a packed list of at most `links` links.
pub const fn packed_bytes_max(links: usize) -> usize {
    // A damaged image may claim any number of links.
    HEAD_BYTES.saturating_add(links.saturating_mul(4))
}

/// Sorts a list and appends it to `out`. Panics if there are more than 255 links.
pub fn pack(links: &mut [u32], out: &mut Vec<u8>) {
    links.sort_unstable();
    let before = std::iter::once(0).chain(links.iter().copied());
    let differences = links.iter().zip(before).map(|(&link, before)| link - before);
    let bits = u32::BITS - differences.clone().max().unwrap_or(0).leading_zeros();
    out.extend([u8::try_from(links.len()).expect("a list is short"), bits as u8]);
    let (mut word, mut filled) = (0u64, 0);
    for difference in differences {
        word |= u64::from(difference) << filled;
        filled += bits;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
}

/// Bytes of the links behind this head; `None` if the head is impossible.
pub fn body_bytes([count, bits]: [u8; HEAD_BYTES]) -> Option<usize> {
    (bits <= BITS_MAX).then(|| (usize::from(count) * usize::from(bits)).div_ceil(8))
}

/// Reads a list to `out`; returns its number of links. `body`: the bytes behind the head, then at least 8 bytes of any value. `None` if
/// `out` is too short, or if a link is beyond `u32`. Panics if `body` is too short.
pub fn unpack([count, bits]: [u8; HEAD_BYTES], body: &[u8], out: &mut [u32]) -> Option<usize> {
    let (count, bits) = (usize::from(count), usize::from(bits));
    let mask = (1u64 << bits) - 1;
    let mut link = 0u64;
    for (i, to) in out.get_mut(..count)?.iter_mut().enumerate() {
        let at = i * bits;
        let word = u64::from_le_bytes(*body[at / 8..].first_chunk().expect("bytes behind the body"));
        link += word >> (at % 8) & mask;
        *to = u32::try_from(link).ok()?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(packed: &[u8], room: usize) -> Option<Vec<u32>> {
        let (head, body) = packed.split_first_chunk().unwrap();
        assert_eq!(body.len(), body_bytes(*head)?);
        let mut links = vec![0; room];
        let count = unpack(*head, &[body, &[0xff; 8]].concat(), &mut links)?;
        links.truncate(count);
        Some(links)
    }

    proptest! {
        #[test]
        fn lists_come_back_in_order(mut links in proptest::collection::vec(0u32.., 0..255), shift in 0u32..32) {
            links.iter_mut().for_each(|link| *link >>= shift);
            let mut packed = Vec::new();
            pack(&mut links, &mut packed);
            prop_assert!(packed.len() <= packed_bytes_max(links.len()));
            prop_assert_eq!(read(&packed, links.len()), Some(links.clone()));
            prop_assert_eq!(read(&packed, links.len() + 3), Some(links.clone()));
            prop_assert_eq!(links.len().checked_sub(1).and_then(|less| read(&packed, less)), None);
        }

        #[test]
        fn whatever_the_bytes_say_is_a_list_or_nothing(head in any::<[u8; 2]>(), bytes in any::<[u8; 32]>()) {
            if let Some(length) = body_bytes(head) {
                let body: Vec<u8> = bytes.into_iter().cycle().take(length + 8).collect();
                let mut links = [0; 200];
                if let Some(count) = unpack(head, &body, &mut links) {
                    prop_assert!(links[..count].is_sorted());
                }
            }
        }
    }

    #[test]
    fn near_links_are_short() {
        let mut packed = Vec::new();
        pack(&mut [], &mut packed);
        assert_eq!(packed, [0, 0]);
        packed.clear();
        pack(&mut [0, 0, 0], &mut packed);
        assert_eq!(packed, [3, 0]);
        packed.clear();
        pack(&mut [7, 2, 5, 3], &mut packed);
        assert_eq!(packed, [4, 2, 0b10_10_01_10]);
    }
}
