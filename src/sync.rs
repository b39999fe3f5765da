//! Locks, atomics and waiting: those of the standard library. With the feature `model` they are those of `shuttle`, which then
//! decides at each of them which thread goes on, see `index/tests/model.rs`.
//!
//! Atomics that are read row by row (entries, counters of memory) stay the standard library's: each use would be a place to
//! switch threads, and the schedules that differ at the locks would be lost among those.

#[cfg(not(feature = "model"))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(feature = "model")]
pub(crate) use {
    shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    std::sync::PoisonError,
};

pub(crate) mod atomic {
    #[cfg(feature = "model")]
    pub(crate) use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    #[cfg(not(feature = "model"))]
    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}

pub(crate) mod thread {
    #[cfg(feature = "model")]
    pub(crate) use shuttle::thread::yield_now;
    #[cfg(not(feature = "model"))]
    pub(crate) use std::thread::yield_now;
}
