//! Kernels for any processor.

use super::{HALF, Head, nibble};

super::kernels!("portable",);

/// # Safety
/// As for [`super::Measure`].
unsafe fn sum8(_head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise.
    let (query, code) =
        unsafe { (std::slice::from_raw_parts(query, length), std::slice::from_raw_parts(code, length)) };
    query.iter().zip(code).fold(0, |sum, (&x, &c)| sum + i32::from(x) * (i32::from(c) - 128))
}

/// # Safety
/// As for [`super::Measure`].
unsafe fn sum4(head: &Head, query: *const i8, code: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise: a query goes on to the end of its last block.
    let (query, code) = unsafe {
        let numbers = if length == 0 { 0 } else { nibble(length - 1, true) + 1 };
        (std::slice::from_raw_parts(query, numbers), std::slice::from_raw_parts(code, length))
    };
    let mut sum = 0;
    for (block, code) in code.chunks(HALF).enumerate() {
        let (lower, upper) = query[nibble(block * HALF, false)..].split_at(HALF);
        for ((&byte, &lower), &upper) in code.iter().zip(lower).zip(upper) {
            sum += i32::from(byte & 15) * i32::from(lower) + i32::from(byte >> 4) * i32::from(upper);
        }
    }
    2 * sum - head.shift
}

/// # Safety
/// As for [`super::Measure4`].
unsafe fn sum8x4(head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
    // SAFETY: the caller's promise.
    codes.map(|code| unsafe { sum8(head, query, code, length) })
}

/// # Safety
/// As for [`super::Measure4`].
unsafe fn sum4x4(head: &Head, query: *const i8, codes: &[*const u8; 4], length: usize) -> [i32; 4] {
    // SAFETY: the caller's promise.
    codes.map(|code| unsafe { sum4(head, query, code, length) })
}
