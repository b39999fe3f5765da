//! Readers of rows that take no turn, in two groups: whoever waits for those of one moment does not wait for those that come later.
//!
//! This is the scheme of epochs, K. Fraser, "Practical lock-freedom" (2004), section 5.2.3, with two epochs: there is one who waits.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// Who reads rows, by the group that was open when each began.
pub(super) struct Pins {
    /// The group that readers join: the last bit.
    group: AtomicUsize,
    held: [AtomicUsize; 2],
}

/// Readers that were there when this was made.
pub(crate) struct Earlier {
    group: usize,
}

impl Pins {
    pub(super) fn new() -> Self {
        Self { group: AtomicUsize::new(0), held: [AtomicUsize::new(0), AtomicUsize::new(0)] }
    }

    /// One more reader, of the group that is returned. Waits for nobody.
    pub(super) fn pin(&self) -> usize {
        loop {
            let group = self.group.load(Ordering::SeqCst);
            self.held[group].fetch_add(1, Ordering::SeqCst);
            // Whoever changes the group from now on sees this reader.
            if self.group.load(Ordering::SeqCst) == group {
                return group;
            }
            self.unpin(group);
        }
    }

    /// A reader of this group has ended.
    pub(super) fn unpin(&self, group: usize) {
        self.held[group].fetch_sub(1, Ordering::SeqCst);
    }

    /// From now on readers join the other group. `None` if there are any in it: some are still read that were there at the last call.
    /// To be called by one thread at a time.
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
