//! Compiles the C++ of the crate, and links it.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    graph()?;
    if std::env::var_os("CARGO_FEATURE_HOST_DUCKDB").is_some() {
        extension()?;
    }
    Ok(())
}

/// DuckDB's side: every file of `cpp/` outside `cpp/graph`, compiled against the headers of DuckDB.
fn extension() -> Result<()> {
    // Class layouts depend on macros such as `NDEBUG`, which must be those of the host's release build.
    if std::env::var("PROFILE")? != "release" {
        return Err("build with --release: a debug profile changes the class layouts shared with DuckDB".into());
    }
    let mut sources = Vec::new();
    let mut folders = vec![PathBuf::from("cpp")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            println!("cargo:rerun-if-changed={}", path.display());
            if path.is_dir() && !path.ends_with("graph") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "cpp") {
                sources.push(path);
            }
        }
    }
    sources.sort();
    let duckdb = PathBuf::from(duckdb_headers()?);
    cxx_build::bridge("src/bridge/mod.rs")
        .files(sources)
        .include("cpp")
        .include(&duckdb)
        // a header of DuckDB includes it
        .include(duckdb.join("../../third_party/fmt/include"))
        .std("c++17")
        .define("NDEBUG", None)
        .opt_level(2)
        // DuckDB's headers, and overrides of its functions, have unused parameters
        .flag_if_supported("-Wno-unused-parameter")
        .flag_if_supported("-Wno-deprecated-declarations")
        .try_compile("vss-extension")?;
    println!("cargo:rerun-if-changed=src/bridge/mod.rs");
    if std::env::var("CARGO_CFG_TARGET_OS")? == "linux" {
        // A missing symbol should fail here, not when DuckDB loads the extension.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
    }
    link_host()?;
    link_static()
}

/// A static build without the bundled DuckDB takes DuckDB's symbols from `DUCKDB_STATIC_LIBRARY`, the `libduckdb_static.a` of DuckDB's own
/// build.
fn link_static() -> Result<()> {
    println!("cargo:rerun-if-env-changed=DUCKDB_STATIC_LIBRARY");
    let Some(library) = std::env::var_os("DUCKDB_STATIC_LIBRARY") else { return Ok(()) };
    let library = PathBuf::from(library);
    let name = library
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix("lib")?.strip_suffix(".a"));
    let (Some(folder), Some(name), true) = (library.parent(), name, library.is_file()) else {
        return Err(format!("DUCKDB_STATIC_LIBRARY: no static library lib….a at {}", library.display()).into());
    };
    println!("cargo:rerun-if-changed={}", library.display());
    println!("cargo:rustc-link-search=native={}", folder.display());
    // Not bundled, because it would add hundreds of megabytes to the rlib of this crate.
    println!("cargo:rustc-link-lib=static:-bundle={name}");
    println!("cargo:rustc-link-lib=dylib=dl");
    Ok(())
}

/// An in-host build takes DuckDB's symbols from the shared library of the host that will load it, `DUCKDB_HOST_LIBRARY`: the
/// `_duckdb*.so` of a Python wheel. That library is in the process already, so nothing else is loaded.
fn link_host() -> Result<()> {
    println!("cargo:rerun-if-env-changed=DUCKDB_HOST_LIBRARY");
    let Some(library) = std::env::var_os("DUCKDB_HOST_LIBRARY") else { return Ok(()) };
    let library = PathBuf::from(library);
    if !library.is_file() {
        return Err(format!("DUCKDB_HOST_LIBRARY: no library at {}", library.display()).into());
    }
    println!("cargo:rerun-if-changed={}", library.display());
    println!("cargo:rustc-cdylib-link-arg={}", library.display());
    if let Some(folder) = library.parent() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-rpath,{}", folder.display());
    }
    // The host library has undefined symbols of its own, those of Python.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--allow-shlib-undefined");
    Ok(())
}

/// The folder of DuckDB's headers: those of the bundled copy, or of the DuckDB that will be linked.
fn duckdb_headers() -> Result<String> {
    println!("cargo:rerun-if-env-changed=DUCKDB_INCLUDE_DIR");
    std::env::var("DEP_DUCKDB_INCLUDE")
        .or_else(|_| std::env::var("DUCKDB_INCLUDE_DIR"))
        .map_err(|_| "feature host-duckdb without extension needs DUCKDB_INCLUDE_DIR, DuckDB's src/include".into())
}

/// The graph, which needs no headers but usearch's.
fn graph() -> Result<()> {
    cxx_build::bridge("src/graph/mod.rs")
        .file("cpp/graph/hnsw.cpp")
        .include("cpp")
        .include(usearch_headers()?)
        .std("c++17")
        .opt_level(3)
        // usearch's assertions throw out of `noexcept` functions; its errors are values, which we check.
        .define("NDEBUG", None)
        .warnings(false)
        .try_compile("vss-graph")?;
    for path in ["src/graph/mod.rs", "cpp/graph"] {
        println!("cargo:rerun-if-changed={path}");
    }
    Ok(())
}

/// The folder of usearch's headers. It is inside usearch's crate, which does not tell build scripts its path.
fn usearch_headers() -> Result<PathBuf> {
    let manifest = metadata()?["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "usearch"))
        .and_then(|package| package["manifest_path"].as_str().map(PathBuf::from))
        .ok_or("cargo metadata does not list usearch")?;
    Ok(manifest.with_file_name("include"))
}

/// The output of `cargo metadata`. The crate `cargo_metadata` is not used: it enables another feature of `serde_json`, which DuckDB's build
/// script also uses, so DuckDB would be compiled again. The first attempt is offline, because the build that runs this script has fetched
/// its packages. If metadata needs more (packages of other features), the second attempt may fetch them.
fn metadata() -> Result<serde_json::Value> {
    let mut message = String::new();
    for offline in [&["--offline"][..], &[]] {
        let output = Command::new(std::env::var("CARGO")?)
            .args(["metadata", "--format-version", "1", "--filter-platform", &std::env::var("TARGET")?])
            .args(offline)
            .current_dir(std::env::var("CARGO_MANIFEST_DIR")?)
            .output()?;
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout)?);
        }
        message = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Err(message.into())
}
