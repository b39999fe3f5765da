//! Work that the host leaves to background threads, done by one caller to its end.

use super::Maintenance;
use crate::error::Result;
use crate::host::Interrupt;

impl Maintenance {
    /// Links all pending rows, ends the consolidation and the pass of `reconnect` that are under way, and those that are due, and makes a
    /// graph small that has too many slots. Returns when none of it is left: also what other threads do at the same time is waited for.
    /// While rows keep coming it goes on. Takes the guards of `link`, `consolidate`, `reconnect` and `compact`. Errors: `OutOfMemory`,
    /// `Interrupted`; what is done stays done.
    pub fn finish(&self, interrupt: &dyn Interrupt) -> Result<()> {
        loop {
            interrupt.check()?;
            let mut done = usize::from(self.shrink_if_oversize(interrupt)?);
            done += self.consolidate(usize::MAX, interrupt)?;
            done += self.link(usize::MAX, interrupt)?;
            if done == 0 {
                done = self.reconnect(usize::MAX, interrupt)?;
            }
            if done == 0 {
                if self.finished() {
                    return Ok(());
                }
                interrupt.pause()?;
            }
        }
    }

    /// Whether nothing is left to do or under way.
    fn finished(&self) -> bool {
        let generation = self.rows.generation();
        // who is at it now may wait for a copy, which takes its time
        let consolidating = generation.consolidation.try_lock().is_none_or(|running| running.is_some());
        let reconnecting = generation.reconnection.try_lock().is_none_or(|running| running.is_some());
        let due = self.consolidate_due() || self.reconnect_due() || self.oversize();
        !consolidating && !reconnecting && self.rows.pending() == 0 && !due
    }
}
