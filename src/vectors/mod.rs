//! Vectors: where they lie, how they are stored, how far they are from each other.

mod arena;
pub mod distance;

pub use self::arena::{Arena, Space};
