use super::*;
use crate::host::Column;

/// Rows of these types; "∅" is NULL.
fn rows(types: &[&str], cells: &[&[&str]]) -> Rows {
    let column = |type_name: &&str| Column { name: "c".into(), type_name: (*type_name).to_owned() };
    let cell = |text: &&str| (*text != "∅").then(|| (*text).to_owned());
    Rows {
        columns: types.iter().map(column).collect(),
        cells: cells.iter().map(|row| row.iter().map(cell).collect()).collect(),
    }
}

fn check(sort: Sort, expected: &[&str], actual: &Rows) -> Result<(), String> {
    let columns = actual.columns.len();
    let query = Query { columns, sort, label: None, connection: String::new(), sql: String::new(), expected: vec![] };
    let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    compare(&query, &expected, actual).map_err(|mismatch| mismatch.what)
}

/// Whether one cell of this type is the expected one.
fn cell(type_name: &str, expected: &str, actual: &str) -> bool {
    check(Sort::None, &[expected], &rows(&[type_name], &[&[actual]])).is_ok()
}

#[test]
fn lines_are_rows_or_values() {
    let actual = rows(&["INTEGER", "VARCHAR"], &[&["1", "a"], &["2", "∅"]]);
    assert_eq!(check(Sort::None, &["1\ta", "2\tNULL"], &actual), Ok(()));
    assert_eq!(check(Sort::None, &["1", "a", "2", "NULL"], &actual), Ok(()));
    assert!(check(Sort::None, &["1\ta"], &actual).unwrap_err().contains("expected 1 rows, found 2"));
    assert!(check(Sort::None, &["1", "a", "2"], &actual).unwrap_err().contains("3 expected values cannot fill rows"));
    assert!(check(Sort::None, &["1\ta", "2\tNULL\t3"], &actual).unwrap_err().contains("row 2 has 3 cells, not 2"));
    let wrong = check(Sort::None, &["1\ta", "2\tb"], &actual).unwrap_err();
    assert_eq!(wrong, "wrong result in row 2, column 2 (c VARCHAR): expected b, found NULL");
}

#[test]
fn the_number_of_rows_and_columns_counts() {
    let none = rows(&["INTEGER"], &[]);
    assert_eq!(check(Sort::None, &[], &none), Ok(()));
    assert!(check(Sort::None, &["1"], &none).unwrap_err().contains("expected 1 rows, found 0"));
    let one = rows(&["INTEGER"], &[&["1"]]);
    assert!(check(Sort::None, &[], &one).unwrap_err().contains("expected 0 rows, found 1"));
    let query =
        Query { columns: 2, sort: Sort::None, label: None, connection: "".into(), sql: "".into(), expected: vec![] };
    assert!(compare(&query, &["1".into()], &one).unwrap_err().what.contains("1 columns ('query I'), not 2"));
}

#[test]
fn sorting_applies_to_the_actual_rows() {
    let actual = rows(&["INTEGER", "INTEGER"], &[&["2", "1"], &["1", "3"]]);
    assert_eq!(check(Sort::Rows, &["1\t3", "2\t1"], &actual), Ok(()));
    assert!(check(Sort::None, &["1\t3", "2\t1"], &actual).is_err());
    assert_eq!(check(Sort::Values, &["1", "1", "2", "3"], &actual), Ok(()));
}

#[test]
fn null_empty_and_zero_bytes_have_names() {
    assert!(cell("VARCHAR", "NULL", "∅"));
    assert!(cell("VARCHAR", "(empty)", ""));
    assert!(cell("VARCHAR", "a\\0b", "a\0b"));
    assert!(!cell("INTEGER", "0", "∅"));
    assert!(!cell("FLOAT", "NULL", "0.0"));
}

#[test]
fn numbers_are_compared_by_their_type() {
    assert!(cell("DECIMAL(4,2)", "1.5", "1.50"));
    assert!(!cell("DECIMAL", "1.5", "1.51"));
    assert!(cell("BIGINT", "-0", "0"));
    assert!(!cell("BIGINT", "9007199254740993", "9007199254740992"));
    assert!(!cell("VARCHAR", "1.5", "1.50"));
    assert!(cell("FLOAT", "0.1", "0.10000001"));
    assert!(cell("DOUBLE", "100", "100.9"));
    assert!(!cell("DOUBLE", "100", "101.1"));
    assert!(cell("FLOAT", "nan", "NaN"));
    assert!(cell("FLOAT", "inf", "inf"));
    assert!(!cell("FLOAT", "inf", "-inf"));
    assert!(!cell("FLOAT", "0", "nan"));
    assert!(cell("BOOLEAN", "1", "true"));
    assert!(cell("BOOLEAN", "False", "false"));
    assert!(!cell("BOOLEAN", "1", "false"));
    assert!(!cell("BOOLEAN", "yes", "true"));
}

#[test]
fn regular_expressions_match_the_whole_cell() {
    assert!(cell("VARCHAR", "<REGEX>:.*HNSW_INDEX_SCAN.*", "TOP_N\nHNSW_INDEX_SCAN\n"));
    assert!(!cell("VARCHAR", "<REGEX>:HNSW_INDEX_SCAN", "TOP_N\nHNSW_INDEX_SCAN\n"));
    assert!(!cell("VARCHAR", "<!REGEX>:.*SCAN.*", "SEQ_SCAN"));
    assert!(cell("VARCHAR", "<!REGEX>:.*HNSW.*", "SEQ_SCAN"));
    let bad = check(Sort::None, &["<REGEX>:("], &rows(&["VARCHAR"], &[&["x"]])).unwrap_err();
    assert!(bad.starts_with("bad regular expression"));
}

#[test]
fn error_messages_contain_the_text_or_match() {
    assert_eq!(error_matches("wrong", "Binder Error: wrong option"), Ok(true));
    assert_eq!(error_matches("Wrong", "Binder Error: wrong option"), Ok(false));
    assert_eq!(error_matches("<REGEX>:Binder.*option", "Binder Error: wrong option"), Ok(true));
    assert_eq!(error_matches("<REGEX>:wrong", "Binder Error: wrong option"), Ok(false));
}

#[test]
fn a_mismatch_shows_both_sides() {
    let actual = rows(&["INTEGER", "VARCHAR"], &[&["1", "a"], &["2", "b\nc"]]);
    let query =
        Query { columns: 2, sort: Sort::None, label: None, connection: "".into(), sql: "".into(), expected: vec![] };
    let mismatch = compare(&query, &["1\ta".into(), "2\tx".into(), "3\ty".into()], &actual).unwrap_err();
    let shown = "wrong result in row 2, column 2 (c VARCHAR): expected x, found b …\n  \
                 - expected (3 rows), + actual (2 rows):\n      1\ta\n    - 2\tx\n    + 2\tb\n        c\n    - 3\ty\n";
    assert_eq!(mismatch.to_string(), shown);
}
