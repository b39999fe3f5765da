//! An index measures which search width finds a wanted share of the nearest rows. Random directions without structure are the hardest to
//! walk among: the default width finds far less of them than is wanted.

use super::image::Disk;
use super::*;
use crate::options::EF_SEARCH;
use crate::search::Request;

const WIDE: usize = 24;
const ROWS: usize = 8_000;

/// Random vectors.
fn normals(random: &mut Random, vectors: usize) -> Vec<f32> {
    (0..vectors * WIDE).map(|_| random.normal()).collect()
}

/// An index without rows, of which this share is wanted.
fn wanting(share: f64) -> Index {
    let options = Options { target_recall: share, ..defaults() };
    Index::new(options, WIDE, Box::new(Unlimited)).unwrap()
}

fn measure(index: &Index) {
    while index.searcher().measure_step(16, &Uninterrupted).unwrap() {}
}

/// Builds like CREATE INDEX: some rows are held out until the index was measured with them.
fn build(index: &Index, vectors: &[f32]) {
    append_all(index, vectors, WIDE);
    assert!(index.searcher().hold_out());
    while index.maintenance().link(64, &Uninterrupted).unwrap() > 0 {}
    let held_out = index.pending();
    assert!((500..2_000).contains(&held_out), "{held_out}");
    measure(index);
    index.searcher().release_held_out();
    link_all(index, 1);
    assert_eq!(index.pending(), 0);
}

/// The share of the `k` nearest rows that walks find for vectors of this seed, by the index's own distances.
fn found_share(index: &Index, seed: u64, queries: usize, k: usize, ef: usize) -> f64 {
    let mut random = Random(seed);
    let mut hits = 0;
    for _ in 0..queries {
        let query = normals(&mut random, 1);
        let nearest = |forced| {
            let request = Request { forced, ..Request::new(&query, k, ef) };
            index.searcher().search(request, &AllVisible).unwrap().rows
        };
        let exact = nearest(Some(SearchStrategy::Exact));
        let last = exact[k - 1].distance * 1.00001;
        hits += nearest(None).iter().take(k).filter(|row| row.distance <= last).count();
    }
    hits as f64 / (queries * k) as f64
}

#[test]
fn a_built_index_finds_the_share_that_its_options_ask_for() {
    let vectors = normals(&mut Random(71), ROWS);
    let by_default = index(Metric::L2sq, WIDE);
    append_all(&by_default, &vectors, WIDE);
    link_all(&by_default, 1);
    let narrow = found_share(&by_default, 72, 300, 10, 10);
    assert!(narrow < 0.9, "{narrow}: too easy");
    for share in [0.9, 0.97] {
        let index = wanting(share);
        build(&index, &vectors);
        for k in [10, 30, 100] {
            let ef = index.searcher().ef_of_target(k, share);
            let found = found_share(&index, 72, 300, k, ef);
            assert!(found > share - 0.015, "{found} of {share} for {k} rows with a width of {ef}");
        }
        let ef = index.searcher().ef_of_target(10, share);
        assert!(found_share(&index, 72, 300, 10, ef) < share + 0.025, "a smaller width would do");
        let info = index.searcher().target_info(share);
        assert!(info.low <= info.recall && info.recall <= info.high && info.recall >= share && !info.asked);
        assert!(info.queries > 500 && info.time > 0 && info.ef == ef);
    }
}

/// The query vectors decide the width, not the stored rows.
#[test]
fn query_vectors_that_were_asked_are_what_an_index_is_measured_by() {
    let index = wanting(0.9);
    build(&index, &normals(&mut Random(73), ROWS));
    let before = index.searcher().target_info(0.9);
    let near = |random: &mut Random| -> Vec<f32> { normals(random, 1).iter().map(|x| 0.01 * x).collect() };
    let mut random = Random(74);
    for _ in 0..100 {
        let query = near(&mut random);
        // The same query vector counts once.
        for _ in 0..10 {
            index.searcher().nearest(&query, 10, 64, &AllVisible).unwrap();
        }
    }
    assert!(!index.searcher().measurement_due());
    for _ in 0..200 {
        index.searcher().nearest(&near(&mut random), 10, 64, &AllVisible).unwrap();
    }
    assert!(index.searcher().measurement_due());
    measure(&index);
    let after = index.searcher().target_info(0.9);
    assert!(after.asked && !before.asked);
    assert_eq!(after.queries, 300);
    assert!(!index.searcher().measurement_due(), "as many as there are");
}

#[test]
fn an_index_is_measured_again_when_it_has_grown_by_half_or_more_is_wanted() {
    const MANY: usize = 20_000;
    let index = wanting(0.8);
    let vectors = normals(&mut Random(75), MANY + MANY / 2);
    build(&index, &vectors[..MANY * WIDE]);
    let first = index.searcher().target_info(0.8);
    let mut rows = MANY;
    while !index.searcher().measurement_due() {
        let ids: Vec<i64> = (rows as i64..rows as i64 + 500).collect();
        index.append(Origin::Host, &ids, &vectors[rows * WIDE..][..500 * WIDE]).unwrap();
        link_all(&index, 1);
        rows += 500;
    }
    assert_eq!(rows, MANY + MANY / 2);
    let info = index.searcher().target_info(0.8);
    assert!(info.ef > first.ef, "it grows with the rows");
    assert_eq!((info.recall, info.time), (first.recall, first.time));
    measure(&index);
    assert!(index.searcher().target_info(0.8).time > first.time);
    assert!(!index.searcher().measurement_due());
    let ef = index.searcher().ef_of_target(10, 0.8);
    assert!(!index.searcher().measurement_due(), "it is known");
    index.searcher().ef_of_target(10, 0.99);
    assert!(index.searcher().measurement_due());
    measure(&index);
    assert!(index.searcher().ef_of_target(10, 0.99) > 2 * ef);
    let everything = index.searcher().ef_of_target(10, 1.0);
    assert_eq!(index.searcher().strategy(10, everything, &Default::default()), SearchStrategy::Exact);
}

/// Rows that replace others may be distributed differently; then the old measurement says nothing about them.
#[test]
fn an_index_is_measured_again_when_half_of_its_rows_were_replaced() {
    let index = wanting(0.95);
    // On a line.
    let easy: Vec<f32> = (0..ROWS).flat_map(|row| (0..WIDE).map(move |_| row as f32)).collect();
    build(&index, &easy);
    let ef = index.searcher().ef_of_target(10, 0.95);
    let hard = normals(&mut Random(81), ROWS);
    for (round, vectors) in hard.chunks(ROWS / 8 * WIDE).enumerate() {
        let ids: Vec<i64> = (0..ROWS as i64 / 8).map(|row| round as i64 * (ROWS as i64 / 8) + row).collect();
        index.remove(&ids, round as u64);
        index.expire(round as u64 + 1, u64::MAX);
        let new: Vec<i64> = ids.iter().map(|id| id + ROWS as i64).collect();
        index.append(Origin::Host, &new, vectors).unwrap();
        link_all(&index, 1);
        assert_eq!(index.searcher().measurement_due(), round >= 3, "{round}");
    }
    measure(&index);
    let again = index.searcher().ef_of_target(10, 0.95);
    // Codes of four bits do not tell these easy rows apart, so only exact searches find them.
    assert!(again > ef || !exact_distances(), "{again}, before {ef}");
    assert!(found_share(&index, 82, 300, 10, again) > 0.935);
}

/// Rows that only an old snapshot sees are not measured with, and do not count as rows that came.
#[test]
fn an_index_is_measured_by_rows_that_are_there() {
    const FEW: usize = 4;
    let index = wanting(0.95);
    let vectors = normals(&mut Random(86), 2 * ROWS);
    append_all(&index, &vectors[..ROWS * WIDE], WIDE);
    link_all(&index, 1);
    index.remove(&(FEW as i64..ROWS as i64).collect::<Vec<_>>(), 1);
    index.searcher().finish_measurement(&Uninterrupted).unwrap();
    assert_eq!(index.searcher().target_info(0.95).queries, 0, "there is nothing to measure by");
    let more = ROWS * 2 / 5;
    let ids: Vec<i64> = (ROWS..ROWS + more).map(|row| row as i64).collect();
    index.append(Origin::Host, &ids, &vectors[ROWS * WIDE..][..more * WIDE]).unwrap();
    link_all(&index, 1);
    assert!(index.searcher().measurement_due(), "nobody knows how its rows are found");
}

/// Rows that go or come during a measurement do not count as missed.
#[test]
fn changes_during_a_measurement_do_not_count() {
    let index = wanting(0.9);
    let vectors = normals(&mut Random(83), ROWS);
    append_all(&index, &vectors, WIDE);
    link_all(&index, 1);
    let undisturbed = {
        let other = wanting(0.9);
        append_all(&other, &vectors, WIDE);
        link_all(&other, 1);
        measure(&other);
        other.searcher().ef_of_target(10, 0.9)
    };
    let more = normals(&mut Random(84), ROWS / 4);
    let mut step = 0;
    while index.searcher().measure_step(16, &Uninterrupted).unwrap() {
        if (80..120).contains(&step) {
            let part = ROWS / 4 / 40;
            let ids: Vec<i64> = (0..part).map(|row| ((step - 80) * part + row) as i64).collect();
            index.remove(&ids, 1);
            index.expire(2, u64::MAX);
            let new: Vec<i64> = ids.iter().map(|id| id + ROWS as i64).collect();
            index.append(Origin::Host, &new, &more[(step - 80) * part * WIDE..][..part * WIDE]).unwrap();
            link_all(&index, 1);
        }
        step += 1;
    }
    assert!(step > 120, "{step}");
    let ef = index.searcher().ef_of_target(10, 0.9);
    assert!(ef <= 2 * undisturbed && undisturbed <= 2 * ef, "{ef}, undisturbed {undisturbed}");
}

/// Searching for an index's own rows gives too high a recall, because a walk that comes to the row has found its neighbours. The
/// measurement must not be misled by this.
#[test]
fn recall_measured_by_own_rows_is_not_better_than_others_find() {
    let index = index(Metric::L2sq, WIDE);
    append_all(&index, &normals(&mut Random(76), ROWS), WIDE);
    link_all(&index, 1);
    for ef in [12, 24, 48] {
        let own = index.searcher().measure_recall(10, 300, ef, &Uninterrupted).unwrap();
        let others = found_share(&index, 77, 300, 10, ef);
        assert!(own.recall < others + 0.02, "{} by own rows, {others} by others, width {ef}", own.recall);
        assert!(own.recall > others - 0.1, "{} by own rows, {others} by others, width {ef}", own.recall);
    }
}

#[test]
fn an_image_keeps_what_was_measured() {
    let index = wanting(0.9);
    build(&index, &normals(&mut Random(78), ROWS));
    let disk = Disk::new(1 << 16);
    let image = index.images().store(&disk, ROWS as u64, 1).unwrap();
    let open = |image: &crate::index::Image| {
        Index::load(index.options().clone(), WIDE, Box::new(Unlimited), image, &disk).unwrap().0
    };
    let opened = open(&image);
    assert!(!opened.searcher().measurement_due());
    assert_eq!(opened.searcher().target_info(0.9), index.searcher().target_info(0.9));
    let mut damaged = image;
    damaged.widths[20] ^= 1;
    assert!(open(&damaged).searcher().measurement_due());
}

#[test]
fn without_memory_an_index_is_measured_when_it_has_grown() {
    let limited = Arc::new(Limited::default());
    let options = Options { target_recall: 0.9, ..defaults() };
    let index = Index::new(options, WIDE, Box::new(Arc::clone(&limited))).unwrap();
    append_all(&index, &normals(&mut Random(79), ROWS), WIDE);
    link_all(&index, 1);
    assert!(index.searcher().measurement_due());
    limited.refuse_from.store(1, Ordering::Relaxed);
    // Uses up what was reserved ahead.
    let rest: Vec<_> = std::iter::from_fn(|| index.setup.memory.charge(1 << 10).ok()).collect();
    measure(&index);
    drop(rest);
    limited.refuse_from.store(0, Ordering::Relaxed);
    assert!(!index.searcher().measurement_due());
    // There is only the rule of thumb.
    assert!(index.searcher().ef_of_target(10, 0.9) >= EF_SEARCH.default.unwrap() / 2);
    assert_eq!(index.searcher().target_info(0.9).queries, 0);
}

/// A measurement that nobody goes on with keeps no graph and no memory.
#[test]
fn a_measurement_that_is_not_gone_on_with_is_forgotten() {
    let index = wanting(0.9);
    append_all(&index, &normals(&mut Random(85), ROWS), WIDE);
    link_all(&index, 1);
    for _ in 0..70 {
        assert!(index.searcher().measure_step(16, &Uninterrupted).unwrap());
    }
    let graph = Arc::downgrade(&index.rows.generation());
    let ids: Vec<i64> = (100..ROWS as i64).collect();
    index.remove(&ids, 1);
    index.expire(2, u64::MAX);
    index.maintenance().compact(&Uninterrupted).unwrap();
    assert!(graph.upgrade().is_none());
    assert!(!index.searcher().measurement_due());
    assert!(index.rows.widths.under_way.lock().is_none());
}

/// A small index, which is searched exactly, is not measured; nor is one of which nobody wants a share.
#[test]
fn only_walks_are_measured() {
    let index = wanting(0.9);
    append_all(&index, &normals(&mut Random(80), 500), WIDE);
    assert!(!index.searcher().hold_out());
    link_all(&index, 1);
    assert!(!index.searcher().measurement_due() && !index.searcher().measure_step(16, &Uninterrupted).unwrap());
    let index = super::index(Metric::L2sq, WIDE);
    append_all(&index, &normals(&mut Random(80), ROWS), WIDE);
    assert!(!index.searcher().hold_out());
    link_all(&index, 1);
    assert!(!index.searcher().measurement_due());
    let explicit = Options { target_recall: 0.9, ef_search: 30, ef_given: true, ..defaults() };
    let index = Index::new(explicit, WIDE, Box::new(Unlimited)).unwrap();
    append_all(&index, &normals(&mut Random(80), ROWS), WIDE);
    assert!(!index.searcher().hold_out(), "the user decided");
}
