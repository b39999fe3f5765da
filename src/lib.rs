//! Vector similarity search for DuckDB: an HNSW index type as a loadable extension.
//!
//! Dependencies run one way: bridge → search → index → graph, format → vectors → memory, options → host, error. Without the features
//! `extension` and `host-duckdb` the crate is the index alone, and needs no DuckDB.

#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]
// Allowed only in modules that need it, where each block has its argument.
#![deny(unsafe_code, clippy::undocumented_unsafe_blocks)]

#[cfg(not(panic = "unwind"))]
compile_error!("panics must unwind: they become errors at the border to C++");

mod bits;
#[cfg(feature = "host-duckdb")]
#[allow(unsafe_code)]
mod bridge;
#[cfg(any(feature = "host-duckdb", test))]
mod digest;
pub mod error;
mod format;
#[allow(unsafe_code)]
mod graph;
pub mod host;
pub mod index;
#[allow(unsafe_code)]
mod memory;
pub mod options;
mod random;
pub mod search;
mod sync;
pub mod testing;
#[allow(unsafe_code)]
pub mod vectors;

#[cfg(feature = "host-duckdb")]
#[allow(unsafe_code)]
mod entry {
    //! The one symbol the library exports.

    // Links the bundled static DuckDB, which only the C++ side uses.
    #[cfg(feature = "extension")]
    use libduckdb_sys as _;

    /// DuckDB's `ExtensionLoader`, which Rust only passes on.
    #[repr(C)]
    pub struct ExtensionLoader {
        _private: [u8; 0],
    }

    unsafe extern "C-unwind" {
        fn vss_register(loader: *mut ExtensionLoader);
    }

    /// DuckDB calls this when it loads the extension. A C++ exception passes through, hence `C-unwind`.
    ///
    /// # Safety
    /// `loader` is the host's `duckdb::ExtensionLoader &`, and the host has the DuckDB version that the footer names.
    #[unsafe(no_mangle)]
    pub unsafe extern "C-unwind" fn vss_duckdb_cpp_init(loader: *mut ExtensionLoader) {
        // SAFETY: the caller's promise; the C++ side declares the same signature.
        unsafe { vss_register(loader) }
    }
}
