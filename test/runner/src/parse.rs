//! Reads a test file.

use std::time::Duration;

use crate::record::{Comparison, Condition, Expect, Query, Record, Sort, Step};
use crate::report::Failure;

/// Directives that consist of one line. The next line must not be text that could be meant as part of the directive.
const ONE_LINE: [&str; 15] = [
    "endloop",
    "foreach",
    "halt",
    "load",
    "loop",
    "mode",
    "reconnect",
    "require",
    "require-env",
    "reset",
    "restart",
    "set",
    "sleep",
    "test-env",
    "unzip",
];

/// The error is a message and the line that it is about (from 1).
type Result<T> = std::result::Result<T, (usize, String)>;

/// Reads the text of the file `file`.
///
/// Directives: `statement`, `query`, `loop`, `foreach`, `endloop`, `require`, `require-env`, `test-env`, `load`,
/// `restart`, `reconnect`, `mode skip`, `mode unskip`, `set`, `reset label`, `sleep`, `unzip`, `halt`, `skipif`,
/// `onlyif`.
///
/// Errors: a directive that is not in this list, or not complete, anywhere in the file, even under `mode skip`.
pub fn parse(file: &str, text: &str) -> std::result::Result<Vec<Record>, Failure> {
    let mut reader = Reader { lines: text.lines().collect(), next: 0 };
    let records = named(file, &reader.lines).and_then(|()| read(&mut reader));
    records.map_err(|(line, message)| Failure {
        file: file.to_owned(),
        line,
        message,
        sql: None,
        variables: Vec::new(),
    })
}

/// Checks that the file names itself.
fn named(file: &str, lines: &[&str]) -> Result<()> {
    let name = lines.iter().take_while(|line| line.starts_with('#')).find_map(|line| line.strip_prefix("# name:"));
    let Some(name) = name.map(str::trim) else {
        return Err((1, format!("the file does not begin with its name; write '# name: {file}'")));
    };
    let same = file.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'));
    if same { Ok(()) } else { Err((1, format!("the file names itself '{name}', but it is '{file}'"))) }
}

/// A loop that has no `endloop` yet.
struct Open {
    record: Record,
    skipped: bool,
}

fn read(reader: &mut Reader<'_>) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut skips = 0_usize;
    while let Some(Head { line, words, conditions, excluded }) = reader.head()? {
        let at = |message: String| (line, message);
        let step = match words[..] {
            ["mode", "skip"] => {
                skips += 1;
                continue;
            }
            ["mode", "unskip"] => {
                skips = skips.checked_sub(1).ok_or_else(|| at("'mode unskip' without 'mode skip'".into()))?;
                continue;
            }
            ["halt"] if skips == 0 && !excluded => break,
            ["halt"] => continue,
            ["endloop"] => {
                let Open { record, skipped } = open.pop().ok_or_else(|| at("'endloop' without a loop".into()))?;
                if !skipped {
                    open.last_mut().map_or(&mut records, |outer| body(&mut outer.record)).push(record);
                }
                continue;
            }
            _ => step(reader, &words).map_err(at)?,
        };
        let skipped = skips > 0 || excluded;
        let record = Record { line, conditions, step };
        if matches!(record.step, Step::Loop { .. }) {
            open.push(Open { record, skipped });
        } else if !skipped {
            open.last_mut().map_or(&mut records, |outer| body(&mut outer.record)).push(record);
        }
    }
    match open.pop() {
        Some(unfinished) => Err((unfinished.record.line, "the loop has no 'endloop'".into())),
        None => Ok(records),
    }
}

fn body(record: &mut Record) -> &mut Vec<Record> {
    match &mut record.step {
        Step::Loop { body, .. } => body,
        other => unreachable!("{other:?} is kept as an open loop"),
    }
}

/// The step that begins with these words.
fn step(reader: &mut Reader<'_>, words: &[&str]) -> std::result::Result<Step, String> {
    match words {
        ["statement", rest @ ..] => statement(reader, rest),
        ["query", rest @ ..] => query(reader, rest),
        ["loop", variable, first, last] => counted(variable, first, last),
        ["foreach", variable, values @ ..] => each(variable, values),
        ["require", what] => Ok(Step::Require { what: what.to_lowercase(), argument: None }),
        ["require", what, argument] => {
            Ok(Step::Require { what: what.to_lowercase(), argument: Some((*argument).to_owned()) })
        }
        ["require-env", name] => Ok(Step::RequireEnv { name: (*name).to_owned(), value: None }),
        ["require-env", name, value] => {
            Ok(Step::RequireEnv { name: (*name).to_owned(), value: Some((*value).to_owned()) })
        }
        ["test-env", name, default] => Ok(Step::TestEnv { name: (*name).to_owned(), default: (*default).to_owned() }),
        ["load"] => Ok(Step::Load { path: None, read_only: false }),
        ["load", path] => Ok(Step::Load { path: Some((*path).to_owned()), read_only: false }),
        ["load", path, "readonly"] => Ok(Step::Load { path: Some((*path).to_owned()), read_only: true }),
        ["restart"] => Ok(Step::Restart { load_extensions: true }),
        ["restart", "no_extension_load"] => Ok(Step::Restart { load_extensions: false }),
        ["reconnect"] => Ok(Step::Reconnect),
        ["set", "seed", seed] if seed.parse::<f64>().is_ok() => Ok(Step::Seed((*seed).to_owned())),
        ["set", "ignore_error_messages", rest @ ..] => Ok(Step::IgnoreErrors(messages(rest))),
        ["set", "always_fail_error_messages", rest @ ..] => Ok(Step::AlwaysFail(messages(rest))),
        ["reset", "label", label] => Ok(Step::ResetLabel((*label).to_owned())),
        ["sleep", count, unit] => sleep(count, unit),
        ["unzip", from, to] => Ok(Step::Unzip { from: (*from).to_owned(), to: (*to).to_owned() }),
        ["concurrentloop" | "concurrentforeach", ..] => {
            Err("this runner has no concurrent loops; write the test in Rust, under test/runner/tests/".into())
        }
        ["hash-threshold", ..] => {
            Err("this runner does not hash results; write the rows, or give the query a label".into())
        }
        _ => Err(format!("'{}' is not a directive of this runner", words.join(" "))),
    }
}

fn statement(reader: &mut Reader<'_>, words: &[&str]) -> std::result::Result<Step, String> {
    let (kind, connection) = match words {
        [kind @ ("ok" | "error" | "maybe")] => (*kind, ""),
        [kind @ ("ok" | "error" | "maybe"), connection] => (*kind, *connection),
        _ => {
            return Err(
                "write 'statement ok', 'statement error' or 'statement maybe', and a connection if need be".into()
            );
        }
    };
    let sql = reader.sql();
    if sql.is_empty() {
        return Err("the statement has no SQL".into());
    }
    let message = reader.expected().map(|lines| lines.join("\n"));
    if message.as_deref() == Some("") {
        return Err("'----' without an error message".into());
    }
    let expect = match (kind, message) {
        ("ok", Some(_)) => return Err("only 'statement error' and 'statement maybe' can have an error message".into()),
        ("ok", None) => Expect::Ok,
        ("error", message) => Expect::Error(message),
        (_, message) => Expect::Maybe(message),
    };
    Ok(Step::Statement { expect, connection: connection.to_owned(), sql })
}

fn query(reader: &mut Reader<'_>, words: &[&str]) -> std::result::Result<Step, String> {
    let (types, rest) = words.split_first().ok_or("write 'query' and a letter for each column, such as 'query II'")?;
    if let Some(other) = types.chars().find(|letter| !"IRT".contains(*letter)) {
        return Err(format!("'{other}' is not the letter of a column; use I, R or T"));
    }
    let sort = match rest.first() {
        None | Some(&"nosort") => Some(Sort::None),
        Some(&("rowsort" | "sort")) => Some(Sort::Rows),
        Some(&"valuesort") => Some(Sort::Values),
        Some(_) => None,
    };
    // As in DuckDB's runner, a word that does not say how to sort names the connection.
    let (sort, label, connection) = match (sort, rest) {
        (None, [connection]) => (Sort::None, None, *connection),
        (None, [connection, label]) => (Sort::None, Some(*label), *connection),
        (Some(sort), [] | [_]) => (sort, None, ""),
        (Some(sort), [_, label]) => (sort, Some(*label), ""),
        (Some(sort), [_, label, connection]) => (sort, Some(*label), *connection),
        _ => return Err("write 'query <types> [nosort|rowsort|valuesort] [label] [connection]'".into()),
    };
    let label = label.map(str::to_owned);
    if label.iter().any(|label| label.contains("${")) {
        return Err("DuckDB's runner does not fill in variables in labels; use 'reset label' in the loop".into());
    }
    let sql = reader.sql();
    if sql.is_empty() {
        return Err("the query has no SQL".into());
    }
    let expected = match reader.expected() {
        None if label.is_none() => {
            return Err("the query has no '----' and no label: nothing to compare it with".into());
        }
        expected => expected.unwrap_or_default(),
    };
    if let Some(other) =
        expected.iter().find(|line| line.starts_with("<FILE>:") || line.contains(" values hashing to "))
    {
        return Err(format!("this runner cannot compare with '{other}'; write the rows"));
    }
    Ok(Step::Query(Query { columns: types.len(), sort, label, connection: connection.to_owned(), sql, expected }))
}

fn counted(variable: &str, first: &str, last: &str) -> std::result::Result<Step, String> {
    let whole = |text: &str| text.parse::<i64>().map_err(|_| format!("'{text}' is not a whole number"));
    let values: Vec<String> = (whole(first)?..whole(last)?).map(|value| value.to_string()).collect();
    if values.is_empty() {
        return Err(format!("the loop from {first} to {last} has no values"));
    }
    Ok(Step::Loop { variable: variable.to_owned(), values, body: Vec::new() })
}

fn each(variable: &str, values: &[&str]) -> std::result::Result<Step, String> {
    if values.is_empty() {
        return Err("the loop has no values".into());
    }
    if let Some(set) = values.iter().find(|value| value.starts_with('<') || value.starts_with('!')) {
        return Err(format!("this runner does not know the set '{set}'; write its values"));
    }
    let parts = variable.split(',').count();
    if let Some(value) = values.iter().find(|value| parts > 1 && value.split(',').count() != parts) {
        return Err(format!("'{value}' has not as many parts as '{variable}'"));
    }
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Ok(Step::Loop { variable: variable.to_owned(), values, body: Vec::new() })
}

fn sleep(count: &str, unit: &str) -> std::result::Result<Step, String> {
    let count: u64 = count.parse().map_err(|_| format!("'{count}' is not a whole number"))?;
    match unit {
        "second" | "seconds" | "sec" => Ok(Step::Sleep(Duration::from_secs(count))),
        "millisecond" | "milliseconds" | "milli" => Ok(Step::Sleep(Duration::from_millis(count))),
        "microsecond" | "microseconds" | "micro" => Ok(Step::Sleep(Duration::from_micros(count))),
        "nanosecond" | "nanoseconds" | "nano" => Ok(Step::Sleep(Duration::from_nanos(count))),
        _ => Err(format!("'{unit}' is not a unit of time; use second, millisecond, microsecond or nanosecond")),
    }
}

/// A list separated by commas; its items may hold spaces.
fn messages(words: &[&str]) -> Vec<String> {
    words.join(" ").split(',').map(str::trim).filter(|message| !message.is_empty()).map(str::to_owned).collect()
}

fn condition(skip: bool, text: &str) -> std::result::Result<Condition, String> {
    const SIGNS: [(&str, Comparison); 7] = [
        ("<>", Comparison::NotEqual),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
        ("=", Comparison::Equal),
    ];
    let parsed = SIGNS.iter().find_map(|(sign, comparison)| Some((text.split_once(sign)?, *comparison)));
    let Some(((variable, value), comparison)) = parsed else {
        return Err(format!("'{text}' is not a condition; write 'onlyif duckdb' or 'onlyif i=3'"));
    };
    let order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    if variable.is_empty() || value.is_empty() || (order && value.parse::<i64>().is_err()) {
        return Err(format!("'{text}' is not a condition: compare a loop variable with a value"));
    }
    Ok(Condition { skip, variable: variable.to_owned(), comparison, value: value.to_owned() })
}

/// A directive: its words and conditions.
struct Head<'a> {
    line: usize,
    words: Vec<&'a str>,
    conditions: Vec<Condition>,
    /// Whether the directive is meant for systems other than DuckDB.
    excluded: bool,
}

/// The lines of a file, and the position of the reader.
struct Reader<'a> {
    lines: Vec<&'a str>,
    next: usize,
}

impl<'a> Reader<'a> {
    /// The number and the words of the next line that is neither empty nor a comment; moves past that line.
    fn directive(&mut self) -> Option<(usize, Vec<&'a str>)> {
        while self.lines.get(self.next).is_some_and(|line| blank(line)) {
            self.next += 1;
        }
        let words = self.lines.get(self.next)?.split_whitespace().collect();
        self.next += 1;
        Some((self.next, words))
    }

    /// The next directive with the `skipif` and `onlyif` lines before it.
    fn head(&mut self) -> Result<Option<Head<'a>>> {
        let mut conditions = Vec::new();
        let mut excluded = false;
        let mut conditional = None;
        while let Some((line, words)) = self.directive() {
            if let ["skipif" | "onlyif", rest @ ..] = &words[..] {
                let skip = words[0] == "skipif";
                match rest {
                    [system] if system.chars().all(char::is_alphanumeric) => excluded |= (*system == "duckdb") == skip,
                    [text] => conditions.push(condition(skip, text).map_err(|message| (line, message))?),
                    _ => return Err((line, format!("'{}' takes one word", words[0]))),
                }
                conditional = Some(line);
                continue;
            }
            let alone = self.lines.get(self.next).is_none_or(|next| blank(next));
            if !alone && ONE_LINE.contains(&words[0]) {
                return Err((line, format!("'{}' must be followed by an empty line", words.join(" "))));
            }
            return Ok(Some(Head { line, words, conditions, excluded }));
        }
        conditional.map_or(Ok(None), |line| Err((line, "a condition without a step".to_owned())))
    }

    /// The lines up to `----`, an empty line or a comment.
    fn sql(&mut self) -> String {
        let first = self.next;
        while self.lines.get(self.next).is_some_and(|line| !blank(line) && *line != "----") {
            self.next += 1;
        }
        self.lines[first..self.next].join("\n")
    }

    /// The lines after `----` up to an empty one; `None` without `----`.
    fn expected(&mut self) -> Option<Vec<String>> {
        if self.lines.get(self.next) != Some(&"----") {
            return None;
        }
        self.next += 1;
        let first = self.next;
        while self.lines.get(self.next).is_some_and(|line| !line.is_empty()) {
            self.next += 1;
        }
        Some(self.lines[first..self.next].iter().map(|line| (*line).to_owned()).collect())
    }
}

fn blank(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests;
