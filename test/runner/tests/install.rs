//! A Rust program with the `duckdb` crate as host: LOAD from a file, INSTALL from a directory, and a search.

use std::path::PathBuf;

use duckdb::{Config, Connection};

/// The checkout in which the tests run. They may have been compiled in another one.
fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where it runs a test")).join("../..")
}

fn extension() -> PathBuf {
    let default = root().join("build/release/vss.duckdb_extension");
    let path = std::env::var_os("VSS_EXTENSION").map_or(default, PathBuf::from);
    assert!(path.exists(), "{} is missing: run `make release`", path.display());
    path.canonicalize().unwrap()
}

fn connect() -> Connection {
    Connection::open_in_memory_with_flags(Config::default().allow_unsigned_extensions().unwrap()).unwrap()
}

/// The three numbers nearest to 41.4 among 10,000, found through an index.
fn search(connection: &Connection) {
    connection
        .execute_batch(
            "CREATE TABLE t AS SELECT i AS id, [i, 0]::FLOAT[2] AS v FROM range(10_000) r(i);
             CREATE INDEX i ON t USING HNSW (v);",
        )
        .unwrap();
    let sql = "SELECT id FROM t ORDER BY array_distance(v, ?::FLOAT[2]) LIMIT ?";
    let mut statement = connection.prepare(sql).unwrap();
    let query: Vec<u8> = [41.4f32, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let rows = statement.query_map(duckdb::params![query, 3], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(rows.map(Result::unwrap).collect::<Vec<_>>(), [41, 42, 40]);
    let plan: String = connection
        .query_row(&format!("EXPLAIN {}", sql.replacen('?', "[1, 2]", 1).replacen('?', "3", 1)), [], |row| row.get(1))
        .unwrap();
    assert!(plan.to_uppercase().contains("HNSW INDEX SCAN"), "{plan}");
}

/// Vectors that came as bytes through an Appender are found.
#[test]
fn vectors_from_an_appender_are_found() {
    let connection = connect();
    connection.execute_batch(&format!("LOAD '{}'", extension().display())).unwrap();
    connection.execute_batch("CREATE TABLE t (id BIGINT, b BLOB); CREATE TABLE v (id BIGINT, v FLOAT[2]);").unwrap();
    connection.execute_batch("CREATE INDEX i ON v USING HNSW (v)").unwrap();
    let mut appender = connection.appender("t").unwrap();
    for id in 0..5_000i64 {
        let bytes: Vec<u8> = [id as f32, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        appender.append_row(duckdb::params![id, bytes]).unwrap();
    }
    drop(appender);
    connection.execute_batch("INSERT INTO v SELECT id, b::FLOAT[2] FROM t").unwrap();
    let nearest: i64 = connection
        .query_row("SELECT id FROM v ORDER BY array_distance(v, [1234.2, 0]::FLOAT[2]) LIMIT 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(nearest, 1234);
}

#[test]
fn loads_from_a_file() {
    let connection = connect();
    connection.execute_batch(&format!("LOAD '{}'", extension().display())).unwrap();
    search(&connection);
}

#[test]
fn installs_from_a_directory() {
    let folder = std::env::temp_dir().join(format!("vss-install-{}", std::process::id()));
    let connection = connect();
    connection
        .execute_batch(&format!(
            "SET extension_directory = '{}'; INSTALL vss FROM '{}'; LOAD vss;",
            folder.display(),
            extension().with_file_name("repository").display()
        ))
        .unwrap();
    search(&connection);
    drop(connection);
    std::fs::remove_dir_all(folder).unwrap();
}
