//! Crowds: nodes that are so near to each other that from where a query is they are as one.
//!
//! A walk that keeps only such nodes ends among them, and does not see what is around them: thousands of rows of texts that say nearly the
//! same hide all that is farther than they are from the query, though the graph would lead there. So a walk that has come to its end looks
//! at what it keeps. What is a crowd counts as one node from then on, and the walk goes on. While rows are linked it is the same, see
//! cpp/graph/crowds.hpp.

use super::lock::ReadGuard;
use super::search_layer::Neighbor;
use crate::options::Metric;
use crate::vectors::Query;

/// The square of: how far a node of a crowd is from its centre, as a share of how far the query is from there. 0 is no crowd: by inner
/// product a query's length says nothing, and all rows of a table may be near each other, seen from the origin.
pub(super) fn share(metric: Metric) -> f32 {
    match metric {
        Metric::L2sq | Metric::Cosine => 0.4 * 0.4,
        Metric::Ip => 0.0,
    }
}

/// The crowds that a walk has met.
pub(super) struct Crowds<'a>(Vec<Crowd<'a>>);

struct Crowd<'a> {
    /// One of its nodes.
    centre: Query<'a>,
    /// How far the others are from it at most.
    within: f32,
    /// How many others were met.
    others: usize,
}

impl<'a> Crowd<'a> {
    /// The crowd around a node.
    fn around(graph: &'a ReadGuard<'a>, node: Neighbor) -> Self {
        let within = share(graph.metric()) * node.distance();
        Self { centre: graph.prepare_row(node.slot()), within, others: 0 }
    }

    /// Calls `each` with the slots, and whether they are in the crowd.
    fn look(&self, graph: &ReadGuard<'_>, slots: &[u32], mut each: impl FnMut(u32, bool)) {
        graph.measure(&self.centre, slots, |slot, apart| each(slot, apart <= self.within));
    }
}

impl<'a> Crowds<'a> {
    /// Most that a walk looks for.
    const MAX: usize = 4;
    /// Nodes of those that are kept that are looked at first; fewer are no crowd.
    const SAMPLE: usize = 8;
    /// They are of the nearest half: a crowd that is farther than those hides little of what is wanted.
    const NEAREST: usize = 2;

    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// If half of a sample of the nearest nodes that a walk keeps, and a third of all, are a crowd, remembers it and returns the slots of
    /// those of them that are not its centre. Adds to `distances` how many were computed.
    pub(super) fn find(
        &mut self,
        graph: &'a ReadGuard<'a>,
        kept: &[Neighbor],
        distances: &mut usize,
    ) -> Option<Vec<u32>> {
        if share(graph.metric()) == 0.0 || kept.len() < 2 * Self::SAMPLE || self.0.len() == Self::MAX {
            return None;
        }
        let mut nearest = kept.to_vec();
        let (nearest, ..) = nearest.select_nth_unstable(kept.len() / Self::NEAREST);
        let step = nearest.len() / Self::SAMPLE;
        let sample: Vec<u32> = nearest.iter().step_by(step).map(|node| node.slot()).collect();
        for centre in [nearest[nearest.len() / 2], nearest[nearest.len() / 3]] {
            let mut crowd = Crowd::around(graph, centre);
            let mut members = 0;
            crowd.look(graph, &sample, |_, is_in| members += usize::from(is_in));
            *distances += sample.len();
            if members * 2 < sample.len() {
                continue;
            }
            let others: Vec<u32> = kept.iter().map(|node| node.slot()).filter(|&slot| slot != centre.slot()).collect();
            let mut members = Vec::new();
            crowd.look(graph, &others, |slot, is_in| members.extend(is_in.then_some(slot)));
            *distances += others.len();
            if members.len() * 3 >= kept.len() {
                crowd.others = members.len();
                self.0.push(crowd);
                members.sort_unstable();
                return Some(members);
            }
        }
        None
    }

    /// If a node is in a crowd, counts it and returns how many others of it were met. Adds to `distances` how many were computed.
    #[inline]
    pub(super) fn others(&mut self, graph: &ReadGuard<'_>, slot: u32, distances: &mut usize) -> Option<usize> {
        for crowd in &mut self.0 {
            let mut member = false;
            crowd.look(graph, &[slot], |_, is_in| member = is_in);
            *distances += 1;
            if member {
                crowd.others += 1;
                return Some(crowd.others);
            }
        }
        None
    }
}
