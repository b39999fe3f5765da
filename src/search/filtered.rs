//! Search of the graph for rows of a set, in two ways: a walk over all nodes that keeps the rows of the set, for sets that
//! hold most rows; and a walk from one row of the set to the next, over other nodes where it must, for smaller ones.
//!
//! Source of the second: Patel et al. 2024, "ACORN": neighbours that are not in the set are replaced by theirs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Hit;
use super::row_set::RowSet;
use crate::bits;
use crate::error::Result;
use crate::graph::Cost;
use crate::index::{Core, Index};
use crate::rooms::Group;
use crate::rows::{Place, State};

/// Nodes near the query that a walk starts from, whether their rows are in the set or not.
const SEEDS_NEAR: usize = 32;
/// If the set should have this many of them, but has fewer by this factor, it lies elsewhere.
const EXPECTED_MIN: usize = 4;
const EXPECTED_FACTOR: usize = 8;
/// Rows of the set that the second walk starts from as well, in case none is near the query.
const SEEDS_SPREAD: usize = 32;
/// Nodes, evenly spread, by which [`Walk::is_lost`] tells where the walk has ended.
const SAMPLE: usize = 64;
/// Nodes of the sample that may be nearer than what was found: one is chance.
const SAMPLE_NEARER: usize = 2;
/// Looking at a node's place in the set costs this share of a distance.
const LOOK_COST: f64 = 0.05;

/// Which nodes a walk steps on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Steps {
    /// On all.
    All,
    /// On rows of the set.
    Set,
}

/// A node with its distance to the query.
#[derive(Clone, Copy)]
struct Node {
    hit: Hit,
    slot: u32,
}

struct Walk<'a> {
    index: &'a Index,
    core: &'a Core,
    query: &'a [f32],
    rows: &'a RowSet,
    steps: Steps,
    width: usize,
    /// A bit for each node that was met; for nodes that are not stepped on, whether their links were followed.
    seen: Vec<u64>,
    /// Nodes to expand, nearest first.
    open: BinaryHeap<Reverse<Node>>,
    /// The nearest rows of the set, at most `width`, farthest first.
    best: BinaryHeap<Node>,
    cost: Cost,
    looks: usize,
}

impl Index {
    /// Hits for about the `width` linked rows of `rows` nearest to `query`, in no order. With a budget nothing if the walk
    /// cost more distances before its end, or if the nearest rows of the set are where the graph does not lead to them.
    /// Takes the row lock for some microseconds, then enters the room as `Search`. Errors: `OutOfMemory`.
    pub(super) fn walk_filtered(
        &self,
        query: &[f32],
        width: usize,
        rows: &RowSet,
        steps: Steps,
        budget: Option<f64>,
    ) -> Result<(Option<Vec<Hit>>, Cost)> {
        let spread = if steps == Steps::Set { self.spread(rows) } else { Vec::new() };
        let core = self.core();
        let _visit = core.rooms.enter(Group::Search);
        let nodes = core.graph.len();
        // SAFETY: the visit admits readers only.
        let (near, cost) = unsafe { core.graph.search(&core.arena, query, SEEDS_NEAR, &|_| true) }?;
        let mut walk = Walk {
            index: self,
            core: &core,
            query,
            rows,
            steps,
            width,
            seen: vec![0; nodes.div_ceil(64)],
            open: BinaryHeap::new(),
            best: BinaryHeap::new(),
            cost,
            looks: 0,
        };
        let passing = near.iter().filter(|(slot, _)| walk.passes(*slot)).count();
        let expected = near.len() * rows.len() / nodes.max(1);
        if budget.is_some() && expected >= EXPECTED_MIN && passing * EXPECTED_FACTOR < expected {
            return Ok((None, walk.cost));
        }
        for (slot, distance) in near {
            walk.mark(slot);
            walk.meet(slot, distance);
        }
        // A slot of another generation is as good a start as any.
        let spread = spread.into_iter().filter(|&slot| (slot as usize) < nodes).collect::<Vec<_>>();
        for slot in spread {
            if walk.passes(slot) && walk.mark(slot) {
                walk.meet(slot, walk.distance(slot));
            }
        }
        let done = match budget {
            Some(budget) => walk.run(budget) && !(steps == Steps::Set && walk.is_lost()),
            None => walk.run(f64::INFINITY),
        };
        Ok((done.then(|| walk.best.into_iter().map(|node| node.hit).collect()), walk.cost))
    }

    /// The slots of up to `SEEDS_SPREAD` rows, evenly spread over the set.
    fn spread(&self, rows: &RowSet) -> Vec<u32> {
        let step = rows.len().div_ceil(SEEDS_SPREAD).max(1);
        let map = self.rows();
        let slot = |row_id| match map.places.get(row_id) {
            Some(Place::Slot(slot)) => Some(slot),
            _ => None,
        };
        rows.sample(step).filter_map(slot).collect()
    }
}

impl Walk<'_> {
    /// Expands nodes until none can be better than the best; false if that costs more than `budget`.
    fn run(&mut self, budget: f64) -> bool {
        let links_max = self.index.options().m0;
        let (mut links, mut links_behind) = (vec![0; links_max], vec![0; links_max]);
        let mut next = Vec::with_capacity(2 * links_max);
        while let Some(Reverse(node)) = self.open.pop() {
            if self.best.len() == self.width && self.best.peek().is_some_and(|worst| node > *worst) {
                break;
            }
            if self.cost.distances as f64 + self.looks as f64 * LOOK_COST > budget {
                return false;
            }
            self.cost.visited += 1;
            // SAFETY: the visit of `walk_filtered` admits readers only.
            let links = unsafe { self.core.graph.neighbors(node.slot, 0, &mut links) };
            next.clear();
            match self.steps {
                Steps::All => next.extend(links.iter().copied().filter(|&slot| self.mark(slot))),
                Steps::Set => self.step_over(links, &mut links_behind, &mut next),
            }
            for &slot in &next {
                self.core.arena.prefetch(slot);
            }
            for &slot in &next {
                self.meet(slot, self.distance(slot));
            }
        }
        true
    }

    /// Adds to `next` the rows of the set among `links` and, as far as they do not fill a list of links, those behind
    /// the others.
    fn step_over(&mut self, links: &[u32], links_behind: &mut [u32], next: &mut Vec<u32>) {
        self.looks += links.len();
        let mut found = 0;
        for &slot in links {
            if self.passes(slot) {
                found += 1;
                if self.mark(slot) {
                    next.push(slot);
                }
            }
        }
        for &bridge in links {
            if found >= links_behind.len() {
                return;
            }
            if self.passes(bridge) || !self.mark(bridge) {
                continue;
            }
            // SAFETY: the visit of `walk_filtered` admits readers only.
            let behind = unsafe { self.core.graph.neighbors(bridge, 0, links_behind) };
            self.looks += behind.len();
            for &slot in behind {
                if !self.is_marked(slot) && self.passes(slot) {
                    self.mark(slot);
                    next.push(slot);
                    found += 1;
                }
            }
        }
    }

    /// Whether nodes that are not in the set crowd the place where the walk ended: there the rows of the set are too far
    /// apart to lead to each other.
    fn is_lost(&mut self) -> bool {
        let nodes = self.core.graph.len();
        let mut found: Vec<f32> = self.best.iter().map(|node| node.hit.distance).collect();
        found.sort_unstable_by(f32::total_cmp);
        let Some(&typical) = found.get(found.len() / 4) else { return true };
        let sample = (0..nodes as u32).step_by((nodes / SAMPLE).max(1));
        let nearer = sample.filter(|&slot| self.distance(slot) < typical).count();
        self.cost.distances += SAMPLE;
        nearer > SAMPLE_NEARER
    }

    fn passes(&self, slot: u32) -> bool {
        let entry = self.core.entries.at(slot).load();
        matches!(entry.state, State::Live | State::Tombstone) && self.rows.contains(entry.row_id)
    }

    fn is_marked(&self, slot: u32) -> bool {
        bits::is_set(&self.seen, slot as usize)
    }

    /// True the first time.
    fn mark(&mut self, slot: u32) -> bool {
        let new = !self.is_marked(slot);
        bits::set(&mut self.seen, slot as usize);
        new
    }

    fn distance(&self, slot: u32) -> f32 {
        // SAFETY: while readers are in the room, all nodes of the graph have their vectors.
        self.index.space.distance(self.query, unsafe { self.core.arena.get(slot) })
    }

    /// Takes in a node: to be expanded, and to be returned if its row is in the set.
    fn meet(&mut self, slot: u32, distance: f32) {
        self.cost.distances += 1;
        let entry = self.core.entries.at(slot).load();
        let node = Node { hit: Hit { distance, row_id: entry.row_id }, slot };
        let full = self.best.len() == self.width;
        if full && self.best.peek().is_some_and(|worst| node >= *worst) {
            return;
        }
        self.open.push(Reverse(node));
        if self.passes(slot) {
            if full {
                self.best.pop();
            }
            self.best.push(node);
        }
    }
}

impl Ord for Node {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.hit.cmp(&other.hit).then(self.slot.cmp(&other.slot))
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Node {}
