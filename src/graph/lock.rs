//! The lock that owns a graph and the rows of its nodes. There is a guard for each way to use them, and each guard has only the calls that
//! are allowed that way.
//!
//! In usearch, additions may run beside each other, and readers beside each other, but not one kind beside the other. All other calls must
//! run alone.

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

/// A graph with the rows of its nodes. A thread that holds a guard of this lock must not take another one; only pins may be taken in
/// addition.
pub(crate) struct GraphLock {
    turns: Turns,
    /// Readers of rows that do not take a turn; slots become free when those have ended that may have seen rows in them.
    pins: Pins,
    graph: Graph,
    arena: Arena,
    codec: Arc<Codec>,
    /// Nodes for which the graph's table has room.
    reserved: AtomicUsize,
    /// Slots that additions may take: at most `reserved`, and only slots whose rows have memory.
    open: AtomicUsize,
    /// Slots that additions have taken; never less than the graph's nodes.
    taken: AtomicUsize,
}

/// Proof that nodes were cleared: no node links to them. Readers that had pinned rows by then may still read theirs.
pub(crate) struct Cleared(Earlier);

/// A slot whose node was cleared: no node links to it, nobody reads its row, and only the owner of this may use it again.
pub(crate) struct FreeSlot(u32);

impl FreeSlot {
    pub(crate) fn slot(&self) -> u32 {
        self.0
    }
}

/// The rows of consecutive slots. Nobody else has them.
pub(crate) struct RowsMut<'a> {
    slots: Range<u32>,
    arena: &'a Arena,
}

impl RowsMut<'_> {
    /// The slots of the rows that are left.
    pub(crate) fn slots(&self) -> Range<u32> {
        self.slots.clone()
    }

    /// Splits off the rows of the first slots, at most `count`.
    pub(crate) fn split_first(&mut self, count: usize) -> Self {
        let middle = self.slots.start + count.min(self.slots.len()) as u32;
        let first = Self { slots: self.slots.start..middle, arena: self.arena };
        self.slots.start = middle;
        first
    }
}

impl<'a> Iterator for RowsMut<'a> {
    type Item = &'a mut [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.slots.next()?;
        // SAFETY: nobody else uses the graph, not even by a guard; and of all `RowsMut` only this one has, and had, the slot.
        Some(unsafe { self.arena.place(slot) })
    }
}

impl GraphLock {
    /// An empty graph without room for nodes. Errors: `OutOfMemory`.
    pub(crate) fn new(options: &Options, codec: &Arc<Codec>, memory: &Arc<Memory>) -> Result<Self> {
        let arena = Arena::new(memory, codec.row_bytes())?;
        let graph = Graph::new(options, &arena, codec)?;
        Ok(Self::of(graph, arena, codec, 0))
    }

    /// A graph of `nodes` nodes that are linked as `source` says, with memory for their rows, which are zeros: see
    /// [`rows_mut`](Self::rows_mut). `entry`: a node with the highest level. Errors: `OutOfMemory`. Panics if there is no such node.
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

    /// The rows of all nodes, to be written.
    pub(crate) fn rows_mut(&mut self) -> RowsMut<'_> {
        RowsMut { slots: 0..*self.reserved.get_mut() as u32, arena: &self.arena }
    }

    /// Waits until nobody adds nodes, and keeps it so. For searches; any number of them.
    pub(crate) fn read(&self) -> ReadGuard<'_> {
        ReadGuard { lock: self, _turn: self.turns.enter(Access::Read) }
    }

    /// Waits until nobody reads or changes the graph, and keeps it so. `None` if `refused` is true; it is asked once, before the wait. For
    /// additions of one node; any number at once.
    pub(crate) fn link_unless(&self, refused: &dyn Fn() -> bool) -> Option<LinkGuard<'_>> {
        Some(LinkGuard { lock: self, _turn: self.turns.enter_unless(Access::Link, refused)? })
    }

    /// Waits until nobody else uses the graph, and keeps it so.
    pub(crate) fn exclusive(&self) -> ExclusiveGuard<'_> {
        ExclusiveGuard(ReadGuard { lock: self, _turn: self.turns.enter(Access::Exclusive) })
    }

    /// As `exclusive`, but `None` if `refused` is true; it is asked once, before the wait.
    pub(crate) fn exclusive_unless(&self, refused: &dyn Fn() -> bool) -> Option<ExclusiveGuard<'_>> {
        Some(ExclusiveGuard(ReadGuard { lock: self, _turn: self.turns.enter_unless(Access::Exclusive, refused)? }))
    }

    /// Waits until all present users of the graph have left it.
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

    /// Nodes for which the table has room.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Gives memory to the rows of at least `slots` slots. Returns how many slots have both that and room in the table, but at most `most`
    /// or those already open. Called by one thread at a time. Errors: `OutOfMemory`.
    pub(crate) fn extend(&self, slots: usize, most: usize) -> Result<usize> {
        self.arena.extend(slots)?;
        Ok(self.reserved().min(self.arena.rows()).min(most).max(self.open()))
    }

    /// Lets additions take slots below `slots`, a number that `extend` has returned.
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

/// While it lives, nobody adds nodes, or changes links or rows.
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

    /// The neighbours of a node on one level; none above its topmost level. They are written to `out`, as many as fit; a node has at most
    /// [`links_max`](Self::links_max). Panics if there is no such node.
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

    /// The metric of the graph's distances.
    pub(crate) fn metric(&self) -> Metric {
        self.lock.codec.space.metric
    }

    /// The norm of a node's row; see [`Codec::norm`]. Panics if there is no such node.
    #[inline]
    pub(crate) fn norm(&self, slot: u32) -> f32 {
        self.lock.codec.norm(self.row(slot))
    }

    /// The row of a node as a query. Panics if there is no such node.
    pub(crate) fn prepare_row(&self, slot: u32) -> Query<'_> {
        self.lock.codec.prepare_row(self.row(slot))
    }

    /// Calls `each` with every slot, in order, and its distance to `query`. Panics if a slot has no memory.
    #[inline]
    pub(crate) fn measure(&self, query: &Query<'_>, slots: &[u32], each: impl FnMut(u32, f32)) {
        // SAFETY: as in `row`.
        unsafe { self.lock.arena.measure(&self.lock.codec, query, slots, each) };
    }

    /// A search that has not begun. `ef`: nodes that it keeps, at least 1. `passes`: whether it may keep a node.
    pub(crate) fn search_layer<'b, P: Fn(u32) -> bool>(
        &'b self,
        query: &'b Query<'b>,
        ef: usize,
        passes: P,
    ) -> SearchLayer<'b, P> {
        SearchLayer::new(self, query, ef, passes)
    }

    /// The nodes nearest to `query` that pass, nearest first; approximate. `ef`: the paper's. At most `ef` nodes are returned, plus others
    /// that are equal to some of these or of a crowd.
    pub(crate) fn nearest(&self, query: &Query<'_>, ef: usize, passes: impl Fn(u32) -> bool) -> (Vec<Neighbor>, Cost) {
        self.search_layer(query, ef, passes).run(None)
    }

    /// As [`nearest`](Self::nearest), as if `node` were not in the graph.
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

/// While it lives, nobody reads or changes the graph, but others may add nodes, too.
pub(crate) struct LinkGuard<'a> {
    lock: &'a GraphLock,
    _turn: Turn<'a>,
}

impl LinkGuard<'_> {
    /// Whether this is a guard of `lock`.
    pub(crate) fn is_of(&self, lock: &GraphLock) -> bool {
        std::ptr::eq(self.lock, lock)
    }

    /// Adds a row and links it; `None` if no slot is open. Waits for a free scratch space. Errors: `OutOfMemory`; then nothing is added.
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

    /// Gives a row to the node of a free slot, and links the node on the levels that it has. Waits for a free scratch space. Errors:
    /// `OutOfMemory`; by then other nodes may link to it.
    ///
    /// # Safety
    /// The slot was freed from this graph.
    pub(crate) unsafe fn relink(&self, slot: FreeSlot, row: &[u8]) -> Result<u32> {
        // SAFETY: the guard keeps readers and changes out; nobody else has this free slot.
        unsafe { self.lock.graph.relink(&self.lock.arena, slot.0, row) }.map(|_| slot.0)
    }

    /// Links a node again that has lost all its links; it keeps its row. Errors: as for `relink`.
    ///
    /// # Safety
    /// No other thread relinks the node.
    pub(crate) unsafe fn relink_orphan(&self, slot: u32) -> Result<()> {
        // SAFETY: the guard keeps readers and changes out, and the caller promises that no other thread relinks the node; so nobody writes
        // its row.
        unsafe { self.lock.graph.relink(&self.lock.arena, slot, self.lock.arena.get(slot)) }.map(|_| ())
    }
}

/// While it lives, nobody else uses the graph. It is also a [`ReadGuard`].
pub(crate) struct ExclusiveGuard<'a>(ReadGuard<'a>);

impl<'a> Deref for ExclusiveGuard<'a> {
    type Target = ReadGuard<'a>;

    fn deref(&self) -> &ReadGuard<'a> {
        &self.0
    }
}

impl ExclusiveGuard<'_> {
    /// Makes room for `nodes` nodes in total in the table. Errors: `OutOfMemory`; the graph stays as it was.
    pub(crate) fn reserve(&mut self, nodes: usize) -> Result<()> {
        let lock = self.0.lock;
        // SAFETY: nobody else uses the graph.
        unsafe { lock.graph.reserve(nodes) }?;
        lock.reserved.fetch_max(nodes, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the `deleted` nodes (a bit a slot) from the links of the other nodes in `slots`. Where a node linked to a deleted one, the
    /// neighbours of the deleted node compete for the place. Nodes left without links are added to `orphans`. Errors: `OutOfMemory`.
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

    /// Adds a link on the bottom level from node `from` to node `to`, if `from` has room. Returns whether it was added.
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
    /// The nodes of these slots have been added, and the guard was taken before the caller learnt this from their states.
    pub(crate) unsafe fn measure(&self, query: &Query<'_>, slots: &[u32], each: impl FnMut(u32, f32)) {
        // SAFETY: their rows are written, and stay so as the slots do not become free.
        unsafe { self.lock.arena.measure(&self.lock.codec, query, slots, each) };
    }

    /// As `measure`, from each of several queries. See [`Arena::measure_all`].
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

    /// The norm of a slot's row; see [`Codec::norm`].
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
