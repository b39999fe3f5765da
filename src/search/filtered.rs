//! Search of the graph for rows of a set: the walk steps from one such row to the next, over others where it must.
//!
//! Source of the idea: Patel et al. 2024, "ACORN": neighbours that do not pass the filter are replaced by theirs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Hit;
use super::row_set::RowSet;
use crate::error::Result;
use crate::graph::Cost;
use crate::index::{Core, Index};
use crate::rooms::Group;
use crate::rows::{Place, State};

/// Nodes near the query that the walk starts from, whether they pass the filter or not.
const SEEDS_NEAR: usize = 8;
/// Rows of the set that the walk starts from as well, in case none is near the query.
const SEEDS_SPREAD: usize = 32;
/// Looking at a link costs this share of a distance.
pub(super) const LINK_COST: f64 = 0.1;

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
    width: usize,
    /// A bit for each slot whose distance was computed or, if it fails the filter, whose links were followed.
    seen: Vec<u64>,
    /// Nodes to expand, nearest first.
    open: BinaryHeap<Reverse<Node>>,
    /// The best that pass the filter, at most `width`, farthest first.
    best: BinaryHeap<Node>,
    cost: Cost,
    links: usize,
}

impl Index {
    /// Hits for about the `width` linked rows of `rows` nearest to `query`, in no order. Nothing if the walk has cost
    /// more than `budget` distances before its end. Enters the room as `Search`. Errors: `OutOfMemory`.
    pub(super) fn walk_filtered(
        &self,
        query: &[f32],
        width: usize,
        rows: &RowSet,
        budget: f64,
    ) -> Result<(Option<Vec<Hit>>, Cost)> {
        // The row lock comes before the room.
        let spread = self.spread(rows);
        let core = self.core();
        let _visit = core.rooms.enter(Group::Search);
        let nodes = core.graph.len();
        let mut walk = Walk {
            index: self,
            core: &core,
            query,
            rows,
            width,
            seen: vec![0; nodes.div_ceil(64)],
            open: BinaryHeap::new(),
            best: BinaryHeap::new(),
            cost: Cost::default(),
            links: 0,
        };
        // SAFETY: the visit admits readers only.
        let (near, cost) = unsafe { core.graph.search(&core.arena, query, SEEDS_NEAR, &|_| true) }?;
        walk.cost = cost;
        for (slot, distance) in near {
            if !walk.passes(slot) || walk.mark(slot) {
                walk.meet(slot, Some(distance));
            }
        }
        for slot in spread {
            // A slot of another generation is as good a start as any.
            if (slot as usize) < nodes && walk.passes(slot) && walk.mark(slot) {
                walk.meet(slot, None);
            }
        }
        let done = walk.run(budget);
        Ok((done.then(|| walk.best.into_iter().map(|node| node.hit).collect()), walk.cost))
    }

    /// The slots of up to `SEEDS_SPREAD` rows, evenly spread over the pages of the set.
    fn spread(&self, rows: &RowSet) -> Vec<u32> {
        let step = rows.len().div_ceil(SEEDS_SPREAD).max(1);
        let map = self.rows();
        let place = |row_id| match map.places.get(row_id) {
            Some(Place::Slot(slot)) => Some(slot),
            _ => None,
        };
        rows.rows().step_by(step).filter_map(place).collect()
    }
}

impl Walk<'_> {
    /// Expands nodes until none can be better than the best; false if that costs more than `budget`.
    fn run(&mut self, budget: f64) -> bool {
        let mut links = [0; 512];
        let mut links_behind = [0; 512];
        while let Some(Reverse(node)) = self.open.pop() {
            if self.best.len() == self.width && self.best.peek().is_some_and(|worst| node > *worst) {
                break;
            }
            if self.cost.distances as f64 + self.links as f64 * LINK_COST > budget {
                return false;
            }
            self.cost.visited += 1;
            // SAFETY: the visit of `walk_filtered` admits readers only.
            let links = unsafe { self.core.graph.neighbors(node.slot, 0, &mut links) };
            self.links += links.len();
            let mut passed = 0;
            for &slot in links {
                if self.passes(slot) {
                    passed += 1;
                    if self.mark(slot) {
                        self.meet(slot, None);
                    }
                }
            }
            if passed * 10 >= links.len() * 9 {
                continue;
            }
            for &bridge in links {
                if !self.passes(bridge) && self.mark(bridge) {
                    // SAFETY: as above.
                    let behind = unsafe { self.core.graph.neighbors(bridge, 0, &mut links_behind) };
                    self.links += behind.len();
                    for &slot in behind {
                        if !self.is_marked(slot) && self.passes(slot) && self.mark(slot) {
                            self.meet(slot, None);
                        }
                    }
                }
            }
        }
        true
    }

    fn passes(&self, slot: u32) -> bool {
        let entry = self.core.entries.at(slot).load();
        matches!(entry.state, State::Live | State::Tombstone) && self.rows.contains(entry.row_id)
    }

    fn is_marked(&self, slot: u32) -> bool {
        self.seen[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    /// True the first time.
    fn mark(&mut self, slot: u32) -> bool {
        let word = &mut self.seen[slot as usize / 64];
        let new = *word >> (slot % 64) & 1 == 0;
        *word |= 1 << (slot % 64);
        new
    }

    /// Takes in a node: to be expanded, and to be returned if it passes the filter.
    fn meet(&mut self, slot: u32, distance: Option<f32>) {
        let distance = distance.unwrap_or_else(|| {
            self.cost.distances += 1;
            // SAFETY: all slots of the graph have their vectors while readers are in the room.
            self.index.space.distance(self.query, unsafe { self.core.arena.get(slot) })
        });
        let row_id = self.core.entries.at(slot).load().row_id;
        let node = Node { hit: Hit { distance, row_id }, slot };
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
