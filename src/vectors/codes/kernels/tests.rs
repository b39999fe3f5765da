use super::*;
use crate::random::Random;

/// Codes and numbers, at random or as far from zero as they go.
fn bytes(random: &mut Random, len: usize, extreme: Option<u8>) -> Vec<u8> {
    (0..len).map(|_| extreme.unwrap_or_else(|| random.bits() as u8)).collect()
}

fn query(numbers: Vec<u8>, head: Head) -> Vec<u8> {
    let mut query = vec![0; QUERY_HEAD];
    head.write(&mut query);
    query.extend(numbers);
    query
}

fn check(length: usize, four_bits: bool, random: &mut Random, extremes: (Option<u8>, Option<u8>)) {
    let places = if four_bits { length.div_ceil(HALF) * BLOCK } else { length.next_multiple_of(BLOCK) };
    let mut numbers = bytes(random, places, extremes.0);
    for (place, number) in numbers.iter_mut().enumerate() {
        let used = if four_bits { place / BLOCK * HALF + place % HALF < length } else { place < length };
        *number = if used { (*number as i8).max(-127) as u8 } else { 0 };
    }
    let sum: i32 = numbers.iter().map(|&number| i32::from(number as i8)).sum();
    let shift = if four_bits { 15 * sum } else { 128 * sum };
    // a scale that leaves the sum as it is, and no other terms
    let query = query(numbers, Head { scale: 1.0, shift, constant: 0.25, ..Head::default() });
    let rows = [0; 4].map(|_| {
        let mut row = 1.0f32.to_le_bytes().to_vec();
        row.extend(0.5f32.to_le_bytes());
        row.extend(bytes(random, length, extremes.1));
        row
    });
    let all = Kernels::all_supported();
    let portable = all[all.len() - 1];
    // SAFETY: rows and query are as long as they have to be, and the processor has the kernels.
    let one = |kernel: Measure, row: &[u8]| unsafe { kernel(query.as_ptr(), row.as_ptr(), length) };
    for kernels in &all {
        let (kernel, kernel4, reference) = if four_bits {
            (kernels.sq4, kernels.sq4x4, portable.sq4)
        } else {
            (kernels.sq8, kernels.sq8x4, portable.sq8)
        };
        let expected = [0, 1, 2, 3].map(|i| one(reference, &rows[i]).to_bits());
        let mut out = [f32::NAN; 4];
        let pointers = [0, 1, 2, 3].map(|i| rows[i].as_ptr());
        // SAFETY: as above.
        unsafe { kernel4(query.as_ptr(), &pointers, length, &mut out) };
        let what = format!("{} {length} {four_bits} {extremes:?}", kernels.name);
        assert_eq!(out.map(f32::to_bits), expected, "{what}");
        assert_eq!([0, 1, 2, 3].map(|i| one(kernel, &rows[i]).to_bits()), expected, "{what}");
        if let Some((sq8, sq4)) = kernels.tiles {
            let tile = if four_bits { sq4 } else { sq8 };
            let zeros = self::query(vec![0; places], Head { scale: 1.0, constant: 0.75, ..Head::default() });
            let queries = [&query, &zeros].map(|query| query.as_ptr());
            let mut out = [[f32::NAN; 4]; 2];
            // SAFETY: as above.
            unsafe { tile(&queries, &pointers, length, &mut out) };
            let expected = [expected, [1.25f32.to_bits(); 4]];
            assert_eq!(out.map(|out| out.map(f32::to_bits)), expected, "{what}");
        }
    }
}

#[test]
fn all_kernels_agree_in_every_bit() {
    let mut random = Random(11);
    for length in (1..=300).chain([384, 512, 768, 1024, 1536, 4096, 50_000, 100_000]) {
        for four_bits in [false, true] {
            check(length, four_bits, &mut random, (None, None));
            for number in [Some(127), Some(129), None] {
                for code in [Some(0), Some(1), Some(255), Some(0x0F), Some(0xF0)] {
                    check(length, four_bits, &mut random, (number, code));
                }
            }
        }
    }
}

#[test]
fn the_portable_sum_is_the_sum() {
    // (1 - 128) · 3 + (255 - 128) · (-2) = -635
    let all = Kernels::all_supported();
    let portable = all[all.len() - 1];
    let mut numbers = vec![0u8; BLOCK];
    (numbers[0], numbers[1]) = (3, -2i8 as u8);
    let head = Head { scale: 2.0, shift: 128, constant: 10.0, ..Head::default() };
    let query = query(numbers, head);
    let mut row = 0.5f32.to_le_bytes().to_vec();
    row.extend((-1.0f32).to_le_bytes());
    row.extend([1, 255]);
    // SAFETY: the row has two bytes of code, the query a block of numbers.
    assert_eq!(unsafe { (portable.sq8)(query.as_ptr(), row.as_ptr(), 2) }, 10.0 - 1.0 + 635.0);
}
