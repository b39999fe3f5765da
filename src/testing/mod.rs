//! The reference that tests and benches compare with.

pub mod naive;
