//! Rows go: a deleted row is a tombstone until no snapshot sees it, then it is dead.

use super::{Index, Origin};
use crate::index::rows::State;

/// Rows deleted in one hold of the row lock.
pub(super) const REMOVE_ROWS: usize = 1024;

impl Index {
    /// Deletes rows: they become tombstones, returned only to searches that may see them, until
    /// [`expire_tombstones`](Self::expire_tombstones) passes `bound`. Unknown and deleted rows are ignored. Never fails, never allocates.
    /// Takes the row lock for some microseconds at a time.
    pub fn remove(&self, row_ids: &[i64], bound: u64) {
        self.remove_as(Origin::Host, row_ids, bound);
    }

    /// The same by a statement or by the log.
    pub fn remove_as(&self, origin: Origin, row_ids: &[i64], bound: u64) {
        for row_ids in row_ids.chunks(REMOVE_ROWS) {
            let mut rows = self.rows.change();
            for &row_id in row_ids {
                if rows.bury(row_id, bound) && origin == Origin::Host {
                    rows.debts.add_deleted(row_id);
                }
            }
        }
    }

    /// Lets go of tombstones that nobody sees any more: those of commits up to `last_commit`, which are all done, below
    /// `lowest_visible`.
    ///
    /// - `last_commit`: the last commit that is done, read *before* `lowest_visible`. A commit that ends in between may delete
    ///   what a snapshot sees that begins in between, so its tombstones are left to the next call.
    /// - `lowest_visible`: every snapshot there is, and every one to come, sees the commits below it.
    ///
    /// One comparison when there are none; otherwise takes the row lock for some microseconds at a time. Never allocates.
    pub fn expire(&self, last_commit: u64, lowest_visible: u64) {
        self.resolve_commit(last_commit);
        self.expire_tombstones(lowest_visible.min(last_commit.saturating_add(1)));
    }

    /// Gives rows removed with `UNRESOLVED | before` their bound: `last_commit`, once it is past `before`. One comparison
    /// when there are none; otherwise takes the row lock. Never allocates.
    pub fn resolve_commit(&self, last_commit: u64) {
        if self.rows.unresolved() < last_commit {
            self.rows.change().tombstones.resolve_commit(last_commit);
        }
    }

    /// Tombstones with a bound below `lowest_visible` die: no snapshot sees their rows any more. One comparison when
    /// there are none; otherwise takes the row lock for some microseconds at a time. Never allocates.
    pub fn expire_tombstones(&self, lowest_visible: u64) {
        while self.rows.oldest() < lowest_visible {
            let mut rows = self.rows.change();
            for _ in 0..REMOVE_ROWS {
                let Some(row_id) = rows.tombstones.pop_below(lowest_visible) else { break };
                // A scan that still saw the row must not bring it back.
                rows.touch(row_id);
                let Some(place) = rows.places.get(row_id) else { continue };
                // it may be live again, and about to be forgotten here
                if rows.state_of(place).load().state == State::Tombstone {
                    rows.let_go(row_id, place);
                }
            }
        }
    }
}
