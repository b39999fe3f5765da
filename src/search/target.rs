//! The search width that finds a given share of the nearest rows, and the searches that measure it.
//!
//! A measurement searches for remembered query vectors. If these are too few, it takes rows that are not linked yet, of which a build
//! leaves some; otherwise it takes linked rows. Linked rows are no fair sample: a walk that reaches the row itself has found the row's
//! neighbours, because the row links to them. On sentence embeddings a walk of width 32 finds .993 of the neighbours of linked rows, but
//! .969 of those of vectors that are not in the index. So a walk for a linked row does not step on that row. This leaves a gap in the
//! graph, and the walk finds .943: a little less than users' searches will find, never more.

use std::collections::BinaryHeap;
use std::sync::Arc;

use super::exact::Collector;
use super::recall::interval;
use super::strategy::{SPARE_MAX, Strategy};
use super::{Hit, Searcher};
use crate::error::{ErrorKind, Result};
use crate::host::Interrupt;
use crate::index::Generation;
use crate::index::progress::now;
use crate::index::rows::{SlotState, State};
use crate::index::widths::{ASKED_MIN, K_LEVELS, Measurement, Measuring, Probe, Share, Step, sample_size};
use crate::vectors::{Query, Row};

/// Most exact searches in one step of a measurement. Together they are faster than one by one.
const SEARCHES_PER_STEP: usize = 16;
/// Distances of an exact search that take as long as a walk, for each candidate that the walk keeps.
const DISTANCES_PER_EF: usize = 100;
/// At most about one in this many rows is held out of a build, to measure with.
const PENDING_PART: usize = 10;
/// The smallest width of a walk.
const EF_MIN: usize = 20;
/// The widest walk that is measured.
const EF_MAX: usize = 20_000;
/// Each measured width is `EF_GROWTH` thirds of the one before.
const EF_GROWTH: usize = 4;
/// The width for a share grows with this power of the number of rows; the root is that of random vectors, the hardest case.
const EF_GROWTH_POWER: f64 = 0.5;
/// Neighbours that a measurement searches for.
const NEIGHBORS: usize = K_LEVELS[K_LEVELS.len() - 1];

/// How well an index reaches a wanted share, for users.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetInfo {
    /// The search width for 10 rows.
    pub ef: usize,
    /// The recall that was measured with this width; NaN if nothing was measured.
    pub recall: f64,
    /// Lower end of the 95 % confidence interval of `recall`; NaN if nothing was measured.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// Number of searches of the measurement.
    pub queries: u64,
    /// Whether the measurement searched for remembered query vectors.
    pub asked: bool,
    /// When it was measured, in microseconds since 1970.
    pub time: i64,
}

impl TargetInfo {
    /// Nothing was measured.
    pub const NONE: Self =
        Self { ef: 0, recall: f64::NAN, low: f64::NAN, high: f64::NAN, queries: 0, asked: false, time: 0 };
}

/// Collects the nearest rows of each of some probes.
struct Exact<'a> {
    /// The row ids of the probes that are rows.
    own: Vec<Option<i64>>,
    /// Rows kept for each probe.
    k: usize,
    /// Only rows with smaller ids count.
    end: i64,
    nearest: Vec<BinaryHeap<Hit>>,
    interrupt: &'a dyn Interrupt,
}

impl Collector for Exact<'_> {
    fn goes_on(&mut self, _rows: usize) -> Result<bool> {
        self.interrupt.check()?;
        Ok(true)
    }

    #[inline]
    fn take(&mut self, query: usize, distances: &[f32], _norms: &[f32], row_id: impl Fn(usize) -> i64) {
        let nearest = &mut self.nearest[query];
        for (at, &distance) in distances.iter().enumerate() {
            if nearest.len() == self.k && nearest.peek().is_some_and(|last| distance >= last.distance) {
                continue;
            }
            let row_id = row_id(at);
            if row_id >= self.end || self.own[query] == Some(row_id) {
                continue;
            }
            nearest.push(Hit { distance, norm: 0.0, row_id });
            if nearest.len() > self.k {
                nearest.pop();
            }
        }
    }
}

impl Searcher<'_> {
    /// The search width, as `Request::ef`, with which a search for `k` rows finds this share of the nearest (above 0, at most 1): by the
    /// newest measurement, or by a rule of thumb before there is one. The first call with a share below 1 makes a measurement due. Takes no
    /// lock for long.
    pub fn ef_of_target(&self, k: usize, share: f64) -> usize {
        // With a width of all rows a search is exact.
        let all = self.rows.alive().max(1);
        if share >= 1.0 {
            return all;
        }
        let widths = &self.rows.widths;
        let share = widths.want(share);
        let ef = match widths.newest() {
            Some(measured) => {
                // An estimate for the rows that have come since the measurement.
                let growth = (all as f64 / measured.rows.max(1) as f64).max(1.0).powf(EF_GROWTH_POWER);
                measured.ef(k, share).map_or(all, |ef| (ef * growth).ceil() as usize)
            }
            None => presumed(share).max(2 * k),
        };
        // At least what a walk keeps anyway; otherwise the width would be doubled.
        let least = k.saturating_add(k.min(SPARE_MAX));
        ef.max(least).div_ceil(self.ef_factor())
    }

    /// How well the index reaches this share, by the newest measurement.
    pub fn target_info(&self, share: f64) -> TargetInfo {
        let ef = self.ef_of_target(K_LEVELS[0], share);
        let none = TargetInfo { ef, ..TargetInfo::NONE };
        let Some(measured) = self.rows.widths.newest() else { return none };
        let width = self.effective_ef(K_LEVELS[0], ef);
        let exact = Strategy::cheaper(self.rows.alive(), width) == Strategy::Exact;
        let walked = measured.ef(K_LEVELS[0], f64::from(share as f32)).map_or(width as f64, |ef| ef.ceil());
        let Share { mean, error } = if exact { Share { mean: 1.0, error: 0.0 } } else { measured.share(walked) };
        let (low, high) = interval(mean.into(), error.into());
        TargetInfo {
            recall: mean.into(),
            low,
            high,
            queries: measured.queries,
            asked: measured.asked,
            time: measured.time,
            ..none
        }
    }

    /// Whether a measurement is due or under way: somebody wants a share, searches are walks, and nearly all rows are linked. Otherwise a
    /// measurement that was begun is dropped.
    pub fn measurement_due(&self) -> bool {
        if self.rows.widths.wanted() == 0.0 {
            return false;
        }
        let due = self.may_be_measured() && self.rows.widths.due(self.rows.live());
        if !due {
            // A measurement that was begun will not go on.
            self.rows.widths.give_up();
        }
        due
    }

    /// Whether searches are walks and nearly all rows are linked.
    fn may_be_measured(&self) -> bool {
        let rows = self.rows.live();
        Strategy::cheaper(rows, EF_MIN) != Strategy::Exact && self.rows.pending() <= rows / PENDING_PART * 2
    }

    /// Does a small part of the measurement that is under way or due. Returns true if there is more to do; false also while another thread
    /// does a part. `searches`: most exact searches to do, or walks that take as long. If there is no memory for the measurement, it is
    /// given up until the index has grown. Takes the graph's read guard for each walk. Errors: `Interrupted`; then it can go on later.
    pub fn measure_step(&self, searches: usize, interrupt: &dyn Interrupt) -> Result<bool> {
        let widths = &self.rows.widths;
        if !self.measurement_due() {
            return Ok(false);
        }
        let Some(mut under_way) = widths.under_way.try_lock() else { return Ok(false) };
        let generation = self.rows.generation();
        let same = |measuring: &Measuring| measuring.generation.as_ptr() == Arc::as_ptr(&generation);
        if !under_way.as_ref().is_some_and(same) {
            *under_way = None;
        }
        let begun = match &mut *under_way {
            Some(measuring) => Ok(measuring),
            none => self.begin(&generation).map(|measuring| none.insert(measuring)),
        };
        match begun.and_then(|measuring| self.advance_measuring(measuring, &generation, searches, interrupt)) {
            Ok(None) => Ok(true),
            Ok(Some(measurement)) => {
                let came = under_way.take().map_or(0, |measuring| measuring.came);
                widths.adopt(measurement, came);
                Ok(false)
            }
            Err(error) => {
                if error.kind == ErrorKind::Interrupted {
                    return Err(error);
                }
                *under_way = None;
                widths.fail(self.rows.live());
                Ok(false)
            }
        }
    }

    /// Does steps as [`measure_step`](Self::measure_step) until no measurement is due, and waits for the steps of other threads. Errors:
    /// `Interrupted`.
    pub fn finish_measurement(&self, interrupt: &dyn Interrupt) -> Result<()> {
        while self.measurement_due() {
            if !self.measure_step(SEARCHES_PER_STEP, interrupt)? {
                interrupt.pause()?;
            }
        }
        Ok(())
    }

    fn begin(&self, generation: &Arc<Generation>) -> Result<Measuring> {
        let rows = self.rows.live();
        let size = sample_size(rows);
        let vector_bytes = self.codec().row_bytes().max(size_of::<f32>() * self.codec().space.dimensions);
        let charge = self.rows.setup.memory.charge(size * (vector_bytes + size_of::<(f32, i64)>() * NEIGHBORS))?;
        // Read first, so that a row that comes between the two reads counts as having come after the measurement began.
        let came = self.rows.widths.came();
        let end = self.rows.read().places.end();
        let asked = self.rows.widths.asked();
        let is_asked = asked.is_some();
        let probes = match asked {
            Some(mut vectors) => {
                vectors.truncate(size);
                vectors.into_iter().map(Probe::Asked).collect()
            }
            None => self.waiting(size).unwrap_or_else(|| self.sample(generation, size)),
        };
        // One exact search and one walk of the first width for each probe.
        let progress = self.rows.widths.measuring.begin(2 * probes.len());
        Ok(Measuring {
            generation: Arc::downgrade(generation),
            probes,
            end,
            came,
            exact: Vec::new(),
            ef: EF_MIN,
            recalls: Vec::new(),
            steps: Vec::new(),
            rows,
            wanted: self.rows.widths.wanted(),
            asked: is_asked,
            progress,
            _charge: charge,
        })
    }

    /// If the index will be measured, keeps some pending rows from being linked: about as many as a measurement needs, from all over the
    /// pending area. Returns whether it does.
    pub fn hold_out(&self) -> bool {
        let rows = self.rows.alive();
        let measured = self.rows.widths.wanted() > 0.0 && Strategy::cheaper(rows, EF_MIN) != Strategy::Exact;
        if measured {
            self.rows.hold_out((rows / sample_size(rows)).max(PENDING_PART) as u32);
        }
        measured
    }

    /// Ends `hold_out`: those rows may be linked.
    pub fn release_held_out(&self) {
        self.rows.release_held_out();
    }

    /// Up to `count` live pending rows, evenly spread; `None` if they are too few to measure with. Takes the row lock for an instant.
    fn waiting(&self, count: usize) -> Option<Vec<Probe>> {
        let (blocks, waiting) = {
            let rows = self.rows.read();
            (rows.pending.snapshot(), rows.pending.len())
        };
        let rows =
            blocks.iter().flat_map(|block| block.rows()).filter(|(slot_state, _)| slot_state.state == State::Live);
        let probe = |(slot_state, row): (SlotState, Row<'_>)| Probe::Row {
            slot: None,
            row_id: slot_state.row_id,
            row: self.codec().coded(row).into_owned(),
        };
        let probes: Vec<Probe> = rows.step_by((waiting / count.max(1)).max(1)).map(probe).take(count).collect();
        (probes.len() >= ASKED_MIN).then_some(probes)
    }

    /// Up to `count` live linked rows, evenly spread over the slots. All are nodes of the bottom level only, because the walks have to do
    /// without them.
    pub(super) fn sample(&self, generation: &Generation, count: usize) -> Vec<Probe> {
        let pinned = generation.pin_rows();
        let slots = generation.graph.len();
        let graph = generation.graph.read();
        let entry = graph.entry();
        let step = (slots / count.max(1)).max(1);
        // The first suitable slot of each stretch.
        let suits = |slot: &u32| graph.level(*slot) == 0 && entry != Some(*slot);
        let probe = |slot: u32| {
            let slot_state = generation.states.at(slot).load();
            let row = pinned.get(slot).filter(|_| slot_state.state == State::Live)?;
            Some(Probe::Row { slot: Some(slot), row_id: slot_state.row_id, row: row.to_vec() })
        };
        let stretch = |first: usize| (first..slots.min(first + step)).map(|slot| slot as u32);
        let found = (0..slots).step_by(step).filter_map(|first| stretch(first).filter(suits).find_map(probe));
        found.take(count).collect()
    }

    /// Does the next searches of a measurement. Returns the measurement once it is done.
    fn advance_measuring(
        &self,
        measuring: &mut Measuring,
        generation: &Generation,
        searches: usize,
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Measurement>> {
        let done = measuring.exact.len();
        if done < measuring.probes.len() {
            let end = measuring.probes.len().min(done + searches.clamp(1, SEARCHES_PER_STEP));
            let exact = self.nearest_rows(&measuring.probes[done..end], NEIGHBORS, measuring.end, interrupt)?;
            measuring.progress.add(exact.len());
            measuring.exact.extend(exact);
            return Ok(None);
        }
        let done = measuring.recalls.len();
        if done < measuring.probes.len() {
            let walks = (searches * measuring.rows / (DISTANCES_PER_EF * measuring.ef)).clamp(1, SEARCHES_PER_STEP);
            for at in done..measuring.probes.len().min(done + walks) {
                interrupt.check()?;
                let Measuring { probes, exact, end, ef, .. } = &*measuring;
                let found = self.walked_distances(generation, &probes[at], *ef, *end);
                let exact = self.still_there(&exact[at]);
                let recall = |k| self.recall_of(&found, &exact, k).unwrap_or(1.0) as f32;
                measuring.recalls.push(K_LEVELS.map(recall));
                measuring.progress.add(1);
            }
            return Ok(None);
        }
        let recalls = std::mem::take(&mut measuring.recalls);
        let mut shares = [Share::default(); K_LEVELS.len()];
        for (level, share) in shares.iter_mut().enumerate() {
            if K_LEVELS[level] + K_LEVELS[level].min(SPARE_MAX) <= measuring.ef {
                let (mean, error) = mean_of(recalls.iter().map(|recalls| f64::from(recalls[level])));
                *share = Share { mean: mean as f32, error: error as f32 };
            }
        }
        measuring.steps.push(Step { ef: measuring.ef as u32, shares });
        measuring.ef = measuring.ef * EF_GROWTH / 3;
        let ended = measuring.ef > EF_MAX || Strategy::cheaper(measuring.rows, measuring.ef) == Strategy::Exact;
        let measurement = Measurement {
            rows: measuring.rows as u64,
            queries: measuring.probes.len() as u64,
            asked: measuring.asked,
            ended,
            time: now(),
            steps: std::mem::take(&mut measuring.steps),
        };
        if measurement.reaches(measuring.wanted) {
            return Ok(Some(measurement));
        }
        measuring.steps = measurement.steps;
        measuring.progress.extend(measuring.probes.len());
        Ok(None)
    }

    /// For each probe: distances and ids of the `k` linked rows nearest to it, without itself, nearest first. Only rows below `end` count.
    pub(super) fn nearest_rows(
        &self,
        probes: &[Probe],
        k: usize,
        end: i64,
        interrupt: &dyn Interrupt,
    ) -> Result<Vec<Vec<(f32, i64)>>> {
        let own = |probe: &Probe| match probe {
            Probe::Row { row_id, .. } => Some(*row_id),
            Probe::Asked(_) => None,
        };
        let nearest = probes.iter().map(|_| BinaryHeap::new()).collect();
        let mut exact = Exact { own: probes.iter().map(own).collect(), k, end, nearest, interrupt };
        let queries: Vec<Query<'_>> = probes.iter().map(|probe| self.prepare(probe)).collect();
        self.exact_many(&queries, None, &mut exact)?;
        let sorted = |nearest: BinaryHeap<Hit>| {
            nearest.into_sorted_vec().into_iter().map(|hit| (hit.distance, hit.row_id)).collect()
        };
        Ok(exact.nearest.into_iter().map(sorted).collect())
    }

    /// The distances of those `rows` that the index still has. Takes the row lock for an instant.
    pub(super) fn still_there(&self, rows: &[(f32, i64)]) -> Vec<f32> {
        let there = self.rows.read();
        rows.iter().filter(|(_, row_id)| there.places.get(*row_id).is_some()).map(|&(distance, _)| distance).collect()
    }

    /// The distances of the rows that a walk of width `ef` finds for a probe, without itself, nearest first. Only rows below `end` count.
    pub(super) fn walked_distances(&self, generation: &Generation, probe: &Probe, ef: usize, end: i64) -> Vec<f32> {
        let own = match probe {
            Probe::Row { slot, .. } => *slot,
            Probe::Asked(_) => None,
        };
        let query = self.prepare(probe);
        let graph = generation.graph.read();
        let passes = |slot| {
            let slot_state = generation.states.at(slot).load();
            matches!(slot_state.state, State::Live | State::Tombstone) && slot_state.row_id < end
        };
        let found = graph.nearest_beside(&query, ef, own, passes);
        found.into_iter().map(|node| node.distance()).collect()
    }

    /// The share of the `k` nearest rows that was found. Every found row that is as near as the last of them counts, so ties do not matter.
    /// `None` if there are no rows. `found`, `exact`: distances, nearest first.
    pub(super) fn recall_of(&self, found: &[f32], exact: &[f32], k: usize) -> Option<f64> {
        let neighbors = k.min(exact.len());
        let last = *exact.get(neighbors.checked_sub(1)?)?;
        let near = last + self.codec().space.tie(last);
        let hits = found.iter().take(neighbors).filter(|&&distance| distance <= near).count();
        Some(hits as f64 / neighbors as f64)
    }

    fn prepare<'p>(&self, probe: &'p Probe) -> Query<'p> {
        match probe {
            Probe::Row { row, .. } => self.codec().prepare_row(row),
            Probe::Asked(vector) => self.codec().prepare(vector),
        }
    }
}

/// A width that finds this share of the neighbours among some hundred thousand sentence embeddings.
fn presumed(share: f64) -> usize {
    match share {
        ..=0.9 => 64,
        ..=0.95 => 128,
        ..=0.98 => 256,
        _ => 512,
    }
}

/// The mean of numbers from 0 to 1, and its standard error.
pub(super) fn mean_of(numbers: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = numbers.clone().count() as f64;
    let mean = numbers.clone().sum::<f64>() / count;
    let variance = numbers.map(|number| (number - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    (mean, (variance / count).sqrt())
}
