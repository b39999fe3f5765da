//! Exact search: the distance of every row. Enters no room, waits for nobody.

use std::sync::Arc;

use super::Hit;
use super::row_set::{PAGE_ROWS, RowSet, positions};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::rows::State;

impl Index {
    /// Adds a hit for each pending row that is not dead and, if there is a filter, passes it. Takes the row lock for
    /// an instant, if there are any. Errors: `OutOfMemory`.
    pub(super) fn scan_pending(&self, query: &[f32], filter: Option<&RowSet>, hits: &mut Vec<Hit>) -> Result<()> {
        if self.pending() == 0 {
            return Ok(());
        }
        let (blocks, rows) = {
            let rows = self.rows();
            (rows.pending.snapshot(), rows.pending.len())
        };
        reserve(hits, rows)?;
        for (entry, vector) in blocks.iter().flat_map(|block| block.rows()) {
            if entry.state != State::Dead && filter.is_none_or(|rows| rows.contains(entry.row_id)) {
                hits.push(Hit { distance: self.space.distance(query, vector), row_id: entry.row_id });
            }
        }
        Ok(())
    }

    /// Adds a hit for each linked row that is not dead; returns how many. To be called after `scan_pending`, so that
    /// no row is missed that is linked meanwhile. Errors: `OutOfMemory`.
    pub(super) fn scan_linked(&self, query: &[f32], hits: &mut Vec<Hit>) -> Result<usize> {
        let core = self.core();
        let _scan = core.scan();
        let before = hits.len();
        reserve(hits, self.alive())?;
        for slot in 0..core.graph.len() as u32 {
            let entry = core.entries.at(slot).load();
            if matches!(entry.state, State::Live | State::Tombstone) {
                // SAFETY: the entry is published.
                let vector = unsafe { core.arena.get(slot) };
                hits.push(Hit { distance: self.space.distance(query, vector), row_id: entry.row_id });
            }
        }
        Ok(hits.len() - before)
    }

    /// Adds a hit for each linked row of `rows`; returns how many. To be called after `scan_pending`, as above. Takes the
    /// row lock for some microseconds at a time. Errors: `OutOfMemory`.
    pub(super) fn scan_rows(&self, query: &[f32], rows: &RowSet, hits: &mut Vec<Hit>) -> Result<usize> {
        let before = hits.len();
        reserve(hits, rows.len())?;
        let mut slots = Vec::with_capacity(PAGE_ROWS.min(rows.len()));
        let mut core = self.core();
        let mut pages = rows.pages().peekable();
        while let Some(&(number, page)) = pages.peek() {
            let scan = core.scan();
            let map = self.rows();
            // The row map is of the current generation.
            let current = self.core();
            if !Arc::ptr_eq(&core, &current) {
                drop((map, scan));
                core = current;
                continue;
            }
            slots.clear();
            map.places.slots(number, positions(page), &mut slots);
            drop(map);
            pages.next();
            for &slot in &slots {
                let row_id = core.entries.at(slot).load().row_id;
                // SAFETY: the row map holds published slots only, and none becomes free during the scan.
                let vector = unsafe { core.arena.get(slot) };
                hits.push(Hit { distance: self.space.distance(query, vector), row_id });
            }
        }
        Ok(hits.len() - before)
    }
}

fn reserve(hits: &mut Vec<Hit>, rows: usize) -> Result<()> {
    let full = |_| Error::new(ErrorKind::OutOfMemory, "out of memory while searching an HNSW index");
    hits.try_reserve(rows).map_err(full)
}
