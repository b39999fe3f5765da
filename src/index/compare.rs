//! The index is compared with its table, when they may disagree: after a stored index was loaded, copied, or lost.
//!
//! The caller scans the table between [`Index::begin_comparison`] and [`Index::end_comparison`]; meanwhile the host may
//! append and remove rows as always, and what it does wins over what the scan saw before.

use super::{Index, Rows};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::Charge;
use crate::rows::Place;

/// Which rows a scan has seen, and which the host has touched since it began: a bit for each row id.
pub(super) struct Comparison {
    seen: Vec<u64>,
    touched: Vec<u64>,
    _charge: Charge,
}

impl Comparison {
    /// The host has appended or removed a row.
    pub(super) fn touch(&mut self, row_id: i64) {
        set(&mut self.touched, row_id);
    }
}

fn set(bits: &mut [u64], row_id: i64) {
    if let Some(word) = bits.get_mut(row_id as usize / 64) {
        *word |= 1 << (row_id % 64);
    }
}

fn is_set(bits: &[u64], row_id: i64) -> bool {
    bits.get(row_id as usize / 64).is_some_and(|word| word >> (row_id % 64) & 1 == 1)
}

impl Index {
    /// Begins a comparison with the rows [0, end) of the table; one that was not ended is forgotten. Takes the row lock.
    /// Errors: `OutOfMemory`.
    pub fn begin_comparison(&self, end: usize) -> Result<()> {
        let words = end.div_ceil(64);
        let charge = self.memory.charge(2 * words * size_of::<u64>())?;
        let (mut seen, mut touched) = (Vec::new(), Vec::new());
        for bits in [&mut seen, &mut touched] {
            let full = |_| Error::new(ErrorKind::OutOfMemory, "out of memory while comparing an HNSW index");
            Vec::try_reserve_exact(bits, words).map_err(full)?;
            bits.resize(words, 0);
        }
        self.rows().comparison = Some(Comparison { seen, touched, _charge: charge });
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
                set(&mut comparison.seen, row_id);
            }
            missing |= rows.places.get(row_id).is_none();
        }
        missing
    }

    /// Appends rows of the table, except those that the host has touched meanwhile; as [`append`](Self::append).
    pub fn append_seen(&self, row_ids: &[i64], vectors: &[f32]) -> Result<()> {
        self.append_rows(row_ids, vectors, true)
    }

    /// Ends a comparison: rows of the index that the scan has not seen are rows of the table no more, by commits up to
    /// `bound`, as for [`remove`](Self::remove), so they become tombstones, except those that the host has touched meanwhile. Returns how many. Never
    /// fails. Takes the row lock for all rows.
    pub fn end_comparison(&self, bound: u64) -> usize {
        let mut rows = self.rows();
        let Some(comparison) = rows.comparison.take() else { return 0 };
        let end = 64 * comparison.seen.len() as i64;
        let known = |row_id: i64| is_set(&comparison.seen, row_id) || is_set(&comparison.touched, row_id);
        let gone: Vec<i64> = rows.places.rows().filter(|&row_id| row_id < end && !known(row_id)).collect();
        drop(rows);
        self.remove(&gone, bound);
        gone.len()
    }
}

impl Rows {
    /// The host touches this row: what a scan saw before counts no more.
    pub(super) fn touch(&mut self, row_id: i64) {
        if let Some(comparison) = &mut self.comparison {
            comparison.touch(row_id);
        }
    }

    /// Whether the host has touched this row since the comparison began.
    pub(super) fn touched(&self, row_id: i64) -> bool {
        self.comparison.as_ref().is_some_and(|comparison| is_set(&comparison.touched, row_id))
    }

    /// A row of a stored index is live at this place. Errors: `Corrupt` if it has another, or is no row; `OutOfMemory`.
    pub(crate) fn adopt(&mut self, row_id: i64, place: Place) -> Result<()> {
        if !(0..=crate::rows::ROW_ID_MAX).contains(&row_id) || self.places.get(row_id).is_some() {
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
