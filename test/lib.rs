//! Tests that see `vss` as its users do: through SQL, in a host that loads the built extension.

#![deny(missing_docs)]

pub mod sqllogic;
