//! What the build does beyond compiling.
//!
//! A crate of its own, so that the extension depends on nothing of it, and built by `cargo run --release -p xtask`: cargo unites the
//! features of the packages of one command, and these have nothing in common with DuckDB's.

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
