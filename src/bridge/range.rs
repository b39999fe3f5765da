//! A range, as C++ holds it.

use std::sync::Arc;

use super::ffi;
use super::handle::Guarded;
use super::row_set::RowSet;
use crate::bridge::guard::{Crossing, guard, guard_or};
use crate::search;

/// A range under way on an index. Several threads may search its parts.
pub struct RangeSearch {
    pub(super) index: Arc<Guarded>,
    pub(super) range: search::Range,
}

impl RangeSearch {
    pub(super) fn parts(&self) -> usize {
        self.range.parts()
    }

    /// Searches the next part; false if none is left.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call: the same as when the range began.
    pub(super) unsafe fn look(
        &self,
        rows: *const RowSet,
        found: &mut ffi::RangeRows,
    ) -> std::result::Result<bool, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() }.map(|rows| &rows.0);
        guard(|| found.fill(|found| self.index.searcher().range_part(&self.range, rows, found)))
    }

    /// The outcome of the range, once no part is left.
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
