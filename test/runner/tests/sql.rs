//! Runs the SQL tests in the `duckdb` crate's DuckDB.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqllogic::Suite;

/// Runs all of `test/sql` but the slow files. The extension is `VSS_EXTENSION`, or the one that `make release` builds.
#[test]
fn sql() {
    // The checkout in which the tests run. They may have been compiled in another one.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where it runs a test");
    let root = Path::new(&manifest).ancestors().nth(2).expect("test/runner is in the repository").to_owned();
    let extension = env::var_os("VSS_EXTENSION")
        .map_or_else(|| root.join("build/release/vss.duckdb_extension"), |path| root.join(path));
    assert!(
        extension.is_file(),
        "there is no extension at {}: run `make release`, or set VSS_EXTENSION",
        extension.display()
    );
    let suite = Suite {
        host: vec![env!("CARGO_BIN_EXE_sqllogictest").to_owned(), "--serve".to_owned()],
        extension: Some(extension),
        test_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("sql"),
        root,
        slow: false,
        patience: Duration::from_secs(300),
    };
    let mut out = Vec::new();
    let summary = suite.run(&[PathBuf::from("test/sql")], &mut out).unwrap();
    let out = String::from_utf8_lossy(&out);
    println!("{out}");
    assert_eq!(summary.failed, 0, "{out}");
}
