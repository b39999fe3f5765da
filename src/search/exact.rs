//! Exact search: the distance of every row. Enters no room, waits for nobody.

use std::ops::Range;
use std::sync::Arc;

use super::row_set::{PAGE_ROWS, Page, RowSet, positions};
use super::{Hit, Searcher};
use crate::error::{Error, Result};
use crate::index::rows::State;
use crate::index::{Generation, PinnedRows};
use crate::vectors::{Query, Row};

/// Slots whose states are read before their vectors.
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
        for (slot_state, row) in blocks.iter().flat_map(|block| block.rows()) {
            if slot_state.state != State::Dead && filter.is_none_or(|rows| rows.contains(slot_state.row_id)) {
                let (distance, norm) = match (row, &query) {
                    (Row::Coded(row), Some(query)) => (self.codec().distance(query, row), self.codec().norm(row)),
                    (Row::Plain(row) | Row::Coded(row), _) => (self.codec().plain().distance(&plain, row), 0.0),
                };
                hits.push(Hit { distance, norm, row_id: slot_state.row_id });
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
        for block in blocks(0..nodes) {
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
        let mut scratch = Scratch::default();
        for (number, page) in rows.pages() {
            self.measure_page(query, number, page, &mut scratch, |hit| hits.push(hit));
        }
        Ok(hits.len() - before)
    }

    /// Measures each linked row, or linked row of `filter`, from all of the queries, some rows after the other. Returns whether all rows
    /// were measured. To be called after `exact_pending`, as above. Takes the row lock for some microseconds at a time if there is a
    /// filter. Errors: those of the collector.
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

    /// Calls `visit` with the linked rows of a page of a set: the generation, the guard that keeps its rows, their slots, and room for some
    /// more. Takes the row lock for some microseconds before.
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
            // The row map is of the current generation.
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

/// What becomes of rows that are measured from several queries.
pub(super) trait Collector {
    /// Called before so many rows are measured at most; false: no more are wanted.
    fn goes_on(&mut self, rows: usize) -> Result<bool>;
    /// Up to four rows at these distances from a query of this number, with their norms (see [`crate::vectors::Codec::norm`]). Asks for
    /// the ids of those that it wants.
    fn take(&mut self, query: usize, distances: &[f32], norms: &[f32], row_id: impl Fn(usize) -> i64);
}

/// What measuring a page keeps for the next one.
#[derive(Default)]
pub(super) struct Scratch {
    slots: Vec<u32>,
    published: Vec<u32>,
}

/// Slots in blocks whose states are read before their vectors.
pub(super) fn blocks(slots: Range<u32>) -> impl Iterator<Item = Range<u32>> {
    let end = slots.end;
    slots.step_by(BLOCK_SLOTS).map(move |block| block..end.min(block + BLOCK_SLOTS as u32))
}

fn reserve(hits: &mut Vec<Hit>, rows: usize) -> Result<()> {
    let full = |_| Error::out_of_memory("while searching an HNSW index");
    hits.try_reserve(rows).map_err(full)
}
