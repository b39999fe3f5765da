//! An index as C++ holds it. Each call goes to the part of the index that answers it, and panics stop here.

use std::ops::Deref;
use std::sync::Arc;

use cxx::UniquePtr;

use super::ffi;
use super::host::HostLedger;
use super::range::RangeSearch;
use super::row_set::RowSet;
use crate::bridge::guard::{Crossing, Soundness, guard, guard_or};
use crate::host::Unlimited;
use crate::index::{Index, Own, Steps, UNRESOLVED};
use crate::options::Options;
use crate::search::TargetInfo;

/// A handle to an index; copies made with `share` share the index.
pub struct IndexHandle(Arc<Guarded>);

/// An index, and whether it can be trusted.
pub(super) struct Guarded {
    index: Index,
    pub(super) soundness: Soundness,
}

impl Deref for Guarded {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.index
    }
}

impl From<Index> for Box<IndexHandle> {
    fn from(index: Index) -> Self {
        Box::new(IndexHandle(Arc::new(Guarded { index, soundness: Soundness::default() })))
    }
}

pub(super) fn create_core(
    options: &ffi::IndexOptions,
    dimensions: usize,
    memory: UniquePtr<ffi::HostMemory>,
) -> std::result::Result<Box<IndexHandle>, Crossing> {
    guard(|| Ok(Index::new(options.into(), dimensions, Box::new(HostLedger(memory)))?.into()))
}

/// The core of an index that takes no rows. It reserves nothing, so there is always memory for it.
pub(super) fn idle_core() -> std::result::Result<Box<IndexHandle>, Crossing> {
    guard(|| Ok(Index::new(Options::default(), 1, Box::new(Unlimited))?.into()))
}

pub(super) fn load_core(
    options: &ffi::IndexOptions,
    dimensions: usize,
    memory: UniquePtr<ffi::HostMemory>,
    image: ffi::ImageParts<'_>,
    store: &ffi::HostPages,
) -> std::result::Result<ffi::LoadedCore, Crossing> {
    guard(|| {
        let ledger = Box::new(HostLedger(memory));
        let image = image.into();
        let (index, root) = Index::load(options.into(), dimensions, ledger, &image, store)?;
        Ok(ffi::LoadedCore { core: index.into(), covered: root.covered, verified: root.verified })
    })
}

impl IndexHandle {
    pub(super) fn share(&self) -> Box<IndexHandle> {
        Box::new(IndexHandle(Arc::clone(&self.0)))
    }

    pub(super) fn is_sound(&self) -> bool {
        self.0.soundness.defect().is_none()
    }

    /// The text of the first panic; empty if the index is sound.
    pub(super) fn defect(&self) -> String {
        self.0.soundness.defect().unwrap_or_default().to_owned()
    }

    pub(super) fn reserve_rows(&self, rows: usize) {
        self.0.soundness.guard_or("reserve_rows", (), || self.0.reserve_rows(rows));
    }

    pub(super) fn seed_in_random_order(&self) {
        self.0.soundness.guard_or("seed_in_random_order", (), || self.0.maintenance().seed_in_random_order());
    }

    pub(super) fn append(
        &self,
        origin: ffi::RowOrigin,
        row_ids: &[i64],
        vectors: &[f32],
    ) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("append", || self.0.append(origin.into(), row_ids, vectors))
    }

    pub(super) fn without_vector(&self, origin: ffi::RowOrigin, row_ids: &[i64]) {
        self.0.soundness.guard_or("without_vector", (), || self.0.without_vector(origin.into(), row_ids));
    }

    pub(super) fn remove(&self, origin: ffi::RowOrigin, row_ids: &[i64], last_commit: u64) {
        self.0.soundness.guard_or("remove", (), || self.0.remove_as(origin.into(), row_ids, UNRESOLVED | last_commit));
    }

    pub(super) fn expire(&self, last_commit: u64, lowest_visible: u64) {
        self.0.soundness.guard_or("expire", (), || self.0.expire(last_commit, lowest_visible));
    }

    pub(super) fn pending(&self) -> usize {
        guard_or(0, || self.0.pending())
    }

    pub(super) fn link(&self, max_rows: usize, interrupt: &ffi::HostInterrupt) -> std::result::Result<usize, Crossing> {
        self.0.soundness.guard("link", || self.0.maintenance().link(max_rows, interrupt))
    }

    pub(super) fn reconnect_due(&self) -> bool {
        guard_or(false, || self.0.maintenance().reconnect_due())
    }

    pub(super) fn reconnect(
        &self,
        max_nodes: usize,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<usize, Crossing> {
        self.0.soundness.guard("reconnect", || self.0.maintenance().reconnect(max_nodes, interrupt))
    }

    pub(super) fn oversize(&self) -> bool {
        guard_or(false, || self.0.maintenance().oversize())
    }

    pub(super) fn shrink_if_oversize(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<bool, Crossing> {
        self.0.soundness.guard("shrink_if_oversize", || self.0.maintenance().shrink_if_oversize(interrupt))
    }

    pub(super) fn take_own(&self) -> ffi::Own {
        guard_or(ffi::Own { appended: 0, deleted: 0 }, || {
            let Own { appended, deleted } = self.0.maintenance().take_own();
            ffi::Own { appended, deleted }
        })
    }

    pub(super) fn tend(
        &self,
        own: ffi::Own,
        pending_max: usize,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<(), Crossing> {
        let own = Own { appended: own.appended, deleted: own.deleted };
        self.0.soundness.guard("tend", || self.0.maintenance().tend(own, pending_max, interrupt))
    }

    pub(super) fn await_copy(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<bool, Crossing> {
        self.0.soundness.guard("await_copy", || self.0.maintenance().await_copy(interrupt))
    }

    pub(super) fn consolidate_due(&self) -> bool {
        guard_or(false, || self.0.maintenance().consolidate_due())
    }

    pub(super) fn consolidate(
        &self,
        max_nodes: usize,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<usize, Crossing> {
        self.0.soundness.guard("consolidate", || self.0.maintenance().consolidate(max_nodes, interrupt))
    }

    pub(super) fn finish(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("finish", || self.0.maintenance().finish(interrupt))
    }

    pub(super) fn store(
        &self,
        store: &ffi::HostPages,
        covered: u64,
        verified: u64,
    ) -> std::result::Result<ffi::StoredImage, Crossing> {
        self.0.soundness.guard("store", || Ok(self.0.images().store(store, covered, verified)?.into()))
    }

    pub(super) fn forget_pages(&self) -> Vec<i64> {
        self.0.soundness.guard_or("forget_pages", Vec::new(), || self.0.images().forget_pages())
    }

    pub(super) fn begin_comparison(&self, end: usize) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("begin_comparison", || self.0.reconciler().begin(end))
    }

    pub(super) fn seen(&self, row_ids: &[i64]) -> bool {
        self.0.soundness.guard_or("seen", true, || self.0.reconciler().seen(row_ids))
    }

    pub(super) fn end_comparison(&self, last_commit: u64) -> usize {
        self.0.soundness.guard_or("end_comparison", 0, || self.0.reconciler().end(UNRESOLVED | last_commit))
    }

    /// Searches among `rows`; if `rows` is null, among the rows that `visibility` sees.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call.
    pub(super) unsafe fn search(
        &self,
        query: &[f32],
        request: &ffi::SearchRequest,
        rows: *const RowSet,
        visibility: &ffi::HostVisibility,
    ) -> std::result::Result<ffi::SearchAnswer, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| {
            let found = self.0.searcher().search(request.of(query, rows.map(|rows| &rows.0)), visibility)?;
            let mut answer = ffi::SearchAnswer::new(found, request.ranked_only);
            // Checked after the search, too, because another call may have panicked meanwhile.
            answer.scan |= !self.is_sound();
            Ok(answer)
        })
    }

    /// The recall of the same search.
    ///
    /// # Safety
    /// As for `search`.
    pub(super) unsafe fn recall_of(
        &self,
        query: &[f32],
        request: &ffi::SearchRequest,
        rows: *const RowSet,
        visibility: &ffi::HostVisibility,
    ) -> std::result::Result<ffi::SearchRecall, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| Ok(self.0.searcher().recall(request.of(query, rows.map(|rows| &rows.0)), visibility)?.into()))
    }

    /// The answers to searches with each of `queries`, in order; empty if separate searches are as fast. Otherwise as `search`.
    ///
    /// # Safety
    /// As for `search`.
    pub(super) unsafe fn search_many(
        &self,
        queries: &[f32],
        request: &ffi::SearchRequest,
        rows: *const RowSet,
        visibility: &ffi::HostVisibility,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<Vec<ffi::SearchAnswer>, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| {
            let asked = request.of(&[], rows.map(|rows| &rows.0));
            let found = self.0.searcher().search_many(queries, asked, visibility, interrupt)?;
            let mut answers: Vec<ffi::SearchAnswer> = found
                .unwrap_or_default()
                .into_iter()
                .map(|found| ffi::SearchAnswer::new(found, request.ranked_only))
                .collect();
            let sound = self.is_sound();
            answers.iter_mut().for_each(|answer| answer.scan |= !sound);
            Ok(answers)
        })
    }

    /// Begins a range among `rows`, or among all rows if `rows` is null.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call.
    pub(super) unsafe fn begin_range(
        &self,
        query: &[f32],
        request: &ffi::RangeRequest,
        rows: *const RowSet,
        found: &mut ffi::RangeRows,
    ) -> std::result::Result<Box<RangeSearch>, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| {
            let request = request.of(query, rows.map(|rows| &rows.0));
            let range = found.fill(|found| self.0.searcher().begin_range(request, found))?;
            Ok(Box::new(RangeSearch { index: Arc::clone(&self.0), range }))
        })
    }

    pub(super) fn range_pays(&self) -> bool {
        guard_or(false, || self.0.searcher().range_pays())
    }

    /// The pairs of each of `queries` with `rows`, or with all rows if `rows` is null.
    ///
    /// # Safety
    /// `rows` is null, or a set of rows that outlives the call.
    pub(super) unsafe fn pairs(
        &self,
        queries: &[f32],
        request: &ffi::RangeRequest,
        pairs_max: usize,
        rows: *const RowSet,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<ffi::Pairs, Crossing> {
        // SAFETY: the caller's promise.
        let rows = unsafe { rows.as_ref() };
        guard(|| {
            let request = request.of_pairs(queries, rows.map(|rows| &rows.0), pairs_max);
            let mut pairs: ffi::Pairs = self.0.searcher().pairs(request, interrupt)?.into();
            if !self.is_sound() {
                pairs.outcome = ffi::PairsOutcome::Scan;
            }
            Ok(pairs)
        })
    }

    pub(super) fn pairs_pay(&self) -> bool {
        guard_or(false, || self.0.searcher().pairs_pay())
    }

    pub(super) fn strategy(&self, k: usize, ef: usize, costs: &ffi::ReadCosts) -> ffi::Strategy {
        guard_or(ffi::Strategy::Scan, || self.0.searcher().strategy(k, ef, &costs.into()).into())
    }

    pub(super) fn ef_of_pages(&self, ef: usize) -> usize {
        guard_or(ef, || self.0.searcher().ef_of_pages(ef))
    }

    pub(super) fn filtered_strategy(
        &self,
        k: usize,
        ef: usize,
        qualifying: usize,
        costs: &ffi::ReadCosts,
    ) -> ffi::Strategy {
        guard_or(ffi::Strategy::Scan, || self.0.searcher().filtered_strategy(k, ef, qualifying, &costs.into()).into())
    }

    pub(super) fn compact(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        self.0.soundness.guard("compact", || self.0.maintenance().compact(interrupt))
    }

    pub(super) fn measure_recall(
        &self,
        k: usize,
        queries: usize,
        ef: usize,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<ffi::RecallReport, Crossing> {
        guard(|| Ok(self.0.searcher().measure_recall(k, queries, ef, interrupt)?.into()))
    }

    pub(super) fn ef_of_target(&self, k: usize, share: f64) -> usize {
        guard_or(1, || self.0.searcher().ef_of_target(k, share))
    }

    pub(super) fn target_info(&self, share: f64) -> std::result::Result<ffi::TargetInfo, Crossing> {
        guard(|| Ok(self.0.searcher().target_info(share).into()))
    }

    pub(super) fn hold_out(&self) -> bool {
        self.0.soundness.guard_or("hold_out", false, || self.0.searcher().hold_out())
    }

    pub(super) fn release_held_out(&self) {
        self.0.soundness.guard_or("release_held_out", (), || self.0.searcher().release_held_out());
    }

    pub(super) fn measurement_due(&self) -> bool {
        guard_or(false, || self.0.searcher().measurement_due())
    }

    pub(super) fn finish_measurement(&self, interrupt: &ffi::HostInterrupt) -> std::result::Result<(), Crossing> {
        guard(|| self.0.searcher().finish_measurement(interrupt))
    }

    pub(super) fn measure_step(
        &self,
        searches: usize,
        interrupt: &ffi::HostInterrupt,
    ) -> std::result::Result<bool, Crossing> {
        guard(|| self.0.searcher().measure_step(searches, interrupt))
    }

    pub(super) fn memory_used(&self) -> usize {
        guard_or(0, || self.0.memory_used())
    }

    /// Whether the index ranks its rows as `metric` does now; see [`crate::search::Searcher::ranks_by`]. Takes no lock. A row that comes
    /// meanwhile may change this, so a caller that relies on it for an answer asks again after the search.
    pub(super) fn ranks_by(&self, metric: ffi::Metric) -> bool {
        guard_or(false, || self.0.searcher().ranks_by(Some(metric.into())))
    }

    pub(super) fn info(&self) -> std::result::Result<ffi::IndexInfo, Crossing> {
        guard(|| Ok(self.0.stats()?.into()))
    }

    pub(super) fn health(&self) -> std::result::Result<ffi::IndexHealth, Crossing> {
        guard(|| {
            let health = self.0.health();
            let wanted = health.wanted;
            // `target_info` would make a share wanted that nobody has asked for.
            let target = if wanted > 0.0 { self.0.searcher().target_info(wanted) } else { TargetInfo::NONE };
            Ok(ffi::IndexHealth::new(&health, target))
        })
    }

    pub(super) fn compaction(&self) -> ffi::Steps {
        guard_or(Steps::default(), || self.0.maintenance().compaction()).into()
    }
}
