//! Graph search: a walk towards the query.

use super::{Hit, Searcher};
use crate::graph::Cost;
use crate::host::Visibility;
use crate::index::rows::State;
use crate::vectors::Query;

impl Searcher<'_> {
    /// Hits for about the `ef` linked rows nearest to `query`, nearest first. Tombstones are returned only if visible. Live rows are taken
    /// for visible, unless `ask_all` is set. Takes the graph's read guard.
    pub(super) fn walk(
        &self,
        query: &Query<'_>,
        ef: usize,
        ask_all: bool,
        visibility: &dyn Visibility,
    ) -> (Vec<Hit>, Cost) {
        let generation = self.rows.generation();
        let allow = |slot| {
            let slot_state = generation.states.at(slot).load();
            match slot_state.state {
                State::Live if !ask_all => true,
                State::Live | State::Tombstone => visibility.visible(slot_state.row_id),
                State::Empty | State::Dead => false,
            }
        };
        // Held until the states are read, so that no slot is reused before.
        let graph = generation.graph.read();
        let (found, cost) = graph.nearest(query, ef, allow);
        (
            found
                .into_iter()
                .map(|node| generation.hit(node.slot(), node.distance(), graph.norm(node.slot())))
                .collect(),
            cost,
        )
    }
}
