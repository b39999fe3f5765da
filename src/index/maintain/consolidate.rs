//! Slots of dead rows become free: the links around them are repaired, until no walk can reach them.

use crate::bits;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::lock::Group;
use crate::host::Interrupt;
use crate::index::link::check;
use crate::index::rows::State;
use crate::index::{Core, Index};
use crate::memory::Charge;
use crate::sync::PoisonError;
use crate::sync::atomic::Ordering;

/// Slots per dead slot when a repair is due. The more are repaired together the cheaper each of them is; dead slots cost
/// searches and memory as long.
const SLOTS_PER_DEAD: usize = 16;
/// Fewest dead slots for which a repair is due.
const DEAD_MIN: usize = if cfg!(feature = "model") { 2 } else { 16 };
/// At least so many slots stay for each that is freed at a time: the fewer go at once the better the links are that are
/// found instead.
const SLOTS_PER_DOOMED: usize = 8;
/// Nodes repaired in one visit: less than a millisecond, for which searches wait.
const VISIT_NODES: u32 = 16;

/// A repair under way.
pub(in crate::index) struct Repair {
    /// The slots to be freed, a bit each, and as a list.
    doomed: Vec<u64>,
    slots: Vec<u32>,
    /// Nodes before this one are repaired.
    next: u32,
    /// Nodes that have lost all their links.
    orphans: Vec<u32>,
    _charge: Charge,
}

impl Index {
    /// Whether so many slots are dead that they should be repaired. Takes no lock.
    pub fn repair_due(&self) -> bool {
        let core = self.core();
        core.dead() >= DEAD_MIN && core.dead() >= core.graph.len() / SLOTS_PER_DEAD
    }

    /// Goes on with a repair, or begins one that is due: passes at most `max_nodes` nodes; returns how many it passed or
    /// freed, 0 when there is nothing to do, somebody else does it, or readers are in the way. Enters the
    /// room as `Exclusive` for some nodes at a time. Errors: `OutOfMemory`, `Interrupted`; the repair can go on later.
    pub fn repair(&self, max_nodes: usize, interrupt: &dyn Interrupt) -> Result<usize> {
        if self.paused.load(Ordering::Relaxed) > 0 {
            return Ok(0); // whoever copies the graph would be waited for, and searches would wait behind us
        }
        let core = self.core();
        let Ok(mut repair) = core.repair.try_lock() else { return Ok(0) };
        if repair.is_none() && self.repair_due() {
            *repair = Some(self.begin_repair(&core)?);
        }
        let Some(running) = repair.as_mut() else { return Ok(0) };
        let first = running.next;
        let end = (core.graph.len() as u32).min(first.saturating_add(max_nodes as u32));
        running.pass(&core, end, interrupt)?;
        let mut done = (end - first) as usize;
        if end as usize == core.graph.len() && self.finish_repair(&core, running)? {
            done += running.slots.len();
            *repair = None;
        }
        Ok(done)
    }

    /// Frees all slots that are dead now, except the one where walks begin. Errors: as for `repair`.
    pub(in crate::index) fn repair_all(&self, core: &Core, interrupt: &dyn Interrupt) -> Result<()> {
        let mut repair = core.repair.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if repair.is_none() {
                *repair = Some(self.begin_repair(core)?).filter(|begun| !begun.slots.is_empty());
            }
            let Some(running) = repair.as_mut() else { return Ok(()) };
            running.pass(core, core.graph.len() as u32, interrupt)?;
            check(interrupt)?;
            if self.finish_repair(core, running)? {
                *repair = None;
            } else {
                crate::sync::thread::yield_now();
            }
        }
    }

    fn begin_repair(&self, core: &Core) -> Result<Repair> {
        let full = |_| Error::new(ErrorKind::OutOfMemory, "out of memory while repairing an HNSW index");
        let nodes = core.graph.len();
        let words = nodes.div_ceil(64);
        let dead = core.dead().min((nodes / SLOTS_PER_DOOMED).max(DEAD_MIN));
        let charge = self.memory.charge(words * size_of::<u64>() + dead * size_of::<u32>())?;
        core.reserve_free(dead)?;
        let (mut doomed, mut slots) = (Vec::new(), Vec::new());
        doomed.try_reserve_exact(words).map_err(full)?;
        slots.try_reserve_exact(dead).map_err(full)?;
        doomed.resize(words, 0);
        let entry = {
            let _visit = core.rooms.enter(Group::Search);
            // SAFETY: the visit admits readers only. There are dead slots, so there are nodes.
            (nodes > 0).then(|| unsafe { core.graph.entry() })
        };
        for slot in 0..nodes as u32 {
            let dead = core.entries.at(slot).load().state == State::Dead;
            // Walks begin at the entry, so it has to stay.
            if dead && entry != Some(slot) && slots.len() < slots.capacity() {
                bits::set(&mut doomed, slot as usize);
                slots.push(slot);
            }
        }
        if !slots.is_empty() {
            core.change_links();
        }
        Ok(Repair { doomed, slots, next: 0, orphans: Vec::new(), _charge: charge })
    }

    /// Every node was passed: repairs what was linked to doomed nodes meanwhile, then frees them. False if that has to
    /// be tried again, as vectors are being read.
    fn finish_repair(&self, core: &Core, repair: &mut Repair) -> Result<bool> {
        repair.adopt_orphans(core)?;
        let freed = {
            let _alone = core.rooms.enter(Group::Exclusive);
            let end = core.graph.len() as u32;
            // SAFETY: alone in the room.
            unsafe { core.graph.repair(&core.arena, &repair.doomed, 0..end, &mut repair.orphans) }?;
            let freed = core.free_slots(&repair.slots);
            if freed {
                // The slots of this generation, whether or not it is the current one by now.
                let rows = self.rows();
                core.dead_freed(repair.slots.len());
                self.publish(&rows);
            }
            freed
        };
        repair.adopt_orphans(core)?;
        Ok(freed)
    }
}

impl Repair {
    /// Repairs the nodes up to `end`.
    fn pass(&mut self, core: &Core, end: u32, interrupt: &dyn Interrupt) -> Result<()> {
        while self.next < end {
            check(interrupt)?;
            let until = end.min(self.next + VISIT_NODES);
            let _alone = core.rooms.enter(Group::Exclusive);
            // SAFETY: alone in the room.
            unsafe { core.graph.repair(&core.arena, &self.doomed, self.next..until, &mut self.orphans) }?;
            self.next = until;
        }
        Ok(())
    }

    /// Links nodes that have lost all links as if they were new.
    fn adopt_orphans(&mut self, core: &Core) -> Result<()> {
        while let Some(&slot) = self.orphans.last() {
            let _visit = core.rooms.enter(Group::Link);
            // SAFETY: the visit keeps readers and other repairs out; the node keeps its vector, which was published.
            unsafe { core.graph.relink(&core.arena, slot, core.arena.get(slot)) }?;
            self.orphans.pop();
        }
        Ok(())
    }
}
