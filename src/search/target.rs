//! The search width for a share of the nearest rows, and the searches that measure which one that is.
//!
//! What is searched for are query vectors that have been asked; as long as there are too few, rows that are not linked yet, as a build
//! leaves some; and at last linked rows. These are no fair sample: a walk that comes to the row itself has its neighbours at hand, for
//! they are its links. On sentence embeddings a walk of width 32 finds .993 of the neighbours of linked rows, but .969 of those of vectors
//! that are not in the index. So walks for linked rows do not step on them. They leave gaps then, and .943 are found: a little less
//! than others will find, never more.

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

/// Exact searches in one step of a measurement, if it has time: so many are faster together.
const SEARCHES_PER_STEP: usize = 16;
/// Distances of a walk for each of its width, and as many as it takes beside those of an exact search.
const DISTANCES_PER_EF: usize = 100;
/// Of the rows of an index that is built to be measured at most one of so many is not linked, but for chance.
const PENDING_PART: usize = 10;
/// The smallest width of a walk.
const EF_MIN: usize = 20;
/// The widest walk that is measured.
const EF_MAX: usize = 20_000;
/// Of two widths measured one after the other, the second in thirds of the first.
const EF_GROWTH: usize = 4;
/// With which power of the number of rows the width for a share grows: of random vectors, the hardest, with its root.
const EF_GROWTH_POWER: f64 = 0.5;
/// Neighbours that are looked for.
const NEIGHBORS: usize = K_LEVELS[K_LEVELS.len() - 1];

/// How well an index finds a share, for users.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetInfo {
    /// The search width for 10 rows.
    pub ef: usize,
    /// The recall that was measured with it, the ends of its 95 % confidence interval, and the number of searches; nothing if none was.
    pub recall: f64,
    /// See `recall`.
    pub low: f64,
    /// See `recall`.
    pub high: f64,
    /// See `recall`.
    pub queries: u64,
    /// Searches were for query vectors that had been asked.
    pub asked: bool,
    /// When, in microseconds since 1970.
    pub time: i64,
}

impl TargetInfo {
    /// Nothing was measured.
    pub const NONE: Self =
        Self { ef: 0, recall: f64::NAN, low: f64::NAN, high: f64::NAN, queries: 0, asked: false, time: 0 };
}

/// The nearest rows of each of some probes.
struct Exact<'a> {
    /// The ids of the probes, if these are rows.
    own: Vec<Option<i64>>,
    /// So many.
    k: usize,
    /// Only rows below this.
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
    /// The search width for `k` rows with which this share of the nearest is found, above 0, at most 1, as a search takes it: by the
    /// newest measurement; a rule of thumb before there is one. From the first call on a measurement is due. Takes no lock for long.
    pub fn ef_of_target(&self, k: usize, share: f64) -> usize {
        // with a width of all rows a search is exact
        let all = self.rows.alive().max(1);
        if share >= 1.0 {
            return all;
        }
        let widths = &self.rows.widths;
        let share = widths.want(share);
        let ef = match widths.newest() {
            Some(measured) => {
                // until it is measured again
                let growth = (all as f64 / measured.rows.max(1) as f64).max(1.0).powf(EF_GROWTH_POWER);
                measured.ef(k, share).map_or(all, |ef| (ef * growth).ceil() as usize)
            }
            None => presumed(share).max(2 * k),
        };
        // what a walk keeps anyway, so that the width is not doubled
        let least = k.saturating_add(k.min(SPARE_MAX));
        ef.max(least).div_ceil(self.ef_factor())
    }

    /// How the index fares with a share that is wanted.
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

    /// Whether the index is to be measured, or is being: somebody wants a share, walks are what finds it, and nearly all rows are linked.
    pub fn measurement_due(&self) -> bool {
        if self.rows.widths.wanted() == 0.0 {
            return false;
        }
        let due = self.may_be_measured() && self.rows.widths.due(self.rows.live());
        if !due {
            // what was begun is not gone on with
            self.rows.widths.give_up();
        }
        due
    }

    /// Whether walks are what finds the rows, and nearly all of these are linked.
    fn may_be_measured(&self) -> bool {
        let rows = self.rows.live();
        Strategy::cheaper(rows, EF_MIN) != Strategy::Exact && self.rows.pending() <= rows / PENDING_PART * 2
    }

    /// Does a small part of the measurement that is under way, or due; true if there is more to do. False also while another thread does.
    /// `searches`: exact ones that it may take, at most; walks as long as these.
    /// Where there is no memory for it, it is given up until the index has grown. Takes the graph's read guard for each walk. Errors:
    /// `Interrupted`; then it can go on later.
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

    /// Measures as [`measure_step`](Self::measure_step) does until that is not due any more, also by other threads. Errors: `Interrupted`.
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
        // first: a row that comes in between counts as one that came later, but may be looked for
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
        // each exactly, and with the first width
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

    /// If the index is to be measured, keeps some rows, from all over those that wait, from being linked: so many as it is measured by.
    /// Whether there are such.
    pub fn hold_out(&self) -> bool {
        let rows = self.rows.alive();
        let measured = self.rows.widths.wanted() > 0.0 && Strategy::cheaper(rows, EF_MIN) != Strategy::Exact;
        if measured {
            self.rows.hold_out((rows / sample_size(rows)).max(PENDING_PART) as u32);
        }
        measured
    }

    /// Those rows may be linked.
    pub fn release_held_out(&self) {
        self.rows.release_held_out();
    }

    /// Up to `count` rows that wait to be linked, at even distances; nothing if these are too few to measure by. Takes the row lock for
    /// an instant.
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

    /// Up to `count` rows that are live and linked, at even distances over the slots. None of them is where walks come down from an upper
    /// level, unless few others are there: walks have to do without them.
    pub(super) fn sample(&self, generation: &Generation, count: usize) -> Vec<Probe> {
        let pinned = generation.pin_rows();
        let slots = generation.graph.len();
        let graph = generation.graph.read();
        let entry = graph.entry();
        let step = (slots / count.max(1)).max(1);
        // the first one of each stretch that will do
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

    /// The next searches of a measurement. The measurement, once it is done.
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

    /// For each probe distances and ids of the `k` linked rows nearest to it, itself excepted, nearest first: rows below `end`.
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

    /// The distances of those rows that the index has still. Takes the row lock for an instant.
    pub(super) fn still_there(&self, rows: &[(f32, i64)]) -> Vec<f32> {
        let there = self.rows.read();
        rows.iter().filter(|(_, row_id)| there.places.get(*row_id).is_some()).map(|&(distance, _)| distance).collect()
    }

    /// The distances of the rows below `end` that a walk of this width finds from a probe, itself excepted, nearest first.
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

    /// The share of the `k` nearest rows that was found: those as near as the last of them, so that it is nothing which of equal ones
    /// were. Nothing if there are no rows. Both nearest first.
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

/// The width that finds a share of the neighbours of sentence embeddings, among some hundred thousand.
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
