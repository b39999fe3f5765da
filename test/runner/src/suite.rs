//! Runs many files and reports how each ended.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::parse::parse;
use crate::report::Failure;
use crate::run::{Outcome, Setup, run};

/// A run of test files: the host and the settings.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Program and arguments of the host; see [`Child`].
    pub host: Vec<String>,
    /// What `require vss` loads.
    pub extension: Option<PathBuf>,
    /// The directory in which each file gets an empty directory while it runs.
    pub test_dir: PathBuf,
    /// The directory from which relative paths start.
    pub root: PathBuf,
    /// Whether `.test_slow` files run, too.
    pub slow: bool,
    /// How long one statement may take.
    pub patience: Duration,
}

/// Numbers of files, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files whose steps all did what the file says.
    pub passed: usize,
    /// Files with a step that did not do what the file says.
    pub failed: usize,
    /// Files that were not run: slow ones, and those that require something that is missing.
    pub skipped: usize,
}

impl Suite {
    /// Runs files, and all files of directories. Writes a line for each file, then the failures and the summary.
    ///
    /// Errors: a path that does not exist, no test file at all.
    pub fn run(&self, paths: &[PathBuf], out: &mut impl Write) -> Result<Summary> {
        let mut files = Vec::new();
        for path in paths {
            self.collect(path, &mut files)?;
        }
        if files.is_empty() {
            bail!("no .test file in {paths:?}");
        }
        let mut summary = Summary::default();
        let mut failures = Vec::new();
        for file in &files {
            write!(out, "{file} … ")?;
            out.flush()?;
            let start = Instant::now();
            let outcome = self.run_file(file)?;
            let seconds = start.elapsed().as_secs_f64();
            match outcome {
                Outcome::Passed => {
                    summary.passed += 1;
                    writeln!(out, "ok ({seconds:.2} s)")?;
                }
                Outcome::Skipped(reason) => {
                    summary.skipped += 1;
                    writeln!(out, "skipped: {reason}")?;
                }
                Outcome::Failed(failure) => {
                    summary.failed += 1;
                    writeln!(out, "FAILED ({seconds:.2} s)")?;
                    failures.push(failure);
                }
            }
        }
        // Last, because that is where a reader of a long output looks.
        for failure in failures {
            write!(out, "{failure}")?;
        }
        // Fails, and so leaves the directory, if others have put something there.
        let _ = fs::remove_dir(&self.test_dir);
        let Summary { passed, failed, skipped } = summary;
        writeln!(out, "{passed} passed, {failed} failed, {skipped} skipped")?;
        Ok(summary)
    }

    /// Runs one file, given as a path relative to the root. Errors: the file's directory cannot be made.
    pub fn run_file(&self, file: &str) -> Result<Outcome> {
        if file.ends_with(".test_slow") && !self.slow {
            return Ok(Outcome::Skipped("slow; run with --slow".to_owned()));
        }
        let fail = |line, message| {
            Outcome::Failed(Failure { file: file.to_owned(), line, message, sql: None, variables: Vec::new() })
        };
        let text = match fs::read_to_string(self.root.join(file)) {
            Ok(text) => text,
            Err(error) => return Ok(fail(1, format!("the file cannot be read: {error}"))),
        };
        let records = match parse(file, &text) {
            Ok(records) => records,
            Err(failure) => return Ok(Outcome::Failed(failure)),
        };
        let test_dir = self.test_dir.join(file.replace(['/', '\\'], "_"));
        empty(&test_dir)?;
        let (program, arguments) = self.host.split_first().context("no host is given")?;
        let mut host = Child::start(Command::new(program).args(arguments).current_dir(&self.root), self.patience)?;
        let setup = Setup { test_dir: test_dir.clone(), root: self.root.clone(), extension: self.extension.clone() };
        let mut outcome = run(file, &records, &setup, &mut host);
        if outcome == Outcome::Passed
            && let Err(error) = host.finish()
        {
            outcome = fail(text.lines().count(), format!("{error:#}"));
        }
        fs::remove_dir_all(&test_dir)?;
        Ok(outcome)
    }

    /// Adds a file, or the test files below a directory in the order of their names.
    fn collect(&self, path: &Path, files: &mut Vec<String>) -> Result<()> {
        let absolute = self.root.join(path);
        if !absolute.is_dir() {
            if !absolute.is_file() {
                bail!("{} does not exist", path.display());
            }
            files.push(path.display().to_string());
            return Ok(());
        }
        let mut names = fs::read_dir(&absolute)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let below = path.join(name);
            let test = below.extension().is_some_and(|extension| extension == "test" || extension == "test_slow");
            if test || self.root.join(&below).is_dir() {
                self.collect(&below, files)?;
            }
        }
        Ok(())
    }
}

/// Makes an empty directory.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))
}
