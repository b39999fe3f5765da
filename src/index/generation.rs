//! One generation of the linked rows: graph, vectors and states by slot. Compaction replaces it as a whole.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::cmp::Reverse;
use std::sync::Arc;

use super::maintain::consolidate::Consolidation;
use super::maintain::reconnect::Reconnection;
use super::progress::Progress;
use super::setup::Setup;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Source;
use crate::graph::lock::{Cleared, ExclusiveGuard, FreeSlot, GraphLock, LinkGuard, PinGuard};
use crate::index::rows::{SlotState, SlotStates, State};
use crate::memory::Charge;
use crate::options::{Options, SLOTS_MAX};
use crate::vectors::Query;

/// Nodes a graph has room for at first.
const FIRST_CAPACITY: usize = if cfg!(feature = "model") { 4 } else { 1024 };
/// Most reused slots that are remembered until the graph is stored.
const RELINKED_MAX: usize = 1 << 14;
/// Bytes of a node in usearch's node table.
const NODE_BYTES: usize = size_of::<usize>();
/// Bytes of a node's key and level.
const HEAD_BYTES: usize = 6;

/// Linked rows. The state of a slot is empty until the slot's row is linked; then the state is published. It is empty again when the slot
/// is free.
pub(crate) struct Generation {
    /// The graph and the vectors. Whoever replaces the generation holds a read guard of the graph, which keeps additions out.
    pub(crate) graph: GraphLock,
    pub(crate) states: SlotStates,
    options: Options,
    growth: Mutex<Growth>,
    pub(super) consolidation: Mutex<Option<Consolidation>>,
    pub(super) reconnection: Mutex<Option<Reconnection>>,
    /// How far the running consolidation is.
    pub(super) consolidating: Arc<Progress>,
    /// How far the running pass of `reconnect` is.
    pub(super) reconnecting: Arc<Progress>,
    /// Nodes linked or freed since the last pass of `reconnect` began, or since the graph was loaded. At most this many may be out of
    /// reach.
    pub(super) unconnected: AtomicUsize,
    /// Slots whose state is dead. Changed with the index's row lock held.
    dead: AtomicUsize,
    /// Dead slots for whose work no statement is charged; see [`Debts`](super::debts::Debts). Changed with the row lock held.
    unowed: AtomicUsize,
    free: Mutex<Free>,
}

/// Slots that no node links to, to be reused.
struct Free {
    /// Descending: the lowest is used first, so that new rows stay close to each other in a stored index.
    slots: Vec<FreeSlot>,
    /// Slots reused since `links_stored`. `None` if they were more than `RELINKED_MAX`, or if `links_stored` was never called.
    relinked: Option<Vec<u32>>,
    /// Links were changed since `links_stored`, other than by additions.
    links_changed: bool,
    charge: Charge,
}

impl Free {
    fn take(&mut self) -> Option<FreeSlot> {
        let slot = self.slots.pop()?;
        if let Some(relinked) = &mut self.relinked {
            if relinked.len() < relinked.capacity() {
                relinked.push(slot.slot());
            } else {
                self.relinked = None;
            }
        }
        Some(slot)
    }
}

struct Growth {
    /// Rows announced by `hint`.
    hint: usize,
    /// The graph's bytes: its table, its links, and the expected links of the open slots.
    charge: Charge,
}

impl Generation {
    /// Expected bytes of a row: vector, links, state and place.
    pub(super) fn row_bytes(setup: &Setup) -> usize {
        setup.codec.row_bytes() + link_bytes(&setup.options) as usize + NODE_BYTES + 2 * size_of::<u64>()
    }

    /// A generation without rows, and without memory for any.
    pub(crate) fn new(setup: &Setup) -> Result<Arc<Self>> {
        let Setup { options, codec, memory, .. } = setup;
        Ok(Arc::new(Self {
            graph: GraphLock::new(options, codec, memory)?,
            states: SlotStates::new(memory)?,
            options: options.clone(),
            growth: Mutex::new(Growth { hint: 0, charge: memory.charge(0)? }),
            consolidation: Mutex::new(None),
            reconnection: Mutex::new(None),
            consolidating: Arc::default(),
            reconnecting: Arc::default(),
            unconnected: AtomicUsize::new(0),
            dead: AtomicUsize::new(0),
            unowed: AtomicUsize::new(0),
            free: Mutex::new(Free {
                slots: Vec::new(),
                relinked: None,
                links_changed: true,
                charge: memory.charge(0)?,
            }),
        }))
    }

    /// A generation of `rows` nodes, linked as `source` says. Their vectors and states have memory; the caller sets them. `upper`: lists
    /// above the bottom level, of all nodes together. `entry`: a node with the highest level. Errors: `OutOfMemory`.
    pub(crate) fn load(setup: &Setup, rows: usize, upper: usize, entry: u32, source: &dyn Source) -> Result<Arc<Self>> {
        let mut generation = Self::new(setup)?;
        let Setup { options, codec, memory, .. } = setup;
        if rows == 0 {
            return Ok(generation);
        }
        let loaded = Arc::get_mut(&mut generation).expect("nobody else has it yet");
        let growth = loaded.growth.get_mut();
        let bottom = HEAD_BYTES + list_bytes(options.m0);
        growth.charge.resize(rows * (NODE_BYTES + bottom) + upper * list_bytes(options.m))?;
        loaded.graph = GraphLock::load(options, codec, memory, rows, entry, source)?;
        growth.charge.resize(loaded.graph.bytes())?;
        loaded.states.extend(rows)?;
        Ok(generation)
    }

    /// Keeps the row of every slot whose state is published unchanged while the result lives. Additions go on.
    pub(crate) fn pin_rows(&self) -> PinnedRows<'_> {
        PinnedRows { states: &self.states, pin: self.graph.pin() }
    }

    /// Slots that need no further growth.
    pub(crate) fn capacity(&self) -> usize {
        self.graph.open()
    }

    /// The next growth makes room in the graph for `rows` rows at once. Takes the growth lock.
    pub(crate) fn hint(&self, rows: usize) {
        self.growth.lock().hint = rows;
    }

    /// Links a row, at a free slot if there is one, otherwise at a new one. Returns `None` if `grow` has to come first. The caller
    /// publishes the state. `links`: a guard of this generation's graph. Errors: `OutOfMemory`, with the slot if other nodes may link to it
    /// by now.
    pub(crate) fn link(
        &self,
        row: &[u8],
        links: &LinkGuard<'_>,
    ) -> std::result::Result<Option<u32>, (Error, Option<u32>)> {
        assert!(links.is_of(&self.graph), "a guard of another generation");
        let free = self.free().take();
        if let Some(free) = free {
            let slot = free.slot();
            // SAFETY: the list of free slots is this graph's.
            let linked = unsafe { links.relink(free, row) };
            self.unconnected.fetch_add(1, Ordering::Relaxed);
            return linked.map(Some).map_err(|error| (error, Some(slot)));
        }
        let added = links.add(row).map_err(|error| (error, None))?;
        if added.is_some() {
            self.unconnected.fetch_add(1, Ordering::Relaxed);
        }
        Ok(added)
    }

    /// Makes sure that `slots` more slots can become free. Errors: `OutOfMemory`.
    pub(crate) fn reserve_free(&self, slots: usize) -> Result<()> {
        let mut free = self.free();
        let missing = (free.slots.len() + slots).saturating_sub(free.slots.capacity());
        if missing > 0 {
            free.charge.grow(missing * size_of::<FreeSlot>())?;
            let full = |_| Error::out_of_memory("while consolidating an HNSW index");
            free.slots.try_reserve_exact(slots).map_err(full)?;
        }
        Ok(())
    }

    /// Slots that are free.
    pub(super) fn free_slots_count(&self) -> usize {
        self.free().slots.len()
    }

    /// Slots that are neither dead nor free. Some of their rows may still be being linked.
    pub(super) fn survivors(&self) -> usize {
        self.graph.len().saturating_sub(self.dead() + self.free_slots_count())
    }

    /// Slots whose state is dead.
    pub(crate) fn dead(&self) -> usize {
        self.dead.load(Ordering::Relaxed)
    }

    /// Dead slots for whose work no statement is charged. Until they are free, they count as if their rows were still there.
    pub(crate) fn unowed(&self) -> usize {
        self.unowed.load(Ordering::Relaxed)
    }

    /// Dead slots that statements owe to free.
    pub(super) fn owed(&self) -> usize {
        self.dead().saturating_sub(self.unowed())
    }

    /// Marks a slot dead. Called once a slot, with the row lock held.
    pub(crate) fn die(&self, slot: u32) {
        self.states.at(slot).set_state(State::Dead);
        self.dead.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets how many dead slots no statement owes; at most all of them. The caller holds the row lock.
    pub(super) fn set_unowed(&self, slots: usize) {
        self.unowed.store(slots.min(self.dead()), Ordering::Relaxed);
    }

    /// Notes that `slots` dead slots are free now, counting those that are owed first. The caller holds the row lock.
    pub(super) fn dead_freed(&self, slots: usize) {
        self.dead.fetch_sub(slots, Ordering::Relaxed);
        self.set_unowed(self.unowed());
    }

    /// Slots reused since the graph was stored; `None` if they are not known.
    pub(crate) fn relinked(&self) -> Option<Vec<u32>> {
        self.free().relinked.clone()
    }

    /// Whether the graph was never stored, or its links have changed since then other than by additions.
    pub(crate) fn links_changed(&self) -> bool {
        self.free().links_changed
    }

    /// Notes that links change other than by additions, as in a consolidation.
    pub(super) fn change_links(&self) {
        self.free().links_changed = true;
    }

    /// Notes that the graph is stored as it is now.
    pub(crate) fn links_stored(&self) {
        let mut free = self.free();
        free.links_changed = false;
        free.relinked = Some(Vec::with_capacity(RELINKED_MAX));
    }

    /// The nodes of these slots lose their links, so that nothing leads to them or from them, unless somebody has pinned rows since before
    /// the last time: then nothing happens. `graph`: of this generation. No node links to them.
    pub(crate) fn clear_slots(&self, slots: &[u32], graph: &mut ExclusiveGuard<'_>) -> Option<Cleared> {
        // SAFETY: as the caller says; their states are dead or empty.
        unsafe { graph.clear(slots) }
    }

    /// These slots, which were cleared, are free, unless somebody has pinned rows since before that: then nothing happens. Their states
    /// are emptied. `graph`: of this generation. The caller has reserved room for them.
    pub(crate) fn free_slots(&self, slots: &[u32], cleared: &Cleared, graph: &mut ExclusiveGuard<'_>) -> bool {
        let mut free = self.free();
        // SAFETY: their states are dead or empty, and stay so; they come from this generation's own lists of the dead.
        if !unsafe { graph.free(slots, cleared, &mut free.slots) } {
            return false;
        }
        for &slot in slots {
            self.states.at(slot).store(SlotState::EMPTY);
        }
        self.unconnected.fetch_add(slots.len(), Ordering::Relaxed);
        free.slots.sort_unstable_by_key(|free| Reverse(free.slot()));
        true
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock()
    }

    /// Makes room for at least one more slot. When the table has to move, this waits for the graph, so the caller must hold no guard of it.
    /// Returns false if `refused` is true; it is asked once, before the wait. Errors: `OutOfMemory`; the generation stays usable.
    pub(crate) fn grow(&self, refused: &dyn Fn() -> bool) -> Result<bool> {
        let mut growth = self.growth.lock();
        let rows = self.graph.taken() + 1;
        if rows <= self.graph.open() {
            return Ok(true);
        }
        if rows > SLOTS_MAX {
            return Err(Error::new(ErrorKind::OutOfMemory, format!("an HNSW index holds at most {SLOTS_MAX} rows")));
        }
        if rows > self.graph.reserved() {
            let capacity = (2 * self.graph.reserved()).max(growth.hint).clamp(FIRST_CAPACITY, SLOTS_MAX);
            // The old table lives until its nodes are copied.
            growth.charge.grow(capacity * NODE_BYTES)?;
            let reserved = self.graph.exclusive_unless(refused).map(|mut graph| graph.reserve(capacity));
            if !matches!(reserved, Some(Ok(_))) {
                growth.charge.shrink(capacity * NODE_BYTES);
                return reserved.unwrap_or(Ok(())).map(|()| false);
            }
        }
        self.states.extend(rows)?;
        let open = self.graph.extend(rows, self.states.rows())?;
        let expected = (open - self.graph.len()) as f64 * link_bytes(&self.options);
        growth.charge.resize(self.graph.bytes() + expected as usize)?;
        self.graph.let_take(open);
        Ok(true)
    }
}

/// The rows of published slots, which do not change while this lives. Other rows are linked meanwhile.
pub(crate) struct PinnedRows<'a> {
    states: &'a SlotStates,
    pin: PinGuard<'a>,
}

impl PinnedRows<'_> {
    /// Calls `each` with every one of `slots` that holds a row, in order, with its distance to `query`, and with its norm (see
    /// [`Codec::norm`]; 0 unless the codec estimates). `scratch`: room for slots.
    pub(crate) fn measure(
        &self,
        query: &Query<'_>,
        slots: impl Iterator<Item = u32>,
        scratch: &mut Vec<u32>,
        mut each: impl FnMut(u32, f32, f32),
    ) {
        self.keep_published(slots, scratch);
        let estimates = self.pin.estimates();
        // SAFETY: a state is published when its slot's node has been added, and the pin is older than that was read.
        unsafe {
            self.pin.measure(query, scratch, |slot, distance| {
                each(slot, distance, if estimates { self.pin.norm(slot) } else { 0.0 });
            });
        }
    }

    /// As `measure`, for several queries; see [`crate::vectors::Arena::measure_all`]. The rows come in no particular order.
    pub(crate) fn measure_all(
        &self,
        queries: &[Query<'_>],
        slots: impl Iterator<Item = u32>,
        scratch: &mut Vec<u32>,
        each: impl FnMut(usize, &[u32], &[f32], &[f32]),
    ) {
        self.keep_published(slots, scratch);
        // SAFETY: as in `measure`.
        unsafe { self.pin.measure_all(queries, scratch, each) };
    }

    /// Fills `published` with those of `slots` that hold a row.
    fn keep_published(&self, slots: impl Iterator<Item = u32>, published: &mut Vec<u32>) {
        let holds = |slot: &u32| matches!(self.states.at(*slot).load().state, State::Live | State::Tombstone);
        published.clear();
        published.extend(slots.filter(holds));
    }

    /// The row of a slot, if it holds one.
    pub(crate) fn get(&self, slot: u32) -> Option<&[u8]> {
        let published = matches!(self.states.at(slot).load().state, State::Live | State::Tombstone);
        // SAFETY: as in `measure`.
        published.then(|| unsafe { self.pin.row(slot) })
    }
}

/// Expected bytes of a node's links: its head, and its lists. A list is a count and the neighbours. A node has `1 / (m - 1)` lists above
/// the bottom on average, because each level keeps one node in `m`.
fn link_bytes(options: &Options) -> f64 {
    (HEAD_BYTES + list_bytes(options.m0)) as f64 + list_bytes(options.m) as f64 / (options.m - 1) as f64
}

fn list_bytes(links: usize) -> usize {
    size_of::<u32>() * (1 + links)
}
