//! Which hits of a search are taken for its answer, and whether their distances are certain enough to tell.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};

use super::{Candidate, Hit, Request, Searcher};
use crate::host::Visibility;
use crate::options::Metric;
use crate::vectors::Norms;

/// Most rows with the same vector in an answer (or `k`, if that is more), unless all rows that tie are wanted.
const EQUAL_MAX: usize = 64;

/// The nearest visible rows of some hits.
pub(super) struct Taken {
    /// Nearest first.
    pub(super) rows: Vec<Candidate>,
    /// Whether all visible rows were taken.
    pub(super) all: bool,
    /// Whether there was a hit farther than all wanted rows.
    pub(super) ended: bool,
    /// A hit whose best case is farther is not wanted.
    pub(super) limit: f32,
}

impl Taken {
    /// Whether two rows are equally far, as rows with the same vector are, also by their codes. Where distances are estimates, there are
    /// nearly always more rows than are wanted, and that says nothing of ties.
    pub(super) fn has_equal(&self) -> bool {
        self.rows.windows(2).any(|two| two[0].distance == two[1].distance)
    }
}

/// One in this many hits of a walk counts as near the query. The other hits may lie elsewhere if a crowd is near.
const HITS_PER_NEAR: usize = 4;
/// Fewest hits that count as near.
const NEAR_MIN: usize = 16;
/// The spread of all distances counts as at most this many times the spread of the near ones.
const SPREAD_OF_ALL: f32 = 2.0;

/// Whether the errors of the distances exceed the spread of the distances. Then rows that the walk did not meet may be as near. `ef`: the
/// walk's width. `error`: how much a distance may be off, for each unit of a hit's norm. `margin`: how much more it may be off in any case.
/// Reorders `hits`.
pub(super) fn is_blind(hits: &mut [Hit], ef: usize, error: f32, margin: f32) -> bool {
    if error == 0.0 && margin == 0.0 {
        return false;
    }
    let last = (ef / HITS_PER_NEAR).max(NEAR_MIN).min(hits.len() - 1);
    let (near, &mut Hit { distance: farthest_near, .. }, far) =
        hits.select_nth_unstable_by(last, |a, b| a.distance.total_cmp(&b.distance));
    let nearest = near.iter().fold(farthest_near, |nearest, hit| nearest.min(hit.distance));
    let farthest = far.iter().fold(farthest_near, |farthest, hit| farthest.max(hit.distance));
    let norm = hits.iter().fold(0.0, |norm: f32, hit| norm.max(hit.norm));
    let (near_spread, mut spread) = (farthest_near - nearest, farthest - nearest);
    // Rows with the same code are duplicates, or nearly so, and show no spread.
    if near_spread > 0.0 {
        spread = spread.min(SPREAD_OF_ALL * near_spread);
    }
    // Under another metric (`margin > 0`), rows may rank differently even without any spread.
    (spread > 0.0 || margin > 0.0) && error * norm + margin > spread
}

/// What decides how far behind the last wanted row another row may be that the host ranks before it.
#[derive(Clone, Copy)]
pub(super) struct Margin<'a> {
    /// The query, if it or the table's vectors were rounded; see [`crate::vectors::Space::narrowed`].
    narrowed: Option<&'a [f32]>,
    /// Whether the table's vectors were rounded.
    rows_narrowed: bool,
    /// The norms of the vectors of the index.
    norms: Norms,
    /// The margin if the host ranks by another metric; see [`crate::vectors::Space::other_metric`].
    pub(super) other_metric: f32,
    /// Whether all rows that tie are wanted.
    ties: bool,
}

/// A distance, for a heap whose first element is the farthest.
#[derive(Clone, Copy)]
struct Farthest(f32);

/// A row with its distance and its best case, the least that the true distance may be. Ordered by the best case, then by row id.
#[derive(Clone, Copy)]
struct Bounded {
    at_best: f32,
    distance: f32,
    row_id: i64,
}

impl Bounded {
    fn new(hit: Hit, error: f32) -> Self {
        Self { at_best: hit.distance - error * hit.norm, distance: hit.distance, row_id: hit.row_id }
    }

    /// The most that the true distance may be.
    fn at_worst(self) -> f32 {
        self.distance + (self.distance - self.at_best)
    }
}

impl Searcher<'_> {
    /// Whether these hits of a walk seem to be at one distance only because `f32` has no digits to tell them apart, where the host has: it
    /// computes in `f64`, or these are inner products so small that they vanish beside the 1 that the index takes them from. Then rows that
    /// the walk did not meet may be nearer.
    pub(super) fn are_blurred(&self, hits: &[Hit], request: &Request<'_>, margin: Margin<'_>) -> bool {
        /// Products up to this lose the digits that distinguish them.
        const PRODUCT_MIN: f32 = 1e-4;
        /// A cosine distance up to this is little more than its rounding.
        const COSINE_MIN: f32 = 1e-5;
        let space = &self.codec().space;
        if hits.is_empty() || !request.narrows_query && space.metric != Metric::Ip {
            return false;
        }
        let ends = |(near, far): (f32, f32), hit: &Hit| (near.min(hit.distance), far.max(hit.distance));
        let (near, far) = hits.iter().fold((f32::INFINITY, f32::NEG_INFINITY), ends);
        let (tie, narrowed) =
            (space.tie(near), margin.narrowed.map_or(0.0, |query| space.narrowed(near, query, margin.norms)));
        let vanish = || near > 1.0 - PRODUCT_MIN && far < 1.0 + PRODUCT_MIN && request.query.iter().any(|&x| x != 0.0);
        let blurred = match space.metric {
            Metric::Cosine => request.narrows_query && far < COSINE_MIN,
            Metric::L2sq => request.narrows_query && narrowed > tie,
            Metric::Ip => request.narrows_query && narrowed > tie || vanish(),
        };
        blurred && far - near <= tie + narrowed
    }

    pub(super) fn margin<'q>(&self, request: &Request<'q>) -> Margin<'q> {
        let norms = self.rows.norms();
        Margin {
            narrowed: (request.narrows || request.narrows_query).then_some(request.query),
            rows_narrowed: request.narrows,
            norms,
            other_metric: self.codec().space.other_metric(request.metric, norms, request.query),
            ties: request.ties,
        }
    }

    /// The nearest visible rows of `hits`, without duplicates, nearest first: `k` rows, and those that tie with the last of them or may be
    /// nearer than it. `error`: how much a distance may be off, for each unit of a hit's norm.
    pub(super) fn take_visible(
        &self,
        hits: Vec<Hit>,
        k: usize,
        error: f32,
        margin: Margin<'_>,
        visibility: &dyn Visibility,
    ) -> Taken {
        // A heap is sorted only as far as it is read.
        let mut heap = BinaryHeap::from_iter(hits.into_iter().map(|hit| Reverse(Bounded::new(hit, error))));
        let mut rows: Vec<(Candidate, f32)> = Vec::new();
        let mut seen = HashSet::new();
        // The `k` smallest worst-case distances. A row whose best-case distance is beyond the largest of them is not wanted.
        let mut nearest = BinaryHeap::with_capacity(k.min(heap.len()) + 1);
        let (mut certain, mut limit) = (f32::INFINITY, f32::INFINITY);
        let (mut all, mut ended) = (true, false);
        // The host ranks rows with the same vector alike, so surplus ones may be skipped. Not so if the host ranks by another metric, or if
        // the stored rows may be equal where the vectors are not: codes, narrowed vectors and directions.
        let skips_equal = !margin.ties
            && !margin.rows_narrowed
            && margin.other_metric == 0.0
            && self.codec().space.metric != Metric::Cosine
            && !self.codec().estimates();
        let equal_max = k.max(EQUAL_MAX);
        let (mut equal, mut swept, mut distance, mut first) = (0, false, f32::NAN, 0);
        while let Some(Reverse(hit)) = heap.pop() {
            if hit.at_best > limit {
                (all, ended) = (false, true);
                break;
            }
            if hit.distance != distance {
                (equal, swept, distance, first) = (0, false, hit.distance, hit.row_id);
            }
            let same = skips_equal && (hit.row_id == first || self.rows.have_same_vector(first, hit.row_id));
            if same && equal >= equal_max && nearest.len() == k {
                all = false;
                if !swept {
                    // All at once: taking them from the heap one by one, with a lookup each, would take longer than a scan.
                    swept = true;
                    let mut left = std::mem::take(&mut heap).into_vec();
                    let at_distance = |hit: &&Reverse<Bounded>| hit.0.distance == distance;
                    let ids: Vec<i64> = left.iter().filter(at_distance).map(|hit| hit.0.row_id).collect();
                    let mut are_same = self.rows.which_have_vector_of(first, &ids).into_iter();
                    left.retain(|hit| !(hit.0.distance == distance && are_same.next().unwrap_or(false)));
                    heap = BinaryHeap::from(left);
                }
                continue;
            }
            if visibility.visible(hit.row_id) && seen.insert(hit.row_id) {
                equal += usize::from(same);
                let candidate = Candidate { row_id: hit.row_id, distance: hit.distance, certain: false };
                rows.push((candidate, hit.at_worst()));
                nearest.push(Farthest(hit.at_worst()));
                if nearest.len() > k {
                    nearest.pop();
                }
                if let Some(&Farthest(last)) = nearest.peek().filter(|_| nearest.len() == k) {
                    certain = last + self.codec().space.tie(last);
                    let narrowed = |query| self.codec().space.narrowed(last, query, margin.norms);
                    limit = certain + margin.narrowed.map_or(0.0, narrowed) + margin.other_metric;
                }
            }
        }
        let told = |(row, at_worst)| Candidate { certain: at_worst <= certain, ..row };
        let mut rows: Vec<Candidate> = rows.into_iter().map(told).collect();
        if error > 0.0 {
            rows.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row_id.cmp(&b.row_id)));
        }
        Taken { rows, all, ended, limit }
    }
}

/// Orders a type by a distance, then by another number.
macro_rules! ordered {
    ($type:ty, $distance:expr, $then:expr) => {
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                let (distance, then): (fn(&Self) -> f32, fn(&Self) -> i64) = ($distance, $then);
                distance(self).total_cmp(&distance(other)).then(then(self).cmp(&then(other)))
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $type {}
    };
}

ordered!(Hit, |hit| hit.distance, |hit| hit.row_id);
ordered!(Bounded, |hit| hit.at_best, |hit| hit.row_id);
ordered!(Farthest, |distance| distance.0, |_| 0);
