//! A runner for test files in DuckDB's dialect of sqllogictest.
//!
//! The files are written as for DuckDB's own runner, and mean the same here, with these intended differences:
//!
//! - A file must name itself: `# name: <path>`.
//! - Each file runs in a process of its own ([`Child`]) and in an empty directory of its own
//!   (`__TEST_DIR__`), so that a crash or a hang fails that file and names its statement.
//! - `restart` forgets settings, as a new process does, so a file sets them again. `restart no_extension_load` reopens the database without
//!   the extension.
//! - `EXPLAIN` writes operators in upper case (`profiling_renderer_settings`, set on each connection). A plan
//!   is asserted by two columns, `physical_plan` and `<REGEX>:.*HNSW_INDEX_SCAN.*`, and its absence by
//!   `<!REGEX>:`.
//! - A `query` holds one statement. With a label, it is compared with the other queries of that label, and
//!   also with expected rows if the file gives any.
//! - FLOAT and DOUBLE values are equal within 1 %, as in DuckDB's runner; labels compare exactly. To compare with expected rows exactly, a
//!   file casts to VARCHAR or DECIMAL.
//! - An internal or fatal error never satisfies `statement error` or `statement maybe`.
//! - `concurrentloop`, hashes of results, `<FILE>:` results and other directives not named in [`parse`] are
//!   errors; none is skipped.

#![deny(missing_docs)]

mod child;
mod compare;
#[cfg(feature = "rust-host")]
mod database;
mod host;
mod parse;
mod record;
mod report;
mod run;
mod suite;

pub use child::{Child, serve};
pub use compare::compare;
#[cfg(feature = "rust-host")]
pub use database::Database;
pub use host::{Column, Host, Reply, Rows};
pub use parse::parse;
pub use record::{Comparison, Condition, Expect, Query, Record, Sort, Step};
pub use report::{Failure, Mismatch};
pub use run::{Outcome, Setup, run};
pub use suite::{Suite, Summary};
