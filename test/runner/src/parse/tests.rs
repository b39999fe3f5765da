use super::*;

fn records(text: &str) -> Vec<Record> {
    parse("a.test", &format!("# name: a.test\n{text}")).unwrap()
}

/// The message about a text, and the line that it names.
fn refusal(text: &str) -> (usize, String) {
    let failure = parse("a.test", &format!("# name: a.test\n{text}")).unwrap_err();
    (failure.line, failure.message)
}

#[test]
fn a_statement_has_a_kind_a_connection_sql_and_a_message() {
    let text = "\n# comment\nstatement error con1\nSELECT\n  nothing\n----\nBinder Error\n";
    let expect = Expect::Error(Some("Binder Error".into()));
    let step = Step::Statement { expect, connection: "con1".into(), sql: "SELECT\n  nothing".into() };
    assert_eq!(records(text), [Record { line: 4, conditions: vec![], step }]);
}

#[test]
fn a_query_has_columns_order_label_and_connection() {
    let query = |text: &str| match records(&format!("{text}\nSELECT 1\n----\n1\n")).remove(0).step {
        Step::Query(query) => query,
        other => panic!("{other:?}"),
    };
    let plain = Query {
        columns: 2,
        sort: Sort::None,
        label: None,
        connection: String::new(),
        sql: "SELECT 1".into(),
        expected: vec!["1".into()],
    };
    assert_eq!(query("query IT"), plain);
    assert_eq!(query("query IT con1"), Query { connection: "con1".into(), ..plain.clone() });
    assert_eq!(query("query IT rowsort a"), Query { sort: Sort::Rows, label: Some("a".into()), ..plain.clone() });
    let all = Query { sort: Sort::Values, label: Some("a".into()), connection: "con1".into(), ..plain };
    assert_eq!(query("query IT valuesort a con1"), all);
}

#[test]
fn loops_nest() {
    let text =
        "\nforeach x a b\n\nloop i 0 2\n\nstatement ok\nSELECT '${x}', ${i}\n\nendloop\n\nreconnect\n\nendloop\n";
    let Step::Loop { variable, values, body } = &records(text)[0].step else { panic!() };
    assert_eq!((variable.as_str(), values.as_slice()), ("x", &["a".to_owned(), "b".to_owned()][..]));
    assert!(matches!(&body[0].step, Step::Loop { values, .. } if values == &["0", "1"]));
    assert_eq!(body[1].step, Step::Reconnect);
}

#[test]
fn skipped_parts_are_not_run_but_read() {
    let text = "\nmode skip\n\nloop i 0 2\n\nreconnect\n\nendloop\n\nmode unskip\n\n\
                skipif duckdb\nreconnect\n\nonlyif other\nreconnect\n\nrestart\n";
    let steps: Vec<Step> = records(text).into_iter().map(|record| record.step).collect();
    assert_eq!(steps, [Step::Restart { load_extensions: true }]);
    assert_eq!(refusal("\nmode skip\n\nnonsense\n").0, 5);
}

#[test]
fn conditions_compare_loop_variables() {
    let text = "\nloop i 0 2\n\nskipif i=1\nonlyif i<=5\nreconnect\n\nendloop\n";
    let Step::Loop { body, .. } = &records(text)[0].step else { panic!() };
    let one = Condition { skip: true, variable: "i".into(), comparison: Comparison::Equal, value: "1".into() };
    let other = Condition { skip: false, comparison: Comparison::LessOrEqual, value: "5".into(), ..one.clone() };
    assert_eq!(body[0].conditions, [one, other]);
}

#[test]
fn halt_ends_the_file() {
    assert_eq!(records("\nreconnect\n\nhalt\n\nnonsense\n").len(), 1);
}

#[test]
fn what_is_not_understood_is_an_error() {
    for (text, line, message) in [
        ("\nstatment ok\nSELECT 1\n", 3, "'statment ok' is not a directive of this runner"),
        ("\nconcurrentloop i 0 2\n\nendloop\n", 3, "this runner has no concurrent loops"),
        ("\nhash-threshold 5\n", 3, "this runner does not hash results"),
        ("\nstatement fine\nSELECT 1\n", 3, "write 'statement ok'"),
        ("\nstatement ok\n\nSELECT 1\n", 3, "the statement has no SQL"),
        ("\nstatement ok\nSELECT 1\n----\nError\n", 3, "only 'statement error' and 'statement maybe'"),
        ("\nstatement error\nSELECT 1\n----\n\n", 3, "'----' without an error message"),
        ("\nquery IX\nSELECT 1\n----\n1\n", 3, "'X' is not the letter of a column"),
        ("\nquery I\nSELECT 1\n", 3, "the query has no '----' and no label"),
        ("\nquery I nosort a${i}\nSELECT 1\n", 3, "use 'reset label' in the loop"),
        ("\nquery I\nSELECT 1\n----\n3 values hashing to abc\n", 3, "this runner cannot compare with"),
        ("\nloop i 3 3\n\nendloop\n", 3, "the loop from 3 to 3 has no values"),
        ("\nloop i 0 2\n\nreconnect\n", 3, "the loop has no 'endloop'"),
        ("\nendloop\n", 3, "'endloop' without a loop"),
        ("\nforeach a,b 1,2 3\n\nendloop\n", 3, "'3' has not as many parts as 'a,b'"),
        ("\nforeach t <numeric>\n\nendloop\n", 3, "this runner does not know the set '<numeric>'"),
        ("\nrestart\nstatement ok\nSELECT 1\n", 3, "'restart' must be followed by an empty line"),
        ("\nmode unskip\n", 3, "'mode unskip' without 'mode skip'"),
        ("\nmode output_hash\n", 3, "'mode output_hash' is not a directive"),
        ("\nset threads 4\n", 3, "'set threads 4' is not a directive"),
        ("\nsleep 1 fortnight\n", 3, "'fortnight' is not a unit of time"),
        ("\nskipif i~3\nreconnect\n", 3, "'i~3' is not a condition"),
        ("\nonlyif duckdb\n", 3, "a condition without a step"),
    ] {
        let (found_line, found) = refusal(text);
        assert_eq!(found_line, line, "{text}");
        assert!(found.contains(message), "{text}: {found}");
    }
}

#[test]
fn a_file_names_itself() {
    let failure = parse("test/sql/a.test", "# name: test/sql/b.test\n").unwrap_err();
    assert_eq!(failure.message, "the file names itself 'test/sql/b.test', but it is 'test/sql/a.test'");
    assert!(parse("test/sql/a.test", "reconnect\n").unwrap_err().message.contains("write '# name: test/sql/a.test'"));
    assert!(parse("/somewhere/test/sql/a.test", "# name: test/sql/a.test\n").is_ok());
}
