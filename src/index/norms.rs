//! Between which norms the vectors of the index are, so that whoever plans a query can ask whether they are all as long.
//!
//! Rows that come widen the interval before anybody finds them. A compaction measures those that are left, if their rows tell.

use std::sync::Arc;

use super::{Generation, Index, RowTable};
use crate::error::Result;
use crate::graph::lock::ReadGuard;
use crate::host::Interrupt;
use crate::index::rows::State;
use crate::index::rows::pending::Block;
use crate::vectors::{Norms, Row};

/// Rows measured between two looks at the interrupt.
const MEASURED_ROWS: usize = 1024;

/// The norms of the rows that the index has, or has had since its last compaction. Guarded by the row lock.
pub(super) struct HeldNorms {
    held: Norms,
    /// Of the rows that came since a measurement began.
    came: Norms,
}

impl HeldNorms {
    /// Of an index without rows.
    pub(super) const EMPTY: Self = Self { held: Norms::EMPTY, came: Norms::EMPTY };

    /// Rows with these norms come.
    pub(super) fn widen(&mut self, norms: Norms) {
        self.held = self.held.union(norms);
        self.came = self.came.union(norms);
    }

    /// A measurement of the rows that are there begins.
    pub(super) fn begin(&mut self) {
        self.came = Norms::EMPTY;
    }

    /// A measurement of all rows that there were when it began has given these norms; nothing, if the rows do not tell.
    pub(super) fn measured(&mut self, norms: Option<Norms>) {
        self.held = self.with(norms);
    }

    /// Whether `measured` would change what they are.
    pub(super) fn would_change(&self, norms: Option<Norms>) -> bool {
        self.held != self.with(norms)
    }

    fn with(&self, measured: Option<Norms>) -> Norms {
        measured.map_or(self.held, |measured| measured.union(self.came))
    }

    /// All there are.
    pub(super) fn held(&self) -> Norms {
        self.held
    }
}

impl Index {
    /// Between which norms the vectors are which the index ranks: those it has, or has had since its last compaction, as they were
    /// given. Takes no lock: it counts each row that a search before has found. Rows that cannot be ranked do not count.
    pub fn norms(&self) -> Norms {
        self.rows.norms()
    }
}

impl RowTable {
    /// The norms of these rows, and of those of `generation`, whose graph is `graph`. Nothing if their rows do not tell. Errors:
    /// `Interrupted`.
    pub(super) fn measure_norms(
        &self,
        generation: &Generation,
        graph: &ReadGuard<'_>,
        pending: &[Arc<Block>],
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Norms>> {
        let published = |&slot: &u32| matches!(generation.states.at(slot).load().state, State::Live | State::Tombstone);
        let linked = (0..graph.len() as u32).filter(published).map(|slot| Row::Coded(graph.row(slot)));
        let waiting = pending.iter().flat_map(|block| block.rows());
        let waiting = waiting.filter(|(slot_state, _)| slot_state.state != State::Dead).map(|(_, row)| row);
        let mut norms = Norms::EMPTY;
        for (number, row) in linked.chain(waiting).enumerate() {
            if number.is_multiple_of(MEASURED_ROWS) {
                interrupt.check()?;
            }
            let Some(norm) = self.setup.codec.norm_given(row) else { return Ok(None) };
            norms = norms.union(norm);
        }
        Ok(Some(norms))
    }
}
