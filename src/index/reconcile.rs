//! The index is compared with its table, when they may disagree: after a stored index was loaded, copied, or lost.
//!
//! The caller scans the table between [`Index::begin_comparison`] and [`Index::end_comparison`]; meanwhile the host may
//! append and remove rows as always, and what it does wins over what the scan saw before.

use super::{Index, Rows};
use crate::bits;
use crate::error::{Error, ErrorKind, Result};
use crate::index::rows::{Place, State};
use crate::memory::Charge;

/// Which rows a scan has seen, and which the host has appended, or nobody has needed any more, since it began: a bit for each
/// row that the table had then.
/// Rows beyond are the host's, or gone.
pub(super) struct Reconciliation {
    seen: Vec<u64>,
    touched: Vec<u64>,
    _charge: Charge,
}

/// Adds a row to a set of them, if the table had it when the comparison began.
fn note(rows: &mut [u64], row_id: i64) {
    if let Some(row) = usize::try_from(row_id).ok().filter(|row| row / 64 < rows.len()) {
        bits::set(rows, row);
    }
}

impl Index {
    /// Begins a comparison with the rows [0, end) of the table; one that was not ended is forgotten. Takes the row lock for
    /// an instant. Errors: `OutOfMemory`.
    pub fn begin_comparison(&self, end: usize) -> Result<()> {
        let words = end.div_ceil(64);
        let charge = self.memory.charge(2 * words * size_of::<u64>())?;
        let (mut seen, mut touched) = (Vec::new(), Vec::new());
        let full = |_| Error::out_of_memory("while comparing an HNSW index");
        for bits in [&mut seen, &mut touched] {
            Vec::try_reserve_exact(bits, words).map_err(full)?;
            bits.resize(words, 0);
        }
        self.rows().comparison = Some(Reconciliation { seen, touched, _charge: charge });
        Ok(())
    }

    /// These rows are in the table. Returns whether one of them is not in the index, as it is after all if its vector
    /// is NULL. Takes the row lock.
    pub fn saw(&self, row_ids: &[i64]) -> bool {
        let mut rows = self.rows();
        let rows = &mut *rows;
        let mut missing = false;
        for &row_id in row_ids {
            if let Some(comparison) = &mut rows.comparison {
                note(&mut comparison.seen, row_id);
            }
            missing |= rows.places.get(row_id).is_none();
        }
        missing
    }

    /// Ends a comparison: rows of the index that the scan has not seen are rows of the table no more, by commits up to
    /// `bound`, as for [`remove`](Self::remove), so they become tombstones. The host's own rows stay, whatever the scan saw:
    /// they may be in a commit that is going on, and if it fails the host removes them. So do rows that it touched meanwhile.
    /// Returns how many are gone. Never fails. Takes the row lock for all rows.
    pub fn end_comparison(&self, bound: u64) -> usize {
        let mut rows = self.rows();
        let Some(comparison) = rows.comparison.take() else { return 0 };
        let generation = self.generation();
        let gone: Vec<i64> = rows
            .places
            .entries()
            .filter(|&(row_id, _, hosted)| {
                let row = row_id as usize;
                !hosted && !bits::is_set(&comparison.seen, row) && !bits::is_set(&comparison.touched, row)
            })
            .filter(|&(_, place, _)| self.entry(&rows, &generation, place).load().state == State::Live)
            .map(|(row_id, ..)| row_id)
            .collect();
        gone.iter().for_each(|&row_id| self.bury(&mut rows, &generation, row_id, bound));
        self.publish(&rows);
        gone.len()
    }
}

impl Rows {
    /// The host touches this row: what a scan saw before counts no more.
    pub(super) fn touch(&mut self, row_id: i64) {
        if let Some(comparison) = &mut self.comparison {
            note(&mut comparison.touched, row_id);
        }
    }

    /// Whether the host has touched this row since the comparison began.
    pub(super) fn touched(&self, row_id: i64) -> bool {
        self.comparison.as_ref().is_some_and(|comparison| bits::is_set(&comparison.touched, row_id as usize))
    }

    /// A row of a stored index is live at this place. Errors: `Corrupt` if it has another, or is no row; `OutOfMemory`.
    pub(crate) fn adopt(&mut self, row_id: i64, place: Place) -> Result<()> {
        if !(0..=crate::index::rows::ROW_ID_MAX).contains(&row_id) || self.places.get(row_id).is_some() {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("the stored index cannot be used: row {row_id} is in it twice"),
            ));
        }
        self.reserve(&[row_id])?;
        self.places.set(row_id, place);
        self.places.release(&[row_id]);
        self.live += 1;
        Ok(())
    }
}
