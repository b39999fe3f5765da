//! Runs sqllogictest files; see [`sqllogic`].

#![deny(missing_docs)]

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqllogic::Suite;
#[cfg(feature = "rust-host")]
use sqllogic::{Database, serve};

const USAGE: &str = "\
sqllogictest --host rust|python --extension <path> [options] [file or directory]…

  --host rust          DuckDB as this program has it, through the C API (feature rust-host)
  --host python        DuckDB as a Python package, through test/runner/host.py
  --python <program>   the Python interpreter (python3)
  --extension <path>   what 'require vss' loads
  --test-dir <dir>     where files make their databases (a directory of the system)
  --timeout <seconds>  how long one statement may take (300)
  --slow               run .test_slow files too

Without files: test/sql. The last line says how many passed, failed and were skipped. The exit code is 1 if any failed,
2 if the tests could not run.";

fn main() -> ExitCode {
    match start(env::args().skip(1)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sqllogictest: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(arguments: impl Iterator<Item = String>) -> Result<ExitCode> {
    let mut arguments = arguments.peekable();
    match arguments.peek().map(String::as_str) {
        None | Some("--help") => println!("{USAGE}"),
        // `--host rust` starts this.
        #[cfg(feature = "rust-host")]
        Some("--serve") => serve(Database::new()?, io::stdin().lock(), io::stdout().lock())?,
        Some(_) => {
            let (suite, paths) = read(arguments)?;
            let summary = suite.run(&paths, &mut io::stdout().lock())?;
            return Ok(if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<(Suite, Vec<PathBuf>)> {
    let root = env::current_dir()?;
    let mut host = None;
    let mut python = "python3".to_owned();
    let mut extension = None;
    let mut test_dir = env::temp_dir().join(format!("vss-sqllogictest-{}", std::process::id()));
    let mut patience = Duration::from_secs(300);
    let mut slow = false;
    let mut paths = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--host" => host = Some(value()?),
            "--python" => python = value()?,
            "--extension" => {
                let path = value()?;
                extension = Some(root.join(&path).canonicalize().with_context(|| format!("no extension at {path}"))?);
            }
            "--test-dir" => test_dir = root.join(value()?),
            "--timeout" => patience = Duration::from_secs(value()?.parse().context("--timeout needs whole seconds")?),
            "--slow" => slow = true,
            option if option.starts_with('-') => bail!("'{option}' is not an option\n\n{USAGE}"),
            path => paths.push(PathBuf::from(path)),
        }
    }
    let host = match host.as_deref() {
        #[cfg(feature = "rust-host")]
        Some("rust") => vec![env::current_exe()?.display().to_string(), "--serve".to_owned()],
        // The source text is compiled in, because a build in a shared target directory may outlive the checkout in which it was made.
        Some("python") => vec![python, "-c".to_owned(), include_str!("../../host.py").to_owned()],
        _ => bail!("say --host rust or --host python\n\n{USAGE}"),
    };
    if paths.is_empty() {
        paths.push(PathBuf::from("test/sql"));
    }
    Ok((Suite { host, extension, test_dir, root, slow, patience }, paths))
}
