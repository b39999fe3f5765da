//! Exact search: the distance of every row is computed. It pins rows but takes no guard of the graph, so it does not wait for additions.

use std::ops::Range;
use std::sync::Arc;

use super::row_set::{PAGE_ROWS, Page, RowSet, positions};
use super::{Hit, Searcher};
use crate::error::{Error, Result};
use crate::index::rows::State;
use crate::index::{Generation, PinnedRows};
use crate::vectors::{Query, Row};

/// Slots of a block: the states of all of them are read before the vectors.
const BLOCK_SLOTS: usize = 1024;

impl Searcher<'_> {
    /// Adds a hit for each pending row that is not dead and that passes the filter, if there is one. `vector`: the query, in stored form.
    /// Returns it prepared for linked rows; `None` if the codec is not ready, because then no row is linked. Takes the row lock for an
    /// instant, if any rows are pending. Errors: `OutOfMemory`.
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
        // Only now: if a pending row is coded, the codec was ready before the row came.
        let query = prepared();
        let plain = self.codec().plain().prepare(vector);
        reserve(hits, rows)?;
        for (slot_state, row) in blocks.iter().flat_map(|block| block.rows()) {
            if slot_state.state != State::Dead && filter.is_none_or(|rows| rows.contains(slot_state.row_id)) {
                let (distance, norm) = match (row, &query) {
                    (Row::Coded(row), Some(query)) => (self.codec().distance(query, row), self.codec().norm(row)),
                    (Row::Plain(row) | Row::Coded(row), _) => (self.codec().plain().distance(&plain, row), 0.0),
                };
                hits.push(Hit { distance, norm, row_id: slot_state.row_id });
            }
        }
        // A row that was linked since the snapshot is dead here, but its linking has made the codec ready, so it is found among the linked
        // rows.
        Ok(query.or_else(prepared))
    }

    /// Adds a hit for each linked row that is not dead; returns how many. Called after `exact_pending`, so that a row that is linked
    /// meanwhile is not missed. Errors: `OutOfMemory`.
    pub(super) fn exact_linked(&self, query: &Query<'_>, hits: &mut Vec<Hit>) -> Result<usize> {
        let generation = self.rows.generation();
        let pinned = generation.pin_rows();
        let before = hits.len();
        reserve(hits, self.rows.alive())?;
        let nodes = generation.graph.len() as u32;
        let mut slots = Vec::with_capacity(BLOCK_SLOTS);
        for block in blocks(0..nodes) {
            pinned.measure(query, block, &mut slots, |slot, distance, norm| {
                hits.push(generation.hit(slot, distance, norm));
            });
        }
        Ok(hits.len() - before)
    }

    /// Adds a hit for each linked row of `rows`; returns how many. Called after `exact_pending`, as above. Takes the row lock for some
    /// microseconds at a time. Errors: `OutOfMemory`.
    pub(super) fn exact_rows(&self, query: &Query<'_>, rows: &RowSet, hits: &mut Vec<Hit>) -> Result<usize> {
        let before = hits.len();
        reserve(hits, rows.len())?;
        let mut scratch = Scratch::default();
        for (number, page) in rows.pages() {
            self.measure_page(query, number, page, &mut scratch, |hit| hits.push(hit));
        }
        Ok(hits.len() - before)
    }

    /// Measures each linked row (with a filter: each that passes) from all queries, a few rows at a time. Returns whether all rows were
    /// measured. Called after `exact_pending`, as above. Takes the row lock for some microseconds at a time if there is a filter. Errors:
    /// those of the collector.
    pub(super) fn exact_many(
        &self,
        queries: &[Query<'_>],
        filter: Option<&RowSet>,
        collector: &mut impl Collector,
    ) -> Result<bool> {
        if let Some(rows) = filter {
            let mut scratch = Scratch::default();
            for (number, page) in rows.pages() {
                if !collector.goes_on(PAGE_ROWS)? {
                    return Ok(false);
                }
                self.visit_page(number, page, &mut scratch, |generation, pinned, slots, published| {
                    pinned.measure_all(queries, slots.iter().copied(), published, |query, slots, distances, norms| {
                        collector.take(query, distances, norms, |at| generation.row_id(slots[at]));
                    });
                });
            }
            return Ok(true);
        }
        let generation = self.rows.generation();
        let mut published = Vec::new();
        for block in blocks(0..generation.graph.len() as u32) {
            if !collector.goes_on(block.len())? {
                return Ok(false);
            }
            // For a block only: it may take long, and slots wait for it that are to be freed.
            let pinned = generation.pin_rows();
            pinned.measure_all(queries, block, &mut published, |query, slots, distances, norms| {
                collector.take(query, distances, norms, |at| generation.row_id(slots[at]));
            });
        }
        Ok(true)
    }

    /// Calls `each` with a hit for each linked row of a page of a set. Takes the row lock for some microseconds.
    pub(super) fn measure_page(
        &self,
        query: &Query<'_>,
        number: usize,
        page: &Page,
        scratch: &mut Scratch,
        mut each: impl FnMut(Hit),
    ) {
        self.visit_page(number, page, scratch, |generation, pinned, slots, published| {
            pinned.measure(query, slots.iter().copied(), published, |slot, distance, norm| {
                each(generation.hit(slot, distance, norm));
            });
        });
    }

    /// Calls `visit` with the linked rows of a page of a set: the generation, the guard that pins its rows, the slots of the rows, and room
    /// for more slots. Before the call, takes the row lock for some microseconds.
    pub(super) fn visit_page(
        &self,
        number: usize,
        page: &Page,
        scratch: &mut Scratch,
        visit: impl FnOnce(&Generation, &PinnedRows<'_>, &[u32], &mut Vec<u32>),
    ) {
        let Scratch { slots, published } = scratch;
        loop {
            let generation = self.rows.generation();
            let pinned = generation.pin_rows();
            let map = self.rows.read();
            // The row map holds slots of the current generation.
            if !Arc::ptr_eq(&generation, &self.rows.generation()) {
                continue;
            }
            slots.clear();
            map.places.slots(number, positions(page), slots);
            drop(map);
            visit(&generation, &pinned, slots, published);
            return;
        }
    }
}

/// Receives rows that are measured from several queries.
pub(super) trait Collector {
    /// Called before at most `rows` rows are measured. False: no more are wanted.
    fn goes_on(&mut self, rows: usize) -> Result<bool>;
    /// Receives up to four rows: their distances from the query of this number, and their norms (see [`crate::vectors::Codec::norm`]). It
    /// calls `row_id` with the positions of the rows that it wants.
    fn take(&mut self, query: usize, distances: &[f32], norms: &[f32], row_id: impl Fn(usize) -> i64);
}

/// Buffers that are reused from one page to the next.
#[derive(Default)]
pub(super) struct Scratch {
    slots: Vec<u32>,
    published: Vec<u32>,
}

/// Splits slots into blocks of `BLOCK_SLOTS`.
pub(super) fn blocks(slots: Range<u32>) -> impl Iterator<Item = Range<u32>> {
    let end = slots.end;
    slots.step_by(BLOCK_SLOTS).map(move |block| block..end.min(block + BLOCK_SLOTS as u32))
}

fn reserve(hits: &mut Vec<Hit>, rows: usize) -> Result<()> {
    let full = |_| Error::out_of_memory("while searching an HNSW index");
    hits.try_reserve(rows).map_err(full)
}
