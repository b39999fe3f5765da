//! All the work that the host leaves to background threads, done to its end by one caller.

use super::Maintenance;
use crate::error::Result;
use crate::host::Interrupt;

/// Most rounds after the last row is linked: enough to free all slots of a graph whose rows are all dead, and some more.
const ROUNDS_MAX: usize = 16;

impl Maintenance {
    /// Links all pending rows, ends the consolidation and the pass of `reconnect` that are under way or due, and shrinks a graph that has
    /// too many slots. Returns when none of this work is left, and also waits for work of other threads. While other threads go on changing
    /// rows, it returns when it has done as much as there was when it was called: otherwise it might never end, because the caller's own
    /// snapshot can keep deleted rows from dying. Takes the guards of `link`, `consolidate`, `reconnect` and `compact`. Errors:
    /// `OutOfMemory`, `Interrupted`; what is done stays done.
    pub fn finish(&self, interrupt: &dyn Interrupt) -> Result<()> {
        let mut to_link = self.rows.pending();
        let mut rounds = 0;
        while rounds < ROUNDS_MAX {
            interrupt.check()?;
            let mut done = usize::from(self.shrink_if_oversize(interrupt)?);
            done += self.consolidate(usize::MAX, interrupt)?;
            let linked = self.link(to_link, interrupt)?;
            to_link -= linked;
            done += linked;
            if done == 0 || to_link == 0 {
                done += self.reconnect(usize::MAX, interrupt)?;
            }
            if done == 0 {
                // Waits for threads that have claimed rows. Rows that came meanwhile are left to others.
                if self.finished() && (to_link == 0 || self.rows.pending() == 0) {
                    return Ok(());
                }
                interrupt.pause()?;
            } else if to_link == 0 {
                rounds += 1;
            }
        }
        Ok(())
    }

    /// Whether, apart from pending rows, no work is due or under way.
    fn finished(&self) -> bool {
        let generation = self.rows.generation();
        // A thread that works on it now may be waiting for a copy, which takes long.
        let consolidating = generation.consolidation.try_lock().is_none_or(|running| running.is_some());
        let reconnecting = generation.reconnection.try_lock().is_none_or(|running| running.is_some());
        let due = self.consolidate_due() || self.reconnect_due() || self.oversize();
        !consolidating && !reconnecting && !due
    }
}
