//! Rows that come in order, each close to the last: the hardest for a graph that several threads build at once.

use super::*;

const SIDE: i64 = 200;

/// A point of a plane's grid; rows run along its lines.
fn point(row: i64) -> [f32; 2] {
    [(row % SIDE) as f32, (row / SIDE) as f32]
}

/// Searches for every row: at most one of 5,000 may be lost. (No graph of the kind promises all: two neighbours may link to
/// each other, while everything else links to nearer nodes.)
fn check_reach(index: &Index, rows: i64) {
    let found = |row: i64| index.search(&point(row), 1, 64, &|_| true).unwrap().rows[0].row_id;
    let lost: Vec<_> = (0..rows).filter(|&row| found(row) != row).collect();
    assert!(lost.len() as i64 <= rows / 5_000, "{} lost: {lost:?}", lost.len());
}

fn plane() -> Index {
    let options = Options { metric: Metric::L2sq, m: 8, m0: 16, ef_construction: 32, ..Options::default() };
    Index::new(options, 2, Box::new(Unlimited)).unwrap()
}

#[test]
fn neighbours_linked_at_the_same_time_are_found() {
    let index = plane();
    let rows = SIDE * SIDE;
    (0..rows).for_each(|row| index.append(&[row], &point(row)).unwrap());
    link_all(&index, 4);
    check_reach(&index, rows);
}

#[test]
fn rows_from_several_places_at_once_are_found() {
    const PART: i64 = 13_000;
    const STEP: i64 = 2_000;
    let index = plane();
    let rows = 3 * PART;
    // as threads deliver them that scan a part of the table each
    for begin in (0..PART).step_by(STEP as usize) {
        for part in 0..3 {
            let some = part * PART + begin..part * PART + PART.min(begin + STEP);
            some.for_each(|row| index.append(&[row], &point(row)).unwrap());
        }
    }
    index.scatter();
    link_all(&index, 2);
    check_reach(&index, rows);
}
