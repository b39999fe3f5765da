//! The memory of an index: its account with the host, and the places where the memory lies.

mod account;
pub(crate) mod mapping;
pub(crate) mod segments;

#[cfg(test)]
pub(crate) use self::account::tests;
pub use self::account::{Charge, Memory};
