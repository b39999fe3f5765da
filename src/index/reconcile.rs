//! Reconciling: the index is compared with its table when the two may disagree, as after a stored index was loaded, copied or lost.
//!
//! The caller scans the table between [`Reconciler::begin`] and [`Reconciler::end`]. Meanwhile the host may append and remove rows as
//! always. Its changes win over what the scan saw before.

use std::sync::Arc;

use super::table::RowTable;
use crate::bits;
use crate::error::{Error, Result};
use crate::index::rows::State;
use crate::memory::Charge;

/// Compares an index with its table.
pub struct Reconciler {
    rows: Arc<RowTable>,
}

/// Which rows a scan has seen, and which rows the host has appended, or have died, since the scan began: a bit for each row that the table
/// had then. Rows with higher ids came later, from the host.
pub(super) struct Comparison {
    seen: Vec<u64>,
    touched: Vec<u64>,
    _charge: Charge,
}

impl Reconciler {
    pub(super) fn new(rows: Arc<RowTable>) -> Self {
        Self { rows }
    }

    /// Begins a comparison with the rows [0, end) of the table. An earlier one that was not ended is forgotten. Takes the row lock for an
    /// instant. Errors: `OutOfMemory`.
    pub fn begin(&self, end: usize) -> Result<()> {
        let words = end.div_ceil(64);
        let charge = self.rows.setup.memory.charge(2 * words * size_of::<u64>())?;
        let (mut seen, mut touched) = (Vec::new(), Vec::new());
        let full = |_| Error::out_of_memory("while comparing an HNSW index");
        for bits in [&mut seen, &mut touched] {
            Vec::try_reserve_exact(bits, words).map_err(full)?;
            bits.resize(words, 0);
        }
        self.rows.begin_comparison(Comparison { seen, touched, _charge: charge });
        Ok(())
    }

    /// Notes that these rows are in the table. Returns whether one of them is not in the index; a row whose vector is NULL never is. Takes
    /// the row lock.
    pub fn seen(&self, row_ids: &[i64]) -> bool {
        self.rows.seen(row_ids)
    }

    /// Ends a comparison. Rows of the index that the scan has not seen were deleted from the table by commits up to `bound`, so they become
    /// tombstones with that bound, as by [`remove`](super::Index::remove). Rows that the host has handed over itself stay, whatever the
    /// scan saw: their commit may be under way, and if it fails, the host removes them. Rows that were touched since the comparison began
    /// stay, too. Returns how many rows became tombstones. Never fails. Takes the row lock for all rows.
    pub fn end(&self, bound: u64) -> usize {
        let mut rows = self.rows.change();
        let Some(comparison) = rows.comparison.take() else { return 0 };
        let gone: Vec<i64> = rows
            .places
            .entries()
            .filter(|&(row_id, _, hosted)| !hosted && !comparison.knows(row_id))
            .filter(|&(_, place, _)| rows.state_of(place).load().state == State::Live)
            .map(|(row_id, ..)| row_id)
            .collect();
        for &row_id in &gone {
            rows.bury(row_id, bound);
        }
        gone.len()
    }
}

impl Comparison {
    /// Notes that the scan has seen this row.
    pub(super) fn see(&mut self, row_id: i64) {
        note(&mut self.seen, row_id);
    }

    /// Notes that the host has changed this row, or that the row has died, so what the scan saw before does not count.
    pub(super) fn touch(&mut self, row_id: i64) {
        note(&mut self.touched, row_id);
    }

    /// Whether `touch` was called for this row since the comparison began.
    pub(super) fn touched(&self, row_id: i64) -> bool {
        bits::is_set(&self.touched, row_id as usize)
    }

    /// Whether the scan has seen the row, or it was touched since the comparison began.
    fn knows(&self, row_id: i64) -> bool {
        bits::is_set(&self.seen, row_id as usize) || self.touched(row_id)
    }
}

/// Adds a row to a set of rows, if the table had it when the comparison began.
fn note(rows: &mut [u64], row_id: i64) {
    if let Some(row) = usize::try_from(row_id).ok().filter(|row| row / 64 < rows.len()) {
        bits::set(rows, row);
    }
}
