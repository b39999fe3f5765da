//! Consolidation: the links around dead rows are repaired until no walk can reach their slots. Then the slots are free.

use super::{Maintenance, RepairKind, wait_for};
use crate::bits;
use crate::error::{Error, Result};
use crate::graph::lock::{Cleared, ExclusiveGuard};
use crate::host::Interrupt;
use crate::index::Generation;
use crate::index::progress::UnderWay;
use crate::index::rows::State;
use crate::memory::Charge;

/// Slots per dead slot when a consolidation is due. The more slots are consolidated together, the cheaper each of them is; until then dead
/// slots cost searches time, and memory.
const SLOTS_PER_DEAD: usize = 16;
/// Fewest dead slots for which a consolidation is due.
const DEAD_MIN: usize = if cfg!(feature = "model") { 2 } else { 16 };
/// A consolidation frees at most one in this many slots. The fewer slots go at once, the better are the links that replace theirs.
const SLOTS_PER_DELETED: usize = 8;
/// Nodes between two progress reports of a consolidation that runs to its end.
const NOTED_NODES: u32 = 1024;
/// Nodes consolidated in one visit. Searches wait for a visit, which takes less than a millisecond.
const VISIT_NODES: u32 = 16;

/// A consolidation under way.
pub(in crate::index) struct Consolidation {
    /// The slots to be freed: a bit each, and as a list.
    deleted: Vec<u64>,
    slots: Vec<u32>,
    /// Nodes before this one are consolidated.
    next: u32,
    /// Nodes that have lost all their links.
    orphans: Vec<u32>,
    /// The slots are cleared, and can be freed once nobody reads them any more.
    cleared: Option<Cleared>,
    progress: UnderWay,
    _charge: Charge,
}

impl Maintenance {
    /// Whether so many slots are dead that they should be consolidated. Takes no lock.
    pub fn consolidate_due(&self) -> bool {
        let generation = self.rows.generation();
        generation.dead() >= DEAD_MIN && generation.dead() >= generation.graph.len() / SLOTS_PER_DEAD
    }

    /// Goes on with a consolidation, or begins one that is due. Passes at most `max_nodes` nodes, and returns how many nodes it passed or
    /// freed. That is 0 when there is nothing to do, when another thread does it or copies the graph, or when pinned rows are in the way.
    /// Takes the graph's exclusive guard for some nodes at a time. Errors: `OutOfMemory`, `Interrupted`; the consolidation can go on later.
    pub fn consolidate(&self, max_nodes: usize, interrupt: &dyn Interrupt) -> Result<usize> {
        if self.is_paused() {
            return Ok(0); // otherwise we would wait for the thread that copies the graph, and searches behind us
        }
        let generation = self.rows.generation();
        let Some(mut consolidation) = generation.consolidation.try_lock() else { return Ok(0) };
        if consolidation.is_none() && self.consolidate_due() {
            *consolidation = Some(self.begin_consolidation(&generation, usize::MAX)?);
        }
        let Some(running) = consolidation.as_mut() else { return Ok(0) };
        let first = running.next;
        let end = (generation.graph.len() as u32).min(first.saturating_add(max_nodes as u32));
        running.pass(self, &generation, end, interrupt)?;
        let mut done = (end - first) as usize;
        if end as usize == generation.graph.len() && self.finish_consolidation(&generation, running, interrupt)? {
            done += running.slots.len();
            *consolidation = None;
        }
        Ok(done)
    }

    /// Frees all slots that are dead now, except the one where walks begin, and reports to `freed` how many are free so far. Slots that die
    /// meanwhile are left, because otherwise this might never end while other threads change rows. Errors: as for `consolidate`.
    pub(in crate::index) fn consolidate_dead(
        &self,
        generation: &Generation,
        interrupt: &dyn Interrupt,
        freed: &dyn Fn(usize),
    ) -> Result<()> {
        let dead = generation.dead();
        self.consolidate_most(generation, &|freed| dead.saturating_sub(freed), interrupt, freed)
    }

    /// As `consolidate_dead`, for as many slots as statements owe.
    pub(super) fn consolidate_owed(
        &self,
        generation: &Generation,
        interrupt: &dyn Interrupt,
        freed: &dyn Fn(usize),
    ) -> Result<()> {
        self.consolidate_most(generation, &|_| generation.owed(), interrupt, freed)
    }

    /// As `consolidate_dead`, for at most `most` slots. `most` is called before each pass with the number of slots freed so far, and the
    /// work ends when it returns 0. A pass that is under way is ended first, unless `most` returns 0 at once.
    fn consolidate_most(
        &self,
        generation: &Generation,
        most: &dyn Fn(usize) -> usize,
        interrupt: &dyn Interrupt,
        freed: &dyn Fn(usize),
    ) -> Result<()> {
        let mut consolidation = wait_for(&generation.consolidation, interrupt)?;
        let mut before = 0;
        loop {
            let most = most(before);
            if most == 0 {
                return Ok(());
            }
            if consolidation.is_none() {
                let begun = self.begin_consolidation(generation, most)?;
                *consolidation = Some(begun).filter(|begun| !begun.slots.is_empty());
            }
            let Some(running) = consolidation.as_mut() else { return Ok(()) };
            while (running.next as usize) < generation.graph.len() {
                let end = (generation.graph.len() as u32).min(running.next.saturating_add(NOTED_NODES));
                running.pass(self, generation, end, interrupt)?;
                freed(before + running.slots.len() * running.next as usize / generation.graph.len());
            }
            interrupt.check()?;
            if self.finish_consolidation(generation, running, interrupt)? {
                before += running.slots.len();
                *consolidation = None;
            } else {
                interrupt.pause()?;
            }
        }
    }

    /// Begins a consolidation of at most `most` slots.
    fn begin_consolidation(&self, generation: &Generation, most: usize) -> Result<Consolidation> {
        let full = |_| Error::out_of_memory("while consolidating an HNSW index");
        let nodes = generation.graph.len();
        let words = nodes.div_ceil(64);
        let dead = generation.dead().min((nodes / SLOTS_PER_DELETED).max(DEAD_MIN)).min(most);
        let charge = self.setup().memory.charge(words * size_of::<u64>() + dead * size_of::<u32>())?;
        generation.reserve_free(dead)?;
        let (mut deleted, mut slots) = (Vec::new(), Vec::new());
        deleted.try_reserve_exact(words).map_err(full)?;
        slots.try_reserve_exact(dead).map_err(full)?;
        deleted.resize(words, 0);
        let entry = generation.graph.read().entry();
        for slot in 0..nodes as u32 {
            let dead = generation.states.at(slot).load().state == State::Dead;
            // Walks begin at the entry, so it has to stay.
            if dead && entry != Some(slot) && slots.len() < slots.capacity() {
                bits::set(&mut deleted, slot as usize);
                slots.push(slot);
            }
        }
        if !slots.is_empty() {
            generation.change_links();
        }
        let progress = generation.consolidating.begin(nodes);
        Ok(Consolidation { deleted, slots, next: 0, orphans: Vec::new(), cleared: None, progress, _charge: charge })
    }

    /// Every node was passed: consolidates what was linked to deleted nodes meanwhile, clears these, then frees their slots. False if that
    /// has to be tried again, as rows are read that were found before; those who begin to read meanwhile are not waited for.
    fn finish_consolidation(
        &self,
        generation: &Generation,
        consolidation: &mut Consolidation,
        interrupt: &dyn Interrupt,
    ) -> Result<bool> {
        if consolidation.cleared.is_none() {
            let mut graph = self.exclusive(generation, interrupt)?;
            let end = graph.len() as u32;
            graph.consolidate(&consolidation.deleted, 0..end, &mut consolidation.orphans)?;
            consolidation.cleared = generation.clear_slots(&consolidation.slots, &mut graph);
        }
        consolidation.adopt_orphans(self, generation, interrupt)?;
        // Asked without the guard first: searches wait for that.
        let Some(cleared) = consolidation.cleared.as_ref().filter(|cleared| generation.graph.may_free(cleared)) else {
            return Ok(false);
        };
        let mut graph = self.exclusive(generation, interrupt)?;
        // Nothing may fail from here on: the slots would be freed once more.
        let freed = generation.free_slots(&consolidation.slots, cleared, &mut graph);
        if freed {
            // These are the slots of `generation`, whether or not it is still the current one.
            let _rows = self.rows.change();
            generation.dead_freed(consolidation.slots.len());
        }
        drop(graph);
        if freed && !consolidation.slots.is_empty() {
            self.repaired(RepairKind::Consolidation, consolidation.slots.len());
        }
        Ok(freed)
    }
}

impl Maintenance {
    /// Takes the graph's exclusive guard, once no other thread copies the graph.
    fn exclusive<'a>(&self, generation: &'a Generation, interrupt: &dyn Interrupt) -> Result<ExclusiveGuard<'a>> {
        loop {
            match generation.graph.exclusive_unless(&|| self.is_paused()) {
                Some(guard) => return Ok(guard),
                None => self.wait_for_copy(interrupt)?,
            }
        }
    }
}

impl Consolidation {
    /// Nodes that the consolidation has passed.
    #[cfg(test)]
    pub(in crate::index) fn passed(&self) -> usize {
        self.next as usize
    }

    /// Consolidates the nodes up to `end`.
    fn pass(
        &mut self,
        maintenance: &Maintenance,
        generation: &Generation,
        end: u32,
        interrupt: &dyn Interrupt,
    ) -> Result<()> {
        while self.next < end {
            interrupt.check()?;
            let until = end.min(self.next + VISIT_NODES);
            let mut graph = maintenance.exclusive(generation, interrupt)?;
            graph.consolidate(&self.deleted, self.next..until, &mut self.orphans)?;
            drop(graph);
            self.next = until;
            self.progress.set(until as usize);
            // At once, because the graph may be copied before the consolidation ends.
            self.adopt_orphans(maintenance, generation, interrupt)?;
        }
        Ok(())
    }

    /// Links the nodes that have lost all their links as if they were new.
    fn adopt_orphans(
        &mut self,
        maintenance: &Maintenance,
        generation: &Generation,
        interrupt: &dyn Interrupt,
    ) -> Result<()> {
        while let Some(&slot) = self.orphans.last() {
            let Some(links) = generation.graph.link_unless(&|| maintenance.is_paused()) else {
                maintenance.wait_for_copy(interrupt)?;
                continue;
            };
            // SAFETY: only a consolidation relinks orphans, and there is one at a time.
            unsafe { links.relink_orphan(slot) }?;
            self.orphans.pop();
        }
        Ok(())
    }
}
