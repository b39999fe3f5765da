//! The steps of the build besides compiling.
//!
//! This is a crate of its own, so that the extension does not depend on its dependencies. It is built by `cargo run --release -p xtask`,
//! apart from the extension: cargo unites the features of the packages of one command, and other features would compile DuckDB again.

#![deny(missing_docs)]

use std::path::Path;

use anyhow::{Result, bail};

mod package;

const USAGE: &str = "\
xtask package <library> <out> <duckdb version>
    writes <out>/vss.duckdb_extension and <out>/repository from the shared library";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["package", library, out, duckdb_version] => {
            package::package(Path::new(library), Path::new(out), duckdb_version)
        }
        _ => bail!("usage:\n{USAGE}"),
    }
}
