//! Every row can be found. Hard cases are rows that come in order, each close to the last, while several threads build the graph, and rows
//! that are not the nearest of any other.

use super::*;

const SIDE: i64 = 200;

/// A point of a plane's grid; rows run along its lines.
fn point(row: i64) -> [f32; 2] {
    [(row % SIDE) as f32, (row / SIDE) as f32]
}

fn plane() -> Index {
    let options = Options { metric: Metric::L2sq, m: 8, m0: 16, ef_construction: 32, ..defaults() };
    Index::new(options, 2, Box::new(Unlimited)).unwrap()
}

/// One in so many rows is searched for. With codes the rows cannot be told apart by two elements, so most searches end by measuring all
/// rows, and fewer are made.
fn rows_per_search() -> usize {
    if exact_distances() { 1 } else { 23 }
}

/// Searches for the rows, and returns those that are not found.
fn lost(index: &Index, rows: i64) -> Vec<i64> {
    let found = |row: i64| may_be_nearest(&index.searcher().nearest(&point(row), 1, 64, &|_| true).unwrap(), row);
    (0..rows).step_by(rows_per_search()).filter(|&row| !found(row)).collect()
}

/// The timing of the threads decides which rows are lost: two neighbours may link only to each other, while all other nodes link to nearer
/// ones. Passes of `reconnect` give each lost row a path; a search of ordinary width may still miss a few of ten thousand rows.
///
/// With two elements of 4 bits each, hundreds of rows on one ray have the same code. Before a pass many such rows link only to each other,
/// and in about one of five graphs a single path leads to a stretch of such a ray with up to half a percent of all rows.
fn check_lost(index: &Index, rows: i64) {
    let searches = (rows as usize).div_ceil(rows_per_search());
    let coarse = defaults().quantization == Quantization::Sq4;
    let few = searches.div_ceil(if coarse { 100 } else { 1_000 });
    if !coarse {
        let after_linking = lost(index, rows);
        assert!(after_linking.len() <= few, "{} lost: {after_linking:?}", after_linking.len());
    }
    index.maintenance().finish(&Uninterrupted).unwrap();
    assert_eq!(unconnected(index), 0);
    let finished = lost(index, rows);
    assert!(finished.len() <= few, "{} lost: {finished:?}", finished.len());
}

#[test]
fn neighbours_linked_at_the_same_time_are_found() {
    let index = plane();
    let rows = SIDE * SIDE;
    (0..rows).for_each(|row| index.append(Origin::Host, &[row], &point(row)).unwrap());
    link_all(&index, 4);
    check_lost(&index, rows);
}

#[test]
fn rows_from_several_places_at_once_are_found() {
    const PART: i64 = 13_000;
    const STEP: i64 = 2_000;
    let index = plane();
    let rows = 3 * PART;
    // In the order in which threads deliver them that each scan a part of the table.
    for begin in (0..PART).step_by(STEP as usize) {
        for part in 0..3 {
            let some = part * PART + begin..part * PART + PART.min(begin + STEP);
            some.for_each(|row| index.append(Origin::Host, &[row], &point(row)).unwrap());
        }
    }
    index.maintenance().seed_in_random_order();
    link_all(&index, 2);
    check_lost(&index, rows);
}

/// Slots in use to which no path of links leads.
fn unconnected(index: &Index) -> usize {
    let generation = index.rows().generation();
    let graph = generation.graph.read();
    let mut seen = vec![false; graph.len()];
    let mut open = Vec::from_iter(graph.entry());
    let mut links = [0; 256];
    while let Some(slot) = open.pop() {
        if !std::mem::replace(&mut seen[slot as usize], true) {
            for level in 0..=graph.level(slot) {
                open.extend(graph.neighbors(slot, level, &mut links));
            }
        }
    }
    let live = |slot: usize| generation.states.at(slot as u32).load().state == State::Live;
    (0..seen.len()).filter(|&slot| !seen[slot] && live(slot)).count()
}

/// Under the inner product, short vectors are not the nearest of any other.
fn of_unequal_norms(rows: usize, random: &mut Random) -> Vec<f32> {
    let mut vectors = random.clustered(rows, 16, 20);
    for vector in vectors.chunks_mut(16) {
        let norm = 0.2 + 2.0 * random.below(1000) as f32 / 1000.0;
        vector.iter_mut().for_each(|x| *x *= norm);
    }
    vectors
}

#[test]
fn everything_is_reached_after_a_build_more_rows_and_compaction() {
    const ROWS: usize = 6_000;
    let mut random = Random(8);
    let index = index(Metric::Ip, 16);
    append_all(&index, &of_unequal_norms(ROWS, &mut random), 16);
    link_all(&index, 1);
    assert!(unconnected(&index) > 0, "the test needs other data");
    assert!(index.maintenance().reconnect_due());
    while index.maintenance().reconnect(100, &Uninterrupted).unwrap() > 0 {}
    assert!(!index.maintenance().reconnect_due());
    assert_eq!(unconnected(&index), 0);

    let more: Vec<i64> = (ROWS as i64..2 * ROWS as i64).collect();
    index.append(Origin::Host, &more, &of_unequal_norms(ROWS, &mut random)).unwrap();
    link_all(&index, 1);
    assert!(unconnected(&index) > 0, "the test needs other data");
    assert!(index.maintenance().reconnect_due());
    index.maintenance().reconnect(usize::MAX, &Uninterrupted).unwrap();
    assert_eq!(unconnected(&index), 0);

    let gone: Vec<i64> = (0..2 * ROWS as i64).filter(|row| row % 3 == 0).collect();
    index.remove(&gone, 1);
    index.expire_tombstones(2);
    index.expire_tombstones(2);
    index.maintenance().compact(&Uninterrupted).unwrap();
    assert_eq!(index.stats().unwrap().count, 8_000);
    assert_eq!(unconnected(&index), 0);
}

/// When another thread copies the graph in the middle of a consolidation, a node may have no links.
#[test]
fn rows_that_have_lost_their_links_are_linked_to() {
    const LOST: u32 = 150;
    for copies in [false, true] {
        // Every node has room for one more link.
        let options = Options { metric: Metric::L2sq, m: 8, m0: 64, ef_construction: 32, ..defaults() };
        let index = Index::new(options, 2, Box::new(Unlimited)).unwrap();
        (0..400).for_each(|row| index.append(Origin::Host, &[row], &point(row)).unwrap());
        link_all(&index, 1);
        let generation = index.rows().generation();
        let mut deleted = vec![0; generation.graph.len().div_ceil(64)];
        crate::bits::set(&mut deleted, LOST as usize);
        generation.reserve_free(1).unwrap();
        let slot_state = generation.states.at(LOST).load();
        let mut graph = generation.graph.exclusive();
        let end = graph.len() as u32;
        graph.consolidate(&deleted, 0..end, &mut Vec::new()).unwrap();
        let cleared = generation.clear_slots(&[LOST], &mut graph).unwrap();
        assert!(generation.free_slots(&[LOST], &cleared, &mut graph));
        generation.states.at(LOST).store(slot_state);
        drop(graph);
        assert_eq!(unconnected(&index), 1);
        if copies {
            index.remove(&[7], 1);
            index.expire_tombstones(2);
            index.maintenance().compact(&Uninterrupted).unwrap();
        } else {
            generation.unconnected.store(400, std::sync::atomic::Ordering::Relaxed);
            while index.maintenance().reconnect(100, &Uninterrupted).unwrap() > 0 {}
        }
        assert_eq!(unconnected(&index), 0, "copied: {copies}");
    }
}
