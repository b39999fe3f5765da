//! The interval that holds the norms of the index's vectors. A query planner asks whether all vectors have the same norm.
//!
//! Rows that are appended widen the interval before a search can find them. A compaction measures the rows that are left, if their stored
//! form gives their norms.

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

/// The interval of the norms of all rows that the index has, or has had since its last compaction. Guarded by the row lock.
pub(super) struct HeldNorms {
    held: Norms,
    /// The norms of the rows that were appended since the last measurement began.
    came: Norms,
}

impl HeldNorms {
    /// The norms of an index without rows.
    pub(super) const EMPTY: Self = Self { held: Norms::EMPTY, came: Norms::EMPTY };

    /// Notes that rows with these norms are appended.
    pub(super) fn widen(&mut self, norms: Norms) {
        self.held = self.held.union(norms);
        self.came = self.came.union(norms);
    }

    /// Notes that a measurement of the rows begins.
    pub(super) fn begin(&mut self) {
        self.came = Norms::EMPTY;
    }

    /// Takes over a measurement of all rows that the index had when the measurement began. `None`: their stored form does not give their
    /// norms.
    pub(super) fn measured(&mut self, norms: Option<Norms>) {
        self.held = self.with(norms);
    }

    /// Whether `measured` would change the interval.
    pub(super) fn would_change(&self, norms: Option<Norms>) -> bool {
        self.held != self.with(norms)
    }

    fn with(&self, measured: Option<Norms>) -> Norms {
        measured.map_or(self.held, |measured| measured.union(self.came))
    }

    /// The interval.
    pub(super) fn held(&self) -> Norms {
        self.held
    }
}

impl Index {
    /// An interval that holds the norms, as given, of all rankable vectors that the index has, or has had since its last compaction. It
    /// includes every row that an earlier search has found. Takes no lock.
    pub fn norms(&self) -> Norms {
        self.rows.norms()
    }
}

impl RowTable {
    /// The interval of the norms of the `pending` rows and of the rows of `generation`, whose graph is `graph`. `None` if their stored form
    /// does not give the norms. Errors: `Interrupted`.
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
