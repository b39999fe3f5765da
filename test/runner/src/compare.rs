//! Compares results with the expected ones, by the rules of DuckDB's runner.

use regex::Regex;

use crate::host::Rows;
use crate::record::{Query, Sort};
use crate::report::Mismatch;

/// Floating point values are equal up to this relative difference plus this absolute one.
const TOLERANCE: (f64, f64) = (0.01, 1e-8);

/// Compares the rows of a query with the lines that the file expects.
///
/// Lines are rows (cells separated by tabs) or single values: rows if there are as many lines as rows, or if every line
/// has a tab. Only the actual rows are sorted; the file must give the expected ones in sorted order.
pub fn compare(query: &Query, expected: &[String], actual: &Rows) -> Result<(), Mismatch> {
    let columns = actual.columns.len();
    let cells = sorted(query.sort, actual);
    let rows: Vec<&[String]> = cells.chunks(columns.max(1)).collect();
    let mismatch = |what: String, row: usize| {
        Err(Mismatch {
            what,
            expected: joined(&split(expected, columns, rows.len()), columns),
            actual: shown(&rows),
            row,
        })
    };
    if columns != query.columns {
        let letters = "I".repeat(columns);
        let what = format!("the result has {columns} columns ('query {letters}'), not {}", query.columns);
        return mismatch(what, 0);
    }
    let expected_cells = match split(expected, columns, rows.len()) {
        Lines::Rows(lines) => {
            for (row, line) in lines.iter().enumerate() {
                let found = line.split('\t').count();
                if found != columns {
                    return mismatch(format!("expected row {} has {found} cells, not {columns}", row + 1), row);
                }
            }
            lines.iter().flat_map(|line| line.split('\t')).collect()
        }
        Lines::Values(values) if values.len() % columns == 0 => values,
        Lines::Values(values) => {
            return mismatch(format!("{} expected values cannot fill rows of {columns} columns", values.len()), 0);
        }
    };
    for (position, (wanted, found)) in expected_cells.iter().zip(&cells).enumerate() {
        let column = &actual.columns[position % columns];
        if !equal(wanted, found, Kind::of(&column.type_name)).map_err(|what| Mismatch {
            what,
            expected: expected.to_vec(),
            actual: shown(&rows),
            row: position / columns,
        })? {
            let (row, number) = (position / columns, position % columns + 1);
            let what = format!(
                "wrong result in row {}, column {number} ({} {}): expected {wanted}, found {}",
                row + 1,
                column.name,
                column.type_name,
                first_line(found)
            );
            return mismatch(what, row);
        }
    }
    let (wanted, found) = (expected_cells.len() / columns, rows.len());
    if wanted == found { Ok(()) } else { mismatch(format!("expected {wanted} rows, found {found}"), wanted.min(found)) }
}

/// Whether an error message is the expected one: it contains the expected text, or matches its `<REGEX>:` or `<!REGEX>:`.
pub(crate) fn error_matches(expected: &str, message: &str) -> Result<bool, String> {
    Ok(message.contains(expected) || matches(expected, message)?.unwrap_or(false))
}

/// Cells as the runner shows them, in the query's order.
pub(crate) fn sorted(sort: Sort, actual: &Rows) -> Vec<String> {
    let mut rows: Vec<Vec<String>> =
        actual.cells.iter().map(|row| row.iter().map(|cell| rendered(cell.as_deref())).collect()).collect();
    if sort == Sort::Rows {
        rows.sort();
    }
    let mut cells: Vec<String> = rows.into_iter().flatten().collect();
    if sort == Sort::Values {
        cells.sort();
    }
    cells
}

/// Cells by rows, joined by tabs.
pub(crate) fn shown(rows: &[&[String]]) -> Vec<String> {
    rows.iter().map(|row| row.join("\t")).collect()
}

fn rendered(cell: Option<&str>) -> String {
    match cell {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.replace('\0', "\\0"),
    }
}

/// A cell for a message of one line.
fn first_line(cell: &str) -> String {
    cell.split_once('\n').map_or_else(|| cell.to_owned(), |(first, _)| format!("{first} …"))
}

/// Expected lines, as rows or as single values.
enum Lines<'a> {
    Rows(Vec<&'a str>),
    Values(Vec<&'a str>),
}

fn split(expected: &[String], columns: usize, rows: usize) -> Lines<'_> {
    let lines: Vec<&str> = expected.iter().map(String::as_str).collect();
    let as_rows = columns > 1 && lines.len() == rows;
    let all_tabs = !lines.is_empty() && lines.iter().all(|line| line.contains('\t'));
    if as_rows || all_tabs { Lines::Rows(lines) } else { Lines::Values(lines) }
}

fn joined(lines: &Lines<'_>, columns: usize) -> Vec<String> {
    match lines {
        Lines::Rows(lines) => lines.iter().map(|line| (*line).to_owned()).collect(),
        Lines::Values(values) => values.chunks(columns.max(1)).map(|row| row.join("\t")).collect(),
    }
}

/// The kind of a column's type, on which the comparison of cells depends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    /// Whole numbers and decimals.
    Exact,
    Float,
    Other,
}

impl Kind {
    fn of(type_name: &str) -> Self {
        match type_name.split('(').next().unwrap_or_default() {
            "BOOLEAN" => Self::Boolean,
            "FLOAT" | "DOUBLE" => Self::Float,
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "HUGEINT" | "UTINYINT" | "USMALLINT" | "UINTEGER"
            | "UBIGINT" | "UHUGEINT" | "BIGNUM" | "DECIMAL" => Self::Exact,
            _ => Self::Other,
        }
    }
}

/// Whether a cell is the expected one. Errors: the expected regular expression is invalid.
fn equal(expected: &str, actual: &str, kind: Kind) -> Result<bool, String> {
    if expected == actual {
        return Ok(true);
    }
    if let Some(result) = matches(expected, actual)? {
        return Ok(result);
    }
    if expected == "NULL" || actual == "NULL" {
        return Ok(false);
    }
    Ok(match kind {
        Kind::Boolean => truth(expected).is_some() && truth(expected) == truth(actual),
        Kind::Exact => number(expected).is_some() && number(expected) == number(actual),
        Kind::Float => expected.parse().is_ok_and(|wanted| actual.parse().is_ok_and(|found| near(wanted, found))),
        Kind::Other => false,
    })
}

/// `<REGEX>:` and `<!REGEX>:` against the whole text; `None` if `expected` is neither.
fn matches(expected: &str, actual: &str) -> Result<Option<bool>, String> {
    let (pattern, wanted) = match (expected.strip_prefix("<REGEX>:"), expected.strip_prefix("<!REGEX>:")) {
        (Some(pattern), _) => (pattern, true),
        (_, Some(pattern)) => (pattern, false),
        _ => return Ok(None),
    };
    let regex =
        Regex::new(&format!("(?s)^(?:{pattern})$")).map_err(|error| format!("bad regular expression: {error}"))?;
    Ok(Some(regex.is_match(actual) == wanted))
}

fn truth(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Sign, and digits before and after the point, without redundant zeros.
fn number(text: &str) -> Option<(bool, &str, &str)> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let valid = !whole.is_empty() && whole.chars().chain(fraction.chars()).all(|digit| digit.is_ascii_digit());
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    valid.then_some((negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction))
}

fn near(wanted: f64, found: f64) -> bool {
    if wanted.is_nan() || found.is_nan() {
        return wanted.is_nan() && found.is_nan();
    }
    if wanted.is_infinite() || found.is_infinite() {
        return wanted == found;
    }
    (wanted - found).abs() <= wanted.abs() * TOLERANCE.0 + TOLERANCE.1
}

#[cfg(test)]
mod tests;
