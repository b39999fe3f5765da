//! Failures, and how they are shown.

use std::fmt;

/// Rows shown around the first difference.
const ROWS_SHOWN: usize = 20;
/// Characters of a row that are shown.
const ROW_WIDTH: usize = 2_000;

/// Why a file failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The file, as it was given.
    pub file: String,
    /// Line of the step, from 1.
    pub line: usize,
    /// What is wrong, in one line or several.
    pub message: String,
    /// The SQL that was run.
    pub sql: Option<String>,
    /// Values of the loop variables around the step.
    pub variables: Vec<(String, String)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}:{}: {}", self.file, self.line, self.message.trim_end())?;
        for (name, value) in &self.variables {
            writeln!(out, "  with {name} = {value}")?;
        }
        if let Some(sql) = &self.sql {
            writeln!(out, "  SQL:")?;
            for line in sql.lines() {
                writeln!(out, "    {line}")?;
            }
        }
        Ok(())
    }
}

/// How two results differ: what is wrong, and both sets of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What is wrong, in one line.
    pub what: String,
    /// Expected rows, cells joined by tabs.
    pub expected: Vec<String>,
    /// Actual rows, likewise.
    pub actual: Vec<String>,
    /// The first row that differs, from 0.
    pub row: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, actual) = (self.expected.len(), self.actual.len());
        writeln!(out, "{}", self.what)?;
        writeln!(out, "  - expected ({expected} rows), + actual ({actual} rows):")?;
        let first = self.row.saturating_sub(ROWS_SHOWN / 4);
        let last = (first + ROWS_SHOWN).min(expected.max(actual));
        if first > 0 {
            writeln!(out, "      … {first} rows before")?;
        }
        for row in first..last {
            match (self.expected.get(row), self.actual.get(row)) {
                (Some(wanted), Some(found)) if wanted == found => line(out, ' ', found)?,
                (wanted, found) => {
                    wanted.map_or(Ok(()), |text| line(out, '-', text))?;
                    found.map_or(Ok(()), |text| line(out, '+', text))?;
                }
            }
        }
        let rest = expected.max(actual) - last.min(expected.max(actual));
        if rest > 0 { writeln!(out, "      … {rest} rows after") } else { Ok(()) }
    }
}

/// Writes a row after its mark. A very long row is cut, and further lines of its cells are indented.
fn line(out: &mut fmt::Formatter<'_>, mark: char, row: &str) -> fmt::Result {
    let cut: String = row.chars().take(ROW_WIDTH).collect();
    let more = if cut.len() < row.len() { "…" } else { "" };
    writeln!(out, "    {mark} {}{more}", cut.trim_end().replace('\n', "\n        "))
}
