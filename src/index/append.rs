//! Adding rows: they are copied to the pending area.

use std::ops::Range;

use super::Index;
use super::delete::REMOVE_ROWS;
use super::table::{LEARN_ROWS, RowsChange};
use crate::error::{Error, ErrorKind, Result};
use crate::index::rows::{Place, ROW_ID_MAX, State};
use crate::vectors::{Encoder, Norms, Row};

/// Who hands rows to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A statement of the host, when it commits. The index hears of every later change of such a row, so index and table agree on it.
    Host,
    /// The host, when it replays its log or moves rows. No statement owes the work that these rows make.
    Log,
    /// A scan of the table. The host may have changed a row since the scan read it, so the host's word wins.
    Scan,
}

impl Origin {
    /// Whether the rows come from the host itself, not from a scan.
    fn is_host(self) -> bool {
        self != Self::Scan
    }
}

/// Bytes of vectors copied in one hold of the row lock.
const BATCH_BYTES: usize = 64 << 10;

impl Index {
    /// Adds rows, or gives them new vectors: `vectors` is `[row_ids.len() × dimensions]`, row by row. A row that the index holds with the
    /// same vector stays where it is. If the rows come from the host, a deleted row becomes live again. If they come from a scan, rows that
    /// the host has handed over itself are left alone.
    ///
    /// Only copies to the pending area, so the caller may hold the host's commit locks. Takes the append lock, and the row lock for some
    /// microseconds at a time. Errors: `InvalidInput`; `OutOfMemory`, normally before anything is added. At worst the error comes after
    /// some rows were added. Then rows of a scan stay, and rows of the host are deleted again, because the host takes back only rows of
    /// calls that succeeded.
    pub fn append(&self, origin: Origin, row_ids: &[i64], vectors: &[f32]) -> Result<()> {
        self.check(row_ids, vectors)?;
        let appending = self.rows.appending();
        if origin.is_host() && self.revive_same(row_ids, vectors) {
            return Ok(());
        }
        let mut encoder = self.setup.codec.encoder();
        let reserved = appending.reserve(row_ids, encoder.makes_coded())?;
        let mut revived = Vec::new();
        let appended = self.append_reserved(origin, row_ids, vectors, &mut encoder, &mut revived);
        self.forget_tombstones(revived);
        drop(reserved);
        if self.pending() >= LEARN_ROWS {
            self.rows.learn();
        }
        appended
    }

    /// Errors: `InvalidInput` unless there is one vector a row and all row ids are in range.
    fn check(&self, row_ids: &[i64], vectors: &[f32]) -> Result<()> {
        let dimensions = self.dimensions();
        if vectors.len() != row_ids.len() * dimensions {
            let message =
                format!("{} rows of {dimensions} dimensions came with {} values", row_ids.len(), vectors.len());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        match row_ids.iter().find(|row_id| !(0..=ROW_ID_MAX).contains(*row_id)) {
            Some(row_id) => Err(Error::new(ErrorKind::InvalidInput, format!("row id {row_id} is not of a stored row"))),
            None => Ok(()),
        }
    }

    fn append_reserved(
        &self,
        origin: Origin,
        row_ids: &[i64],
        vectors: &[f32],
        encoder: &mut Encoder<'_>,
        revived: &mut Vec<i64>,
    ) -> Result<()> {
        let dimensions = self.dimensions();
        let batch = (BATCH_BYTES / (dimensions * size_of::<f32>())).max(1);
        let mut encoded = Vec::new();
        let mut ranges: Vec<Option<Range<usize>>> = Vec::new();
        let all = row_ids;
        for (number, (row_ids, vectors)) in row_ids.chunks(batch).zip(vectors.chunks(batch * dimensions)).enumerate() {
            encoded.clear();
            ranges.clear();
            let mut norms = Norms::EMPTY;
            let mut comparable = 0;
            for vector in vectors.chunks_exact(dimensions) {
                let from = encoded.len();
                let norm = encoder.encode(vector, &mut encoded);
                comparable += usize::from(norm.is_none() && !self.setup.codec.space.is_undefined(vector));
                norms = norms.union(norm.unwrap_or(Norms::EMPTY));
                ranges.push(norm.map(|_| from..encoded.len()));
            }
            let unrankable = ranges.iter().filter(|range| range.is_none()).count();
            self.rows.widths.add_rows(row_ids.len());
            let mut rows = self.rows.change();
            rows.norms.widen(norms);
            match origin {
                Origin::Host => rows.debts.add_appended(row_ids),
                // A host that moves rows deletes them first.
                Origin::Log => rows.debts.forgive_deleted(row_ids.len()),
                Origin::Scan => {}
            }
            if let Err(error) = self.rows.unrankable.reserve(unrankable) {
                if origin.is_host() {
                    for &row_id in &all[..number * batch] {
                        rows.bury(row_id, 0);
                    }
                }
                return Err(error);
            }
            if unrankable > 0 {
                self.rows.unrankable.expect_comparable(comparable);
            }
            for (&row_id, range) in row_ids.iter().zip(&ranges) {
                if !rows.admit(origin, row_id) {
                    continue;
                }
                let row = range.clone().map(|range| encoder.row(&encoded[range]));
                rows.put(row_id, row);
                // A scan may have read a row that the host has deleted since; such a row stays a tombstone.
                if origin.is_host() {
                    rows.revive(row_id, revived);
                    rows.places.set_hosted(row_id);
                }
            }
        }
        Ok(())
    }

    /// Removes revived rows from the tombstones. It looks through all tombstones, so it is called once an append.
    fn forget_tombstones(&self, mut revived: Vec<i64>) {
        if revived.is_empty() {
            return;
        }
        let mut rows = self.rows.change();
        let deleted = |place| rows.state_of(place).load().state == State::Tombstone;
        revived.retain(|&row_id| !rows.places.get(row_id).is_some_and(deleted));
        rows.tombstones.forget(revived);
    }

    /// Makes rows live again if the index holds all of them with these vectors. It needs no memory: a commit that fails hands back the rows
    /// that it has deleted, and if that fails, too, the host invalidates its database. Returns false if the index does not hold all of
    /// them. Then nothing has changed, unless a row died while the others were compared.
    fn revive_same(&self, row_ids: &[i64], vectors: &[f32]) -> bool {
        // Most rows that are appended are new.
        if row_ids.first().is_none_or(|&row_id| self.rows.read().places.get(row_id).is_none()) {
            return false;
        }
        let mut revived = Vec::new();
        let all = self.all_same(row_ids, vectors, |_, _| {})
            && self.all_same(row_ids, vectors, |rows, row_id| {
                rows.touch(row_id);
                rows.revive(row_id, &mut revived);
                rows.places.set_hosted(row_id);
            });
        self.forget_tombstones(revived);
        all
    }

    /// Whether the index holds all these rows with these vectors. Calls `each` for every row before the first that it does not hold so.
    fn all_same(&self, row_ids: &[i64], vectors: &[f32], mut each: impl FnMut(&mut RowsChange<'_>, i64)) -> bool {
        let dimensions = self.dimensions();
        let mut encoder = self.setup.codec.encoder();
        let mut encoded = Vec::with_capacity(encoder.row_bytes());
        row_ids.chunks(REMOVE_ROWS).zip(vectors.chunks(REMOVE_ROWS * dimensions)).all(|(row_ids, vectors)| {
            let mut rows = self.rows.change();
            row_ids.iter().zip(vectors.chunks_exact(dimensions)).all(|(&row_id, vector)| {
                encoded.clear();
                let norm = encoder.encode(vector, &mut encoded);
                let row = norm.map(|_| encoder.row(&encoded));
                // Two vectors with the same stored row may differ in norm, and in whether they have a distance.
                rows.norms.widen(norm.unwrap_or(Norms::EMPTY));
                if norm.is_none() && !self.setup.codec.space.is_undefined(vector) {
                    self.rows.unrankable.expect_comparable(1);
                }
                let same = rows.is_same(row_id, row);
                if same {
                    each(&mut rows, row_id);
                }
                same
            })
        })
    }

    /// Notes that these rows of the table have no vector. If the index holds a vector under such an id, it belongs to an older row whose id
    /// was reused, and no snapshot sees that row. Never fails, never allocates beyond `row_ids`. Takes the append lock, and the row lock
    /// for some microseconds at a time.
    pub fn without_vector(&self, origin: Origin, row_ids: &[i64]) {
        let _appending = self.rows.appending();
        let mut revived = Vec::new();
        for row_ids in row_ids.chunks(REMOVE_ROWS) {
            let mut rows = self.rows.change();
            for &row_id in row_ids {
                if !rows.admit(origin, row_id) {
                    continue;
                }
                let Some(place) = rows.places.get(row_id) else { continue };
                if rows.state_of(place).load().state == State::Tombstone {
                    revived.push(row_id);
                } else {
                    rows.live -= 1;
                }
                rows.kill(place);
                rows.places.forget(row_id);
            }
        }
        self.forget_tombstones(revived);
    }
}

impl RowsChange<'_> {
    /// Whether the index accepts what `origin` says about a row. It accepts all that the host says. It accepts nothing that a scan says
    /// about a row that the host has handed over itself, or about a row that the host has changed, and the index has lost, since the
    /// comparison began.
    fn admit(&mut self, origin: Origin, row_id: i64) -> bool {
        if origin.is_host() {
            self.touch(row_id);
            return true;
        }
        let touched = || self.comparison.as_ref().is_some_and(|comparison| comparison.touched(row_id));
        if self.places.get(row_id).is_some() { !self.places.hosted(row_id) } else { !touched() }
    }

    /// Whether the index holds a row with this vector (`None`: unrankable), as far as the codec can tell.
    fn is_same(&self, row_id: i64, row: Option<Row<'_>>) -> bool {
        let codec = &self.table.setup.codec;
        match (self.places.get(row_id), row) {
            (Some(Place::Slot(slot)), Some(row)) => {
                self.generation.pin_rows().get(slot).is_some_and(|linked| codec.same(Row::Coded(linked), row))
            }
            (Some(Place::Pending(ticket)), Some(row)) => codec.same(self.pending.row(ticket), row),
            (Some(Place::Unrankable(_)), None) => true,
            _ => false,
        }
    }

    /// Gives a row this vector (`None`: unrankable), unless it has the same already. The row's old place, if any, becomes dead.
    fn put(&mut self, row_id: i64, row: Option<Row<'_>>) {
        if self.is_same(row_id, row) {
            return;
        }
        let before = self.places.get(row_id);
        let place = match row {
            Some(row) => Place::Pending(self.pending.push(row_id, row)),
            None => Place::Unrankable(self.table.unrankable.push(row_id)),
        };
        if let Some(before) = before {
            let state = self.state_of(before).load().state;
            self.state_of(place).set_state(state);
            self.kill(before);
        } else {
            self.live += 1;
        }
        self.places.set(row_id, place);
    }

    /// Makes a row live if it is a tombstone, and adds it to `revived`.
    fn revive(&mut self, row_id: i64, revived: &mut Vec<i64>) {
        let Some(place) = self.places.get(row_id) else { return };
        let slot_state = self.state_of(place);
        if slot_state.load().state == State::Tombstone {
            slot_state.set_state(State::Live);
            self.live += 1;
            revived.push(row_id);
        }
    }
}
