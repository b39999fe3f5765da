//! The rows of an index: which there are, where they are, and what became of them.

#[allow(unsafe_code)]
pub(crate) mod pending;
#[allow(unsafe_code)]
mod row_map;
pub(crate) mod tombstones;
pub(crate) mod unrankable;

pub use self::row_map::*;
