//! What the index asks of its host: memory, interruption, row visibility, storage.
//!
//! The host implements these traits; the index never names it. The unit types at the end are hosts without limits,
//! for tests and benches.

#[cfg(not(feature = "model"))]
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How long a caller sleeps that waits for others.
#[cfg(not(feature = "model"))]
const PAUSE: Duration = Duration::from_millis(1);

/// Where the index gets its memory from. Called with the index's accounting lock held: it must not call back.
pub trait Ledger: Send + Sync {
    /// Sets `bytes` aside for the index. Errors (`OutOfMemory`) leave nothing reserved.
    fn reserve(&self, bytes: usize) -> Result<()>;
    /// Gives back `bytes` that were reserved before.
    fn release(&self, bytes: usize);
}

/// Whether the running statement should stop. Asked once a row by long operations, from the thread that called them.
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

    /// Sleeps for a moment, as the rest of the work is another thread's, or waits for readers. Errors: `Interrupted`.
    fn pause(&self) -> Result<()> {
        self.check()?;
        // time does not pass in a model
        #[cfg(feature = "model")]
        shuttle::thread::yield_now();
        #[cfg(not(feature = "model"))]
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

/// Which committed rows one transaction sees. Costs the host some 100 ns a row, so it is asked late.
pub trait Visibility {
    /// False for rows that do not exist.
    fn visible(&self, row_id: i64) -> bool;
}

/// Where images are stored: pages of equal size, each written once and read whole.
pub trait Pages {
    /// Bytes of a page.
    fn page_bytes(&self) -> usize;
    /// Writes a page; returns its id. Errors: `Storage`, `OutOfMemory`.
    fn write(&self, bytes: &[u8]) -> Result<i64>;
    /// Reads a page. Errors: `Storage`, `OutOfMemory`.
    fn read(&self, id: i64, out: &mut [u8]) -> Result<()>;
    /// The page is part of no image any more.
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

/// Nobody interrupts.
pub struct Uninterrupted;

impl Interrupt for Uninterrupted {
    fn interrupted(&self) -> bool {
        false
    }
}

/// Every row is visible.
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
