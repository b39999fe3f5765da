//! Compaction: a new generation without the slots that are dead or free.

use std::sync::Arc;

use super::{Maintenance, RepairKind, wait_for};
use crate::error::{Error, Result};
use crate::graph::Source;
use crate::graph::lock::ReadGuard;
use crate::host::Interrupt;
use crate::index::Generation;
use crate::index::progress::UnderWay;
use crate::index::rows::{Place, State};

/// Marks a slot that is not copied.
const GONE: u32 = u32::MAX;
/// Vectors copied between two looks at the interrupt.
const COPY_ROWS: usize = 1024;
/// Steps of freeing a dead slot. Copying a node is one step, and so is visiting one. Measured.
const FREED_STEPS: usize = 50;
/// Steps of a node that is kept: two visits and one copy.
const KEPT_STEPS: usize = 3;

impl Maintenance {
    /// Frees the slots of dead rows (see [`expire`](crate::index::Index::expire)), repairs the links around them, and gives their
    /// memory back. The graph stays otherwise as it is: to free a slot costs one thread about what it costs to link a row. Searches,
    /// appends and removals go on meanwhile; linking pauses while the graph is copied, and the row lock is held for
    /// all rows at the end. What the rows that are left tell of their norms is noted (see [`norms`](crate::index::Index::norms)).
    ///
    /// Errors: `OutOfMemory` (both generations exist until the end), `Interrupted`; the index stays usable.
    pub fn compact(&self, interrupt: &dyn Interrupt) -> Result<()> {
        let _compacting = wait_for(&self.compacting, interrupt)?;
        let old = self.rows.generation();
        let work = self.begin_compaction(&old, old.dead());
        self.consolidate_dead(&old, interrupt, &|freed| work.set(freed * FREED_STEPS))?;
        self.copy(&old, &work, interrupt)
    }

    /// Frees the slots that statements owe, then copies the graph if it is still [`oversize`](Self::oversize). The caller holds the
    /// compaction lock.
    pub(super) fn compact_owed(&self, interrupt: &dyn Interrupt) -> Result<()> {
        let old = self.rows.generation();
        let work = self.begin_compaction(&old, old.owed());
        self.consolidate_owed(&old, interrupt, &|freed| work.set(freed * FREED_STEPS))?;
        if self.oversize() { self.copy(&old, &work, interrupt) } else { Ok(()) }
    }

    /// Begins the progress of a compaction that frees `dead` slots.
    fn begin_compaction(&self, old: &Generation, dead: usize) -> UnderWay {
        self.compaction.begin(dead * FREED_STEPS + old.graph.len().saturating_sub(dead) * KEPT_STEPS)
    }

    /// Copies the current generation without its free slots, and makes the copy the current one. The caller holds the compaction lock.
    fn copy(&self, old: &Generation, work: &UnderWay, interrupt: &dyn Interrupt) -> Result<()> {
        self.rows.appending().trim();

        let _paused = self.pause();
        let pending = self.rows.begin_norms();
        // Waits for linkers that have not yet seen the pause. If they waited for our read guard, searches would wait behind them.
        old.graph.drain();
        let graph = old.graph.read();
        let norms = self.rows.measure_norms(old, &graph, &pending, interrupt)?;
        drop(pending);
        let copy = Copy::plan(old, &graph)?;
        if copy.kept.len() == old.graph.len() {
            if self.rows.read().norms.would_change(norms) {
                self.rows.change().norms.measured(norms);
            }
            return Ok(());
        }
        let rows = copy.kept.len();
        let mut new = Generation::load(self.setup(), rows, copy.upper, copy.entry, &copy)?;
        let to = Arc::get_mut(&mut new).expect("nobody else has it yet").graph.rows_mut();
        for (slot, (row, &origin)) in to.zip(&copy.kept).enumerate() {
            if slot.is_multiple_of(COPY_ROWS) {
                interrupt.check()?;
                work.add(COPY_ROWS.min(rows - slot));
            }
            row.copy_from_slice(graph.row(origin));
        }
        self.reconnect_all(&new, interrupt, work)?;
        let mut rows = self.rows.change();
        for (slot, &origin) in (0..).zip(&copy.kept) {
            // The state now, not when the row was copied: the row may have been deleted or replaced since.
            let slot_state = old.states.at(origin).load();
            new.states.at(slot).store(slot_state);
            if slot_state.state == State::Dead {
                new.die(slot);
            } else {
                rows.places.set(slot_state.row_id, Place::Slot(slot));
            }
        }
        new.set_unowed(old.unowed());
        rows.norms.measured(norms);
        rows.switch_to(new);
        self.repaired(RepairKind::Compaction, old.graph.len() - copy.kept.len());
        Ok(())
    }
}

/// Which slots of a generation are copied, and to where.
struct Copy<'a> {
    graph: &'a ReadGuard<'a>,
    /// The old slot of each new one.
    kept: Vec<u32>,
    /// The new slot of each old one, or `GONE`.
    moved: Vec<u32>,
    /// Lists above the bottom level.
    upper: usize,
    /// The new slot where walks begin.
    entry: u32,
}

impl<'a> Copy<'a> {
    /// `graph`: the guard of `old`.
    fn plan(old: &Generation, graph: &'a ReadGuard<'a>) -> Result<Self> {
        let full = |_| Error::out_of_memory("while compacting an HNSW index");
        let nodes = graph.len();
        let (mut kept, mut moved) = (Vec::new(), Vec::new());
        kept.try_reserve_exact(nodes).map_err(full)?;
        moved.try_reserve_exact(nodes).map_err(full)?;
        let old_entry = graph.entry();
        let mut entry = (0, 0);
        let mut upper = 0;
        let mut links = vec![0; graph.links_max()];
        for slot in 0..nodes as u32 {
            let state = old.states.at(slot).load().state;
            // A dead entry is what consolidations leave, and a dead node without links was cleared by one that waits for readers. Rows that
            // have died since, or that nobody owes, are still linked, so they stay.
            let mut goes = || old_entry == Some(slot) || graph.neighbors(slot, 0, &mut links).is_empty();
            if state == State::Empty || state == State::Dead && goes() {
                moved.push(GONE);
                continue;
            }
            let level = graph.level(slot);
            upper += level;
            if kept.is_empty() || level > entry.0 {
                entry = (level, kept.len() as u32);
            }
            moved.push(kept.len() as u32);
            kept.push(slot);
        }
        Ok(Self { graph, kept, moved, upper, entry: entry.1 })
    }
}

impl Source for Copy<'_> {
    fn level(&self, slot: u32) -> usize {
        self.graph.level(self.kept[slot as usize])
    }

    fn links(&self, slot: u32, level: usize, out: &mut [u32]) -> usize {
        let count = self.graph.neighbors(self.kept[slot as usize], level, out).len();
        let mut linked = 0;
        for i in 0..count {
            let to = self.moved[out[i] as usize];
            if to != GONE {
                out[linked] = to;
                linked += 1;
            }
        }
        linked
    }
}
