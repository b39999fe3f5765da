//! The row table: which rows there are, where each of them is, and the generation to which the slots belong.
//!
//! All of it changes under one lock, the *row lock*. [`RowTable::read`] takes it to look. [`RowTable::change`] takes it to change rows:
//! when its guard is dropped, the guard publishes the counters that are read without the lock. So no change can forget them. A change that
//! touches no counter (a claim, a reservation, the notes of a comparison) is a method of the table.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::Generation;
use super::debts::{Debts, Own};
use super::norms::HeldNorms;
use super::reconcile::Comparison;
use super::setup::Setup;
use super::widths::Widths;
use crate::error::{Error, ErrorKind, Result};
use crate::index::rows::pending::{Block, Claim, Pending};
use crate::index::rows::tombstones::Tombstones;
use crate::index::rows::unrankable::Unrankable;
use crate::index::rows::{AtomicSlotState, Place, Places, ROW_ID_MAX, State};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock};
use crate::vectors::{Norms, Row};

/// Rows that a codec learns from. It learns when this many are pending, or when the first row is linked.
pub(super) const LEARN_ROWS: usize = if cfg!(feature = "model") { 4 } else { 8192 };

/// The rows of an index; see the module.
pub(crate) struct RowTable {
    pub(crate) setup: Arc<Setup>,
    rows: Mutex<Rows>,
    /// Held by the one append that may have room reserved.
    append: Mutex<()>,
    /// Changed with the row lock held, read without it.
    pub(super) unrankable: Unrankable,
    /// The current one. Replaced with the row lock held.
    generation: RwLock<Arc<Generation>>,
    /// Grows with each renewal: rows go back from the graph to the pending area.
    renewals: AtomicUsize,
    pub(crate) widths: Widths,
    published: Published,
}

/// What the row lock guards.
pub(crate) struct Rows {
    /// Every row that is live or a tombstone.
    pub(crate) places: Places,
    pub(crate) pending: Pending,
    /// Has room for every row in `places`, so that deleting never allocates.
    pub(super) tombstones: Tombstones,
    pub(super) live: usize,
    pub(super) norms: HeldNorms,
    pub(super) debts: Debts,
    /// Set while the index is compared with its table.
    pub(super) comparison: Option<Comparison>,
}

/// Counters for readers without the row lock. Written with the lock held, after the rows that they count.
struct Published {
    /// Grows with each change of anything that an image holds.
    changes: AtomicU64,
    /// Pending rows, tombstones included.
    pending: AtomicUsize,
    /// Rows that are not dead.
    alive: AtomicUsize,
    /// Rows that are neither dead nor tombstones.
    live: AtomicUsize,
    /// Bound of the oldest tombstone, `u64::MAX` without one.
    oldest: AtomicU64,
    /// See [`Tombstones::unresolved_after`].
    unresolved: AtomicU64,
    /// The bits of [`RowTable::norms`].
    norms: AtomicU64,
}

impl RowTable {
    /// A table without rows. Errors: `OutOfMemory`.
    pub(super) fn new(setup: Arc<Setup>) -> Result<Self> {
        let (codec, memory) = (&setup.codec, &setup.memory);
        let rows = Rows {
            places: Places::new(memory)?,
            pending: Pending::new(memory, codec.plain().row_bytes(), codec.row_bytes()),
            tombstones: Tombstones::new(memory)?,
            live: 0,
            norms: HeldNorms::EMPTY,
            debts: Debts::default(),
            comparison: None,
        };
        Ok(Self {
            rows: Mutex::new(rows),
            append: Mutex::new(()),
            unrankable: Unrankable::new(memory)?,
            generation: RwLock::new(Generation::new(&setup)?),
            renewals: AtomicUsize::new(0),
            widths: Widths::new(memory)?,
            published: Published {
                changes: AtomicU64::new(0),
                pending: AtomicUsize::new(0),
                alive: AtomicUsize::new(0),
                live: AtomicUsize::new(0),
                oldest: AtomicU64::new(u64::MAX),
                unresolved: AtomicU64::new(u64::MAX),
                norms: AtomicU64::new(Norms::EMPTY.to_bits()),
            },
            setup,
        })
    }

    //-----------------------------------------------------------------------------------------------------------------
    // Without the row lock
    //-----------------------------------------------------------------------------------------------------------------

    /// The current generation.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.generation.read())
    }

    /// How often the graph was renewed. If it was renewed during a search, the search may have missed rows on their way back to the pending
    /// area.
    pub(crate) fn renewals(&self) -> usize {
        self.renewals.load(Ordering::Acquire)
    }

    /// How often anything that an image holds has changed.
    pub(super) fn changes(&self) -> u64 {
        self.published.changes.load(Ordering::Acquire)
    }

    /// Rows pending, tombstones included.
    pub(crate) fn pending(&self) -> usize {
        self.published.pending.load(Ordering::Acquire)
    }

    /// Rows that are not dead.
    pub(crate) fn alive(&self) -> usize {
        self.published.alive.load(Ordering::Relaxed)
    }

    /// Rows that are live.
    pub(crate) fn live(&self) -> usize {
        self.published.live.load(Ordering::Relaxed)
    }

    /// Bound of the oldest tombstone, `u64::MAX` without one.
    pub(super) fn oldest(&self) -> u64 {
        self.published.oldest.load(Ordering::Relaxed)
    }

    /// See [`Tombstones::unresolved_after`].
    pub(super) fn unresolved(&self) -> u64 {
        self.published.unresolved.load(Ordering::Relaxed)
    }

    /// An interval that holds the norms, as given, of all rankable vectors that the index has, or has had since its last compaction. It
    /// includes every row that an earlier search has found.
    pub(crate) fn norms(&self) -> Norms {
        Norms::from_bits(self.published.norms.load(Ordering::Acquire)).unwrap_or(Norms::UNKNOWN)
    }

    /// Whether the distance of every unrankable row is NaN, whatever it is compared with.
    pub(crate) fn unrankable_are_undefined(&self) -> bool {
        self.unrankable.comparable() == 0
    }

    /// Ids of the unrankable rows that are not dead.
    pub(crate) fn unrankable_rows(&self) -> impl Iterator<Item = i64> {
        self.unrankable.rows()
    }

    //-----------------------------------------------------------------------------------------------------------------
    // With the row lock
    //-----------------------------------------------------------------------------------------------------------------

    /// Takes the row lock to look at the rows.
    pub(crate) fn read(&self) -> RowsRead<'_> {
        RowsRead(self.rows.lock())
    }

    /// Whether the index holds both rows, and knows that their vectors are the same. Takes the row lock.
    pub(crate) fn have_same_vector(&self, a: i64, b: i64) -> bool {
        self.which_have_vector_of(a, &[b])[0]
    }

    /// For each of `rows`: whether the index holds it and `a`, and knows that their vectors are the same. Takes the row lock for some
    /// microseconds at a time.
    pub(crate) fn which_have_vector_of(&self, a: i64, rows: &[i64]) -> Vec<bool> {
        const ROWS: usize = 1024;
        let generation = self.generation();
        let pinned = generation.pin_rows();
        let mut same = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(ROWS) {
            let rows = self.read();
            // Slots are those of the current generation.
            let current = Arc::ptr_eq(&generation, &self.generation());
            let vector = |row_id| match rows.places.get(row_id)? {
                Place::Slot(slot) => pinned.get(slot).map(Row::Coded),
                Place::Pending(ticket) => Some(rows.pending.row(ticket)),
                Place::Unrankable(_) => None,
            };
            let wanted = vector(a).filter(|_| current);
            let is_same = |row| wanted.zip(vector(row)).is_some_and(|(a, b)| self.setup.codec.same(a, b));
            same.extend(chunk.iter().map(|&row| is_same(row)));
        }
        same
    }

    /// Takes the row lock to change rows.
    pub(super) fn change(&self) -> RowsChange<'_> {
        let rows = self.rows.lock();
        RowsChange { rows, generation: self.generation(), table: self }
    }

    /// Claims a pending row, to link it. Takes the row lock for an instant, as do the methods below.
    pub(super) fn claim(&self) -> Option<Claim> {
        self.rows.lock().pending.claim()
    }

    /// Hands a claimed row back: it was not linked.
    pub(super) fn unclaim(&self, claim: &Claim) {
        self.rows.lock().pending.unclaim(claim);
    }

    /// From now on some pending rows are claimed first, in random order; see [`Pending::seed_in_random_order`].
    pub(super) fn seed_in_random_order(&self) {
        self.rows.lock().pending.seed_in_random_order();
    }

    /// About one in `rows` pending rows is not linked until `release_held_out`.
    pub(crate) fn hold_out(&self, rows: u32) {
        self.rows.lock().pending.hold_out(rows);
    }

    /// Ends what `hold_out` began.
    pub(crate) fn release_held_out(&self) {
        self.rows.lock().pending.release_held_out();
    }

    /// Rows that statements owe to link; see [`Debts::links`].
    pub(super) fn owed_links(&self) -> usize {
        self.rows.lock().debts.links
    }

    /// Notes that `rows` of the owed rows were linked.
    pub(super) fn pay_links(&self, rows: usize) {
        let debts = &mut self.rows.lock().debts;
        debts.links = debts.links.saturating_sub(rows);
    }

    /// See [`Debts::take_own`].
    pub(super) fn take_own(&self) -> Own {
        self.rows.lock().debts.take_own()
    }

    /// Notes that a statement has ended that deleted `deleted` rows; see [`Debts::settle`].
    pub(super) fn settle_debts(&self, deleted: usize) {
        let mut rows = self.rows.lock();
        let committing = rows.tombstones.unresolved();
        rows.debts.settle(committing);
        let generation = self.generation();
        generation.set_unowed(generation.unowed().saturating_sub(deleted));
    }

    /// Begins a comparison with the table. An earlier one that was not ended is forgotten.
    pub(super) fn begin_comparison(&self, comparison: Comparison) {
        self.rows.lock().comparison = Some(comparison);
    }

    /// Notes that the scan of a comparison has seen these rows. Returns whether one of them is not in the index.
    pub(super) fn seen(&self, row_ids: &[i64]) -> bool {
        let mut rows = self.rows.lock();
        if let Some(comparison) = &mut rows.comparison {
            row_ids.iter().for_each(|&row_id| comparison.see(row_id));
        }
        row_ids.iter().any(|&row_id| rows.places.get(row_id).is_none())
    }

    /// Begins a measurement of norms. Returns the blocks of the rows that are pending now, for `measure_norms`.
    pub(super) fn begin_norms(&self) -> Vec<Arc<Block>> {
        let mut rows = self.rows.lock();
        rows.norms.begin();
        rows.pending.snapshot()
    }

    /// Makes the codec ready, if it is not, with a sample of the pending rows.
    pub(super) fn learn(&self) {
        let codec = &self.setup.codec;
        if codec.is_ready() {
            return;
        }
        let (blocks, pending) = {
            let rows = self.read();
            (rows.pending.snapshot(), rows.pending.len())
        };
        let plain = blocks.iter().flat_map(|block| block.rows()).filter_map(|(slot_state, row)| match row {
            Row::Plain(row) if slot_state.state != State::Dead => Some(row),
            _ => None,
        });
        // Collected once, because rows may die meanwhile.
        let sample: Vec<&[u8]> = plain.step_by(pending.div_ceil(LEARN_ROWS).max(1)).collect();
        codec.learn(sample.into_iter());
    }

    //-----------------------------------------------------------------------------------------------------------------
    // With the append lock, which is taken before the row lock
    //-----------------------------------------------------------------------------------------------------------------

    /// Takes the append lock.
    pub(super) fn appending(&self) -> Appending<'_> {
        Appending { table: self, _append: self.append.lock() }
    }
}

/// The append lock: while it is held, no other thread has room reserved.
pub(super) struct Appending<'a> {
    table: &'a RowTable,
    _append: MutexGuard<'a, ()>,
}

impl Appending<'_> {
    /// Makes sure that these rows can be added or replaced, and later deleted, without failing. `coded`: they come as codes. Errors:
    /// `OutOfMemory`; then nothing is reserved.
    pub(super) fn reserve<'a>(&'a self, row_ids: &'a [i64], coded: bool) -> Result<Reserved<'a>> {
        self.table.rows.lock().reserve(row_ids)?;
        let reserved = Reserved { table: self.table, row_ids };
        self.table.rows.lock().pending.reserve(row_ids.len(), coded)?;
        Ok(reserved)
    }

    /// Gives back memory that only more rows than there are would need.
    pub(super) fn trim(&self) {
        self.table.rows.lock().trim();
    }
}

/// Room for rows. Its drop takes the row lock and gives back what was not used.
pub(super) struct Reserved<'a> {
    table: &'a RowTable,
    row_ids: &'a [i64],
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut rows = self.table.rows.lock();
        rows.pending.release();
        rows.places.release(self.row_ids);
    }
}

/// The row lock, to look at the rows.
pub(crate) struct RowsRead<'a>(MutexGuard<'a, Rows>);

impl Deref for RowsRead<'_> {
    type Target = Rows;

    fn deref(&self) -> &Rows {
        &self.0
    }
}

/// The row lock, to change rows. When dropped, it publishes the counters that are read without the lock.
pub(super) struct RowsChange<'a> {
    rows: MutexGuard<'a, Rows>,
    /// The current one.
    pub(super) generation: Arc<Generation>,
    pub(super) table: &'a RowTable,
}

impl Deref for RowsChange<'_> {
    type Target = Rows;

    fn deref(&self) -> &Rows {
        &self.rows
    }
}

impl DerefMut for RowsChange<'_> {
    fn deref_mut(&mut self) -> &mut Rows {
        &mut self.rows
    }
}

impl Drop for RowsChange<'_> {
    fn drop(&mut self) {
        self.publish();
    }
}

impl RowsChange<'_> {
    /// The state of a row that is not dead.
    pub(super) fn state_of(&self, place: Place) -> &AtomicSlotState {
        match place {
            Place::Slot(slot) => self.generation.states.at(slot),
            Place::Pending(ticket) => self.rows.pending.state_of(ticket),
            Place::Unrankable(position) => self.table.unrankable.state_of(position),
        }
    }

    /// Makes a live row a tombstone. Returns whether the row was live; unknown and deleted rows are ignored.
    pub(super) fn bury(&mut self, row_id: i64, bound: u64) -> bool {
        let Some(place) = self.rows.places.get(row_id) else { return false };
        let slot_state = self.state_of(place);
        if slot_state.load().state != State::Live {
            return false;
        }
        slot_state.set_state(State::Tombstone);
        self.rows.live -= 1;
        self.rows.tombstones.push(bound, row_id);
        true
    }

    /// Kills a tombstone that no snapshot sees any more; the row map forgets it.
    pub(super) fn let_go(&mut self, row_id: i64, place: Place) {
        let owed = self.rows.debts.take_death();
        self.kill(place);
        if !owed && matches!(place, Place::Slot(_)) {
            self.generation.set_unowed(self.generation.unowed() + 1);
        }
        self.rows.places.forget(row_id);
    }

    /// Marks the row at this place dead. The caller updates the row map and the number of live rows.
    pub(super) fn kill(&mut self, place: Place) {
        match place {
            Place::Slot(slot) => self.generation.die(slot),
            Place::Pending(ticket) => self.rows.pending.finish(ticket),
            Place::Unrankable(position) => self.table.unrankable.finish(position),
        }
    }

    /// Makes `generation` the current one. The caller has set the places of all rows to its slots, and keeps linkers out of the old
    /// generation.
    pub(super) fn switch_to(self, generation: Arc<Generation>) {
        // Published first, so that a search that sees the new graph also sees how many rows are pending.
        self.publish();
        *self.table.generation.write() = generation;
    }

    /// As [`switch_to`](Self::switch_to), for a graph without rows. The caller has made the rows of the old graph pending again.
    pub(super) fn renew(self, generation: Arc<Generation>) {
        // In this order, so that a search that sees the new graph either has seen the pending rows or sees that it must begin again.
        self.publish();
        self.table.renewals.fetch_add(1, Ordering::Release);
        self.switch_to(generation);
    }

    fn publish(&self) {
        let (rows, published) = (&self.rows, &self.table.published);
        published.changes.fetch_add(1, Ordering::Release);
        published.pending.store(rows.pending.len(), Ordering::Release);
        published.alive.store(rows.live + rows.tombstones.len(), Ordering::Relaxed);
        published.live.store(rows.live, Ordering::Relaxed);
        published.oldest.store(rows.tombstones.oldest(), Ordering::Relaxed);
        published.unresolved.store(rows.tombstones.unresolved_after(), Ordering::Relaxed);
        published.norms.store(rows.norms.held().to_bits(), Ordering::Release);
    }
}

impl Rows {
    /// Makes sure that setting the places of these rows, and deleting them later, cannot fail. The reservation of places lasts until
    /// `places.release`. Errors: `OutOfMemory`; then nothing is reserved.
    fn reserve(&mut self, row_ids: &[i64]) -> Result<()> {
        self.tombstones.reserve(self.tombstones.len() + self.live + row_ids.len())?;
        self.places.reserve(row_ids)
    }

    /// Gives back room for tombstones that only more rows would need. The caller holds the append lock; otherwise an append could lose its
    /// reservation.
    pub(super) fn trim(&mut self) {
        self.tombstones.trim(self.tombstones.len() + self.live);
    }

    /// Adds a live row of a stored index at this place. Errors: `Corrupt` if the row has a place already or its id is out of range;
    /// `OutOfMemory`.
    pub(super) fn adopt(&mut self, row_id: i64, place: Place) -> Result<()> {
        if !(0..=ROW_ID_MAX).contains(&row_id) || self.places.get(row_id).is_some() {
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

    /// Notes that the host has changed this row, so a comparison disregards what its scan saw before.
    pub(super) fn touch(&mut self, row_id: i64) {
        if let Some(comparison) = &mut self.comparison {
            comparison.touch(row_id);
        }
    }
}
