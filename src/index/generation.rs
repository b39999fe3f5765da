//! One generation of the linked rows: graph, vectors and entries by slot. Compaction replaces it as a whole.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::sync::Arc;

use super::maintain::consolidate::Consolidation;
use super::maintain::reconnect::Reconnection;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::lock::{Group, Rooms, Visit};
use crate::graph::search_layer::{Neighbor, SearchLayer};
use crate::graph::{Cost, Graph, Source};
use crate::index::rows::{SlotState, SlotStates, State};
use crate::memory::{Charge, Memory};
use crate::options::{Options, SLOTS_MAX};
use crate::vectors::{Arena, Space};

/// Nodes a graph has room for at first.
const FIRST_CAPACITY: usize = if cfg!(feature = "model") { 4 } else { 1024 };
/// Slots used again that are remembered until the graph is stored.
const RELINKED_MAX: usize = 1 << 14;
/// Bytes of a node in usearch's node table.
const NODE_BYTES: usize = size_of::<usize>();
/// Bytes of a node's key and level.
const HEAD_BYTES: usize = 6;

/// Linked rows. The entry of a slot is published once the slot's row is linked; until then it is empty, and again when
/// the slot is free.
pub(crate) struct Generation {
    /// Who may use the graph: `Link` for additions, `Search` for readers, `Exclusive` for growth and consolidation. Replaced
    /// from inside the `Search` room, which keeps additions out.
    pub(crate) rooms: Rooms,
    pub(crate) arena: Arena,
    pub(crate) entries: SlotStates,
    pub(crate) graph: Graph,
    pub(crate) space: Space,
    options: Options,
    /// Slots promised to additions; never less than the graph's nodes.
    taken: AtomicUsize,
    /// Slots that have room in the graph, vector and entry memory, and a charge for their links.
    room: AtomicUsize,
    growth: Mutex<Growth>,
    pub(super) consolidation: Mutex<Option<Consolidation>>,
    pub(super) reconnection: Mutex<Option<Reconnection>>,
    /// Nodes linked, or freed, since the last pass of `reconnect` began, or the graph was loaded: as many may be out of reach.
    pub(super) unconnected: AtomicUsize,
    /// Slots whose entry is dead. Changed with the index's row lock held.
    dead: AtomicUsize,
    free: Mutex<Free>,
    /// Readers of vectors outside the room; slots become free when there are none.
    scans: RwLock<()>,
}

/// Slots that no node links to, to be used again.
struct Free {
    /// Descending: the lowest is used first, so that new rows stay close to each other in a stored index.
    slots: Vec<u32>,
    /// Slots used again since `links_stored`, `None` if there were more than it has room for or it never was.
    relinked: Option<Vec<u32>>,
    /// Links were changed other than by additions since then.
    links_changed: bool,
    charge: Charge,
}

impl Free {
    fn take(&mut self) -> Option<u32> {
        let slot = self.slots.pop()?;
        if let Some(relinked) = &mut self.relinked {
            if relinked.len() < relinked.capacity() {
                relinked.push(slot);
            } else {
                self.relinked = None;
            }
        }
        Some(slot)
    }
}

struct Growth {
    /// Nodes the graph has room for.
    capacity: usize,
    /// Rows announced by `hint`.
    hint: usize,
    /// The graph's bytes: its table, its links, and the links expected for the slots in `room`.
    charge: Charge,
}

impl Generation {
    /// Expected bytes of a row: vector, links, entry and place.
    pub(super) fn row_bytes(options: &Options, dimensions: usize) -> usize {
        dimensions * size_of::<f32>() + link_bytes(options) as usize + NODE_BYTES + 2 * size_of::<u64>()
    }

    /// Without rows, and without memory for any.
    pub(crate) fn new(options: &Options, space: &Space, memory: &Arc<Memory>) -> Result<Arc<Self>> {
        let arena = Arena::new(memory, space.dimensions)?;
        let graph = Graph::new(options, &arena, space.dimensions)?;
        Ok(Arc::new(Self {
            rooms: Rooms::new(),
            arena,
            entries: SlotStates::new(memory)?,
            graph,
            space: *space,
            options: options.clone(),
            taken: AtomicUsize::new(0),
            room: AtomicUsize::new(0),
            growth: Mutex::new(Growth { capacity: 0, hint: 0, charge: memory.charge(0)? }),
            consolidation: Mutex::new(None),
            reconnection: Mutex::new(None),
            unconnected: AtomicUsize::new(0),
            dead: AtomicUsize::new(0),
            free: Mutex::new(Free {
                slots: Vec::new(),
                relinked: None,
                links_changed: true,
                charge: memory.charge(0)?,
            }),
            scans: RwLock::new(()),
        }))
    }

    /// `rows` nodes linked as `source` says, with memory for their vectors and entries, which are the caller's to set.
    /// `upper`: lists above the bottom level, of all nodes together. `entry`: a node with the highest level. Errors: `OutOfMemory`.
    pub(crate) fn load(
        options: &Options,
        space: &Space,
        memory: &Arc<Memory>,
        rows: usize,
        upper: usize,
        entry: u32,
        source: &dyn Source,
    ) -> Result<Arc<Self>> {
        let mut generation = Self::new(options, space, memory)?;
        if rows == 0 {
            return Ok(generation);
        }
        let loaded = Arc::get_mut(&mut generation).expect("nobody else has it yet");
        let growth = loaded.growth.get_mut().unwrap_or_else(PoisonError::into_inner);
        let bottom = HEAD_BYTES + list_bytes(options.m0);
        growth.charge.resize(rows * (NODE_BYTES + bottom) + upper * list_bytes(options.m))?;
        loaded.graph = Graph::load(options, &loaded.arena, space.dimensions, rows, entry, source)?;
        growth.charge.resize(loaded.graph.table_bytes() + loaded.graph.link_bytes())?;
        growth.capacity = rows;
        loaded.arena.extend(rows)?;
        loaded.entries.extend(rows)?;
        *loaded.taken.get_mut() = rows;
        *loaded.room.get_mut() = rows;
        Ok(generation)
    }

    /// While it is held, the vector of a slot whose entry was published stays what it was. For readers outside the room.
    pub(crate) fn scan(&self) -> RwLockReadGuard<'_, ()> {
        self.scans.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes nearest to a vector in stored form that pass, nearest first; approximate. `width`: most that are
    /// returned, and the paper's `ef`.
    ///
    /// # Safety
    /// Only readers run on the graph.
    pub(crate) unsafe fn nearest(
        &self,
        query: &[f32],
        width: usize,
        passes: impl Fn(u32) -> bool,
    ) -> (Vec<Neighbor>, Cost) {
        // SAFETY: the caller's; arena and space are the graph's own.
        unsafe { SearchLayer::new(&self.graph, &self.arena, &self.space, query, width, passes) }.run()
    }

    /// Slots that need no further growth.
    pub(crate) fn capacity(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// The next growth makes room in the graph for `rows` rows at once. Takes the growth lock.
    pub(crate) fn hint(&self, rows: usize) {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner).hint = rows;
    }

    /// Links `vector`, in stored form: at a free slot, else at a new one. `None` if `grow` has to come first. The entry
    /// is the caller's to publish. `_visit`: to this generation's room, as `Link`. Errors: `OutOfMemory`, with the slot if it
    /// may be linked to by now.
    pub(crate) fn link(
        &self,
        vector: &[f32],
        _visit: &Visit<'_>,
    ) -> std::result::Result<Option<u32>, (Error, Option<u32>)> {
        let free = self.free().take();
        if let Some(slot) = free {
            // SAFETY: the visit keeps readers and consolidations out; nobody links to a free slot, and it is free no more.
            let linked = unsafe { self.graph.relink(&self.arena, slot, vector) };
            self.unconnected.fetch_add(1, Ordering::Relaxed);
            return linked.map(|_| Some(slot)).map_err(|error| (error, Some(slot)));
        }
        if !self.take_slot() {
            return Ok(None);
        }
        // SAFETY: the visit keeps readers and growth out; every addition has taken a slot below `room`, for which
        // the arena has memory, and the graph gives out as many slots as there are additions.
        let added = unsafe { self.graph.add(&self.arena, vector) };
        self.unconnected.fetch_add(1, Ordering::Relaxed);
        added.map(|(slot, _)| Some(slot)).map_err(|error| {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            (error, None)
        })
    }

    /// Takes one slot for an addition; false if there is no room.
    fn take_slot(&self) -> bool {
        let room = self.room.load(Ordering::Acquire);
        let take = |taken| (taken < room).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Makes sure that `slots` more slots can become free. Errors: `OutOfMemory`.
    pub(crate) fn reserve_free(&self, slots: usize) -> Result<()> {
        let mut free = self.free();
        let missing = (free.slots.len() + slots).saturating_sub(free.slots.capacity());
        if missing > 0 {
            free.charge.grow(missing * size_of::<u32>())?;
            let full = |_| Error::new(ErrorKind::OutOfMemory, "out of memory while consolidating an HNSW index");
            free.slots.try_reserve_exact(slots).map_err(full)?;
        }
        Ok(())
    }

    /// Slots that are free.
    pub(super) fn free_slots_count(&self) -> usize {
        self.free().slots.len()
    }

    /// Slots whose rows are not dead, or are being linked.
    pub(super) fn survivors(&self) -> usize {
        self.graph.len().saturating_sub(self.dead() + self.free_slots_count())
    }

    /// Slots whose entry is dead.
    pub(crate) fn dead(&self) -> usize {
        self.dead.load(Ordering::Relaxed)
    }

    /// The entry of this slot is dead from now on. The caller holds the row lock, and says so once.
    pub(crate) fn die(&self, slot: u32) {
        self.entries.at(slot).set_state(State::Dead);
        self.dead.fetch_add(1, Ordering::Relaxed);
    }

    /// So many dead slots are free now. The caller holds the row lock.
    pub(super) fn dead_freed(&self, slots: usize) {
        self.dead.fetch_sub(slots, Ordering::Relaxed);
    }

    /// Slots that were used again since the graph was stored; nothing if nobody knows.
    pub(crate) fn relinked(&self) -> Option<Vec<u32>> {
        self.free().relinked.clone()
    }

    /// Whether links were changed other than by additions since the graph was stored, or it never was.
    pub(crate) fn links_changed(&self) -> bool {
        self.free().links_changed
    }

    /// Links are changed, by a consolidation say.
    pub(super) fn change_links(&self) {
        self.free().links_changed = true;
    }

    /// The graph is stored as it is now.
    pub(crate) fn links_stored(&self) {
        let mut free = self.free();
        free.links_changed = false;
        free.relinked = Some(Vec::with_capacity(RELINKED_MAX));
    }

    /// These slots are free, unless somebody reads vectors outside the room: then nothing happens. Their nodes are cleared and
    /// their entries emptied. The caller is alone in the room, has reserved room for them, and no node links to them.
    pub(crate) fn free_slots(&self, slots: &[u32]) -> bool {
        let Ok(_alone) = self.scans.try_write() else { return false };
        let mut free = self.free();
        for &slot in slots {
            // SAFETY: alone in the room.
            unsafe { self.graph.clear(slot) };
            self.entries.at(slot).store(SlotState::EMPTY);
        }
        self.unconnected.fetch_add(slots.len(), Ordering::Relaxed);
        free.slots.extend_from_slice(slots);
        free.slots.sort_unstable_by(|a, b| b.cmp(a));
        true
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for at least one more slot. Waits for the room when the graph's table has to move, so the caller
    /// must not be inside. Errors: `OutOfMemory`; the generation stays usable.
    pub(crate) fn grow(&self) -> Result<()> {
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.taken.load(Ordering::Relaxed) + 1;
        if rows <= self.room.load(Ordering::Relaxed) {
            return Ok(());
        }
        if rows > SLOTS_MAX {
            return Err(Error::new(ErrorKind::OutOfMemory, format!("an HNSW index holds at most {SLOTS_MAX} rows")));
        }
        if rows > growth.capacity {
            let capacity = (2 * growth.capacity).max(growth.hint).clamp(FIRST_CAPACITY, SLOTS_MAX);
            // The old table lives until its nodes are copied.
            growth.charge.grow(capacity * NODE_BYTES)?;
            let alone = self.rooms.enter(Group::Exclusive);
            // SAFETY: alone in the room, and all calls on the graph are made from inside it.
            let reserved = unsafe { self.graph.reserve(capacity) };
            drop(alone);
            if let Err(error) = reserved {
                growth.charge.shrink(capacity * NODE_BYTES);
                return Err(error);
            }
            growth.capacity = capacity;
        }
        self.arena.extend(rows)?;
        self.entries.extend(rows)?;
        let room = growth.capacity.min(self.arena.rows()).min(self.entries.rows());
        let expected = (room - self.graph.len()) as f64 * link_bytes(&self.options);
        growth.charge.resize(self.graph.table_bytes() + self.graph.link_bytes() + expected as usize)?;
        self.room.store(room, Ordering::Release);
        Ok(())
    }
}

/// Expected bytes of a node's links: its head; a list is a count and the neighbours; and a node has
/// `1 / (m - 1)` lists above the bottom on average, as each level keeps one node in `m`.
fn link_bytes(options: &Options) -> f64 {
    (HEAD_BYTES + list_bytes(options.m0)) as f64 + list_bytes(options.m) as f64 / (options.m - 1) as f64
}

fn list_bytes(links: usize) -> usize {
    size_of::<u32>() * (1 + links)
}
