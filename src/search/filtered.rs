//! Search of the graph for rows of a set, in two ways. For sets that hold most rows: a walk over all nodes that keeps only rows of the set.
//! For smaller sets: a walk from one row of the set to the next, over other nodes where it must.
//!
//! Source of the second: Patel et al. 2024, "ACORN": a neighbour that is not in the set is replaced by its own neighbours.

use super::row_set::RowSet;
use super::{Hit, Searcher};
use crate::graph::Cost;
use crate::graph::search_layer::{Neighbor, SearchLayer};
use crate::graph::visited::VisitedSet;
use crate::index::Generation;
use crate::index::rows::{Place, State};
use crate::vectors::Query;

/// Nodes near the query that a walk starts from, whether their rows are in the set or not.
const SEEDS_NEAR: usize = 32;
/// If at least this many of these nodes are expected to be in the set, but fewer are by this factor, the set lies elsewhere.
const EXPECTED_MIN: usize = 4;
const EXPECTED_FACTOR: usize = 8;
/// Rows of the set that the second kind of walk also starts from, in case none is near the query.
const SEEDS_SPREAD: usize = 32;
/// Evenly spread nodes that [`FilteredWalk::is_lost`] compares with the place where the walk ended.
const SAMPLE: usize = 64;
/// This many nodes of the sample may be nearer than the found rows by chance.
const SAMPLE_NEARER: usize = 2;
/// Looking at a node's place in the set costs this share of a distance.
const LOOK_COST: f64 = 0.05;
/// Rows of the set that a row of the set has to reach over two links, about: the share of its neighbours that are in the set, times its
/// links squared. With fewer, the set falls into islands. Among 500,000 clustered vectors with 11 or 19 links each, a walk finds 0.99 of
/// the 10 nearest at 11, 0.96 at 7.5, 0.8 at 6 and 0.7 at 4; sentence embeddings need no more.
const REACH_MIN: usize = 12;
/// Rows of the set to expand before their reach is judged.
const REACH_FROM: usize = 32;

/// Which nodes a walk steps on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Traversal {
    /// All nodes; those outside the set are left out of the answer.
    PostFilter,
    /// Nodes of the set, reached over the links of other nodes.
    Acorn,
}

/// How a walk ended.
pub(super) enum Walked {
    /// Hits for the nearest rows, in no particular order.
    Hits(Vec<Hit>),
    /// The rows of the set reach too few of each other.
    Sparse,
    /// It cost too much, or the graph does not seem to lead to the nearest rows of the set.
    Lost,
}

/// The set, seen as nodes of a generation.
#[derive(Clone, Copy)]
struct Set<'a> {
    generation: &'a Generation,
    rows: &'a RowSet,
}

impl Set<'_> {
    fn has(&self, slot: u32) -> bool {
        let slot_state = self.generation.states.at(slot).load();
        matches!(slot_state.state, State::Live | State::Tombstone) && self.rows.contains(slot_state.row_id)
    }
}

struct FilteredWalk<'a, P> {
    set: Set<'a>,
    traversal: Traversal,
    /// Nodes that were met. A node that the walk does not step on is in here once its links were followed.
    visited: VisitedSet,
    looks: usize,
    reach: Reach,
    walk: SearchLayer<'a, P>,
}

/// How many rows of the set were expanded, how many neighbours these have, and how many of the neighbours are in the set.
#[derive(Default)]
struct Reach {
    expanded: usize,
    neighbors: usize,
    in_set: usize,
}

impl Reach {
    /// See [`REACH_MIN`].
    fn is_short(&self) -> bool {
        self.in_set * self.neighbors < REACH_MIN * self.expanded.pow(2)
    }
}

impl Searcher<'_> {
    /// Hits for about the `ef` linked rows of `rows` nearest to `query`. Without a budget there are always hits, whatever the walk costs
    /// and however little it finds. Takes the row lock for some microseconds, then the graph's read guard.
    pub(super) fn walk_filtered(
        &self,
        query: &Query<'_>,
        ef: usize,
        rows: &RowSet,
        traversal: Traversal,
        budget: Option<f64>,
    ) -> (Walked, Cost) {
        let mut spread = if traversal == Traversal::Acorn { self.spread(rows) } else { Vec::new() };
        let generation = self.rows.generation();
        let graph = generation.graph.read();
        let nodes = graph.len();
        let set = Set { generation: &generation, rows };
        let (near, cost) = graph.nearest(query, SEEDS_NEAR, |_| true);
        let passing = near.iter().filter(|node| set.has(node.slot())).count();
        let expected = near.len() * rows.len() / nodes.max(1);
        if budget.is_some() && expected >= EXPECTED_MIN && passing * EXPECTED_FACTOR < expected {
            return (Walked::Lost, cost);
        }
        let walk = graph.search_layer(query, ef, |slot| set.has(slot));
        let mut walk = FilteredWalk {
            set,
            traversal,
            visited: VisitedSet::new(nodes, ef),
            looks: 0,
            reach: Reach::default(),
            walk,
        };
        for node in near {
            walk.visited.insert(node.slot());
            walk.walk.offer(node);
        }
        // The slots may be of another generation; any slot of the set is as good a start.
        spread.retain(|&slot| (slot as usize) < nodes && set.has(slot) && walk.visited.insert(slot));
        walk.walk.meet(&spread);
        let done = walk.run(budget.unwrap_or(f64::INFINITY));
        let judged = budget.is_some() && traversal == Traversal::Acorn;
        let sparse = judged && walk.reach.is_short();
        let lost = !sparse && (!done || judged && walk.is_lost());
        let cost = cost + walk.walk.cost();
        let hit = |node: Neighbor| generation.hit(node.slot(), node.distance(), graph.norm(node.slot()));
        let walked = if sparse {
            Walked::Sparse
        } else if lost {
            Walked::Lost
        } else {
            Walked::Hits(walk.walk.nearest().into_iter().map(hit).collect())
        };
        (walked, cost)
    }

    /// The slots of up to `SEEDS_SPREAD` rows, evenly spread over the set.
    fn spread(&self, rows: &RowSet) -> Vec<u32> {
        let step = rows.len().div_ceil(SEEDS_SPREAD).max(1);
        let map = self.rows.read();
        let slot = |row_id| match map.places.get(row_id) {
            Some(Place::Slot(slot)) => Some(slot),
            _ => None,
        };
        rows.sample(step).filter_map(slot).collect()
    }
}

impl<P: Fn(u32) -> bool> FilteredWalk<'_, P> {
    /// Expands nodes until none can improve the best. With a finite budget, false if that costs more, or if rows of the set reach too few
    /// others.
    fn run(&mut self, budget: f64) -> bool {
        let (mut links, mut links_behind, mut next) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(node) = self.walk.next() {
            if self.walk.cost().distances as f64 + self.looks as f64 * LOOK_COST > budget {
                return false;
            }
            self.walk.links(node, &mut links);
            match self.traversal {
                Traversal::PostFilter => {
                    self.visited.keep_new(&mut links);
                    self.walk.meet(&links);
                }
                Traversal::Acorn => {
                    next.clear();
                    self.step_over(node, &links, &mut links_behind, &mut next);
                    self.walk.meet(&next);
                    if budget.is_finite() && self.reach.expanded >= REACH_FROM && self.reach.is_short() {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Adds to `next` the new rows of the set among `links`, which are those of `node`. While they are fewer than a full list of links,
    /// adds also rows of the set among the links of the other nodes.
    fn step_over(&mut self, node: u32, links: &[u32], links_behind: &mut Vec<u32>, next: &mut Vec<u32>) {
        self.looks += links.len();
        let links_max = self.walk.links_max();
        let mut found = 0;
        for &slot in links {
            if self.set.has(slot) {
                found += 1;
                if self.visited.insert(slot) {
                    next.push(slot);
                }
            }
        }
        if self.set.has(node) {
            self.reach.expanded += 1;
            self.reach.neighbors += links.len();
            self.reach.in_set += found;
        }
        for &bridge in links {
            if found >= links_max {
                return;
            }
            if self.set.has(bridge) || !self.visited.insert(bridge) {
                continue;
            }
            self.walk.neighbors(bridge, 0, links_behind);
            self.looks += links_behind.len();
            for &slot in &*links_behind {
                if !self.visited.contains(slot) && self.set.has(slot) {
                    self.visited.insert(slot);
                    next.push(slot);
                    found += 1;
                }
            }
        }
    }

    /// Whether nodes outside the set crowd the place where the walk ended. There the rows of the set are too far apart to link to each
    /// other.
    fn is_lost(&mut self) -> bool {
        let nodes = self.set.generation.graph.len();
        let mut found: Vec<Neighbor> = self.walk.best().collect();
        found.sort_unstable();
        let Some(typical) = found.get(found.len() / 4) else { return true };
        let sample: Vec<u32> = (0..nodes as u32).step_by((nodes / SAMPLE).max(1)).collect();
        let mut nearer = 0;
        self.walk.measure(&sample, |_, node| nearer += usize::from(node.distance() < typical.distance()));
        nearer > SAMPLE_NEARER
    }
}
