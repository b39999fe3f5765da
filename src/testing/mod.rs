//! What tests and benches compare with.

pub mod naive;
