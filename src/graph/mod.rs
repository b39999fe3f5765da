//! The safe face of usearch's `index_gt`: an HNSW graph over slots whose rows lie in an [`Arena`].
//!
//! A node and its row have the same slot. Slots are given out densely, from 0, in the order of additions. Source of the algorithms: Malkov
//! & Yashunin 2018 (additions: algorithm 1). Searches are in [`crate::graph::search_layer`].

mod crowds;
pub(crate) mod lock;
mod pins;
pub(crate) mod search_layer;
mod turns;
pub(crate) mod visited;

use crate::sync::{Condvar, Mutex};
use std::num::NonZero;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::options::Metric;
use crate::options::{LEVELS_MAX, Options};
use crate::vectors::{Arena, Codec, Functions};

#[cxx::bridge(namespace = "vss")]
mod ffi {
    /// The parameters of a graph.
    struct Shape {
        m: usize,
        m0: usize,
        /// Bytes of a row of the arena.
        row_bytes: usize,
        /// `log2` of the slots of an arena segment.
        segment_shift: u32,
        /// Addresses of the codec's functions; see [`crate::vectors::Functions`].
        measure: usize,
        measure4: usize,
        length: usize,
        prepare_row: usize,
        /// See [`relax`].
        relax: f32,
        /// See [`super::crowds::share`].
        crowd: f32,
    }

    /// One addition.
    struct Step {
        /// Points to the address of the arena's table of segment addresses; that address changes when the arena grows.
        table: *const usize,
        /// The row to add, as a row and as a query; null for a step that adds nothing.
        row: *const u8,
        query: *const u8,
        /// Address of the codec.
        codec: usize,
        /// Scratch memory in which a row is turned into a query.
        scratch: *mut u8,
        /// Candidates kept: the paper's `efConstruction`.
        ef: usize,
        /// Number of the scratch space to use; see `Threads`.
        thread: usize,
    }

    /// What an addition did.
    struct Added {
        slot: u32,
        visited: usize,
        distances: usize,
    }

    /// One level of the graph.
    struct LevelSize {
        nodes: usize,
        edges: usize,
        max_edges: usize,
        allocated_bytes: usize,
    }

    extern "Rust" {
        type Links<'a>;
        fn level(self: &Links<'_>, slot: u32) -> usize;
        fn read(self: &Links<'_>, slot: u32, level: usize, out: &mut [u32]) -> usize;
    }

    unsafe extern "C++" {
        include!("graph/hnsw.hpp");

        type Hnsw;
        fn make_hnsw(shape: &Shape) -> Result<UniquePtr<Hnsw>>;
        fn load_hnsw(shape: &Shape, rows: usize, threads: usize, entry: u32, links: &Links) -> Result<UniquePtr<Hnsw>>;
        fn reserve(self: &Hnsw, rows: usize, threads: usize) -> Result<()>;
        fn add(self: &Hnsw, step: &Step) -> Result<Added>;
        fn relink(self: &Hnsw, step: &Step, slot: u32) -> Result<Added>;
        fn consolidate(
            self: &Hnsw,
            step: &Step,
            deleted: &[u64],
            begin: u32,
            end: u32,
            orphans: &mut Vec<u32>,
        ) -> Result<usize>;
        fn clear(self: &Hnsw, slot: u32);
        fn attach(self: &Hnsw, from: u32, to: u32) -> bool;
        fn size(self: &Hnsw) -> usize;
        fn entry(self: &Hnsw) -> u32;
        fn link_bytes(self: &Hnsw) -> usize;
        fn table_bytes(self: &Hnsw) -> usize;
        fn level(self: &Hnsw, slot: u32) -> usize;
        fn neighbors(self: &Hnsw, slot: u32, level: usize, out: &mut [u32]) -> usize;
        fn prefetch(self: &Hnsw, slot: u32);
        fn levels(self: &Hnsw) -> Result<Vec<LevelSize>>;
    }
}

// SAFETY: no member is bound to a thread: usearch locks what additions share, its scratch space is chosen by
// `Step::thread` (one caller each, see `Threads`), and the groups of calls that must not meet are kept apart as the
// safety sections of `Graph` demand.
unsafe impl Send for ffi::Hnsw {}
// SAFETY: as above.
unsafe impl Sync for ffi::Hnsw {}

/// The links of a graph to be made, node by node. Impossible links are left out of the graph.
pub trait Source {
    /// Topmost level of a node: at most `LEVELS_MAX`, and at most that of the node where walks begin.
    fn level(&self, slot: u32) -> usize;
    /// Writes the neighbours of a node on one of its levels to `out`, which has room for the most that a node may have there; returns how
    /// many. The neighbours must be nodes of the same graph that have this level, too.
    fn links(&self, slot: u32, level: usize, out: &mut [u32]) -> usize;
}

/// A source that C++ calls.
struct Links<'a>(&'a dyn Source);

impl Links<'_> {
    fn level(&self, slot: u32) -> usize {
        self.0.level(slot).min(LEVELS_MAX)
    }

    fn read(&self, slot: u32, level: usize, out: &mut [u32]) -> usize {
        self.0.links(slot, level, out)
    }
}

/// The factor by which distances between the neighbours of a node are enlarged while its links are chosen, so that more of them stay (the
/// alpha of Vamana: Subramanya et al. 2019, for squared distances). On sentence embeddings of unequal norms it raises the recall of `L2sq`
/// by two points; for directions it costs half a point.
fn relax(metric: Metric) -> f32 {
    match metric {
        Metric::L2sq => 1.2,
        Metric::Cosine | Metric::Ip => 1.0,
    }
}

/// What one walk through the graph cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Nodes expanded.
    pub visited: usize,
    /// Distances computed.
    pub distances: usize,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { visited: self.visited + other.visited, distances: self.distances + other.distances }
    }
}

/// One level of the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Nodes on this level.
    pub nodes: usize,
    /// Links between them, each direction counted.
    pub edges: usize,
    /// Links for which the nodes have room.
    pub max_edges: usize,
    /// Bytes of the nodes' adjacency lists.
    pub allocated_bytes: usize,
}

/// An HNSW graph. It stores only links; the calls that need rows get the arena.
///
/// # Invariants
/// `add` and `relink` calls may run beside each other, and readers may run beside each other, but never one kind beside the other. All
/// other calls run alone. A method is unsafe where the caller has to ensure this; [`lock::GraphLock`] does so.
pub struct Graph {
    hnsw: cxx::UniquePtr<ffi::Hnsw>,
    threads: Threads,
    ef_construction: usize,
    links_max: usize,
    codec: Arc<Codec>,
}

impl Graph {
    /// An empty graph over the rows of `arena`, which are rows of the codec. It has room for no node. Errors: `OutOfMemory`.
    pub fn new(options: &Options, arena: &Arena, codec: &Arc<Codec>) -> Result<Self> {
        let hnsw = ffi::make_hnsw(&shape(options, arena, codec)).map_err(failed)?;
        Ok(Self::of(hnsw, Threads::new(), options, codec))
    }

    /// The graph of `rows` nodes that `source` describes, without room for more. The caller puts the rows into `arena`, before or after
    /// this call. `entry`: a node with the highest level. Errors: `OutOfMemory`. Panics if `entry` is not below `rows`.
    pub fn load(
        options: &Options,
        arena: &Arena,
        codec: &Arc<Codec>,
        rows: usize,
        entry: u32,
        source: &dyn Source,
    ) -> Result<Self> {
        assert!((entry as usize) < rows, "walks begin at node {entry} of {rows}");
        let threads = Threads::new();
        let shape = shape(options, arena, codec);
        let hnsw = ffi::load_hnsw(&shape, rows, threads.count, entry, &Links(source)).map_err(failed)?;
        Ok(Self::of(hnsw, threads, options, codec))
    }

    fn of(hnsw: cxx::UniquePtr<ffi::Hnsw>, threads: Threads, options: &Options, codec: &Arc<Codec>) -> Self {
        let links_max = options.m0.max(options.m);
        Self { hnsw, threads, ef_construction: options.ef_construction, links_max, codec: Arc::clone(codec) }
    }

    /// Makes room for `rows` nodes in total. Errors: `OutOfMemory`; the graph stays as it was.
    ///
    /// # Safety
    /// No other call runs on this graph.
    pub unsafe fn reserve(&self, rows: usize) -> Result<()> {
        self.hnsw.reserve(rows, self.threads.count).map_err(failed)
    }

    /// Adds a row of the codec: copies it into the arena at its new slot, and links it. Waits for a free scratch space. Errors:
    /// `OutOfMemory`, also if no room was reserved; then nothing is added.
    ///
    /// # Safety
    /// Only other `add` calls run on this graph. The arena is always the one given to `new`, and has memory for at
    /// least as many slots as the graph has nodes once all running `add` calls are done.
    pub unsafe fn add(&self, arena: &Arena, row: &[u8]) -> Result<(u32, Cost)> {
        let added = self.step(arena, row, |step| self.hnsw.add(step))?;
        Ok((added.slot, Cost { visited: added.visited, distances: added.distances }))
    }

    /// Gives another row of the codec to a node that no node links to, and links it on the levels that it has. The row may be the node's
    /// own; then other nodes may link to it. Waits for a free scratch space. Errors: `OutOfMemory`; by then other nodes may link to it.
    ///
    /// # Safety
    /// As for `add`. The node exists, was cleared unless it keeps its row, and no other call relinks it.
    pub unsafe fn relink(&self, arena: &Arena, slot: u32, row: &[u8]) -> Result<Cost> {
        assert!((slot as usize) < self.len());
        let added = self.step(arena, row, |step| self.hnsw.relink(step, slot))?;
        Ok(Cost { visited: added.visited, distances: added.distances })
    }

    /// Removes the deleted nodes (a bit a slot) from the links of the other nodes in `slots`. Where a node linked to a deleted one, the
    /// neighbours of the deleted node compete for the place. Nodes left without links are added to `orphans`. (Source: the delete
    /// consolidation of FreshDiskANN, Singh et al. 2021, with HNSW's selection of neighbours.) Errors: `OutOfMemory`.
    ///
    /// # Safety
    /// No other call runs on this graph. The arena is always the one given to `new`.
    pub unsafe fn consolidate(
        &self,
        arena: &Arena,
        deleted: &[u64],
        slots: std::ops::Range<u32>,
        orphans: &mut Vec<u32>,
    ) -> Result<()> {
        assert!(slots.end as usize <= self.len());
        let mut scratch = vec![0; self.codec.scratch_bytes()];
        let step = ffi::Step {
            table: arena.table().cast(),
            row: std::ptr::null(),
            query: std::ptr::null(),
            codec: &raw const *self.codec as usize,
            scratch: scratch.as_mut_ptr(),
            ef: 0,
            thread: 0,
        };
        self.hnsw.consolidate(&step, deleted, slots.start, slots.end, orphans).map_err(failed)?;
        Ok(())
    }

    /// Forgets the links of a node.
    ///
    /// # Safety
    /// No other call runs on this graph.
    pub unsafe fn clear(&self, slot: u32) {
        assert!((slot as usize) < self.len());
        self.hnsw.clear(slot);
    }

    /// Adds a link on the bottom level from node `from` to node `to`, if `from` has room. Returns whether it was added.
    ///
    /// # Safety
    /// No other call runs on this graph.
    pub unsafe fn attach(&self, from: u32, to: u32) -> bool {
        assert!((from.max(to) as usize) < self.len());
        self.hnsw.attach(from, to)
    }

    /// Where every walk begins: a node with the highest level. Panics without nodes.
    ///
    /// # Safety
    /// No `add` runs on this graph.
    pub unsafe fn entry(&self) -> u32 {
        assert!(!self.is_empty());
        self.hnsw.entry()
    }

    /// Nodes, including those whose `add` still runs.
    pub fn len(&self) -> usize {
        self.hnsw.size()
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most links of a node on one level.
    pub fn links_max(&self) -> usize {
        self.links_max
    }

    /// Bytes of adjacency lists.
    pub fn link_bytes(&self) -> usize {
        self.hnsw.link_bytes()
    }

    /// Bytes of everything but adjacency lists: the node table, locks, scratch spaces.
    pub fn table_bytes(&self) -> usize {
        self.hnsw.table_bytes()
    }

    /// Topmost level of a node. Panics if there is no such node.
    ///
    /// # Safety
    /// Only readers run on this graph.
    pub unsafe fn level(&self, slot: u32) -> usize {
        assert!((slot as usize) < self.len());
        self.hnsw.level(slot)
    }

    /// The neighbours of a node on one level; none above its topmost level. They are written to `out`, as many as fit; a node has at most
    /// [`links_max`](Self::links_max). Panics if there is no such node.
    ///
    /// # Safety
    /// Only readers run on this graph.
    pub unsafe fn neighbors<'a>(&self, slot: u32, level: usize, out: &'a mut [u32]) -> &'a [u32] {
        assert!((slot as usize) < self.len());
        let count = self.hnsw.neighbors(slot, level, out);
        &out[..count]
    }

    /// Starts to fetch a node's links on the bottom level into the cache. Panics if there is no such node.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        assert!((slot as usize) < self.len());
        self.hnsw.prefetch(slot);
    }

    /// Sizes of the levels, bottom first. Visits every node. Errors: `OutOfMemory`.
    ///
    /// # Safety
    /// Only readers run on this graph.
    pub unsafe fn levels(&self) -> Result<Vec<LevelStats>> {
        let levels = self.hnsw.levels().map_err(failed)?;
        let stats = |level: ffi::LevelSize| LevelStats {
            nodes: level.nodes,
            edges: level.edges,
            max_edges: level.max_edges,
            allocated_bytes: level.allocated_bytes,
        };
        Ok(levels.into_iter().map(stats).collect())
    }

    /// Calls `add` with a step that adds a row, and a scratch space for it.
    fn step(
        &self,
        arena: &Arena,
        row: &[u8],
        add: impl FnOnce(&ffi::Step) -> std::result::Result<ffi::Added, cxx::Exception>,
    ) -> Result<ffi::Added> {
        let query = self.codec.prepare_row(row);
        let mut scratch = vec![0; self.codec.scratch_bytes()];
        let thread = self.threads.take();
        let step = ffi::Step {
            table: arena.table().cast(),
            row: row.as_ptr(),
            query: query.as_ptr(),
            codec: &raw const *self.codec as usize,
            scratch: scratch.as_mut_ptr(),
            ef: self.ef_construction,
            thread: thread.id,
        };
        add(&step).map_err(failed)
    }
}

fn shape(options: &Options, arena: &Arena, codec: &Codec) -> ffi::Shape {
    let Functions { measure, measure4, length, prepare_row } = codec.functions();
    ffi::Shape {
        m: options.m,
        m0: options.m0,
        row_bytes: codec.row_bytes(),
        segment_shift: arena.shift(),
        measure,
        measure4,
        length,
        prepare_row,
        relax: relax(options.metric),
        crowd: crowds::share(options.metric),
    }
}

/// The library has few messages, and all mean that memory or room for nodes ran out.
fn failed(error: cxx::Exception) -> Error {
    Error::new(ErrorKind::OutOfMemory, format!("HNSW graph: {}", error.what()))
}

/// The scratch spaces of a graph. Each serves one caller at a time.
struct Threads {
    free: Mutex<Vec<usize>>,
    freed: Condvar,
    count: usize,
}

impl Threads {
    /// As many scratch spaces as processors, but at least 4, because hosts may use more threads than processors, and at most 64, because
    /// each costs some kilobytes.
    fn new() -> Self {
        let count = std::thread::available_parallelism().map_or(4, NonZero::get).clamp(4, 64);
        Self { free: Mutex::new((0..count).rev().collect()), freed: Condvar::new(), count }
    }

    /// Waits until a scratch space is free, and takes the one that was returned last: its memory is warm, and a single caller always gets
    /// the same one, so that its graphs are reproducible.
    fn take(&self) -> Thread<'_> {
        let mut free = self.free.lock();
        loop {
            match free.pop() {
                Some(id) => return Thread { threads: self, id },
                None => self.freed.wait(&mut free),
            }
        }
    }
}

struct Thread<'a> {
    threads: &'a Threads,
    id: usize,
}

impl Drop for Thread<'_> {
    fn drop(&mut self) {
        self.threads.free.lock().push(self.id);
        self.threads.freed.notify_one();
    }
}
