//! Shows that the runner can fail.

use std::env;
use std::path::Path;
use std::time::Duration;

use sqllogic::{Outcome, Suite};

/// The command that starts a host: the Python wheel of the interpreter `VSS_PYTHON`, or the `duckdb` crate if that variable is not set.
fn host() -> Vec<String> {
    match env::var("VSS_PYTHON") {
        Ok(python) => vec![python, "-c".to_owned(), include_str!("../host.py").to_owned()],
        Err(_) if cfg!(feature = "rust-host") => {
            vec![env!("CARGO_BIN_EXE_sqllogictest").to_owned(), "--serve".to_owned()]
        }
        Err(_) => panic!("no host: set VSS_PYTHON to an interpreter with DuckDB's wheel"),
    }
}

fn suite(host: Vec<String>, name: &str) -> Suite {
    // The checkout in which the tests run. They may have been compiled in another one.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where it runs a test");
    let root = Path::new(&manifest).ancestors().nth(2).expect("test/runner is in the repository").to_owned();
    let test_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    Suite { host, extension: None, test_dir, root, slow: false, patience: Duration::from_secs(300) }
}

/// Each file of `test/runner/cases` passes, is skipped or fails as its line `# must:` says.
#[test]
fn the_runner_fails_where_it_must() {
    let suite = suite(host(), "cases");
    let mut files = 0;
    let mut wrong = Vec::new();
    for entry in suite.root.join("test/runner/cases").read_dir().unwrap() {
        let file = format!("test/runner/cases/{}", entry.unwrap().file_name().display());
        let text = std::fs::read_to_string(suite.root.join(&file)).unwrap();
        let must = text.lines().find_map(|line| line.strip_prefix("# must: ")).unwrap_or_default();
        let outcome = suite.run_file(&file).unwrap();
        let right = match &outcome {
            Outcome::Passed => must == "pass",
            Outcome::Skipped(reason) => must.strip_prefix("skip ") == Some(reason),
            Outcome::Failed(failure) => must.split_once(' ').is_some_and(|(line, message)| {
                let shown = failure.to_string();
                shown.starts_with(&format!("{file}:{line}: ")) && shown.contains(message)
            }),
        };
        if !right {
            wrong.push(format!("{file} must {must}\n{outcome:?}"));
        }
        files += 1;
    }
    assert!(files > 0 && wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A host that dies or hangs is a failure that names the statement.
#[test]
fn a_host_that_dies_or_hangs_is_reported() {
    let file = "test/runner/cases/pass_plain.test";
    for (script, message) in [
        ("read line; exit 3", "the host process died: exit status: 3"),
        ("read line; kill -SEGV $$", "the host process died: signal: 11 (SIGSEGV)"),
        ("while read line; do sleep 60; done", "the host gave no answer within 1 s; its process was killed"),
        ("read line; echo '@answer nonsense'; cat >/dev/null", "not an answer: nonsense"),
        ("exit 0", "the host process died: exit status: 0"),
    ] {
        let mut suite = suite(["sh", "-c", script].map(str::to_owned).to_vec(), "hosts");
        if script.contains("sleep") {
            suite.patience = Duration::from_secs(1);
        }
        let Outcome::Failed(failure) = suite.run_file(file).unwrap() else { panic!("{script}") };
        assert!(failure.message.contains(message), "{script}: {failure}");
        assert!(failure.sql.is_some_and(|sql| sql == "opening the database"), "{script}");
    }
}
