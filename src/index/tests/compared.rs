//! An index that is compared with its table.

use super::*;

const AGES: u64 = 7;

fn live(index: &Index) -> usize {
    index.stats().unwrap().count
}

fn of_rows(rows: &[i64]) -> Index {
    let index = index(Metric::L2sq, 1);
    let vectors: Vec<f32> = rows.iter().map(|&row| row as f32).collect();
    index.append(rows, &vectors).unwrap();
    index
}

#[test]
fn rows_that_the_table_has_lost_are_dropped_wherever_they_were() {
    let index = of_rows(&[0, 1, 2, 63, 64, 5000, 1 << 40]);
    index.begin_comparison(3, AGES).unwrap();
    assert!(!index.saw(&[0, 2]));
    // the host appends beyond the end meanwhile, one of them where the index has a row
    index.append(&[65, 5000], &[1.0, 2.0]).unwrap();
    assert_eq!(index.end_comparison(AGES), 4);
    assert_eq!(live(&index), 4);
    index.begin_comparison(5001, AGES).unwrap();
    assert!(!index.saw(&[0, 2, 65, 5000]));
    index.end_comparison(AGES);
    assert_eq!(live(&index), 4);
}

#[test]
fn rows_of_a_commit_that_the_scan_cannot_see_yet_stay() {
    let index = of_rows(&[0, 1]);
    index.committing(&[2, 3], AGES);
    index.append(&[2, 3], &[2.0, 3.0]).unwrap();
    index.begin_comparison(2, AGES).unwrap();
    assert!(!index.saw(&[0, 1]));
    assert_eq!(index.end_comparison(AGES), 0);
    assert_eq!(live(&index), 4);
    // it has failed, and another commit has been made since
    index.begin_comparison(2, AGES + 1).unwrap();
    assert!(!index.saw(&[0, 1]));
    assert_eq!(index.end_comparison(AGES + 1), 2);
    assert_eq!(live(&index), 2);
}

#[test]
fn a_number_used_again_by_a_row_without_a_vector_is_forgotten() {
    let index = of_rows(&[0, 1, 2, 3]);
    index.remove(&[1, 2], AGES);
    index.without_vector(&[1, 3, 9], false);
    assert_eq!(live(&index), 1);
    let found = index.search(&[1.0], 4, 64, &|_: i64| true).unwrap();
    let mut rows: Vec<i64> = found.rows.iter().map(|candidate| candidate.row_id).collect();
    rows.sort_unstable();
    assert_eq!(rows, [0, 2]);
    // what the host does during a comparison wins over what the scan has seen before
    index.begin_comparison(4, AGES).unwrap();
    index.append(&[1], &[1.0]).unwrap();
    index.without_vector(&[1], true);
    assert!(!index.saw(&[0, 1]));
    index.end_comparison(AGES);
    assert_eq!(live(&index), 2);
    index.advance(u64::MAX);
    assert_eq!(index.stats().unwrap().count, 2);
}
