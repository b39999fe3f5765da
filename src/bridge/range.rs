//! A search for all rows between two distances, as C++ holds it.

use std::sync::Arc;

use super::ffi;
use super::handle::Guarded;
use super::row_set::RowSet;
use crate::bridge::guard::{Crossing, guard, guard_or};
use crate::search;

/// A range of an index that is being looked for, by several threads perhaps.
pub struct RangeSearch {
    pub(super) index: Arc<Guarded>,
    pub(super) range: search::Range,
}

impl RangeSearch {
    pub(super) fn parts(&self) -> usize {
        self.range.parts()
    }

    /// Looks through another part; false if none is left.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call; as when the range began.
    pub(super) unsafe fn look(
        &self,
        rows: *const RowSet,
        found: &mut ffi::RangeRows,
    ) -> std::result::Result<bool, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() }.map(|rows| &rows.0);
        guard(|| found.fill(|found| self.index.searcher().range_part(&self.range, rows, found)))
    }

    /// What came of it, once no part is left.
    pub(super) fn outcome(&self) -> ffi::RangeOutcome {
        guard_or(ffi::RangeOutcome::Scan, || match self.index.soundness.defect() {
            None => self.index.searcher().end_range(&self.range).into(),
            Some(_) => ffi::RangeOutcome::Scan,
        })
    }

    pub(super) fn report(&self) -> ffi::SearchReport {
        ffi::SearchReport::of(&self.range.report(), 0)
    }
}
