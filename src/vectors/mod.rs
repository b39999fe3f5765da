//! Vectors: which can be ranked, how they are held, where they lie, and how far they are from each other.

mod arena;
mod codec;
mod codes;
pub mod distance;
mod norms;
mod space;

pub use self::arena::Arena;
pub use self::codec::{Codec, Encoder, Functions, Learnt, Query, Row};
pub use self::norms::Norms;
pub use self::space::Space;
