//! The traits of [`crate::host`], implemented by classes of C++.

use cxx::UniquePtr;

use super::ffi;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{Interrupt, Ledger, Pages, Visibility};

/// The buffer manager of the host as the index's ledger.
pub(super) struct HostLedger(pub(super) UniquePtr<ffi::HostMemory>);

// SAFETY: HostMemory holds a reference to DuckDB's buffer manager, whose reservation functions are thread-safe and which
// outlives every index (DuckDB destroys its databases before it).
unsafe impl Send for HostLedger {}
// SAFETY: as above; all methods take `&self`.
unsafe impl Sync for HostLedger {}

impl Ledger for HostLedger {
    fn reserve(&self, bytes: usize) -> Result<()> {
        // Whatever the reason, the index can go on without this memory.
        self.0.reserve(bytes).map_err(|refusal| Error { kind: ErrorKind::OutOfMemory, ..refusal.into() })
    }

    fn release(&self, bytes: usize) {
        self.0.release(bytes);
    }
}

// SAFETY: a call of `read` or `write` takes a block of memory for itself under a lock of `HostPages`; DuckDB's block manager serves
// threads at once.
unsafe impl Sync for ffi::HostPages {}

impl Pages for ffi::HostPages {
    fn page_bytes(&self) -> usize {
        ffi::HostPages::page_bytes(self)
    }

    fn readers(&self) -> usize {
        ffi::HostPages::readers(self)
    }

    fn write(&self, bytes: &[u8]) -> Result<i64> {
        Ok(ffi::HostPages::write(self, bytes)?)
    }

    fn read(&self, id: i64, out: &mut [u8]) -> Result<()> {
        Ok(ffi::HostPages::read(self, id, out)?)
    }

    fn free(&self, id: i64) {
        ffi::HostPages::free(self, id);
    }
}

impl Interrupt for ffi::HostInterrupt {
    fn interrupted(&self) -> bool {
        ffi::HostInterrupt::interrupted(self)
    }
}

impl Visibility for ffi::HostVisibility {
    fn visible(&self, row_id: i64) -> bool {
        ffi::HostVisibility::visible(self, row_id)
    }
}
