//! Exact search: the distance of every row. Enters no room, waits for nobody.

use std::sync::Arc;

use super::row_set::{PAGE_ROWS, RowSet, positions};
use super::{Hit, Searcher};
use crate::error::{Error, Result};
use crate::index::rows::State;
use crate::vectors::{Query, Row};

/// Slots whose entries are read before their vectors.
const BLOCK_SLOTS: usize = 1024;

impl Searcher<'_> {
    /// Adds a hit for each pending row that is not dead and, if there is a filter, passes it. Returns the vector, which is in stored form,
    /// as a query among linked rows; nothing if none of the rows that there were is linked, as the codec is not ready. Takes the row lock
    /// for an instant, if any rows are pending. Errors: `OutOfMemory`.
    pub(super) fn exact_pending<'a>(
        &self,
        vector: &'a [f32],
        filter: Option<&RowSet>,
        hits: &mut Vec<Hit>,
    ) -> Result<Option<Query<'a>>> {
        let (blocks, rows) = if self.rows.pending() == 0 {
            (Vec::new(), 0)
        } else {
            let rows = self.rows.read();
            (rows.pending.snapshot(), rows.pending.len())
        };
        let prepared = || self.codec().is_ready().then(|| self.codec().prepare(vector));
        // Only now: what is pending as a code makes the codec ready before.
        let query = prepared();
        let plain = self.codec().plain().prepare(vector);
        reserve(hits, rows)?;
        for (entry, row) in blocks.iter().flat_map(|block| block.rows()) {
            if entry.state != State::Dead && filter.is_none_or(|rows| rows.contains(entry.row_id)) {
                let (distance, norm) = match (row, &query) {
                    (Row::Coded(row), Some(query)) => (self.codec().distance(query, row), self.codec().norm(row)),
                    (Row::Plain(row) | Row::Coded(row), _) => (self.codec().plain().distance(&plain, row), 0.0),
                };
                hits.push(Hit { distance, norm, row_id: entry.row_id });
            }
        }
        // What was linked since then is dead here, and has made the codec ready: it is found among the linked rows.
        Ok(query.or_else(prepared))
    }

    /// Adds a hit for each linked row that is not dead; returns how many. To be called after `exact_pending`, so that
    /// no row is missed that is linked meanwhile. Errors: `OutOfMemory`.
    pub(super) fn exact_linked(&self, query: &Query<'_>, hits: &mut Vec<Hit>) -> Result<usize> {
        let generation = self.rows.generation();
        let pinned = generation.pin_rows();
        let before = hits.len();
        reserve(hits, self.rows.alive())?;
        let nodes = generation.graph.len() as u32;
        let mut slots = Vec::with_capacity(BLOCK_SLOTS);
        for block in (0..nodes).step_by(BLOCK_SLOTS) {
            let block = block..nodes.min(block + BLOCK_SLOTS as u32);
            pinned.measure(query, block, &mut slots, |slot, distance, norm| {
                hits.push(generation.hit(slot, distance, norm));
            });
        }
        Ok(hits.len() - before)
    }

    /// Adds a hit for each linked row of `rows`; returns how many. To be called after `exact_pending`, as above. Takes the
    /// row lock for some microseconds at a time. Errors: `OutOfMemory`.
    pub(super) fn exact_rows(&self, query: &Query<'_>, rows: &RowSet, hits: &mut Vec<Hit>) -> Result<usize> {
        let before = hits.len();
        reserve(hits, rows.len())?;
        let (mut slots, mut published) = (Vec::with_capacity(PAGE_ROWS.min(rows.len())), Vec::new());
        let mut generation = self.rows.generation();
        let mut pages = rows.pages().peekable();
        while let Some(&(number, page)) = pages.peek() {
            let pinned = generation.pin_rows();
            let map = self.rows.read();
            // The row map is of the current generation.
            let current = self.rows.generation();
            if !Arc::ptr_eq(&generation, &current) {
                drop((map, pinned));
                generation = current;
                continue;
            }
            slots.clear();
            map.places.slots(number, positions(page), &mut slots);
            drop(map);
            pages.next();
            let slots = slots.iter().copied();
            pinned.measure(query, slots, &mut published, |slot, distance, norm| {
                hits.push(generation.hit(slot, distance, norm));
            });
        }
        Ok(hits.len() - before)
    }
}

fn reserve(hits: &mut Vec<Hit>, rows: usize) -> Result<()> {
    let full = |_| Error::out_of_memory("while searching an HNSW index");
    hits.try_reserve(rows).map_err(full)
}
