//! The memory of an index: what it has of its host, counted, and where it lies.

mod account;
pub(crate) mod mapping;
pub(crate) mod segments;

#[cfg(test)]
pub(crate) use self::account::tests;
pub use self::account::{Charge, Memory};
