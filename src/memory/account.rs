//! Accounting of one index's memory against the host's ledger.

use crate::sync::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::host::Ledger;

/// Smallest step in which memory is taken from the ledger and given back. A call to the ledger for every small allocation would contend
/// with the rest of the host.
const STEP_MIN: usize = 1 << 20;

/// The memory of one index. Invariant: what the ledger reserved is never less than what is charged.
pub struct Memory {
    ledger: Box<dyn Ledger>,
    /// Bytes reserved from the ledger.
    reserved: Mutex<usize>,
    /// Bytes charged. Written with `reserved` locked, read without the lock.
    used: AtomicUsize,
    /// Bytes that all announced rows will take, for messages; 0 if none are announced.
    expected: AtomicUsize,
}

impl Memory {
    /// An account with nothing reserved.
    pub fn new(ledger: Box<dyn Ledger>) -> Arc<Self> {
        Arc::new(Self { ledger, reserved: Mutex::new(0), used: AtomicUsize::new(0), expected: AtomicUsize::new(0) })
    }

    /// Announces the total number of bytes that will be charged, so that a refusal can say it.
    pub fn expect(&self, bytes: usize) {
        self.expected.store(bytes, Ordering::Relaxed);
    }

    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Charges `bytes` before they are allocated. Errors: `OutOfMemory` of the ledger; then nothing is charged.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge> {
        let mut charge = Charge { memory: Arc::clone(self), bytes: 0 };
        charge.resize(bytes)?;
        Ok(charge)
    }

    fn reserved(&self) -> MutexGuard<'_, usize> {
        self.reserved.lock()
    }

    /// Bytes to reserve beyond `used`, so that the next charges need no call of the ledger.
    fn step(used: usize) -> usize {
        (used / 64).max(STEP_MIN)
    }

    fn add(&self, bytes: usize) -> Result<()> {
        let mut reserved = self.reserved();
        let used = self.used() + bytes;
        if used > *reserved {
            let missing = used - *reserved;
            let step = Self::step(used);
            // Close to the limit, the exact need may still fit.
            let taken = match self.ledger.reserve(missing + step) {
                Ok(()) => missing + step,
                Err(_) => {
                    self.ledger.reserve(missing).map_err(|error| self.refusal(&error, missing))?;
                    missing
                }
            };
            *reserved += taken;
        }
        self.used.store(used, Ordering::Relaxed);
        Ok(())
    }

    /// The ledger's error, with what the index holds and needs.
    fn refusal(&self, error: &Error, missing: usize) -> Error {
        let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let (used, expected) = (self.used(), self.expected.load(Ordering::Relaxed));
        let all =
            if expected > used + missing { format!(", about {} for all rows", mib(expected)) } else { String::new() };
        let text = format!("an HNSW index holds {} and needs {} more{all}: {}", mib(used), mib(missing), error.message);
        Error::new(error.kind, text)
    }

    fn subtract(&self, bytes: usize) {
        let mut reserved = self.reserved();
        let used = self.used() - bytes;
        self.used.store(used, Ordering::Relaxed);
        let keep = if used == 0 { 0 } else { used + Self::step(used) };
        // Nothing is returned below twice the step, so that alternating charges do not call the ledger each time.
        if *reserved > keep && (used == 0 || *reserved - used > 2 * Self::step(used)) {
            self.ledger.release(*reserved - keep);
            *reserved = keep;
        }
    }
}

/// Bytes charged to a [`Memory`]; given back when dropped.
pub struct Charge {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Charge {
    /// A charge of 0 bytes on the same account.
    pub fn beside(&self) -> Self {
        Self { memory: Arc::clone(&self.memory), bytes: 0 }
    }

    /// Changes the charge to `bytes`. Errors: `OutOfMemory`, only when it grows; then it stays as it was.
    pub fn resize(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            self.memory.add(bytes - self.bytes)?;
        } else {
            self.memory.subtract(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Charges `more` bytes. Errors: `OutOfMemory`; then the charge stays as it was.
    pub fn grow(&mut self, more: usize) -> Result<()> {
        self.resize(self.bytes + more)
    }

    /// Takes `less` bytes off the charge.
    pub fn shrink(&mut self, less: usize) {
        self.memory.subtract(less);
        self.bytes -= less;
    }

    /// Bytes charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The account this charge belongs to.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.subtract(self.bytes);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// A ledger with a limit, and a countdown to a refused reservation.
    #[derive(Default)]
    pub(crate) struct Limited {
        pub(crate) reserved: AtomicUsize,
        pub(crate) calls: AtomicUsize,
        /// Reservations refused from this call on (1 = the first); 0 = none.
        pub(crate) refuse_from: AtomicUsize,
    }

    impl Ledger for Arc<Limited> {
        fn reserve(&self, bytes: usize) -> Result<()> {
            let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
            let refuse_from = self.refuse_from.load(Ordering::Relaxed);
            if refuse_from != 0 && call >= refuse_from {
                return Err(Error::new(ErrorKind::OutOfMemory, "the test ledger refuses"));
            }
            self.reserved.fetch_add(bytes, Ordering::Relaxed);
            Ok(())
        }

        fn release(&self, bytes: usize) {
            let before = self.reserved.fetch_sub(bytes, Ordering::Relaxed);
            assert!(before >= bytes, "released {bytes} of {before}");
        }
    }

    #[test]
    fn reserves_ahead_in_steps_and_gives_all_back() {
        let ledger = Arc::new(Limited::default());
        let memory = Memory::new(Box::new(Arc::clone(&ledger)));
        let mut charges = Vec::new();
        for _ in 0..1000 {
            charges.push(memory.charge(64 << 10).unwrap());
            assert!(ledger.reserved.load(Ordering::Relaxed) >= memory.used());
        }
        assert!(ledger.calls.load(Ordering::Relaxed) < 60);
        charges.truncate(10);
        assert!(ledger.reserved.load(Ordering::Relaxed) <= memory.used() + 2 * STEP_MIN);
        charges.clear();
        assert_eq!(ledger.reserved.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_refused_charge_changes_nothing() {
        let ledger = Arc::new(Limited::default());
        let memory = Memory::new(Box::new(Arc::clone(&ledger)));
        let mut charge = memory.charge(10).unwrap();
        ledger.refuse_from.store(1, Ordering::Relaxed);
        memory.expect(100 << 20);
        let refusal =
            "an HNSW index holds 0.0 MiB and needs 9.0 MiB more, about 100.0 MiB for all rows: the test ledger refuses";
        assert_eq!(charge.grow(10 << 20).unwrap_err().message, refusal);
        assert_eq!(memory.used(), 10);
        drop(charge);
        assert_eq!(ledger.reserved.load(Ordering::Relaxed), 0);
    }
}
