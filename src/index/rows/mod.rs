//! The rows of an index: which there are, where they are, and what became of them.

pub(crate) mod pending;
mod row_map;
pub(crate) mod tombstones;
pub(crate) mod unrankable;

pub use self::row_map::*;
