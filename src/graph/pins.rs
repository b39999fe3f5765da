//! Readers of rows that take no turn, in two groups. Whoever waits until the readers of one moment have ended does not wait for readers
//! that begin later.
//!
//! Epochs do this in K. Fraser, "Practical lock-freedom" (2004), section 5.2.3. Two of them are enough here, as one thread waits at a time.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// The readers of rows. Each belongs to the group that was current when it began.
pub(super) struct Pins {
    /// The current group: 0 or 1.
    group: AtomicUsize,
    /// How many readers each group has.
    held: [AtomicUsize; 2],
}

/// The readers that had begun when the group changed.
pub(crate) struct Earlier {
    group: usize,
}

impl Pins {
    pub(super) fn new() -> Self {
        Self { group: AtomicUsize::new(0), held: [AtomicUsize::new(0), AtomicUsize::new(0)] }
    }

    /// Counts one more reader, and returns its group. Waits for nobody.
    pub(super) fn pin(&self) -> usize {
        loop {
            let group = self.group.load(Ordering::SeqCst);
            self.held[group].fetch_add(1, Ordering::SeqCst);
            // If the group is still current, the reader was counted before any later change, which sees it.
            if self.group.load(Ordering::SeqCst) == group {
                return group;
            }
            self.unpin(group);
        }
    }

    /// Counts one reader of this group less.
    pub(super) fn unpin(&self, group: usize) {
        self.held[group].fetch_sub(1, Ordering::SeqCst);
    }

    /// Makes the other group the current one. `None` if that still has readers, who began before the last change: then nothing changes.
    /// One thread at a time may call this.
    pub(super) fn change_group(&self) -> Option<Earlier> {
        let group = self.group.load(Ordering::SeqCst);
        if self.held[1 - group].load(Ordering::SeqCst) > 0 {
            return None;
        }
        self.group.store(1 - group, Ordering::SeqCst);
        Some(Earlier { group })
    }

    /// Whether all of these readers have ended.
    pub(super) fn have_ended(&self, earlier: &Earlier) -> bool {
        self.held[earlier.group].load(Ordering::SeqCst) == 0
    }
}
