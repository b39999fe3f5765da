//! Comparisons of an index with its table.

use super::*;

const AGES: u64 = 7;

fn live(index: &Index) -> usize {
    index.stats().unwrap().count
}

/// An index with rows that came from a scan.
fn of_rows(rows: &[i64]) -> Index {
    let index = index(Metric::L2sq, 1);
    let vectors: Vec<f32> = rows.iter().map(|&row| row as f32).collect();
    index.append(Origin::Scan, rows, &vectors).unwrap();
    index
}

/// The rows that searches find.
fn found(index: &Index) -> Vec<i64> {
    let found = index.searcher().nearest(&[1.0], 100, 64, &|_: i64| true).unwrap();
    let mut rows: Vec<i64> = found.rows.iter().map(|candidate| candidate.row_id).collect();
    rows.sort_unstable();
    rows
}

#[test]
fn rows_that_the_table_has_lost_are_dropped_wherever_they_were() {
    let index = of_rows(&[0, 1, 2, 63, 64, 5000, 1 << 40]);
    index.reconciler().begin(3).unwrap();
    assert!(!index.reconciler().seen(&[0, 2]));
    // Meanwhile the host appends beyond the end, and one row whose id the index has.
    index.append(Origin::Host, &[65, 5000], &[1.0, 2.0]).unwrap();
    assert_eq!(index.reconciler().end(AGES), 4);
    assert_eq!(live(&index), 4);
    index.reconciler().begin(5001).unwrap();
    assert!(!index.reconciler().seen(&[0, 2, 65, 5000]));
    index.reconciler().end(AGES);
    assert_eq!(live(&index), 4);
}

/// Rows reach the index before they are in the table. Until they are, no scan sees them, and other commits come and go meanwhile. A
/// comparison must not remove them.
#[test]
fn rows_that_the_host_hands_over_stay_although_no_scan_sees_them() {
    let index = of_rows(&[0, 1]);
    index.append(Origin::Host, &[2, 3], &[2.0, 3.0]).unwrap();
    for commits in 0..3 {
        index.reconciler().begin(2).unwrap();
        assert!(!index.reconciler().seen(&[0, 1]));
        assert_eq!(index.reconciler().end(AGES + commits), 0);
        index.resolve_commit(AGES + commits + 1);
        index.expire_tombstones(u64::MAX);
        assert_eq!(found(&index), [0, 1, 2, 3]);
    }
    // The commit fails, and the host removes its rows.
    index.remove(&[2, 3], AGES);
    index.expire_tombstones(u64::MAX);
    assert_eq!(found(&index), [0, 1]);
    // A reused id belongs to the host, whoever had it before.
    index.append(Origin::Host, &[1], &[9.0]).unwrap();
    index.reconciler().begin(2).unwrap();
    index.reconciler().seen(&[0]);
    assert_eq!(index.reconciler().end(AGES), 0);
    assert_eq!(found(&index), [0, 1]);
}

/// A deletion reaches the index before the scan's snapshot shows it. The scan must not bring the row back, neither while the row is a
/// tombstone nor after it is dead.
#[test]
fn a_scan_does_not_bring_back_what_the_host_deletes() {
    let index = of_rows(&[0, 1, 2]);
    index.remove(&[1], AGES);
    index.reconciler().begin(3).unwrap();
    index.append(Origin::Scan, &[0, 1, 2], &[0.0, 1.0, 2.0]).unwrap();
    assert_eq!(live(&index), 2);
    index.expire_tombstones(u64::MAX);
    index.append(Origin::Scan, &[1], &[1.0]).unwrap();
    assert_eq!(found(&index), [0, 2]);
    index.reconciler().seen(&[0, 2]);
    assert_eq!(index.reconciler().end(AGES), 0);
    assert_eq!(found(&index), [0, 2]);
    // The host commits a row that reuses the id.
    index.append(Origin::Host, &[1], &[5.0]).unwrap();
    assert_eq!(found(&index), [0, 1, 2]);
}

#[test]
fn a_number_used_again_by_a_row_without_a_vector_is_forgotten() {
    let index = of_rows(&[0, 1, 2, 3]);
    index.remove(&[1, 2], AGES);
    index.without_vector(Origin::Host, &[1, 3, 9]);
    assert_eq!(live(&index), 1);
    assert_eq!(found(&index), [0, 2]);
    // What the host does during a comparison wins over what the scan saw before.
    index.reconciler().begin(4).unwrap();
    index.append(Origin::Host, &[1], &[1.0]).unwrap();
    index.without_vector(Origin::Scan, &[1]);
    assert!(!index.reconciler().seen(&[0, 1]));
    index.reconciler().end(AGES);
    assert_eq!(live(&index), 2);
    index.expire_tombstones(u64::MAX);
    assert_eq!(index.stats().unwrap().count, 2);
}
