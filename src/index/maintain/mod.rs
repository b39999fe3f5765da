//! The work that links rows and keeps an index small and its graph sound while the index is in use.

pub(crate) mod compact;
#[allow(unsafe_code)]
pub(crate) mod consolidate;
mod finish;
pub(in crate::index) mod link;
pub(crate) mod reconnect;
mod renew;
pub(in crate::index) mod upkeep;

use std::sync::Arc;

use super::progress::{Progress, Repair, RepairKind, Steps};
use super::setup::Setup;
use super::table::RowTable;
use crate::error::Result;
use crate::host::Interrupt;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Works on the graph of an index. The state of work on one generation is in the [`Generation`](super::Generation).
pub struct Maintenance {
    rows: Arc<RowTable>,
    /// One compaction or renewal at a time.
    compacting: Mutex<()>,
    /// Threads that copy the graph. While there are any, nothing may be linked.
    paused: AtomicUsize,
    /// Threads that link rows.
    linkers: AtomicUsize,
    /// How far the running compaction is.
    compaction: Arc<Progress>,
    repair: Mutex<Option<Repair>>,
}

impl Maintenance {
    pub(super) fn new(rows: Arc<RowTable>) -> Self {
        Self {
            rows,
            compacting: Mutex::new(()),
            paused: AtomicUsize::new(0),
            linkers: AtomicUsize::new(0),
            compaction: Arc::default(),
            repair: Mutex::new(None),
        }
    }

    /// Keeps others from compacting for as long as the result lives.
    #[cfg(test)]
    pub(in crate::index) fn hold_compactions(&self) -> MutexGuard<'_, ()> {
        self.compacting.lock()
    }

    /// How far the running compaction is. A step is about the cost of copying one node. Takes no lock.
    pub fn compaction(&self) -> Steps {
        self.compaction.steps()
    }

    /// The last repair.
    pub fn repair(&self) -> Option<Repair> {
        *self.repair.lock()
    }

    /// Notes that a repair is done.
    fn repaired(&self, kind: RepairKind, slots: usize) {
        *self.repair.lock() = Some(Repair::now(kind, slots));
    }

    /// Stops linking for as long as the result lives. A row whose linking has begun is still linked.
    pub(super) fn pause(&self) -> Counted<'_> {
        Counted::new(&self.paused)
    }

    /// Threads that link rows, for people to look at. Takes no lock.
    pub fn linkers(&self) -> usize {
        self.linkers.load(Ordering::Relaxed)
    }

    /// Whether linking is stopped.
    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed) > 0
    }

    /// Waits while another thread copies the graph. The copier keeps a read guard all the time: if we waited for the exclusive guard
    /// instead, searches would wait behind us.
    fn wait_for_copy(&self, interrupt: &dyn Interrupt) -> Result<()> {
        while self.await_copy(interrupt)? {}
        Ok(())
    }

    /// Waits a moment if another thread copies the graph. Returns whether it waited.
    pub fn await_copy(&self, interrupt: &dyn Interrupt) -> Result<bool> {
        let paused = self.is_paused();
        if paused {
            interrupt.pause()?;
        }
        Ok(paused)
    }

    fn setup(&self) -> &Setup {
        &self.rows.setup
    }
}

/// Waits for a lock that may be held for long. Errors: `Interrupted`.
fn wait_for<'a, T>(mutex: &'a Mutex<T>, interrupt: &dyn Interrupt) -> Result<MutexGuard<'a, T>> {
    let mut locked = mutex.try_lock();
    while locked.is_none() {
        interrupt.check()?;
        locked = crate::sync::lock_for_a_moment(mutex);
    }
    Ok(locked.expect("locked"))
}

/// Counts one in a number for as long as this lives.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
