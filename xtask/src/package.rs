//! Turns the shared library into what DuckDB installs and loads: `<out>/vss.duckdb_extension`, the library stripped and with DuckDB's
//! footer, and `<out>/repository/<duckdb version>/<platform>/vss.duckdb_extension.gz` for `INSTALL vss FROM '<out>/repository'`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The version of this extension, as the footer shows it.
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// The only symbol that DuckDB looks up.
const ENTRY: &str = "vss_duckdb_cpp_init";

/// Bytes of a field of the footer.
const FIELD: usize = 32;
/// Bytes of the signature behind the fields; zero when unsigned.
const SIGNATURE: usize = 256;
/// The fields in the order of the file.
const FIELDS: usize = 8;

/// Writes both files. Fails if there is no library, it does not export the entry, or `out` cannot be written.
pub(crate) fn package(library: &Path, out: &Path, duckdb_version: &str) -> Result<()> {
    let platform = platform()?;
    let folder = out.join("repository").join(duckdb_version).join(&platform);
    fs::create_dir_all(&folder)?;
    let mut bytes = stripped(library, out)?;
    localize(&mut bytes, ENTRY)?;
    bytes.extend(footer(duckdb_version, &platform));

    let extension = out.join("vss.duckdb_extension");
    fs::write(&extension, &bytes)?;
    let zipped = folder.join("vss.duckdb_extension.gz");
    let mut encoder = GzEncoder::new(fs::File::create(&zipped)?, Compression::default());
    encoder.write_all(&bytes)?;
    encoder.finish()?;
    for path in [extension, zipped] {
        println!("{:>6.1} MiB  {}", fs::metadata(&path)?.len() as f64 / (1 << 20) as f64, path.display());
    }
    Ok(())
}

/// The library without symbols that nothing outside needs. A system without `strip` keeps them.
fn stripped(library: &Path, out: &Path) -> Result<Vec<u8>> {
    let copy: PathBuf = out.join("vss.stripping");
    fs::copy(library, &copy).with_context(|| format!("no library at {}", library.display()))?;
    let arguments = if cfg!(target_os = "macos") { "-x" } else { "--strip-all" };
    if let Err(error) = Command::new("strip").arg(arguments).arg(&copy).status() {
        eprintln!("package: not stripped: {error}");
    }
    let bytes = fs::read(&copy)?;
    fs::remove_file(&copy)?;
    Ok(bytes)
}

/// Makes every dynamic symbol that an ELF library defines local, except `entry`: rustc also exports what cxx generates, and
/// two libraries of one process must not find each other's. Libraries of other formats stay as they are.
fn localize(library: &mut [u8], entry: &str) -> Result<()> {
    const ELF64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
    const DYNSYM: u64 = 11;
    const SYMBOL: usize = 24;
    if !library.starts_with(ELF64_LITTLE_ENDIAN) {
        return Ok(());
    }
    let number = |bytes: &[u8], at: u64, size: u64| -> Result<u64> {
        let field = bytes.get(at as usize..(at + size) as usize).context("the library is cut off")?;
        Ok(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    let (sections, section_size) = (number(library, 0x28, 8)?, number(library, 0x3A, 2)?);
    let section = |index: u64| sections + index * section_size;
    let dynsym = (0..number(library, 0x3C, 2)?)
        .map(section)
        .find(|&at| number(library, at + 4, 4).is_ok_and(|kind| kind == DYNSYM))
        .context("the library has no dynamic symbols")?;
    let names = number(library, section(number(library, dynsym + 0x28, 4)?) + 0x18, 8)? as usize;
    let (start, size) = (number(library, dynsym + 0x18, 8)?, number(library, dynsym + 0x20, 8)?);
    let mut exported = false;
    for symbol in (start..start + size).step_by(SYMBOL) {
        let name = &library[names + number(library, symbol, 4)? as usize..];
        let defined = number(library, symbol + 6, 2)? != 0;
        let is_entry = name.starts_with(entry.as_bytes()) && name[entry.len()] == 0;
        exported |= is_entry;
        if defined && !is_entry {
            // the binding is the upper half, LOCAL is 0
            library[symbol as usize + 4] &= 0x0F;
        }
    }
    if !exported {
        bail!("the library does not export {entry}");
    }
    Ok(())
}

/// DuckDB's name of the platform this program was built for.
fn platform() -> Result<String> {
    let system = match std::env::consts::OS {
        "linux" => "linux",
        "macos" => "osx",
        "windows" => "windows",
        other => bail!("DuckDB has no platform name for {other}"),
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("DuckDB has no platform name for {other}"),
    };
    let libc = if cfg!(target_env = "musl") { "_musl" } else { "" };
    Ok(format!("{system}_{processor}{libc}"))
}

/// The last 512 bytes of an extension: eight fields padded with NULs (three unused, ABI, version of the extension,
/// version of DuckDB, platform, magic), then the signature.
fn footer(duckdb_version: &str, platform: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIELDS * FIELD + SIGNATURE);
    for field in ["", "", "", "CPP", VERSION, duckdb_version, platform, "4"] {
        assert!(field.len() < FIELD, "'{field}' does not fit into the footer");
        let end = bytes.len() + FIELD;
        bytes.extend_from_slice(field.as_bytes());
        bytes.resize(end, 0);
    }
    bytes.resize(FIELDS * FIELD + SIGNATURE, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_has_its_fields_where_duckdb_reads_them() {
        let footer = footer("v2.0.0", "linux_amd64");
        assert_eq!(footer.len(), 512);
        for (offset, field) in [(0, ""), (32, ""), (64, ""), (96, "CPP"), (128, VERSION), (160, "v2.0.0")] {
            assert_eq!(text(&footer, offset), field);
        }
        assert_eq!(text(&footer, 192), "linux_amd64");
        assert_eq!(text(&footer, 224), "4");
        assert!(footer[256..].iter().all(|&byte| byte == 0));
    }

    fn text(footer: &[u8], offset: usize) -> &str {
        std::str::from_utf8(&footer[offset..offset + FIELD]).unwrap().trim_end_matches('\0')
    }
}
