//! The interface between the runner and a program in which DuckDB runs.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A program in which DuckDB runs.
///
/// An error of the host itself (it died, it does not answer) is the outer `Err`; an error that DuckDB reports is the inner one.
pub trait Host {
    /// Closes the open database, if any, and opens another; an empty `path` means in memory.
    ///
    /// Unsigned extensions are allowed, automatic loading is off.
    fn open(&mut self, path: &str, read_only: bool) -> Result<Reply>;

    /// Makes a connection of this name, which replaces an older one.
    fn connect(&mut self, name: &str) -> Result<Reply>;

    /// Runs SQL on the connection of this name.
    ///
    /// - `rows`: whether the answer holds the rows. Then `sql` must be one statement; otherwise it may be several.
    fn execute(&mut self, connection: &str, sql: &str, rows: bool) -> Result<Reply>;
}

/// What DuckDB says: rows, or the text of an error.
pub type Reply = Result<Rows, String>;

/// The rows of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// The columns.
    pub columns: Vec<Column>,
    /// For each row, its cells as DuckDB casts them to VARCHAR.
    pub cells: Vec<Vec<Option<String>>>,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// The column's type. Nested types may lack their details.
    #[serde(rename = "type")]
    pub type_name: String,
}
