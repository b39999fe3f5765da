//! Deleted rows that snapshots may still see, roughly in the order of their deletion.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::{Charge, Memory};

/// Marks the bound of a row whose deletion is being committed. The host does not say the number of that commit, so the other bits hold the
/// last commit before it. Commits that delete are serial, so the deletion is committed once the host's last commit is a later one.
pub const UNRESOLVED: u64 = 1 << 63;

/// Room for this many tombstones is always kept.
const ROOM_MIN: usize = 1024;

/// Bounds and rows. Pushing never allocates within what was reserved.
pub(in crate::index) struct Tombstones {
    /// A bound is the commit that deleted the row or a later one, or `UNRESOLVED` with the last commit before. Bounds need not ascend:
    /// deletions, comparisons and the resolution of commits read the last commit at different times.
    list: VecDeque<(u64, i64)>,
    /// Number of unresolved tombstones.
    unresolved: usize,
    /// A lower bound of the commits that unresolved bounds hold.
    unresolved_after: u64,
    charge: Charge,
}

impl Tombstones {
    pub(in crate::index) fn new(memory: &Arc<Memory>) -> Result<Self> {
        Ok(Self { list: VecDeque::new(), unresolved: 0, unresolved_after: u64::MAX, charge: memory.charge(0)? })
    }

    pub(in crate::index) fn len(&self) -> usize {
        self.list.len()
    }

    /// Makes room for `rows` tombstones in total. Errors: `OutOfMemory`.
    pub(in crate::index) fn reserve(&mut self, rows: usize) -> Result<()> {
        let old = self.list.capacity();
        if rows <= old {
            return Ok(());
        }
        let new = rows.max(2 * old);
        let bytes = size_of::<(u64, i64)>();
        self.charge.resize((old + new) * bytes)?;
        let grown = self.list.try_reserve_exact(new - self.list.len());
        self.charge.resize(self.list.capacity() * bytes)?;
        grown.map_err(|_| Error::out_of_memory("for the rows of an HNSW index"))
    }

    /// Gives back the room beyond `rows` tombstones, if that is most of the room.
    pub(in crate::index) fn trim(&mut self, rows: usize) {
        if self.list.capacity() / 4 > rows.max(ROOM_MIN) {
            self.list.shrink_to(rows);
            self.charge.shrink(self.charge.bytes() - self.list.capacity() * size_of::<(u64, i64)>());
        }
    }

    /// Adds the tombstone of a row. Needs a reservation.
    pub(in crate::index) fn push(&mut self, bound: u64, row_id: i64) {
        if bound & UNRESOLVED != 0 {
            self.unresolved += 1;
            self.unresolved_after = self.unresolved_after.min(bound & !UNRESOLVED);
        }
        self.list.push_back((bound, row_id));
    }

    /// Number of unresolved tombstones: their commits had not ended at the last `resolve_commit`.
    pub(in crate::index) fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// A commit that is not after the last commit before the oldest unresolved deletion; `u64::MAX` if all are resolved.
    pub(in crate::index) fn unresolved_after(&self) -> u64 {
        if self.unresolved == 0 { u64::MAX } else { self.unresolved_after }
    }

    /// Resolves the tombstones whose last commit before is older than `last_commit`: they were deleted by `last_commit` or by an earlier
    /// commit.
    pub(in crate::index) fn resolve_commit(&mut self, last_commit: u64) {
        let mut left = self.unresolved;
        self.unresolved_after = u64::MAX;
        for (bound, _) in self.list.iter_mut().rev() {
            if left == 0 {
                return;
            }
            if *bound & UNRESOLVED != 0 {
                left -= 1;
                let after = *bound & !UNRESOLVED;
                if after < last_commit {
                    *bound = last_commit;
                    self.unresolved -= 1;
                } else {
                    self.unresolved_after = self.unresolved_after.min(after);
                }
            }
        }
    }

    /// The bound of the first tombstone; `u64::MAX` if there is none.
    pub(in crate::index) fn oldest(&self) -> u64 {
        self.list.front().map_or(u64::MAX, |&(bound, _)| bound)
    }

    /// Removes the first tombstone if its bound is below `bound`; returns its row.
    pub(in crate::index) fn pop_below(&mut self, bound: u64) -> Option<i64> {
        (self.oldest() < bound).then(|| self.list.pop_front()).flatten().map(|(_, row_id)| row_id)
    }

    /// Removes the tombstones of these rows.
    pub(in crate::index) fn forget(&mut self, mut rows: Vec<i64>) {
        if rows.is_empty() {
            return;
        }
        rows.sort_unstable();
        // Most tombstones are of other rows, far away.
        let range = rows[0]..=rows[rows.len() - 1];
        let unresolved = &mut self.unresolved;
        self.list.retain(|(bound, row_id)| {
            let stays = !range.contains(row_id) || rows.binary_search(row_id).is_err();
            *unresolved -= usize::from(!stays && bound & UNRESOLVED != 0);
            stays
        });
    }
}
