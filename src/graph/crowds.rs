//! Crowds: nodes so near to each other that, seen from a query, they are like one node.
//!
//! A walk that keeps only nodes of a crowd ends among them and does not see what is around them. Thousands of rows of nearly equal texts
//! hide all that is farther from the query than they are, though the graph would lead there. So when a walk has come to its end, it looks
//! at the nodes that it keeps. If they are a crowd, the crowd counts as one node from then on, and the walk goes on. The same happens while
//! rows are linked; see cpp/graph/crowds.hpp.

use super::lock::ReadGuard;
use super::search_layer::Neighbor;
use crate::options::Metric;
use crate::vectors::Query;

/// The squared radius of a crowd, as a share of the squared distance of the query from the crowd's centre. 0 means no crowds: under the
/// inner product the query's norm says nothing, and all rows of a table may be near each other, seen from the origin.
pub(super) fn share(metric: Metric) -> f32 {
    match metric {
        Metric::L2sq | Metric::Cosine => 0.4 * 0.4,
        Metric::Ip => 0.0,
    }
}

/// The crowds that a walk has met.
pub(super) struct Crowds<'a>(Vec<Crowd<'a>>);

struct Crowd<'a> {
    /// One of the crowd's nodes, as a query.
    centre: Query<'a>,
    /// The largest distance of a node of the crowd from the centre.
    within: f32,
    /// How many nodes of the crowd other than the centre were met.
    others: usize,
}

impl<'a> Crowd<'a> {
    /// The crowd with `node` as its centre.
    fn around(graph: &'a ReadGuard<'a>, node: Neighbor) -> Self {
        let within = share(graph.metric()) * node.distance();
        Self { centre: graph.prepare_row(node.slot()), within, others: 0 }
    }

    /// Calls `each` with every slot and whether it is in the crowd.
    fn look(&self, graph: &ReadGuard<'_>, slots: &[u32], mut each: impl FnMut(u32, bool)) {
        graph.measure(&self.centre, slots, |slot, apart| each(slot, apart <= self.within));
    }
}

impl<'a> Crowds<'a> {
    /// Most crowds that a walk looks for.
    const MAX: usize = 4;
    /// Kept nodes that are looked at first. A walk that keeps fewer than twice as many has no crowd.
    const SAMPLE: usize = 8;
    /// The sample is taken from the nearest half of the kept nodes: a crowd beyond that hides little that is wanted.
    const NEAREST: usize = 2;

    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Number of crowds found.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Looks for a crowd that holds half of a sample of the nearest kept nodes and a third of all kept nodes. If there is one, remembers it
    /// and returns the slots of its kept nodes other than the centre, ascending. Adds the number of computed distances to `distances`.
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

    /// If a node is in a crowd, counts the node and returns how many nodes of that crowd other than its centre were met, this one included.
    /// Adds the number of computed distances to `distances`.
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
