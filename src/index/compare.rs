//! The index is compared with its table, when they may disagree: after a stored index was loaded, copied, or lost.
//!
//! The caller scans the table between [`Index::begin_comparison`] and [`Index::end_comparison`]; meanwhile the host may
//! append and remove rows as always, and what it does wins over what the scan saw before.

use std::collections::HashSet;
use std::ops::Range;

use super::{Index, Rows};
use crate::bits;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::Charge;
use crate::rows::Place;

/// Which rows a scan has seen, and which the host has touched since it began.
pub(super) struct Comparison {
    /// A bit for each row of the table.
    seen: Vec<u64>,
    touched: Vec<u64>,
    /// Rows that the index had beyond the end of the table and that were neither seen nor touched. The table may have
    /// lost its last rows; what the host appends there is not among them.
    beyond: HashSet<i64>,
    _charge: Charge,
}

impl Comparison {
    /// The scan has seen a row.
    fn see(&mut self, row_id: i64) {
        bits::set(&mut self.seen, row_id as usize);
        self.beyond.remove(&row_id);
    }

    /// The host has appended or removed a row.
    fn touch(&mut self, row_id: i64) {
        bits::set(&mut self.touched, row_id as usize);
        self.beyond.remove(&row_id);
    }
}

/// The rows of the commit that may be going on: a scan of committed rows does not see them.
#[derive(Default)]
pub(super) struct Committing {
    /// The last commit before it.
    after: u64,
    rows: Vec<Range<i64>>,
}

impl Committing {
    fn add(&mut self, row_ids: &[i64], last_commit: u64) {
        // Commits come one after the other, so those before are done.
        if self.after != last_commit {
            self.after = last_commit;
            self.rows.clear();
        }
        for &row_id in row_ids {
            match self.rows.last_mut() {
                Some(range) if range.end == row_id => range.end += 1,
                _ => self.rows.push(row_id..row_id + 1),
            }
        }
    }
}

impl Index {
    /// The host is going to append these rows in a commit that follows `last_commit`. Takes the row lock for an instant.
    pub fn committing(&self, row_ids: &[i64], last_commit: u64) {
        self.rows().committing.add(row_ids, last_commit);
    }

    /// Begins a comparison with the rows [0, end) of the table; one that was not ended is forgotten. `last_commit`: the
    /// last commit whose rows the scan is sure to see. Takes the row lock for all rows. Errors: `OutOfMemory`.
    pub fn begin_comparison(&self, end: usize, last_commit: u64) -> Result<()> {
        let words = end.div_ceil(64);
        let mut charge = self.memory.charge(2 * words * size_of::<u64>())?;
        let (mut seen, mut touched) = (Vec::new(), Vec::new());
        let full = || Error::new(ErrorKind::OutOfMemory, "out of memory while comparing an HNSW index");
        for bits in [&mut seen, &mut touched] {
            Vec::try_reserve_exact(bits, words).map_err(|_| full())?;
            bits.resize(words, 0);
        }
        let mut rows = self.rows();
        let is_beyond = |row_id: &i64| *row_id >= 64 * words as i64;
        let count = rows.places.rows().filter(is_beyond).count();
        let mut beyond = HashSet::new();
        charge.grow(2 * count * size_of::<i64>())?;
        beyond.try_reserve(count).map_err(|_| full())?;
        beyond.extend(rows.places.rows().filter(is_beyond));
        let mut comparison = Comparison { seen, touched, beyond, _charge: charge };
        if rows.committing.after == last_commit {
            rows.committing.rows.iter().cloned().flatten().for_each(|row_id| comparison.touch(row_id));
        }
        rows.comparison = Some(comparison);
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
                comparison.see(row_id);
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
    /// `bound`, as for [`remove`](Self::remove), so they become tombstones, except those that the host has touched
    /// meanwhile. Returns how many. Never fails. Takes the row lock for all rows.
    pub fn end_comparison(&self, bound: u64) -> usize {
        let mut rows = self.rows();
        let Some(comparison) = rows.comparison.take() else { return 0 };
        let end = 64 * comparison.seen.len() as i64;
        let known = |row_id: i64| {
            bits::is_set(&comparison.seen, row_id as usize) || bits::is_set(&comparison.touched, row_id as usize)
        };
        let mut gone: Vec<i64> = rows.places.rows().filter(|&row_id| row_id < end && !known(row_id)).collect();
        gone.extend(&comparison.beyond);
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
        self.comparison.as_ref().is_some_and(|comparison| bits::is_set(&comparison.touched, row_id as usize))
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
