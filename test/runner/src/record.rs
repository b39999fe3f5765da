//! The steps of a test file.

use std::time::Duration;

/// One step, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Line of its first word, from 1.
    pub line: usize,
    /// `onlyif` and `skipif` conditions on the variables of the loops around the step.
    pub conditions: Vec<Condition>,
    /// What to do.
    pub step: Step,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// SQL whose rows are not looked at.
    Statement {
        /// The expected outcome.
        expect: Expect,
        /// Empty: the default connection.
        connection: String,
        /// One or more statements.
        sql: String,
    },
    /// SQL whose rows are compared.
    Query(Query),
    /// `loop`, `foreach`: the body runs once for each value.
    Loop {
        /// Name of the variable. Several names, separated by commas, take the parts of each value.
        variable: String,
        /// The values of the variable.
        values: Vec<String>,
        /// The steps that are repeated.
        body: Vec<Record>,
    },
    /// The file is skipped unless the host has this.
    Require {
        /// The name of the requirement, in lower case.
        what: String,
        /// A size, for `vector_size` and the like.
        argument: Option<String>,
    },
    /// The file is skipped unless the environment has this variable (with this value). Then `${name}` is its value.
    RequireEnv {
        /// Name of the variable.
        name: String,
        /// The value it must have.
        value: Option<String>,
    },
    /// `${name}` is the variable's value, or a default.
    TestEnv {
        /// Name of the variable.
        name: String,
        /// The value if the environment has none.
        default: String,
    },
    /// Opens a database file: a new one, unless `read_only`. Without a path, the database is in memory.
    Load {
        /// Where the file is.
        path: Option<String>,
        /// Whether the file exists and must not change.
        read_only: bool,
    },
    /// Closes the database file and opens it again.
    Restart {
        /// Whether required extensions are loaded again.
        load_extensions: bool,
    },
    /// A new default connection to the same database.
    Reconnect,
    /// Waits.
    Sleep(Duration),
    /// Seeds the random numbers of the default connection.
    Seed(String),
    /// Errors that contain one of these skip the file.
    IgnoreErrors(Vec<String>),
    /// Errors that contain one of these fail the file, even where an error is expected.
    AlwaysFail(Vec<String>),
    /// Forgets the rows of a label.
    ResetLabel(String),
    /// Unpacks a gzip file.
    Unzip {
        /// The packed file.
        from: String,
        /// The file to write.
        to: String,
    },
}

/// The expected outcome of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// Success.
    Ok,
    /// An error; with text, one that contains it or matches its `<REGEX>:`.
    Error(Option<String>),
    /// Success, or an error as in `Error`.
    Maybe(Option<String>),
}

/// A query and its expected rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Number of columns.
    pub columns: usize,
    /// How the rows are put in order before they are compared.
    pub sort: Sort,
    /// Queries of the same label must have the same rows.
    pub label: Option<String>,
    /// Empty: the default connection.
    pub connection: String,
    /// One statement.
    pub sql: String,
    /// Lines after `----`: a row or a value each.
    pub expected: Vec<String>,
}

/// How rows are put in order before they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// As they came.
    None,
    /// By row, as text.
    Rows,
    /// All values of all columns, as text.
    Values,
}

/// `onlyif i=3`, `skipif i<2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether the step is skipped, not run, where the comparison holds.
    pub skip: bool,
    /// A variable of a loop.
    pub variable: String,
    /// The comparison.
    pub comparison: Comparison,
    /// The value to compare with.
    pub value: String,
}

/// A comparison in a [`Condition`]. Order compares whole numbers, equality compares text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`, `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}
