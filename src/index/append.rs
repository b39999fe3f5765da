//! Rows come.

use std::ops::Range;

use super::delete::REMOVE_ROWS;
use super::{Generation, Index, Rows};
use crate::error::Result;
use crate::index::rows::{Place, State};
use crate::vectors::{Encoder, Norms, Row};

/// Who hands rows to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The host, as it commits them: every change of such a row reaches the index, too, so index and table agree on it.
    Host,
    /// A scan of the table. The host may have changed a row since the scan read it, so what the host says wins.
    Scan,
}

/// Bytes of vectors copied in one hold of the row lock.
const BATCH_BYTES: usize = 64 << 10;
/// Rows that a codec learns from: as many as wait before it does, unless they are linked sooner.
const LEARN_ROWS: usize = if cfg!(feature = "model") { 4 } else { 8192 };

impl Index {
    /// Adds rows, or gives them new vectors: `vectors` is `[row_ids.len() × dimensions]`, row by row. A row that is
    /// there already with the same vector stays where it is. One that was deleted is live again, if its origin is the host.
    /// Of a scan, rows that are the host's are left out.
    ///
    /// Only copies (to the pending area): the caller may hold the host's commit locks. Takes the append lock, and the
    /// row lock for some microseconds at a time. Errors: `InvalidInput`; `OutOfMemory`, normally before anything is
    /// added. At worst it comes after part of the rows: those of a scan stay, those of the host are deleted again, as the host
    /// takes back only what was taken without an error.
    pub fn append(&self, origin: Origin, row_ids: &[i64], vectors: &[f32]) -> Result<()> {
        self.check(row_ids, vectors)?;
        let _append = self.append.lock();
        if origin == Origin::Host && self.revive_same(row_ids, vectors) {
            return Ok(());
        }
        self.rows().reserve(row_ids)?;
        let mut encoder = self.codec.encoder();
        let reserved = self.rows().pending.reserve(row_ids.len(), encoder.makes_coded());
        let mut revived = Vec::new();
        let appended =
            reserved.and_then(|()| self.append_reserved(origin, row_ids, vectors, &mut encoder, &mut revived));
        self.forget_tombstones(revived);
        let mut rows = self.rows();
        rows.pending.release();
        rows.places.release(row_ids);
        let enough = rows.pending.len() >= LEARN_ROWS;
        drop(rows);
        if enough {
            self.learn();
        }
        appended
    }

    /// Makes the codec ready, if it is not, with a sample of the rows that wait for it. Takes the row lock for an instant.
    pub(super) fn learn(&self) {
        if self.codec.is_ready() {
            return;
        }
        let (blocks, pending) = {
            let rows = self.rows();
            (rows.pending.snapshot(), rows.pending.len())
        };
        let plain = blocks.iter().flat_map(|block| block.rows()).filter_map(|(_, row)| match row {
            Row::Plain(row) => Some(row),
            Row::Coded(_) => None,
        });
        self.codec.learn(plain.step_by(pending.div_ceil(LEARN_ROWS).max(1)));
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
            for vector in vectors.chunks_exact(dimensions) {
                let from = encoded.len();
                let norm = encoder.encode(vector, &mut encoded);
                norms = norms.union(norm.unwrap_or(Norms::EMPTY));
                ranges.push(norm.map(|_| from..encoded.len()));
            }
            let unrankable = ranges.iter().filter(|range| range.is_none()).count();
            let mut rows = self.rows();
            rows.norms.widen(norms);
            let generation = self.generation();
            if let Err(error) = self.unrankable.reserve(unrankable) {
                if origin == Origin::Host {
                    all[..number * batch].iter().for_each(|&row_id| self.bury(&mut rows, &generation, row_id, 0));
                    self.publish(&rows);
                }
                return Err(error);
            }
            for (&row_id, range) in row_ids.iter().zip(&ranges) {
                if !rows.admit(origin, row_id) {
                    continue;
                }
                let row = range.clone().map(|range| encoder.row(&encoded[range]));
                self.put(&mut rows, &generation, row_id, row);
                // What a scan reads may be a row that the host has deleted: it stays a tombstone.
                if origin == Origin::Host {
                    self.revive(&mut rows, &generation, row_id, revived);
                    rows.places.set_hosted(row_id);
                }
            }
            self.publish(&rows);
        }
        Ok(())
    }

    /// These rows were tombstones, and are none any more. Looks through all tombstones, so once an append.
    fn forget_tombstones(&self, mut revived: Vec<i64>) {
        if revived.is_empty() {
            return;
        }
        let mut rows = self.rows();
        let generation = self.generation();
        let deleted = |place| self.entry(&rows, &generation, place).load().state == State::Tombstone;
        revived.retain(|&row_id| !rows.places.get(row_id).is_some_and(deleted));
        rows.tombstones.forget(revived);
        self.publish(&rows);
    }

    /// Rows that are all there with these vectors are live again, without memory for it: a commit that fails gives back the rows
    /// that it has deleted, and the host invalidates its database if that fails, too. False if not all of them are there; then
    /// nothing has changed, unless one has gone while the others were looked at.
    fn revive_same(&self, row_ids: &[i64], vectors: &[f32]) -> bool {
        // most rows that come are new
        if row_ids.first().is_none_or(|&row_id| self.rows().places.get(row_id).is_none()) {
            return false;
        }
        let mut revived = Vec::new();
        let all = self.all_same(row_ids, vectors, |_, _, _| {})
            && self.all_same(row_ids, vectors, |rows, generation, row_id| {
                rows.touch(row_id);
                self.revive(rows, generation, row_id, &mut revived);
                rows.places.set_hosted(row_id);
            });
        self.forget_tombstones(revived);
        all
    }

    /// Whether rows are there with these vectors; does something to each, up to the first that is not.
    fn all_same(&self, row_ids: &[i64], vectors: &[f32], mut each: impl FnMut(&mut Rows, &Generation, i64)) -> bool {
        let dimensions = self.dimensions();
        let mut encoder = self.codec.encoder();
        let mut encoded = Vec::with_capacity(encoder.row_bytes());
        for (row_ids, vectors) in row_ids.chunks(REMOVE_ROWS).zip(vectors.chunks(REMOVE_ROWS * dimensions)) {
            let mut rows = self.rows();
            let mut norms = Norms::EMPTY;
            let generation = self.generation();
            let same = row_ids.iter().zip(vectors.chunks_exact(dimensions)).all(|(&row_id, vector)| {
                encoded.clear();
                let norm = encoder.encode(vector, &mut encoded);
                let row = norm.map(|_| encoder.row(&encoded));
                // the same row may be that of a vector of another length
                norms = norms.union(norm.unwrap_or(Norms::EMPTY));
                let same = self.is_same(&rows, &generation, row_id, row);
                if same {
                    each(&mut rows, &generation, row_id);
                }
                same
            });
            rows.norms.widen(norms);
            self.publish(&rows);
            if !same {
                return false;
            }
        }
        true
    }

    /// Whether a row is there with this vector (`None`: unrankable), as far as the codec can tell.
    fn is_same(&self, rows: &Rows, generation: &Generation, row_id: i64, row: Option<Row<'_>>) -> bool {
        match (rows.places.get(row_id), row) {
            (Some(Place::Slot(slot)), Some(row)) => {
                generation.pin_rows().get(slot).is_some_and(|linked| self.codec.same(Row::Coded(linked), row))
            }
            (Some(Place::Pending(ticket)), Some(row)) => self.codec.same(rows.pending.row(ticket), row),
            (Some(Place::Unrankable(_)), None) => true,
            _ => false,
        }
    }

    /// Gives a row this vector (`None`: unrankable) if it has none or another: then the place it had is dead.
    fn put(&self, rows: &mut Rows, generation: &Generation, row_id: i64, row: Option<Row<'_>>) {
        if self.is_same(rows, generation, row_id, row) {
            return;
        }
        let before = rows.places.get(row_id);
        let place = match row {
            Some(row) => Place::Pending(rows.pending.push(row_id, row)),
            None => Place::Unrankable(self.unrankable.push(row_id)),
        };
        if let Some(before) = before {
            let state = self.entry(rows, generation, before).load().state;
            self.entry(rows, generation, place).set_state(state);
            self.kill(rows, generation, before);
        } else {
            rows.live += 1;
        }
        rows.places.set(row_id, place);
    }

    /// A row that is there is live, also if it was a tombstone: then it goes to `revived`.
    fn revive(&self, rows: &mut Rows, generation: &Generation, row_id: i64, revived: &mut Vec<i64>) {
        let Some(place) = rows.places.get(row_id) else { return };
        let entry = self.entry(rows, generation, place);
        if entry.load().state == State::Tombstone {
            entry.set_state(State::Live);
            rows.live += 1;
            revived.push(row_id);
        }
    }

    /// Nobody needs what is at this place any more. The row map and the number of live rows are the caller's.
    pub(super) fn kill(&self, rows: &mut Rows, generation: &Generation, place: Place) {
        match place {
            Place::Slot(slot) => generation.die(slot),
            Place::Pending(ticket) => rows.pending.finish(ticket),
            Place::Unrankable(position) => self.unrankable.finish(position),
        }
    }

    /// Rows of the table that have no vector. Should the index have one under such a number, it is that of a row whose
    /// number is used again, and nobody sees it any more. Never fails, never allocates beyond `row_ids`. Takes the append lock, and the
    /// row lock for some microseconds at a time.
    pub fn without_vector(&self, origin: Origin, row_ids: &[i64]) {
        let _append = self.append.lock();
        let mut revived = Vec::new();
        for row_ids in row_ids.chunks(REMOVE_ROWS) {
            let mut rows = self.rows();
            let generation = self.generation();
            for &row_id in row_ids {
                if !rows.admit(origin, row_id) {
                    continue;
                }
                let Some(place) = rows.places.get(row_id) else { continue };
                if self.entry(&rows, &generation, place).load().state == State::Tombstone {
                    revived.push(row_id);
                } else {
                    rows.live -= 1;
                }
                self.kill(&mut rows, &generation, place);
                rows.places.forget(row_id);
            }
            self.publish(&rows);
        }
        self.forget_tombstones(revived);
    }
}

impl Rows {
    /// Whether the index takes what it is told about a row. It takes all that the host says. Of a scan it takes nothing
    /// about rows that are the host's, nor about rows it had when the scan read them, but has no more.
    fn admit(&mut self, origin: Origin, row_id: i64) -> bool {
        if origin == Origin::Host {
            self.touch(row_id);
            return true;
        }
        if self.places.get(row_id).is_some() { !self.places.hosted(row_id) } else { !self.touched(row_id) }
    }

    /// Makes sure that setting the places of these rows, and removing them later, cannot fail. Ends with
    /// `places.release`. Errors: `OutOfMemory`; then nothing is reserved.
    pub(super) fn reserve(&mut self, row_ids: &[i64]) -> Result<()> {
        self.tombstones.reserve(self.tombstones.len() + self.live + row_ids.len())?;
        self.places.reserve(row_ids)
    }

    /// Gives room for tombstones back that only more rows would need. To be called with the append lock held: what an append has
    /// reserved would be lost.
    pub(super) fn trim(&mut self) {
        self.tombstones.trim(self.tombstones.len() + self.live);
    }
}
