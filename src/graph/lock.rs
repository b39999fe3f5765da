//! The lock that owns a graph and the rows of its nodes: a guard for each way to use them, with the calls of that way and no others.
//!
//! usearch lets additions run beside each other, and readers beside each other, but not one beside the other; everything else wants
//! to be alone.

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::pins::{Earlier, Pins};
use super::search_layer::{Neighbor, SearchLayer};
use super::turns::{Access, Turn, Turns};
use super::{Cost, Graph, LevelStats, Source};
use crate::error::Result;
use crate::memory::Memory;
use crate::options::{Metric, Options};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::vectors::{Arena, Codec, Query};

/// A graph with the vectors of its nodes. No guard may be taken while the same thread holds another one of the same lock.
pub(crate) struct GraphLock {
    turns: Turns,
    /// Readers of rows that do not take a turn; slots become free when those have ended that may have seen rows in them.
    pins: Pins,
    graph: Graph,
    arena: Arena,
    codec: Arc<Codec>,
    /// Nodes that the graph's table has place for.
    reserved: AtomicUsize,
    /// Slots that additions may take: at most `reserved`, and as many as have memory for their vectors.
    open: AtomicUsize,
    /// Slots promised to additions; never less than the graph's nodes.
    taken: AtomicUsize,
}

/// Some nodes were cleared: nobody links to them, but those may still read their rows who have pinned them before.
pub(crate) struct Cleared(Earlier);

/// A slot whose node was cleared: nobody links to it or reads its row, and nobody else may use it again.
pub(crate) struct FreeSlot(u32);

impl FreeSlot {
    pub(crate) fn slot(&self) -> u32 {
        self.0
    }
}

impl GraphLock {
    /// An empty graph without place for nodes. Errors: `OutOfMemory`.
    pub(crate) fn new(options: &Options, codec: &Arc<Codec>, memory: &Arc<Memory>) -> Result<Self> {
        let arena = Arena::new(memory, codec.row_bytes())?;
        let graph = Graph::new(options, &arena, codec)?;
        Ok(Self::of(graph, arena, codec, 0))
    }

    /// A graph of `nodes` nodes that are linked as `source` says, with memory for their rows, which are zeros: see
    /// [`row_mut`](Self::row_mut). `entry`: a node with the highest level. Errors: `OutOfMemory`. Panics if there is no such node.
    pub(crate) fn load(
        options: &Options,
        codec: &Arc<Codec>,
        memory: &Arc<Memory>,
        nodes: usize,
        entry: u32,
        source: &dyn Source,
    ) -> Result<Self> {
        let arena = Arena::new(memory, codec.row_bytes())?;
        let graph = Graph::load(options, &arena, codec, nodes, entry, source)?;
        arena.extend(nodes)?;
        Ok(Self::of(graph, arena, codec, nodes))
    }

    fn of(graph: Graph, arena: Arena, codec: &Arc<Codec>, nodes: usize) -> Self {
        Self {
            turns: Turns::new(),
            pins: Pins::new(),
            graph,
            arena,
            codec: Arc::clone(codec),
            reserved: AtomicUsize::new(nodes),
            open: AtomicUsize::new(nodes),
            taken: AtomicUsize::new(nodes),
        }
    }

    /// The row of a slot, to be written. Panics if it has no memory.
    pub(crate) fn row_mut(&mut self, slot: u32) -> &mut [u8] {
        // SAFETY: nobody else uses the graph, not even by a guard.
        unsafe { self.arena.place(slot) }
    }

    /// Waits until nobody adds nodes, and keeps it so. For searches; any number of them.
    pub(crate) fn read(&self) -> ReadGuard<'_> {
        ReadGuard { lock: self, _turn: self.turns.enter(Access::Read) }
    }

    /// Waits until nobody reads, and keeps it so, unless `refused` when it begins to. For additions of one node; any number of them.
    pub(crate) fn link_unless(&self, refused: &dyn Fn() -> bool) -> Option<LinkGuard<'_>> {
        Some(LinkGuard { lock: self, _turn: self.turns.enter_unless(Access::Link, refused)? })
    }

    /// Waits until nobody else uses the graph, and keeps it so.
    pub(crate) fn exclusive(&self) -> ExclusiveGuard<'_> {
        ExclusiveGuard(ReadGuard { lock: self, _turn: self.turns.enter(Access::Exclusive) })
    }

    /// The same, unless `refused` when it would begin to wait.
    pub(crate) fn exclusive_unless(&self, refused: &dyn Fn() -> bool) -> Option<ExclusiveGuard<'_>> {
        Some(ExclusiveGuard(ReadGuard { lock: self, _turn: self.turns.enter_unless(Access::Exclusive, refused)? }))
    }

    /// Waits until those who use the graph now have left it.
    pub(crate) fn drain(&self) {
        drop(self.exclusive());
    }

    /// While it is held no slot becomes free that was not cleared before. Takes no turn: additions go on. Waits for nobody.
    pub(crate) fn pin(&self) -> PinGuard<'_> {
        PinGuard { lock: self, group: self.pins.pin() }
    }

    /// Whether the slots of this clearing may be freed: nobody holds a pin any more that is older.
    pub(crate) fn may_free(&self, cleared: &Cleared) -> bool {
        self.pins.have_ended(&cleared.0)
    }

    /// Nodes, including those that are being added.
    pub(crate) fn len(&self) -> usize {
        self.graph.len()
    }

    /// Bytes of the node table and of all links.
    pub(crate) fn bytes(&self) -> usize {
        self.graph.table_bytes() + self.graph.link_bytes()
    }

    /// Slots that additions may take.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Slots that additions have taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Nodes that the table has place for.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Gives memory to the vectors of at least `slots` slots; returns how many have that and a place in the table, `most` at most. To be
    /// called by one thread at a time. Errors: `OutOfMemory`.
    pub(crate) fn extend(&self, slots: usize, most: usize) -> Result<usize> {
        self.arena.extend(slots)?;
        Ok(self.reserved().min(self.arena.rows()).min(most).max(self.open()))
    }

    /// Lets additions take so many slots, which `extend` has returned.
    pub(crate) fn let_take(&self, slots: usize) {
        self.open.store(slots, Ordering::Release);
    }

    /// Takes one slot for an addition; false if none is open.
    fn take_slot(&self) -> bool {
        let open = self.open.load(Ordering::Acquire);
        let take = |taken| (taken < open).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// Nobody adds nodes, or changes links or rows.
pub(crate) struct ReadGuard<'a> {
    lock: &'a GraphLock,
    _turn: Turn<'a>,
}

impl ReadGuard<'_> {
    /// Nodes.
    pub(crate) fn len(&self) -> usize {
        self.lock.len()
    }

    /// Where every search begins: a node with the highest level; `None` without nodes.
    pub(crate) fn entry(&self) -> Option<u32> {
        // SAFETY: nobody adds nodes.
        (self.len() > 0).then(|| unsafe { self.lock.graph.entry() })
    }

    /// Topmost level of a node. Panics if there is no such node.
    pub(crate) fn level(&self, slot: u32) -> usize {
        // SAFETY: only readers use the graph.
        unsafe { self.lock.graph.level(slot) }
    }

    /// The neighbours of a node on one level, none above its own. `out` takes them, as many as fit (`m0` do). Panics if there is no such
    /// node.
    #[inline]
    pub(crate) fn neighbors<'b>(&self, slot: u32, level: usize, out: &'b mut [u32]) -> &'b [u32] {
        // SAFETY: only readers use the graph.
        unsafe { self.lock.graph.neighbors(slot, level, out) }
    }

    /// Most links of a node on one level.
    pub(crate) fn links_max(&self) -> usize {
        self.lock.graph.links_max()
    }

    /// Starts to fetch a node's links on the bottom level into the cache. Panics if there is no such node.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.lock.graph.prefetch(slot);
    }

    /// Sizes of the levels, bottom first. Visits every node. Errors: `OutOfMemory`.
    pub(crate) fn levels(&self) -> Result<Vec<LevelStats>> {
        // SAFETY: only readers use the graph.
        unsafe { self.lock.graph.levels() }
    }

    /// The row of a node. Panics if there is no such node.
    #[inline]
    pub(crate) fn row(&self, slot: u32) -> &[u8] {
        assert!((slot as usize) < self.lock.arena.rows());
        // SAFETY: memory of the arena is zeroed or written, and nobody writes it.
        unsafe { self.lock.arena.get(slot) }
    }

    /// What the graph's distances are.
    pub(crate) fn metric(&self) -> Metric {
        self.lock.codec.space.metric
    }

    /// The norm of a node's row, see [`Codec::norm`]. Panics if there is no such node.
    #[inline]
    pub(crate) fn norm(&self, slot: u32) -> f32 {
        self.lock.codec.norm(self.row(slot))
    }

    /// The row of a node as a query. Panics if there is no such node.
    pub(crate) fn prepare_row(&self, slot: u32) -> Query<'_> {
        self.lock.codec.prepare_row(self.row(slot))
    }

    /// Calls `each` with the slots, in order, and their distances to `query`. Panics if a slot has no memory.
    #[inline]
    pub(crate) fn measure(&self, query: &Query<'_>, slots: &[u32], each: impl FnMut(u32, f32)) {
        // SAFETY: as in `row`.
        unsafe { self.lock.arena.measure(&self.lock.codec, query, slots, each) };
    }

    /// A search that has not begun. `ef`: nodes it keeps, at least 1. `passes`: the nodes that it may keep.
    pub(crate) fn search_layer<'b, P: Fn(u32) -> bool>(
        &'b self,
        query: &'b Query<'b>,
        ef: usize,
        passes: P,
    ) -> SearchLayer<'b, P> {
        SearchLayer::new(self, query, ef, passes)
    }

    /// The nodes nearest to `query` that pass, nearest first; approximate. `ef`: the paper's, and most that are returned but for those
    /// equal to others.
    pub(crate) fn nearest(&self, query: &Query<'_>, ef: usize, passes: impl Fn(u32) -> bool) -> (Vec<Neighbor>, Cost) {
        self.search_layer(query, ef, passes).run(None)
    }

    /// The same for the vector of a node, as if that were not in the graph.
    pub(crate) fn nearest_beside(
        &self,
        query: &Query<'_>,
        ef: usize,
        node: Option<u32>,
        passes: impl Fn(u32) -> bool,
    ) -> Vec<Neighbor> {
        self.search_layer(query, ef, passes).run(node).0
    }
}

/// Others may add nodes, too; nobody reads.
pub(crate) struct LinkGuard<'a> {
    lock: &'a GraphLock,
    _turn: Turn<'a>,
}

impl LinkGuard<'_> {
    /// Whether it is a guard of this lock.
    pub(crate) fn is_of(&self, lock: &GraphLock) -> bool {
        std::ptr::eq(self.lock, lock)
    }

    /// Adds a row and links it; `None` if no slot is open. Waits for a free scratch space. Errors: `OutOfMemory`;
    /// nothing is added then.
    pub(crate) fn add(&self, row: &[u8]) -> Result<Option<u32>> {
        let lock = self.lock;
        if !lock.take_slot() {
            return Ok(None);
        }
        // SAFETY: the guard keeps readers and changes out. Every addition has taken an open slot, which has memory in the arena, and the
        // graph gives out as many slots as there are additions.
        let added = unsafe { lock.graph.add(&lock.arena, row) };
        match added {
            Ok((slot, _)) => Ok(Some(slot)),
            Err(error) => {
                lock.taken.fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Gives a free slot's node a row, and links it, on the levels it has. Waits for a free scratch space. Errors:
    /// `OutOfMemory`; the node may be linked to by then.
    ///
    /// # Safety
    /// The slot was freed from this graph.
    pub(crate) unsafe fn relink(&self, slot: FreeSlot, row: &[u8]) -> Result<u32> {
        // SAFETY: the guard keeps readers and changes out; nobody else has this free slot.
        unsafe { self.lock.graph.relink(&self.lock.arena, slot.0, row) }.map(|_| slot.0)
    }

    /// Links a node that has lost all its links anew, with the row that it has. Errors: as for `relink`.
    ///
    /// # Safety
    /// Nobody else relinks the node.
    pub(crate) unsafe fn relink_orphan(&self, slot: u32) -> Result<()> {
        // SAFETY: the guard keeps readers and changes out, and the caller others who relink it; so nobody writes its row.
        unsafe { self.lock.graph.relink(&self.lock.arena, slot, self.lock.arena.get(slot)) }.map(|_| ())
    }
}

/// Nobody else uses the graph. Also a [`ReadGuard`].
pub(crate) struct ExclusiveGuard<'a>(ReadGuard<'a>);

impl<'a> Deref for ExclusiveGuard<'a> {
    type Target = ReadGuard<'a>;

    fn deref(&self) -> &ReadGuard<'a> {
        &self.0
    }
}

impl ExclusiveGuard<'_> {
    /// Makes place for `nodes` nodes in total in the table. Errors: `OutOfMemory`; the graph stays as it was.
    pub(crate) fn reserve(&mut self, nodes: usize) -> Result<()> {
        let lock = self.0.lock;
        // SAFETY: nobody else uses the graph.
        unsafe { lock.graph.reserve(nodes) }?;
        lock.reserved.fetch_max(nodes, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the `deleted` nodes (a bit a slot) out of the links of the other nodes in `slots`. Where a node linked to a deleted one, the
    /// neighbours of that one compete for its place. Nodes left without links are added to `orphans`. Errors: `OutOfMemory`.
    pub(crate) fn consolidate(&mut self, deleted: &[u64], slots: Range<u32>, orphans: &mut Vec<u32>) -> Result<()> {
        let lock = self.0.lock;
        // SAFETY: nobody else uses the graph.
        unsafe { lock.graph.consolidate(&lock.arena, deleted, slots, orphans) }
    }

    /// Forgets the links of these nodes. `None` if somebody holds a pin that is older than the last call: then nothing happens.
    ///
    /// # Safety
    /// Nobody links to these nodes, and none is free.
    pub(crate) unsafe fn clear(&mut self, slots: &[u32]) -> Option<Cleared> {
        let lock = self.0.lock;
        let earlier = lock.pins.change_group()?;
        for &slot in slots {
            // SAFETY: nobody else uses the graph.
            unsafe { lock.graph.clear(slot) };
        }
        Some(Cleared(earlier))
    }

    /// The slots of nodes that were cleared become free, unless a pin is held that is older: then nothing happens; returns whether they
    /// are. Never allocates, if `free` has room.
    ///
    /// # Safety
    /// `cleared` is what `clear` has returned for them. Nobody takes their entries for published since. Each slot is named once.
    pub(crate) unsafe fn free(&mut self, slots: &[u32], cleared: &Cleared, free: &mut Vec<FreeSlot>) -> bool {
        let may_free = self.0.lock.may_free(cleared);
        if may_free {
            free.extend(slots.iter().map(|&slot| FreeSlot(slot)));
        }
        may_free
    }

    /// Makes a node link to another one on the bottom level, if it has room; returns whether it does.
    pub(crate) fn attach(&mut self, from: u32, to: u32) -> bool {
        // SAFETY: nobody else uses the graph.
        unsafe { self.0.lock.graph.attach(from, to) }
    }
}

/// Rows stay where they are: no slot becomes free that has one.
pub(crate) struct PinGuard<'a> {
    lock: &'a GraphLock,
    group: usize,
}

impl Drop for PinGuard<'_> {
    fn drop(&mut self) {
        self.lock.pins.unpin(self.group);
    }
}

impl PinGuard<'_> {
    /// As [`ReadGuard::measure`].
    ///
    /// # Safety
    /// The nodes of these slots have been added, and the guard was taken before that was found out.
    pub(crate) unsafe fn measure(&self, query: &Query<'_>, slots: &[u32], each: impl FnMut(u32, f32)) {
        // SAFETY: their rows are written, and stay so as the slots do not become free.
        unsafe { self.lock.arena.measure(&self.lock.codec, query, slots, each) };
    }

    /// The same from each of several queries. See [`Arena::measure_all`].
    ///
    /// # Safety
    /// As for `measure`.
    pub(crate) unsafe fn measure_all(
        &self,
        queries: &[Query<'_>],
        slots: &[u32],
        each: impl FnMut(usize, &[u32], &[f32], &[f32]),
    ) {
        // SAFETY: as in `measure`.
        unsafe { self.lock.arena.measure_all(&self.lock.codec, queries, slots, each) };
    }

    /// Whether distances are estimates.
    pub(crate) fn estimates(&self) -> bool {
        self.lock.codec.estimates()
    }

    /// The norm of a slot's row, see [`Codec::norm`].
    ///
    /// # Safety
    /// As for `measure`.
    #[inline]
    pub(crate) unsafe fn norm(&self, slot: u32) -> f32 {
        // SAFETY: as in `measure`.
        self.lock.codec.norm(unsafe { self.lock.arena.get(slot) })
    }

    /// The row of a slot.
    ///
    /// # Safety
    /// As for `measure`.
    pub(crate) unsafe fn row(&self, slot: u32) -> &[u8] {
        // SAFETY: as in `measure`.
        unsafe { self.lock.arena.get(slot) }
    }
}
