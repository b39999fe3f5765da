//! Many rows with one vector, such as those of empty texts, do not hide the others.

use super::*;

const WIDE: usize = 32;
const ROWS: usize = 6_000;
const EQUAL: usize = 600;

fn recall(index: &Index, vectors: &[f32]) -> f64 {
    recall_of(index, vectors, |_| true)
}

/// The share of the ten nearest live rows that searches find; a row as near as the last of them counts.
fn recall_of(index: &Index, vectors: &[f32], live: impl Fn(i64) -> bool) -> f64 {
    const QUERIES: usize = 100;
    let rows: Vec<_> = (0..).zip(vectors.chunks_exact(WIDE)).collect();
    let mut random = Random(23);
    let mut hits = 0;
    for _ in 0..QUERIES {
        let query: Vec<f32> = (0..WIDE).map(|_| random.normal()).collect();
        let away = |row: i64| {
            let row = rows[row as usize].1;
            row.iter().zip(&query).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>()
        };
        let exact = naive::nearest(Metric::L2sq, rows.iter().copied().filter(|&(row, _)| live(row)), &query, 10);
        let last = exact.iter().map(|&(row, _)| away(row)).fold(0.0, f64::max);
        let found = index.searcher().nearest(&query, 10, 64, &AllVisible).unwrap();
        assert!(found.report.strategy == SearchStrategy::Graph || !exact_distances());
        let mut distances: Vec<f64> = found.rows.iter().map(|row| away(row.row_id)).collect();
        distances.sort_by(f64::total_cmp);
        hits += distances.iter().take(10).filter(|&&distance| distance <= last * (1.0 + 1e-9)).count();
    }
    hits as f64 / (10 * QUERIES) as f64
}

/// Rows around the origin, and others that all have one vector.
fn vectors(place: f32) -> (Vec<f32>, Vec<f32>) {
    let mut random = Random(3);
    let ordinary = (0..ROWS * WIDE).map(|_| random.normal()).collect();
    let mut equal = vec![0.0; EQUAL * WIDE];
    equal.chunks_exact_mut(WIDE).for_each(|row| row[0] = place);
    (ordinary, equal)
}

fn index() -> Index {
    Index::new(Options { metric: Metric::L2sq, ..defaults() }, WIDE, Box::new(Unlimited)).unwrap()
}

#[test]
fn rows_beside_equal_ones_are_found() {
    for place in [0.0, 3.0] {
        let (ordinary, equal) = vectors(place);
        let alone = index();
        append_all(&alone, &ordinary, WIDE);
        link_all(&alone, 2);
        let before = recall(&alone, &ordinary);

        let all: Vec<f32> = ordinary.iter().chain(&equal).copied().collect();
        let ids: Vec<i64> = (ROWS as i64..(ROWS + EQUAL) as i64).collect();
        alone.append(Origin::Host, &ids, &equal).unwrap();
        link_all(&alone, 2);
        let after = recall(&alone, &all);

        let mixed = index();
        let mut order: Vec<usize> = (0..ROWS + EQUAL).collect();
        let mut random = Random(5);
        random.shuffle(&mut order);
        let shuffled: Vec<f32> =
            order.iter().flat_map(|&row| all[row * WIDE..(row + 1) * WIDE].iter().copied()).collect();
        append_all(&mixed, &shuffled, WIDE);
        link_all(&mixed, 2);
        let together = recall(&mixed, &shuffled);
        let what = format!("at {place}: {before} alone, {after} after equal rows, {together} among them");
        assert!(before >= 0.97 && after >= before - 0.02 && together >= before - 0.02, "{what}");
    }
}

#[test]
fn equal_rows_are_found_and_go() {
    let (ordinary, equal) = vectors(3.0);
    let index = index();
    append_all(&index, &ordinary, WIDE);
    let ids: Vec<i64> = (ROWS as i64..(ROWS + EQUAL) as i64).collect();
    index.append(Origin::Host, &ids, &equal).unwrap();
    link_all(&index, 2);
    index.maintenance().finish(&Uninterrupted).unwrap();
    let found = |k: usize| {
        let found = index.searcher().nearest(&equal[..WIDE], k, 64, &AllVisible).unwrap();
        found.rows.iter().filter(|row| ids.contains(&row.row_id)).count().min(k)
    };
    assert_eq!([1, 10, 100, EQUAL].map(found), [1, 10, 100, EQUAL]);

    // The rows to which the other rows are linked are among these.
    let (gone, left) = ids.split_at(EQUAL - 50);
    index.remove(gone, 1);
    index.expire(2, 2);
    index.maintenance().finish(&Uninterrupted).unwrap();
    assert_eq!([1, 10].map(found), [1, 10]);
    let all: Vec<f32> = ordinary.iter().chain(&equal).copied().collect();
    let live = recall_of(&index, &all, |row| !gone.contains(&row));
    assert!(live >= 0.95, "{live} beside {} equal rows", left.len());
}

/// Rows of zeros and ones, some of them many times. Most rows are as far from a query as other rows that are not equal to them.
#[test]
fn rows_beside_equal_ones_at_one_distance_are_found() {
    const WIDE: usize = 64;
    const ONES: usize = 8;
    let mut random = Random(7);
    let mut sparse = |rows: usize| -> Vec<f32> {
        let mut vectors = vec![0.0; rows * WIDE];
        for row in vectors.chunks_exact_mut(WIDE) {
            while row.iter().filter(|&&x| x > 0.0).count() < ONES {
                row[random.below(WIDE)] = 1.0;
            }
        }
        vectors
    };
    let (rows, queries) = (sparse(ROWS), sparse(100));
    let recall = |copies: usize| {
        let mut all: Vec<&[f32]> = rows.chunks_exact(WIDE).collect();
        let units: Vec<f32> = (0..WIDE * WIDE).map(|at| f32::from(at / WIDE == at % WIDE)).collect();
        (0..copies).for_each(|_| all.extend(units.chunks_exact(WIDE)));
        let mut random = Random(5);
        random.shuffle(&mut all);
        let index = Index::new(Options { metric: Metric::L2sq, ..defaults() }, WIDE, Box::new(Unlimited)).unwrap();
        append_all(&index, &all.concat(), WIDE);
        link_all(&index, 1); // by how they take turns two threads make a difference of some hundredths
        let away = |row: &[f32], query: &[f32]| row.iter().zip(query).map(|(x, y)| (x - y).powi(2)).sum::<f32>();
        let mut hits = 0;
        for query in queries.chunks_exact(WIDE) {
            let mut exact: Vec<f32> = all.iter().map(|row| away(row, query)).collect();
            exact.sort_by(f32::total_cmp);
            let found = index.searcher().nearest(query, 5, 64, &AllVisible).unwrap();
            let near = found.rows.iter().filter(|row| away(all[row.row_id as usize], query) <= exact[4]).count();
            hits += near.min(5);
        }
        hits as f64 / (5 * queries.len() / WIDE) as f64
    };
    let (once, often) = (recall(1), recall(300));
    // By their codes these rows are not at one distance, so walks end earlier.
    let less = if exact_distances() { 0.02 } else { 0.1 };
    assert!(often >= once - less, "{often} beside equal rows, {once} beside one of each");
}

/// A walk ends when it can find nothing nearer, even if there are fewer distinct vectors than it may keep.
#[test]
fn few_vectors_of_many_rows_are_searched_as_fast_as_many() {
    const VECTORS: usize = 100;
    let mut random = Random(11);
    let vectors: Vec<f32> = (0..VECTORS * WIDE).map(|_| random.normal()).collect();
    let rows: Vec<f32> = (0..VECTORS * 120)
        .flat_map(|_| {
            let at = random.below(VECTORS) * WIDE;
            vectors[at..at + WIDE].to_vec()
        })
        .collect();
    let index = index();
    append_all(&index, &rows, WIDE);
    link_all(&index, 2);
    let (mut visited, mut hits) = (0, 0);
    for vector in vectors.chunks_exact(WIDE) {
        let found = index.searcher().nearest(vector, 10, 64, &AllVisible).unwrap();
        visited += found.report.visited;
        hits += found.rows.iter().filter(|row| rows[row.row_id as usize * WIDE..][..WIDE] == *vector).count().min(10);
    }
    assert!(visited < 2_000 * VECTORS, "{visited} nodes visited by {VECTORS} searches");
    assert!(hits >= 10 * VECTORS - VECTORS / 10, "{hits} found");
}
