//! Turns the shared library into files that DuckDB loads and installs: `<out>/vss.duckdb_extension`, the stripped library with DuckDB's
//! footer, and `<out>/repository/<duckdb version>/<platform>/vss.duckdb_extension.gz` for `INSTALL vss FROM '<out>/repository'`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{FileKind, LittleEndian, elf};

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

/// Writes both files. Fails if there is no library, if it does not export the entry, or if `out` cannot be written.
pub(crate) fn package(library: &Path, out: &Path, duckdb_version: &str) -> Result<()> {
    fs::create_dir_all(out)?;
    let mut bytes = stripped(library, out)?;
    let platform = platform(&bytes)?;
    let folder = out.join("repository").join(duckdb_version).join(&platform);
    fs::create_dir_all(&folder)?;
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

/// The library without symbols that are not needed outside. If there is no `strip`, they stay. The environment variable `STRIP` names the
/// `strip` for another processor.
fn stripped(library: &Path, out: &Path) -> Result<Vec<u8>> {
    let copy: PathBuf = out.join("vss.stripping");
    fs::copy(library, &copy).with_context(|| format!("no library at {}", library.display()))?;
    let arguments = if cfg!(target_os = "macos") { "-x" } else { "--strip-all" };
    let strip = std::env::var_os("STRIP").unwrap_or_else(|| "strip".into());
    if let Err(error) = Command::new(strip).arg(arguments).arg(&copy).status() {
        eprintln!("package: not stripped: {error}");
    }
    let bytes = fs::read(&copy)?;
    fs::remove_file(&copy)?;
    Ok(bytes)
}

/// Makes every dynamic symbol that an ELF library defines local, except `entry`: rustc also exports the symbols that cxx generates, and two
/// libraries in one process must not find each other's. Libraries of other formats are not changed.
fn localize(library: &mut [u8], entry: &str) -> Result<()> {
    type Symbol = elf::Sym64<LittleEndian>;
    if !matches!(FileKind::parse(&*library), Ok(FileKind::Elf64)) {
        return Ok(());
    }
    let bytes = &*library;
    let header = elf::FileHeader64::<LittleEndian>::parse(bytes)?;
    let sections = header.sections(LittleEndian, bytes)?;
    let symbols = sections.symbols(LittleEndian, bytes, elf::SHT_DYNSYM)?;
    let (count, section) = (symbols.len(), sections.section(symbols.section())?);
    let (start, _) = section.file_range(LittleEndian).context("the library has no dynamic symbols")?;
    let mut exported = false;
    let mut others = Vec::new();
    for (index, symbol) in symbols.enumerate() {
        let is_entry = symbols.symbol_name(LittleEndian, symbol)? == entry.as_bytes();
        let defined = !symbol.is_undefined(LittleEndian);
        exported |= is_entry && defined;
        if defined && !is_entry {
            others.push(index.0);
        }
    }
    if !exported {
        bail!("the library does not export {entry}");
    }
    let (table, _) = object::slice_from_bytes_mut::<Symbol>(&mut library[usize::try_from(start)?..], count)
        .map_err(|()| anyhow!("the dynamic symbols are cut off"))?;
    for index in others {
        let kind = table[index].st_type();
        table[index].set_st_info(elf::STB_LOCAL, kind);
    }
    Ok(())
}

/// DuckDB's name of the platform for which a library was built: for an ELF library as its header says, otherwise the platform of this
/// program.
fn platform(library: &[u8]) -> Result<String> {
    let system = match std::env::consts::OS {
        "linux" => "linux",
        "macos" => "osx",
        "windows" => "windows",
        other => bail!("DuckDB has no platform name for {other}"),
    };
    let libc = if cfg!(target_env = "musl") { "_musl" } else { "" };
    Ok(format!("{system}_{}{libc}", processor(library)?))
}

fn processor(library: &[u8]) -> Result<&'static str> {
    if !matches!(FileKind::parse(library), Ok(FileKind::Elf64)) {
        return match std::env::consts::ARCH {
            "x86_64" => Ok("amd64"),
            "aarch64" => Ok("arm64"),
            other => bail!("DuckDB has no platform name for {other}"),
        };
    }
    let header = elf::FileHeader64::<LittleEndian>::parse(library)?;
    match header.e_machine.get(LittleEndian) {
        elf::EM_X86_64 => Ok("amd64"),
        elf::EM_AARCH64 => Ok("arm64"),
        other => bail!("DuckDB has no platform name for ELF's machine {other}"),
    }
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

    /// The names of the symbols that a library exports.
    fn exported(library: &[u8]) -> Vec<String> {
        let header = elf::FileHeader64::<LittleEndian>::parse(library).unwrap();
        let sections = header.sections(LittleEndian, library).unwrap();
        let symbols = sections.symbols(LittleEndian, library, elf::SHT_DYNSYM).unwrap();
        let globals =
            symbols.iter().filter(|symbol| symbol.st_bind() != elf::STB_LOCAL && !symbol.is_undefined(LittleEndian));
        let mut names: Vec<String> = globals
            .map(|symbol| String::from_utf8_lossy(symbols.symbol_name(LittleEndian, symbol).unwrap()).into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_exports_its_entry_alone() {
        let folder = std::env::temp_dir().join(format!("vss-package-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (source, library) = (folder.join("library.c"), folder.join("library.so"));
        let compiled = |text: &str| {
            fs::write(&source, text).unwrap();
            let status = Command::new("cc")
                .args(["-shared", "-fPIC", "-nostdlib", "-o"])
                .args([&library, &source])
                .status()
                .unwrap();
            assert!(status.success());
            fs::read(&library).unwrap()
        };
        let mut bytes = compiled(
            "int other(void); int vss_duckdb_cpp_init(void) { return other(); } int vss_duckdb_cpp_init_too(void) { return 2; }",
        );
        assert_eq!(exported(&bytes), ["vss_duckdb_cpp_init", "vss_duckdb_cpp_init_too"]);
        localize(&mut bytes, ENTRY).unwrap();
        assert_eq!(exported(&bytes), [ENTRY]);

        let mut without = compiled("int vss_duckdb_cpp_init(void); int other(void) { return vss_duckdb_cpp_init(); }");
        let error = localize(&mut without, ENTRY).unwrap_err();
        assert_eq!(error.to_string(), "the library does not export vss_duckdb_cpp_init");
        fs::remove_dir_all(folder).unwrap();

        assert!(localize(&mut bytes[..1000], ENTRY).is_err(), "a library that is cut off");
        localize(&mut b"no ELF file".to_vec(), ENTRY).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_says_which_processor_it_is_for() {
        let mut library = fs::read(std::env::current_exe().unwrap()).unwrap();
        let own = processor(b"no ELF file").unwrap();
        assert_eq!(processor(&library).unwrap(), own);
        // e_machine: two bytes at 18, see elf(5)
        for (machine, name) in [(62u16, "amd64"), (183, "arm64")] {
            library[18..20].copy_from_slice(&machine.to_le_bytes());
            assert_eq!(processor(&library).unwrap(), name);
        }
        library[18..20].copy_from_slice(&243u16.to_le_bytes());
        assert_eq!(processor(&library).unwrap_err().to_string(), "DuckDB has no platform name for ELF's machine 243");
    }

    fn text(footer: &[u8], offset: usize) -> &str {
        std::str::from_utf8(&footer[offset..offset + FIELD]).unwrap().trim_end_matches('\0')
    }
}
