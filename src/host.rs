//! What the index asks of its host: memory, interruption, row visibility, storage.
//!
//! The host implements these traits; the index never names it. The unit types at the end are hosts without limits,
//! for tests and benches.

#[cfg(not(feature = "model"))]
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How long a caller sleeps while it waits for other threads.
#[cfg(not(feature = "model"))]
const PAUSE: Duration = Duration::from_millis(1);

/// Where the index gets its memory from. It is called with the index's accounting lock held, so it must not call the index.
pub trait Ledger: Send + Sync {
    /// Sets `bytes` aside for the index. Errors (`OutOfMemory`) leave nothing reserved.
    fn reserve(&self, bytes: usize) -> Result<()>;
    /// Gives back `bytes` that were reserved before.
    fn release(&self, bytes: usize);
}

/// Whether the running statement should stop. Long operations ask every few rows, from the thread that called them.
pub trait Interrupt {
    /// True once the operation should return an `Interrupted` error.
    fn interrupted(&self) -> bool;

    /// Errors: `Interrupted`.
    fn check(&self) -> Result<()> {
        if self.interrupted() {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        Ok(())
    }

    /// Sleeps for a moment, while other threads finish their work or their reading. Errors: `Interrupted`.
    fn pause(&self) -> Result<()> {
        self.check()?;
        // Time does not pass in a model.
        #[cfg(feature = "model")]
        shuttle::thread::yield_now();
        #[cfg(not(feature = "model"))]
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

/// Which committed rows one transaction sees. An answer costs the host about 100 ns a row, so the index asks late.
pub trait Visibility {
    /// False for rows that do not exist.
    fn visible(&self, row_id: i64) -> bool;
}

/// Where images are stored: pages of equal size, each written once and read whole. Several threads may read at once.
pub trait Pages: Sync {
    /// Bytes of a page.
    fn page_bytes(&self) -> usize;
    /// Threads that the host grants to a caller that reads a whole image, its own among them.
    fn readers(&self) -> usize;
    /// Writes a page; returns its id. Errors: `Storage`, `OutOfMemory`.
    fn write(&self, bytes: &[u8]) -> Result<i64>;
    /// Reads a page. Errors: `Storage`, `OutOfMemory`.
    fn read(&self, id: i64, out: &mut [u8]) -> Result<()>;
    /// Frees a page that no image uses any more.
    fn free(&self, id: i64);
}

/// A ledger that never refuses.
pub struct Unlimited;

impl Ledger for Unlimited {
    fn reserve(&self, _bytes: usize) -> Result<()> {
        Ok(())
    }

    fn release(&self, _bytes: usize) {}
}

/// An interrupt that never comes.
pub struct Uninterrupted;

impl Interrupt for Uninterrupted {
    fn interrupted(&self) -> bool {
        false
    }
}

/// A visibility that shows every row.
pub struct AllVisible;

impl Visibility for AllVisible {
    fn visible(&self, _row_id: i64) -> bool {
        true
    }
}

impl<F: Fn(i64) -> bool> Visibility for F {
    fn visible(&self, row_id: i64) -> bool {
        self(row_id)
    }
}
