//! Reconnection: nodes that no walk can reach get a link.
//!
//! A node can lose all links to it while others are added: its neighbours prefer a similar node, or it lies far from everything. Nothing in
//! the graph's algorithms brings such a node back. Under the inner product this happens to about one in a hundred real embeddings with
//! unequal norms.

use crate::sync::atomic::Ordering;

use super::Maintenance;
use crate::bits;
use crate::error::{Error, Result};
use crate::graph::lock::ExclusiveGuard;
use crate::host::Interrupt;
use crate::index::Generation;
use crate::index::progress::UnderWay;
use crate::index::rows::State;
use crate::memory::Charge;

/// Fewest nodes that must have come or gone since the last pass before another one is due.
const CHANGED_MIN: usize = if cfg!(feature = "model") { 2 } else { 64 };
/// Nodes per node that came or went when a pass is due. A pass visits every node; a visit costs a hundredth of linking a node.
const NODES_PER_CHANGED: usize = 2;
/// Nodes visited at a time. Searches wait for them, a fraction of a millisecond.
const VISIT_NODES: usize = 256;

/// Visits that cost as much as the search for a node to link from.
const VISITS_PER_ATTACHED: usize = 128;

/// After this many failed attempts, a pass makes no more costly searches.
const VAIN_MAX: usize = 64;

/// A pass under way. It follows the links of all levels, from the node where walks begin.
pub(in crate::index) struct Reconnection {
    /// Nodes that are reached, a bit each. Nodes added since the pass began are left to the next pass.
    seen: Vec<u64>,
    nodes: usize,
    /// Nodes that are reached, but whose links are not followed yet.
    open: Vec<u32>,
    /// Nodes before this one are reached, or no link to them could be made.
    next: u32,
    /// Failed attempts: nodes that no near node has room to link to.
    vain: usize,
    /// Candidates for a link to an unreached node: as many as when a node is added.
    ef: usize,
    progress: UnderWay,
    _charge: Charge,
}

impl Maintenance {
    /// Whether enough nodes came or went since the last pass for another one. Takes no lock.
    pub fn reconnect_due(&self) -> bool {
        let generation = self.rows.generation();
        generation.unconnected.load(Ordering::Relaxed) >= CHANGED_MIN.max(generation.graph.len() / NODES_PER_CHANGED)
    }

    /// Goes on with a pass, or begins one that is due. Returns about how many nodes it visited: at least `max_nodes` unless the pass ends
    /// or pauses earlier; 0 when there is nothing to do, or when another thread does it or copies the graph. Takes the graph's exclusive
    /// guard for some nodes at a time. Errors: `OutOfMemory`, `Interrupted`; the pass can go on later.
    pub fn reconnect(&self, max_nodes: usize, interrupt: &dyn Interrupt) -> Result<usize> {
        let generation = self.rows.generation();
        let Some(mut reconnection) = generation.reconnection.try_lock() else { return Ok(0) };
        if reconnection.is_none() && self.reconnect_due() {
            *reconnection = Some(self.begin_reconnection(&generation)?);
        }
        let Some(running) = reconnection.as_mut() else { return Ok(0) };
        let is_free = |node| !matches!(generation.states.at(node).load().state, State::Live | State::Tombstone);
        let mut visited = 0;
        while visited < max_nodes && !self.is_paused() {
            interrupt.check()?;
            let Some(goes_on) = running.visit(&generation, &|| self.is_paused(), &is_free) else { break };
            visited += VISIT_NODES;
            if !goes_on {
                *reconnection = None;
                break;
            }
        }
        Ok(visited)
    }

    /// A whole pass over a generation that no other thread knows yet. It adds two steps a node to `work`.
    pub(in crate::index) fn reconnect_all(
        &self,
        generation: &Generation,
        interrupt: &dyn Interrupt,
        work: &UnderWay,
    ) -> Result<()> {
        let mut reconnection = self.begin_reconnection(generation)?;
        // A copy has no free slots.
        while reconnection.visit(generation, &|| false, &|_| false) == Some(true) {
            work.add(VISIT_NODES);
            interrupt.check()?;
        }
        Ok(())
    }

    fn begin_reconnection(&self, generation: &Generation) -> Result<Reconnection> {
        let full = |_| Error::out_of_memory("while linking an HNSW index");
        let changed = generation.unconnected.load(Ordering::Relaxed);
        let nodes = generation.graph.len();
        let words = nodes.div_ceil(64);
        let charge = self.setup().memory.charge(words * size_of::<u64>() + nodes * size_of::<u32>())?;
        let (mut seen, mut open) = (Vec::new(), Vec::new());
        seen.try_reserve_exact(words).map_err(full)?;
        open.try_reserve_exact(nodes).map_err(full)?;
        seen.resize(words, 0);
        generation.unconnected.fetch_sub(changed, Ordering::Relaxed);
        let mut reconnection = Reconnection {
            seen,
            nodes,
            open,
            next: 0,
            vain: 0,
            ef: self.setup().options.ef_construction,
            // Each node is visited once along the links, and once in order.
            progress: generation.reconnecting.begin(2 * nodes),
            _charge: charge,
        };
        if let Some(entry) = generation.graph.read().entry() {
            reconnection.see(entry);
        }
        Ok(reconnection)
    }
}

impl Reconnection {
    /// Visits up to `VISIT_NODES` nodes. Returns false if there are no more; `None` if `refused` is true; it is asked once, before the wait
    /// for the graph. `is_free`: whether a node without links belongs to a slot that is free or will be. If not, the node has lost its
    /// links in a consolidation.
    fn visit(
        &mut self,
        generation: &Generation,
        refused: &dyn Fn() -> bool,
        is_free: &dyn Fn(u32) -> bool,
    ) -> Option<bool> {
        let mut graph = generation.graph.exclusive_unless(refused)?;
        let mut links = vec![0; graph.links_max()];
        let mut left = VISIT_NODES;
        while left > 0 {
            left -= 1;
            self.progress.add(1);
            if let Some(node) = self.open.pop() {
                for level in 0..=graph.level(node) {
                    graph.neighbors(node, level, &mut links).iter().for_each(|&node| self.see(node));
                }
            } else if (self.next as usize) < self.nodes {
                let node = self.next;
                let mut is_linked = || !graph.neighbors(node, 0, &mut links).is_empty();
                if !self.seen(node) && (is_linked() || !is_free(node)) {
                    self.attach(generation, &mut graph, node);
                    left = left.saturating_sub(VISITS_PER_ATTACHED);
                }
                self.next += 1;
            } else {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Makes the nearest reached node that has room link to this one.
    fn attach(&mut self, generation: &Generation, graph: &mut ExclusiveGuard<'_>, node: u32) {
        let mut attach = |passes: &dyn Fn(u32) -> bool| {
            let near = graph.nearest(&graph.prepare_row(node), self.ef, passes).0;
            near.iter().any(|other| self.seen(other.slot()) && graph.attach(other.slot(), node))
        };
        // The first search finds the nearest nodes, reached or not. The second returns reached nodes only, and may walk far before it finds
        // some, so it comes second, and is given up after `VAIN_MAX` failures.
        if attach(&|_| true) || self.vain < VAIN_MAX && attach(&|other| self.seen(other)) {
            generation.change_links();
            self.see(node);
        } else {
            self.vain += 1;
        }
    }

    fn seen(&self, node: u32) -> bool {
        bits::is_set(&self.seen, node as usize)
    }

    fn see(&mut self, node: u32) {
        if (node as usize) < self.nodes && bits::insert(&mut self.seen, node as usize) {
            self.open.push(node);
        }
    }
}
