//! Walks through a graph, from node to node towards a query.
//!
//! Source: Malkov & Yashunin 2018, algorithms 2 and 5. The neighbours of a node are measured four at a time, and the links that will
//! probably be followed are fetched ahead, because a walk waits for memory most of its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Cost;
use super::crowds::Crowds;
use super::lock::ReadGuard;
use super::visited::VisitedSet;
use crate::vectors::Query;

/// A node with its distance to the query, in one number that orders by distance, then by slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Neighbor(u64);

impl Neighbor {
    pub(crate) fn new(distance: f32, slot: u32) -> Self {
        let bits = distance.to_bits();
        // The bits of positive floats are in order, those of negative ones in reverse order.
        let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
        Self(u64::from(ordered) << 32 | u64::from(slot))
    }

    pub(crate) fn distance(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Compares distances alone: a walk that preferred one of many equal vectors to another would walk through all of them.
    fn is_nearer_than(self, other: Self) -> bool {
        self.0 >> 32 < other.0 >> 32
    }
}

/// A table, keyed by distance, of nodes that a walk has met. A later node may take the place of an earlier one, so for most nodes, though
/// not for all, it says how many equal nodes were met before.
struct EqualNodes {
    places: Box<[EqualNode]>,
}

/// The first of nodes whose rows are equal.
#[derive(Clone, Copy)]
struct EqualNode {
    /// The distance's bits.
    distance: u32,
    slot: u32,
    /// How many other nodes with this row were met.
    others: u32,
}

impl EqualNode {
    const NONE: Self = Self { distance: 0, slot: u32::MAX, others: 0 };
}

impl EqualNodes {
    /// Most places: 48 kB.
    const PLACES_MAX: usize = 4096;
    /// Places for each node that the walk keeps: a walk meets several times as many nodes that are kept for a while.
    const PLACES_PER_KEPT: usize = 8;

    fn new(ef: usize) -> Self {
        let places = (Self::PLACES_PER_KEPT * ef).next_power_of_two().min(Self::PLACES_MAX);
        Self { places: vec![EqualNode::NONE; places].into_boxed_slice() }
    }

    /// How many nodes with the same row were met before this one. `row`: gives the row of a node.
    #[inline]
    fn before<'r>(&mut self, node: Neighbor, row: impl Fn(u32) -> &'r [u8]) -> u32 {
        let distance = (node.0 >> 32) as u32;
        let first = EqualNode { distance, slot: node.slot(), others: 0 };
        let place = self.place(distance);
        if place.slot == u32::MAX || place.distance != distance {
            *place = first;
            return 0;
        }
        if place.slot == node.slot() {
            return 0; // the node was met before, dropped, and offered again
        }
        let this = row(node.slot());
        if row(place.slot) == this {
            place.others += 1;
            return place.others;
        }
        // If the vectors hold whole numbers, many different rows have the same distance. Those after the first get a place by their
        // contents, too.
        let place = self.place(distance ^ checksum(this));
        if place.slot != u32::MAX && place.slot != node.slot() && place.distance == distance && row(place.slot) == this
        {
            place.others += 1;
            return place.others;
        }
        *place = first;
        0
    }

    #[inline]
    fn place(&mut self, key: u32) -> &mut EqualNode {
        let at = key.wrapping_mul(0x9E37_79B9) as usize >> (32 - self.places.len().trailing_zeros());
        &mut self.places[at]
    }
}

/// A checksum of a row's bytes.
fn checksum(row: &[u8]) -> u32 {
    let (words, rest) = row.as_chunks::<8>();
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let sum = words.iter().fold(0, |sum, &word| mix(sum, u64::from_le_bytes(word)));
    (rest.iter().fold(sum, |sum, &byte| mix(sum, byte.into())) >> 32) as u32
}

/// A search of the bottom level, the paper's SEARCH-LAYER: the nodes still to be expanded, and the best so far.
///
/// If many nodes had equal rows, a walk could keep nothing else, and would end among them. So equal nodes count as one node, and so do
/// [crowds](super::crowds).
pub(crate) struct SearchLayer<'a, P> {
    graph: &'a ReadGuard<'a>,
    query: &'a Query<'a>,
    /// Whether a node may be among the best.
    passes: P,
    ef: usize,
    /// Nodes to expand, nearest first.
    open: BinaryHeap<Reverse<Neighbor>>,
    /// The nearest nodes that pass, at most `ef`, farthest first. Of equal nodes it holds the first only, and of a crowd one node.
    best: BinaryHeap<Neighbor>,
    /// Nodes that are equal to one that is, or was, in `best`, or of the same crowd as one.
    beside: Vec<Neighbor>,
    /// The nearest nodes of `best` and `beside`, at most `ef`, farthest first; empty until `beside` is used.
    nearest: BinaryHeap<Neighbor>,
    /// Nodes that were put aside because `ef` nearer ones were kept.
    far: Vec<Neighbor>,
    met: EqualNodes,
    crowds: Crowds<'a>,
    /// Nodes of the upper levels that the walk goes on from. They are met with the neighbours of the node that is expanded next.
    above: Vec<u32>,
    /// Nodes that the walk may expand.
    visits_max: usize,
    cost: Cost,
}

impl<'a, P: Fn(u32) -> bool> SearchLayer<'a, P> {
    /// This many nodes equal to another, or of its crowd, are expanded even if they are too far to be kept.
    const WAYS_OUT: usize = 8;
    /// A walk that first ends in a crowd goes on. In total it may then expand this many times the sum of `ef` and the nodes expanded by
    /// then. Without this limit it would expand all nodes if there were nothing else to keep.
    const VISITS_BEYOND: usize = 8;
    /// Nodes that are kept on each upper level when a walk that ended in a crowd looks for other places.
    const KEPT_ABOVE: usize = 256;

    /// See [`ReadGuard::search_layer`].
    pub(super) fn new(graph: &'a ReadGuard<'a>, query: &'a Query<'a>, ef: usize, passes: P) -> Self {
        let ef = ef.clamp(1, graph.len().max(1));
        let (open, best) = (BinaryHeap::new(), BinaryHeap::with_capacity(ef));
        let (beside, nearest, far) = (Vec::new(), BinaryHeap::new(), Vec::new());
        let (met, crowds, above) = (EqualNodes::new(ef), Crowds::new(), Vec::new());
        let (visits_max, cost) = (usize::MAX, Cost::default());
        Self { graph, query, passes, ef, open, best, beside, nearest, far, met, crowds, above, visits_max, cost }
    }

    /// Walks to the end, over all nodes but `without`, which must not be the node where walks begin. Returns [`nearest`](Self::nearest).
    pub(crate) fn run(mut self, without: Option<u32>) -> (Vec<Neighbor>, Cost) {
        let Some(entry) = self.graph.entry() else { return (Vec::new(), self.cost) };
        let mut visited = VisitedSet::new(self.graph.len(), self.ef);
        let start = self.descend(entry);
        let mut links = vec![start.slot()];
        links.extend(without);
        visited.keep_new(&mut links);
        self.offer(start);
        while let Some(node) = self.next() {
            self.links(node, &mut links);
            visited.keep_new(&mut links);
            self.meet(&links);
        }
        let cost = self.cost;
        (self.nearest(), cost)
    }

    /// The node to expand now; `None` at the end of the walk.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<u32> {
        if self.cost.visited >= self.visits_max {
            return None;
        }
        let node = loop {
            match self.open.pop() {
                Some(Reverse(node)) if !self.is_beyond(node) => break node,
                Some(Reverse(node)) => self.far.push(node),
                None => {}
            }
            if !self.disperse() {
                match self.best.peek() {
                    // Returns some node, so that the caller, which knows what was met, meets `above` with its neighbours.
                    Some(&node) if !self.above.is_empty() => break node,
                    _ => return None,
                }
            }
        };
        self.cost.visited += 1;
        if let Some(Reverse(following)) = self.open.peek() {
            self.graph.prefetch(following.slot());
        }
        Some(node.slot())
    }

    /// Writes to `links` the nodes that the walk goes on to from a node: its neighbours on the bottom level, and `above`.
    #[inline]
    pub(crate) fn links(&mut self, slot: u32, links: &mut Vec<u32>) {
        self.neighbors(slot, 0, links);
        links.append(&mut self.above);
    }

    /// Writes the neighbours of a node on a level to `links`.
    #[inline]
    pub(crate) fn neighbors(&self, slot: u32, level: usize, links: &mut Vec<u32>) {
        links.resize(self.graph.links_max(), 0);
        let count = self.graph.neighbors(slot, level, links).len();
        links.truncate(count);
    }

    /// Takes in nodes that were not met before: they will be expanded, and may be among the best if they pass.
    #[inline]
    pub(crate) fn meet(&mut self, slots: &[u32]) {
        self.measure(slots, Self::offer);
    }

    /// Calls `each` with every node and its distance.
    #[inline]
    pub(crate) fn measure(&mut self, slots: &[u32], mut each: impl FnMut(&mut Self, Neighbor)) {
        self.cost.distances += slots.len();
        let (graph, query) = (self.graph, self.query);
        graph.measure(query, slots, |slot, distance| each(self, Neighbor::new(distance, slot)));
    }

    /// Takes in a node whose distance is known.
    #[inline]
    pub(crate) fn offer(&mut self, node: Neighbor) {
        let full = self.is_full();
        if full && self.best.peek().is_some_and(|worst| !node.is_nearer_than(*worst)) {
            self.far.push(node);
            return;
        }
        let passes = (self.passes)(node.slot());
        if passes {
            let graph = self.graph;
            let before = self.met.before(node, |slot| graph.row(slot)) as usize;
            if before > 0 {
                if before < self.ef {
                    self.offer_beside(node, before);
                }
                return;
            }
            if let Some(others) = self.crowds.others(graph, node.slot(), &mut self.cost.distances) {
                self.offer_beside(node, others);
                return;
            }
            if !self.nearest.is_empty() {
                self.keep_nearest(node);
            }
        }
        if self.open.peek().is_none_or(|Reverse(next)| node.is_nearer_than(*next)) {
            self.graph.prefetch(node.slot());
        }
        self.open.push(Reverse(node));
        if passes {
            match self.best.peek_mut() {
                Some(mut worst) if full => *worst = node,
                worst => {
                    drop(worst);
                    self.best.push(node);
                }
            }
        }
    }

    /// Takes in a node that is equal to `others` nodes met before, or of a crowd with them. It is kept if it is one of the nearest, and
    /// expanded if it is kept or may lead out of the crowd. If all such nodes were expanded, a walk over fewer distinct vectors than `ef`
    /// would visit all nodes.
    fn offer_beside(&mut self, node: Neighbor, others: usize) {
        self.begin_nearest();
        let kept = self.keep_nearest(node);
        if kept {
            self.beside.push(node);
        }
        if kept || others <= Self::WAYS_OUT {
            self.open.push(Reverse(node));
        }
    }

    /// Fills `nearest` before the first node is added to `beside`.
    fn begin_nearest(&mut self) {
        if self.nearest.is_empty() {
            self.nearest.extend(self.best.iter().copied());
        }
    }

    /// Called at the end of a walk. If the kept nodes are a crowd, keeps one of them in `best` and takes back the nodes that were put
    /// aside. Returns whether they are a crowd.
    #[cold]
    fn disperse(&mut self) -> bool {
        if !self.is_full() {
            return false;
        }
        let Some(members) = self.crowds.find(self.graph, self.best.as_slice(), &mut self.cost.distances) else {
            return false;
        };
        if self.crowds.len() == 1 {
            self.above = self.look_above();
        }
        self.begin_nearest();
        self.visits_max = self.visits_max.min(Self::VISITS_BEYOND * (self.cost.visited + self.ef));
        let is_member = |node: &Neighbor| members.binary_search(&node.slot()).is_ok();
        self.beside.extend(self.best.iter().copied().filter(is_member));
        self.best.retain(|node| !is_member(node));
        let beside = self.set_of(self.beside.iter());
        let mut far = std::mem::take(&mut self.far);
        far.sort_unstable();
        for node in far {
            if beside.contains(node.slot()) {
                self.open.push(Reverse(node));
            } else {
                self.offer(node);
            }
        }
        true
    }

    fn set_of<'b>(&self, nodes: impl ExactSizeIterator<Item = &'b Neighbor>) -> VisitedSet {
        let mut set = VisitedSet::new(self.graph.len(), nodes.len());
        nodes.for_each(|node| {
            set.insert(node.slot());
        });
        set
    }

    /// The nearest nodes of the upper levels. A crowd has few nodes there, so the nearest nodes come from many places.
    fn look_above(&mut self) -> Vec<u32> {
        let Some(entry) = self.graph.entry() else { return Vec::new() };
        let (mut kept, mut found, mut links) = (BinaryHeap::new(), Vec::new(), Vec::new());
        self.measure(&[entry], |_, node| kept.push(node));
        for level in (1..=self.graph.level(entry)).rev() {
            let mut met = self.set_of(kept.iter());
            let mut open: BinaryHeap<_> = kept.iter().copied().map(Reverse).collect();
            while let Some(Reverse(node)) = open.pop() {
                if kept.len() == Self::KEPT_ABOVE && kept.peek().is_some_and(|worst| worst.is_nearer_than(node)) {
                    break;
                }
                self.cost.visited += 1;
                self.neighbors(node.slot(), level, &mut links);
                met.keep_new(&mut links);
                self.measure(&links, |_, node| {
                    open.push(Reverse(node));
                    kept.push(node);
                    if kept.len() > Self::KEPT_ABOVE {
                        kept.pop();
                    }
                });
            }
            found.extend(kept.iter().map(|node| node.slot()));
        }
        found
    }

    /// Adds a node to `nearest` if it is one of the nearest so far. Returns whether it is.
    fn keep_nearest(&mut self, node: Neighbor) -> bool {
        if self.nearest.len() == self.ef {
            match self.nearest.peek_mut() {
                Some(mut worst) if node.is_nearer_than(*worst) => *worst = node,
                _ => return false,
            }
        } else {
            self.nearest.push(node);
        }
        true
    }

    /// Most links of a node on one level.
    pub(crate) fn links_max(&self) -> usize {
        self.graph.links_max()
    }

    /// What the walk has cost so far.
    pub(crate) fn cost(&self) -> Cost {
        self.cost
    }

    /// The best so far and the nodes beside them (equal ones, and those of crowds), in no particular order.
    pub(crate) fn best(&self) -> impl Iterator<Item = Neighbor> {
        self.best.iter().chain(&self.beside).copied()
    }

    /// The nearest nodes met so far, nearest first: at most `ef` distinct ones, and the nodes beside them (equal ones, and those of
    /// crowds). If distances are estimated from codes, many equal codes may come before a row that is nearer in truth.
    pub(crate) fn nearest(self) -> Vec<Neighbor> {
        let mut nearest = self.best.into_sorted_vec();
        if !self.beside.is_empty() {
            nearest.extend(self.beside);
            nearest.sort_unstable();
        }
        nearest
    }

    /// Whether `ef` nodes are kept and all are nearer than this one.
    fn is_beyond(&self, node: Neighbor) -> bool {
        self.is_full() && self.best.peek().is_some_and(|worst| worst.is_nearer_than(node))
    }

    fn is_full(&self) -> bool {
        self.best.len() == self.ef
    }

    /// The node to which the links of the upper levels lead; the walk of the bottom level starts there.
    fn descend(&mut self, entry: u32) -> Neighbor {
        let top = self.graph.level(entry);
        let mut nearest = Neighbor::new(f32::INFINITY, entry);
        self.measure(&[entry], |_, node| nearest = node);
        let mut links = Vec::new();
        for level in (1..=top).rev() {
            loop {
                let from = nearest;
                self.cost.visited += 1;
                self.neighbors(from.slot(), level, &mut links);
                self.measure(&links, |_, node| nearest = nearest.min(node));
                if nearest == from {
                    break;
                }
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nodes_order_by_distance_then_slot(a in any::<f32>(), b in any::<f32>(), x in any::<u32>(), y in any::<u32>()) {
            let order = a.total_cmp(&b).then(x.cmp(&y));
            prop_assert_eq!(Neighbor::new(a, x).cmp(&Neighbor::new(b, y)), order);
            prop_assert_eq!(Neighbor::new(a, x).distance().to_bits(), a.to_bits());
            prop_assert_eq!(Neighbor::new(a, x).slot(), x);
        }
    }
}
