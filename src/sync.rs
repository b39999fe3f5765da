//! Locks, atomics and waiting. The locks are those of `parking_lot`, which are never poisoned: after a panic the next thread simply gets
//! the lock. With the feature `model` all are those of `shuttle`, which decides at each use which thread goes on; see
//! `index/tests/model.rs`.
//!
//! Atomics that are read row by row (states, counters of memory) stay those of the standard library. Otherwise each use would be a place to
//! switch threads, and there would be too many schedules to find those that differ at the locks.

#[cfg(not(feature = "model"))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(feature = "model")]
pub(crate) use {
    self::scheduled::Condvar,
    shuttle_parking_lot::{Mutex, MutexGuard, RwLock},
};

/// Queues for a lock, but gives up after about 10 ms.
pub(crate) fn lock_for_a_moment<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    #[cfg(not(feature = "model"))]
    return mutex.try_lock_for(std::time::Duration::from_millis(10));
    #[cfg(feature = "model")]
    mutex.try_lock().or_else(|| {
        shuttle::thread::yield_now();
        None
    })
}

/// The condition variable that `shuttle_parking_lot` lacks.
#[cfg(feature = "model")]
mod scheduled {
    use shuttle::sync;

    use super::MutexGuard;

    pub(crate) struct Condvar {
        /// Held from before the caller's lock is released until the wait has begun, so that no notification is lost in between.
        gate: sync::Mutex<()>,
        inner: sync::Condvar,
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self { gate: sync::Mutex::new(()), inner: sync::Condvar::new() }
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let gate = self.gate.lock().unwrap();
            MutexGuard::unlocked(guard, || drop(self.inner.wait(gate).unwrap()));
        }

        pub(crate) fn notify_one(&self) {
            let _gate = self.gate.lock().unwrap();
            self.inner.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            let _gate = self.gate.lock().unwrap();
            self.inner.notify_all();
        }
    }
}

pub(crate) mod atomic {
    #[cfg(feature = "model")]
    pub(crate) use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    #[cfg(not(feature = "model"))]
    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}

pub(crate) mod thread {
    /// A number of the calling thread that no other living thread has; never 0.
    #[cfg(not(feature = "model"))]
    pub(crate) fn key() -> usize {
        thread_local!(static HERE: u8 = const { 0 });
        HERE.with(|here| std::ptr::from_ref(here).addr())
    }
    /// All threads of a model run on one thread of the system, so they have one key.
    #[cfg(feature = "model")]
    pub(crate) fn key() -> usize {
        1
    }
}
