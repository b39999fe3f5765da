//! Runs the steps of one file.

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Result;
use flate2::read::GzDecoder;

use crate::compare::{compare, error_matches, sorted};
use crate::host::{Host, Reply, Rows};
use crate::record::{Comparison, Condition, Expect, Query, Record, Step};
use crate::report::{Failure, Mismatch};

/// The default connection.
const DEFAULT: &str = "";
/// Runs on each new connection, so that `EXPLAIN` shows the names of operators in upper case.
const CONNECTION_SETUP: &str = "SET profiling_renderer_settings = MAP {'operator_casing': 'upper'}";
/// Errors that no test may expect.
const NEVER: [&str; 3] = ["INTERNAL Error", "FATAL Error", "differs from original result"];
/// Rows of a chunk in DuckDB, for `require vector_size`.
const VECTOR_SIZE: u64 = 2_048;
/// Bytes of a block in a database file, for `require block_size`.
const BLOCK_SIZE: u64 = 262_144;

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps did what the file says.
    Passed,
    /// Something that the file requires is missing.
    Skipped(String),
    /// A step did not do what the file says.
    Failed(Failure),
}

/// The surroundings of a file.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `__TEST_DIR__`: an empty directory.
    pub test_dir: PathBuf,
    /// `__WORKING_DIRECTORY__`: the directory from which relative paths start, also in the host.
    pub root: PathBuf,
    /// What `require vss` loads.
    pub extension: Option<PathBuf>,
}

/// Runs the steps of a file.
pub fn run(file: &str, records: &[Record], setup: &Setup, host: &mut impl Host) -> Outcome {
    let mut run = Run {
        host,
        setup,
        path: String::new(),
        read_only: false,
        connections: HashSet::new(),
        extensions: Vec::new(),
        environment: Vec::new(),
        loops: Vec::new(),
        labels: HashMap::new(),
        ignored: Vec::new(),
        never: NEVER.map(str::to_owned).to_vec(),
        line: 1,
    };
    let ran = run.open().and_then(|()| run.steps(records));
    match ran {
        Ok(()) => Outcome::Passed,
        Err(Stop::Skip(reason)) => Outcome::Skipped(reason),
        Err(Stop::Fail { message, sql }) => {
            Outcome::Failed(Failure { file: file.to_owned(), line: run.line, message, sql, variables: run.loops })
        }
    }
}

/// Why a file ends early.
enum Stop {
    Skip(String),
    Fail { message: String, sql: Option<String> },
}

type Done = std::result::Result<(), Stop>;

fn fail<T>(message: impl Into<String>) -> std::result::Result<T, Stop> {
    Err(Stop::Fail { message: message.into(), sql: None })
}

struct Run<'a, H: Host> {
    host: &'a mut H,
    setup: &'a Setup,
    /// The database file; empty: in memory.
    path: String,
    read_only: bool,
    connections: HashSet<String>,
    /// The extensions to load again after a restart: names or quoted paths.
    extensions: Vec<String>,
    /// Variables of `require-env` and `test-env`.
    environment: Vec<(String, String)>,
    /// Variables and values of the loops around the step, outermost first.
    loops: Vec<(String, String)>,
    /// Line and rows of the first query of each label.
    labels: HashMap<String, (usize, Vec<String>)>,
    ignored: Vec<String>,
    never: Vec<String>,
    /// The line of the running step.
    line: usize,
}

impl<H: Host> Run<'_, H> {
    fn steps(&mut self, records: &[Record]) -> Done {
        records.iter().try_for_each(|record| {
            self.line = record.line;
            if self.holds(&record.conditions)? { self.step(&record.step) } else { Ok(()) }
        })
    }

    fn step(&mut self, step: &Step) -> Done {
        match step {
            Step::Statement { expect, connection, sql } => self.statement(expect, connection, sql),
            Step::Query(query) => self.query(query),
            Step::Loop { variable, values, body } => self.repeat(variable, values, body),
            Step::Require { what, argument } => self.require(what, argument.as_deref()),
            Step::RequireEnv { name, value } => self.require_env(name, value.as_deref()),
            Step::TestEnv { name, default } => {
                let value = env::var(name).unwrap_or_else(|_| default.clone());
                self.environment.push((name.clone(), value));
                Ok(())
            }
            Step::Load { path, read_only } => self.load(path.as_deref(), *read_only),
            Step::Restart { load_extensions } => self.restart(*load_extensions),
            Step::Reconnect => self.connect(DEFAULT),
            Step::Sleep(duration) => {
                thread::sleep(*duration);
                Ok(())
            }
            Step::Seed(seed) => self.must(DEFAULT, &format!("SELECT setseed({seed})")),
            Step::IgnoreErrors(messages) => {
                self.ignored.clone_from(messages);
                Ok(())
            }
            Step::AlwaysFail(messages) => {
                self.never.clone_from(messages);
                Ok(())
            }
            Step::ResetLabel(label) => match self.labels.remove(label) {
                Some(_) => Ok(()),
                None => fail(format!("no query has had the label '{label}'")),
            },
            Step::Unzip { from, to } => {
                let (from, to) = (self.file(from), self.file(to));
                unzip(&from, &to).or_else(|error| fail(format!("cannot unzip {}: {error}", from.display())))
            }
        }
    }

    fn statement(&mut self, expect: &Expect, connection: &str, sql: &str) -> Done {
        let sql = self.replaced(sql);
        let problem = match (expect, self.execute(connection, &sql, false)?) {
            (Expect::Ok | Expect::Maybe(_), Ok(_)) => return Ok(()),
            (Expect::Ok, Err(message)) => format!("the statement failed\n{}", indented(&message)),
            (Expect::Error(None), Ok(_)) => "the statement succeeded; an error is expected".to_owned(),
            (Expect::Error(Some(wanted)), Ok(_)) => {
                format!("the statement succeeded; an error is expected\n{}", indented(&self.replaced(wanted)))
            }
            (Expect::Error(None) | Expect::Maybe(None), Err(_)) => return Ok(()),
            (Expect::Error(Some(wanted)) | Expect::Maybe(Some(wanted)), Err(message)) => {
                let wanted = self.replaced(wanted);
                match error_matches(&wanted, &message) {
                    Ok(true) => return Ok(()),
                    Ok(false) => {
                        let (wanted, message) = (indented(&wanted), indented(&message));
                        format!("wrong error message\n  expected:\n{wanted}\n  found:\n{message}")
                    }
                    Err(problem) => problem,
                }
            }
        };
        Err(Stop::Fail { message: problem, sql: Some(sql) })
    }

    fn query(&mut self, query: &Query) -> Done {
        let sql = self.replaced(&query.sql);
        let problem = match self.execute(&query.connection, &sql, true)? {
            Err(message) => format!("the query failed\n{}", indented(&message)),
            Ok(rows) => match self.compared(query, &rows) {
                Ok(()) => return Ok(()),
                Err(mismatch) => mismatch.to_string(),
            },
        };
        Err(Stop::Fail { message: problem, sql: Some(sql) })
    }

    /// Compares with the expected rows, and with the rows of the label.
    fn compared(&mut self, query: &Query, rows: &Rows) -> std::result::Result<(), Mismatch> {
        let expected: Vec<String> = query.expected.iter().map(|line| self.replaced(line)).collect();
        if query.label.is_none() || !expected.is_empty() {
            compare(query, &expected, rows)?;
        } else if query.columns != rows.columns.len() {
            let what = format!("the result has {} columns, not {}", rows.columns.len(), query.columns);
            return Err(Mismatch { what, expected, actual: Vec::new(), row: 0 });
        }
        let Some(label) = &query.label else { return Ok(()) };
        let cells = sorted(query.sort, rows);
        let lines: Vec<String> = cells.chunks(rows.columns.len().max(1)).map(|row| row.join("\t")).collect();
        let (line, first) = self.labels.entry(label.clone()).or_insert_with(|| (self.line, lines.clone()));
        match first.iter().zip(&lines).position(|(one, other)| one != other) {
            None if first.len() == lines.len() => Ok(()),
            row => Err(Mismatch {
                what: format!("other rows than the query with label '{label}' in line {line}"),
                expected: first.clone(),
                row: row.unwrap_or(first.len().min(lines.len())),
                actual: lines,
            }),
        }
    }

    fn repeat(&mut self, variable: &str, values: &[String], body: &[Record]) -> Done {
        let outer = self.loops.len();
        for value in values {
            self.loops
                .extend(variable.split(',').zip(value.split(',')).map(|(one, its)| (one.to_owned(), its.to_owned())));
            self.steps(body)?;
            self.loops.truncate(outer);
        }
        Ok(())
    }

    fn require(&mut self, what: &str, argument: Option<&str>) -> Done {
        let size = || argument.and_then(|size| size.parse::<u64>().ok());
        let present = match what {
            "vss" => return self.require_vss(),
            "skip_reload"
            | "notmingw"
            | "64bit"
            | "longdouble"
            | "noforcestorage"
            | "nothreadsan"
            | "strinline"
            | "noalternativeverify"
            | "no_alternative_verify"
            | "no_vector_verification"
            | "no_block_verification"
            | "no_extension_autoloading"
            | "no_latest_storage"
            | "allow_unsigned_extensions" => true,
            "notwindows" => cfg!(not(windows)),
            "windows" => cfg!(windows),
            "mingw" => false,
            "vector_size" => size().is_some_and(|size| size <= VECTOR_SIZE),
            "exact_vector_size" => size() == Some(VECTOR_SIZE),
            "block_size" => size() == Some(BLOCK_SIZE),
            extension => self.has_extension(extension)?,
        };
        let words = format!("require {what} {}", argument.unwrap_or_default());
        if present { Ok(()) } else { Err(Stop::Skip(words.trim_end().to_owned())) }
    }

    fn require_vss(&mut self) -> Done {
        let Some(path) = &self.setup.extension else {
            return fail("the file requires vss; say where it is with --extension <path>");
        };
        let quoted = format!("'{}'", path.display().to_string().replace('\'', "''"));
        self.must(DEFAULT, &format!("LOAD {quoted}"))?;
        self.extensions.push(quoted);
        Ok(())
    }

    /// Whether an extension is part of the host or can be loaded.
    fn has_extension(&mut self, name: &str) -> std::result::Result<bool, Stop> {
        if !name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            return fail(format!("'{name}' is no name of an extension"));
        }
        let sql = format!("SELECT 1 FROM duckdb_extensions() WHERE loaded AND extension_name = '{name}'");
        let found = self.execute(DEFAULT, &sql, true)?.or_else(fail)?;
        if !found.cells.is_empty() {
            return Ok(true);
        }
        let loaded = self.execute(DEFAULT, &format!("LOAD {name}"), false)?.is_ok();
        if loaded {
            self.extensions.push(name.to_owned());
        }
        Ok(loaded)
    }

    fn require_env(&mut self, name: &str, value: Option<&str>) -> Done {
        match env::var(name) {
            Ok(found) if value.is_none_or(|value| value == found) => {
                self.environment.push((name.to_owned(), found));
                Ok(())
            }
            _ => Err(Stop::Skip(format!("require-env {name} {}", value.unwrap_or_default()).trim_end().to_owned())),
        }
    }

    fn load(&mut self, path: Option<&str>, read_only: bool) -> Done {
        self.path = path.map(|path| self.file(path).display().to_string()).unwrap_or_default();
        self.read_only = read_only;
        if !self.path.is_empty() && !read_only {
            for file in [self.path.clone(), format!("{}.wal", self.path)] {
                match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return fail(format!("cannot remove {file}: {error}"));
                    }
                    _ => {}
                }
            }
        }
        self.open()?;
        self.load_extensions()
    }

    fn restart(&mut self, load_extensions: bool) -> Done {
        if self.path.is_empty() {
            return fail("a database in memory cannot be restarted; use 'load <path>' first");
        }
        self.open()?;
        if load_extensions { self.load_extensions() } else { Ok(()) }
    }

    fn load_extensions(&mut self) -> Done {
        self.extensions.clone().iter().try_for_each(|extension| self.must(DEFAULT, &format!("LOAD {extension}")))
    }

    /// Opens the database with nothing but the default connection.
    fn open(&mut self) -> Done {
        self.connections.clear();
        let opened = self.host.open(&self.path, self.read_only);
        self.answered("opening the database", opened)?
            .or_else(|message| fail(format!("the database cannot be opened\n{}", indented(&message))))?;
        self.connect(DEFAULT)
    }

    fn connect(&mut self, name: &str) -> Done {
        let connected = self.host.connect(name);
        self.answered("connecting", connected)?.or_else(fail)?;
        self.connections.insert(name.to_owned());
        let set = self.host.execute(name, CONNECTION_SETUP, false);
        self.answered(CONNECTION_SETUP, set)?.or_else(fail)?;
        Ok(())
    }

    /// Runs SQL on a connection, which is made if it is new. An error that no test may expect, or that the file ignores, ends the file.
    fn execute(&mut self, connection: &str, sql: &str, rows: bool) -> std::result::Result<Reply, Stop> {
        if !self.connections.contains(connection) {
            self.connect(connection)?;
        }
        let executed = self.host.execute(connection, sql, rows);
        let reply = self.answered(sql, executed)?;
        if let Err(message) = &reply {
            let contained = |list: &[String]| list.iter().any(|part| message.contains(part));
            if contained(&self.never) {
                let message = format!("no test may expect this error\n{}", indented(message));
                return Err(Stop::Fail { message, sql: Some(sql.to_owned()) });
            }
            if contained(&self.ignored) {
                let first = message.lines().next().unwrap_or_default();
                return Err(Stop::Skip(format!("ignored error: {first}")));
            }
        }
        Ok(reply)
    }

    /// Runs SQL that must succeed.
    fn must(&mut self, connection: &str, sql: &str) -> Done {
        match self.execute(connection, sql, false)? {
            Ok(_) => Ok(()),
            Err(message) => Err(Stop::Fail { message: indented(&message), sql: Some(sql.to_owned()) }),
        }
    }

    /// The reply, unless the host itself failed.
    fn answered(&self, sql: &str, reply: Result<Reply>) -> std::result::Result<Reply, Stop> {
        reply.map_err(|error| Stop::Fail { message: format!("{error:#}"), sql: Some(sql.to_owned()) })
    }

    /// Text with its variables and directories filled in.
    fn replaced(&self, text: &str) -> String {
        let test_dir = self.setup.test_dir.display().to_string();
        let root = self.setup.root.display().to_string();
        let mut text = text.to_owned();
        for (name, value) in self.environment.iter().chain(&self.loops) {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        for name in ["__TEST_DIR__", "{TEST_DIR}"] {
            text = text.replace(name, &test_dir);
        }
        for name in ["__WORKING_DIRECTORY__", "{WORKING_DIRECTORY}"] {
            text = text.replace(name, &root);
        }
        text
    }

    /// A path in a directive; a relative one starts from the root.
    fn file(&self, path: &str) -> PathBuf {
        self.setup.root.join(self.replaced(path))
    }

    fn holds(&self, conditions: &[Condition]) -> std::result::Result<bool, Stop> {
        for Condition { skip, variable, comparison, value } in conditions {
            let Some((_, found)) = self.loops.iter().rev().find(|(name, _)| name == variable) else {
                return fail(format!("'{variable}' in a condition is not the variable of a loop around it"));
            };
            let ordered = found.parse::<i64>().ok().zip(value.parse::<i64>().ok());
            let holds = match (comparison, ordered) {
                (Comparison::Equal, _) => found == value,
                (Comparison::NotEqual, _) => found != value,
                (Comparison::Less, Some((found, value))) => found < value,
                (Comparison::LessOrEqual, Some((found, value))) => found <= value,
                (Comparison::Greater, Some((found, value))) => found > value,
                (Comparison::GreaterOrEqual, Some((found, value))) => found >= value,
                (_, None) => return fail(format!("'{found}' is not a whole number")),
            };
            if holds == *skip {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn unzip(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut GzDecoder::new(File::open(from)?), &mut File::create(to)?).map(|_| ())
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
