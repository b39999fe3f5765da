//! The rows of an index: which rows there are, where each is kept, and which are deleted.

#[allow(unsafe_code)]
pub(crate) mod pending;
#[allow(unsafe_code)]
mod row_map;
pub(crate) mod tombstones;
pub(crate) mod unrankable;

pub use self::row_map::*;
