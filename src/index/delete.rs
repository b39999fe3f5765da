//! Deleting rows: a deleted row is a tombstone until no snapshot sees it; then it is dead.

use super::{Index, Origin};
use crate::index::rows::State;

/// Rows deleted in one hold of the row lock.
pub(super) const REMOVE_ROWS: usize = 1024;

impl Index {
    /// Deletes rows: they become tombstones, which only searches whose snapshot sees them return, until
    /// [`expire_tombstones`](Self::expire_tombstones) passes `bound`. Unknown and deleted rows are ignored. Never fails, never allocates.
    /// Takes the row lock for some microseconds at a time.
    pub fn remove(&self, row_ids: &[i64], bound: u64) {
        self.remove_as(Origin::Host, row_ids, bound);
    }

    /// As [`remove`](Self::remove), for a statement (`Host`) or for the log, whose deletions no statement owes.
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

    /// Lets tombstones die that no snapshot sees any more: those of commits up to `last_commit`, which have all ended, and below
    /// `lowest_visible`.
    ///
    /// - `last_commit`: the last commit that has ended, read *before* `lowest_visible`. A commit that ends between the two reads may delete
    ///   rows that a snapshot which began between them still sees, so its tombstones are left to the next call.
    /// - `lowest_visible`: every snapshot, now and later, sees the commits below it.
    ///
    /// One comparison when there are no such tombstones; otherwise takes the row lock for some microseconds at a time. Never allocates.
    pub fn expire(&self, last_commit: u64, lowest_visible: u64) {
        self.resolve_commit(last_commit);
        self.expire_tombstones(lowest_visible.min(last_commit.saturating_add(1)));
    }

    /// Gives rows that were removed with `UNRESOLVED | before` the bound `last_commit`, once that is past `before`. One comparison when
    /// there are no such rows; otherwise takes the row lock. Never allocates.
    pub fn resolve_commit(&self, last_commit: u64) {
        if self.rows.unresolved() < last_commit {
            self.rows.change().tombstones.resolve_commit(last_commit);
        }
    }

    /// Lets tombstones with a bound below `lowest_visible` die: no snapshot sees their rows any more. One comparison when there are no such
    /// tombstones; otherwise takes the row lock for some microseconds at a time. Never allocates.
    pub fn expire_tombstones(&self, lowest_visible: u64) {
        while self.rows.oldest() < lowest_visible {
            let mut rows = self.rows.change();
            for _ in 0..REMOVE_ROWS {
                let Some(row_id) = rows.tombstones.pop_below(lowest_visible) else { break };
                // A scan that saw the row before it died must not bring it back.
                rows.touch(row_id);
                let Some(place) = rows.places.get(row_id) else { continue };
                // The row may be live again; then the append that revived it is about to forget this tombstone.
                if rows.state_of(place).load().state == State::Tombstone {
                    rows.let_go(row_id, place);
                }
            }
        }
    }
}
