//! How far the work is, and what was done last, for readers that must not wait.
//!
//! The numbers are for people: no code depends on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far one kind of work is. At most one piece of it is under way at a time.
#[derive(Default)]
pub(crate) struct Progress {
    done: AtomicUsize,
    /// 0 while none is under way.
    total: AtomicUsize,
}

/// A piece of work that is under way until this is dropped.
pub(crate) struct UnderWay(Arc<Progress>);

/// How far a piece of work was when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Steps that are done, at most `total`.
    pub done: usize,
    /// Steps in all, as far as they are known by now; 0 if nothing is under way.
    pub total: usize,
}

/// A way to repair a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairKind {
    /// Links around dead slots were repaired, and the slots are free.
    Consolidation,
    /// The graph was copied without the slots that were dead or free.
    Compaction,
    /// The graph was given up, and its rows are linked again.
    Renewal,
}

impl RepairKind {
    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consolidation => "consolidation",
            Self::Compaction => "compaction",
            Self::Renewal => "renewal",
        }
    }
}

/// One repair of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The way in which the graph was repaired.
    pub kind: RepairKind,
    /// Slots that the repair freed or removed.
    pub slots: usize,
    /// When the repair was done, in microseconds since 1970.
    pub time: i64,
}

impl Progress {
    /// Begins a piece of work of `total` steps.
    pub(crate) fn begin(self: &Arc<Self>, total: usize) -> UnderWay {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// How far the work is now.
    pub(crate) fn steps(&self) -> Steps {
        let total = self.total.load(Ordering::Relaxed);
        Steps { done: self.done.load(Ordering::Relaxed).min(total), total }
    }
}

impl UnderWay {
    /// Sets the number of steps that are done.
    pub(crate) fn set(&self, done: usize) {
        self.0.done.store(done, Ordering::Relaxed);
    }

    /// Adds to the steps that are done.
    pub(crate) fn add(&self, done: usize) {
        self.0.done.fetch_add(done, Ordering::Relaxed);
    }

    /// Adds to the total.
    pub(crate) fn extend(&self, steps: usize) {
        self.0.total.fetch_add(steps, Ordering::Relaxed);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.total.store(0, Ordering::Relaxed);
    }
}

impl Repair {
    /// A repair that is done now.
    pub(super) fn now(kind: RepairKind, slots: usize) -> Self {
        Self { kind, slots, time: now() }
    }
}

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64)
}
