//! Deleted rows that snapshots may still see, in about the order in which they were deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::{Charge, Memory};

/// Marks the bound of a row whose deletion is being committed, when only the last commit before is known: the host does
/// not say which commit it is. Commits that delete are serial, so the row is gone for all when another commit is the last.
pub const UNRESOLVED: u64 = 1 << 63;

/// Room for so many is not given back.
const ROOM_MIN: usize = 1024;

/// Bounds and rows. Pushing never allocates within what was reserved.
pub(in crate::index) struct Tombstones {
    /// The bound: the commit that deleted the row, or a later one; or `UNRESOLVED` and the last commit before. Bounds need not
    /// ascend: who deletes, who compares and who resolves commits read the last commit at different times.
    list: VecDeque<(u64, i64)>,
    /// How many are unresolved.
    unresolved: usize,
    /// Not above the last commit before any of these.
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

    /// Makes room for so many in total. Errors: `OutOfMemory`.
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

    /// Gives room beyond so many in total back, if it is most of the room.
    pub(in crate::index) fn trim(&mut self, rows: usize) {
        if self.list.capacity() / 4 > rows.max(ROOM_MIN) {
            self.list.shrink_to(rows);
            self.charge.shrink(self.charge.bytes() - self.list.capacity() * size_of::<(u64, i64)>());
        }
    }

    /// A row is deleted. Needs a reservation.
    pub(in crate::index) fn push(&mut self, bound: u64, row_id: i64) {
        if bound & UNRESOLVED != 0 {
            self.unresolved += 1;
            self.unresolved_after = self.unresolved_after.min(bound & !UNRESOLVED);
        }
        self.list.push_back((bound, row_id));
    }

    /// How many were deleted by commits that were going on when that was last asked.
    pub(in crate::index) fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// The last commit before the oldest unresolved one, or an older one; `u64::MAX` if all are resolved.
    pub(in crate::index) fn unresolved_after(&self) -> u64 {
        if self.unresolved == 0 { u64::MAX } else { self.unresolved_after }
    }

    /// Those that were deleted after a commit before `last_commit` were deleted by it, or earlier.
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

    /// The bound of the first; `u64::MAX` if there is none.
    pub(in crate::index) fn oldest(&self) -> u64 {
        self.list.front().map_or(u64::MAX, |&(bound, _)| bound)
    }

    /// Takes the first if its bound is below this one.
    pub(in crate::index) fn pop_below(&mut self, bound: u64) -> Option<i64> {
        (self.oldest() < bound).then(|| self.list.pop_front()).flatten().map(|(_, row_id)| row_id)
    }

    /// These rows are no tombstones any more.
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
