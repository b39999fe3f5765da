//! Work that the host leaves to background threads, done by one caller to its end.

use super::Maintenance;
use crate::error::Result;
use crate::host::Interrupt;

/// Rounds at the end: as many as it takes to free the slots of a graph all of whose rows are dead, and some more.
const ROUNDS_MAX: usize = 16;

impl Maintenance {
    /// Links all pending rows, ends the consolidation and the pass of `reconnect` that are under way, and those that are due, and makes a
    /// graph small that has too many slots. Returns when none of it is left: also what other threads do at the same time is waited for.
    /// While others go on changing rows it returns when it has done as much as there was when it was called: deleted rows that its caller's
    /// snapshot keeps would become more and more. Takes the guards of `link`, `consolidate`, `reconnect` and `compact`. Errors:
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
                // who has claimed some of the rows is waited for; those that came meanwhile are others'
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

    /// Whether nothing is left to do or under way, but for pending rows.
    fn finished(&self) -> bool {
        let generation = self.rows.generation();
        // who is at it now may wait for a copy, which takes its time
        let consolidating = generation.consolidation.try_lock().is_none_or(|running| running.is_some());
        let reconnecting = generation.reconnection.try_lock().is_none_or(|running| running.is_some());
        let due = self.consolidate_due() || self.reconnect_due() || self.oversize();
        !consolidating && !reconnecting && !due
    }
}
