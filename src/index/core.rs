//! One generation of the linked rows: graph, vectors and entries by slot. Compaction replaces it as a whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Cost, Graph};
use crate::memory::{Charge, Memory};
use crate::options::Options;
use crate::rooms::{Group, Rooms, Visit};
use crate::rows::{Entries, SLOTS_MAX};
use crate::vectors::{Arena, Space};

/// Nodes a graph has room for at first.
const FIRST_CAPACITY: usize = 1024;
/// Bytes of a node in usearch's node table.
const NODE_BYTES: usize = size_of::<usize>();

/// Linked rows. The entry of a slot is published once the slot's row is linked; until then it is empty.
pub(crate) struct Core {
    /// Who may use the graph: `Link` for `add`, `Search` for readers, `Exclusive` for growth and replacement.
    pub(crate) rooms: Rooms,
    pub(crate) arena: Arena,
    pub(crate) entries: Entries,
    pub(crate) graph: Graph,
    options: Options,
    /// Slots promised to additions; never less than the graph's nodes.
    taken: AtomicUsize,
    /// Slots that have room in the graph, vector and entry memory, and a charge for their links.
    room: AtomicUsize,
    growth: Mutex<Growth>,
}

struct Growth {
    /// Nodes the graph has room for.
    capacity: usize,
    /// Rows announced by `hint`.
    hint: usize,
    /// The graph's bytes: its table, its links, and the links expected for the slots in `room`.
    charge: Charge,
}

impl Core {
    /// Without rows, and without memory for any.
    pub(crate) fn new(options: &Options, space: &Space, memory: &Arc<Memory>) -> Result<Arc<Self>> {
        let arena = Arena::new(memory, space.dimensions)?;
        let graph = Graph::new(options, &arena, space.dimensions)?;
        Ok(Arc::new(Self {
            rooms: Rooms::new(),
            arena,
            entries: Entries::new(memory)?,
            graph,
            options: options.clone(),
            taken: AtomicUsize::new(0),
            room: AtomicUsize::new(0),
            growth: Mutex::new(Growth { capacity: 0, hint: 0, charge: memory.charge(0)? }),
        }))
    }

    /// Slots that need no further growth.
    pub(crate) fn capacity(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// The next growth makes room in the graph for `rows` rows at once. Takes the growth lock.
    pub(crate) fn hint(&self, rows: usize) {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner).hint = rows;
    }

    /// Takes one slot for an addition; false if `grow` has to come first.
    pub(crate) fn take_slot(&self) -> bool {
        let room = self.room.load(Ordering::Acquire);
        let take = |taken| (taken < room).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Hands back a slot that was not used.
    pub(crate) fn return_slot(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds `vector`, in stored form, to the graph. Its entry is the caller's to publish. `_visit`: to this core's
    /// room, as `Link`. Needs a taken slot, which is handed back on error. Errors: `OutOfMemory`.
    pub(crate) fn add(&self, vector: &[f32], _visit: &Visit<'_>) -> Result<(u32, Cost)> {
        // SAFETY: the visit keeps readers and growth out; every addition has taken a slot below `room`, for which
        // the arena has memory, and the graph gives out as many slots as there are additions.
        let added = unsafe { self.graph.add(&self.arena, vector) };
        added.inspect_err(|_| self.return_slot())
    }

    /// Makes room for at least one more slot. Waits for the room when the graph's table has to move, so the caller
    /// must not be inside. Errors: `OutOfMemory`; the core stays usable.
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
        let expected = (room - self.graph.len()) as f64 * self.link_bytes();
        growth.charge.resize(self.graph.table_bytes() + self.graph.link_bytes() + expected as usize)?;
        self.room.store(room, Ordering::Release);
        Ok(())
    }

    /// Expected bytes of a node's links. Its head is key and level; a list is a count and the neighbours; and a node
    /// has `1 / (m - 1)` lists above the bottom on average, as each level keeps one node in `m`.
    fn link_bytes(&self) -> f64 {
        let list = |links: usize| (4 + 4 * links) as f64;
        6.0 + list(self.options.m0) + list(self.options.m) / (self.options.m - 1) as f64
    }
}
