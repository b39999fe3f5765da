//! Many nearly equal rows, such as those of nearly equal texts, do not hide what is around them.

use super::*;

const WIDE: usize = 32;
const ROWS: usize = 4_000;
const CROWD: usize = 400;
const K: usize = 10;

fn vector(random: &mut Random, centre: f32, spread: f32) -> Vec<f32> {
    (0..WIDE).map(|at| if at == 0 { centre } else { 0.0 } + spread * random.normal()).collect()
}

/// Rows around the origin.
fn ordinary() -> Vec<Vec<f32>> {
    let mut random = Random(3);
    (0..ROWS).map(|_| vector(&mut random, 0.0, 1.0)).collect()
}

fn crowd(centre: f32, spread: f32) -> Vec<Vec<f32>> {
    let mut random = Random(17);
    (0..CROWD).map(|_| vector(&mut random, centre, spread)).collect()
}

/// The share of the nearest rows that searches find. A row counts if it is as near as the last of them, as far as rounding and codes can
/// tell within a crowd.
fn recall(index: &Index, metric: Metric, rows: &[Vec<f32>], toward: f32) -> f64 {
    const QUERIES: usize = 100;
    let mut random = Random(23);
    let tied = if exact_distances() { 1e-4 } else { 1e-2 };
    let mut hits = 0;
    for _ in 0..QUERIES {
        let query = vector(&mut random, toward, 1.0);
        let exact = naive::nearest(metric, (0..).zip(rows.iter().map(Vec::as_slice)), &query, K);
        let last = exact[K - 1].1;
        let found = index.searcher().nearest(&query, K, 64, &AllVisible).unwrap();
        let away = |row: i64| naive::distance(metric, &rows[row as usize], &query);
        let near = found.rows.iter().filter(|row| away(row.row_id) <= last + tied * last.abs()).count();
        hits += near.min(K);
    }
    hits as f64 / (K * QUERIES) as f64
}

fn linked(metric: Metric, batches: &[&[Vec<f32>]]) -> Index {
    let index = Index::new(Options { metric, ..defaults() }, WIDE, Box::new(Unlimited)).unwrap();
    let mut first = 0;
    for batch in batches {
        let ids: Vec<i64> = (first..first + batch.len() as i64).collect();
        index.append(Origin::Host, &ids, &batch.concat()).unwrap();
        // With one thread the graph is the same each time.
        link_all(&index, 1);
        first += batch.len() as i64;
    }
    index
}

#[test]
fn rows_beside_a_crowd_are_found() {
    let ordinary = ordinary();
    // The place of the crowd, the spread of its rows, and the centre of the queries.
    let cases = [(Metric::L2sq, 0.0, [1e-6, 1e-3, 0.1].as_slice(), 0.0), (Metric::Cosine, 3.0, &[1e-3], 2.0)];
    for (metric, centre, spreads, toward) in cases {
        let alone = recall(&linked(metric, &[&ordinary]), metric, &ordinary, toward);
        for &spread in spreads {
            let crowd = crowd(centre, spread);
            let mut all = [ordinary.clone(), crowd.clone()].concat();
            let before = recall(&linked(metric, &[&ordinary, &crowd]), metric, &all, toward);
            let mut random = Random(5);
            random.shuffle(&mut all);
            let among = recall(&linked(metric, &[&all]), metric, &all, toward);
            let what =
                format!("{metric:?}, spread {spread}: {alone} alone, {before} before a crowd, {among} among one");
            assert!(before >= alone - 0.02 && among >= alone - 0.02, "{what}");
        }
    }
}

/// The rows of `count` crowds, one crowd after another.
fn crowds(count: usize, each: usize) -> Vec<Vec<f32>> {
    let mut random = Random(29);
    let crowd = |random: &mut Random| {
        let centre = vector(random, 0.0, 1.0);
        let mut near = || centre.iter().map(|&x| x + 1e-3 * random.normal()).collect::<Vec<f32>>();
        (0..each).map(|_| near()).collect::<Vec<_>>()
    };
    (0..count).flat_map(|_| crowd(&mut random)).collect()
}

/// Codes hardly tell the rows of a crowd apart, so rows that the walk has not met may be as near, even if the walk has met rows of other
/// crowds, which are far.
#[test]
fn the_nearest_rows_of_a_crowd_are_found_beside_other_crowds() {
    const QUERIES: usize = 40;
    for (metric, count, each) in [(Metric::L2sq, 2, 3_000), (Metric::L2sq, 10, 600), (Metric::Cosine, 10, 600)] {
        let rows = crowds(count, each);
        let index = linked(metric, &[&rows]);
        let mut random = Random(23);
        let mut hits = 0;
        for _ in 0..QUERIES {
            let query = vector(&mut random, 0.0, 1.0);
            let exact = naive::nearest(metric, (0..).zip(rows.iter().map(Vec::as_slice)), &query, K);
            let found = index.searcher().nearest(&query, K, 64, &AllVisible).unwrap();
            hits += exact.iter().filter(|(id, _)| found.rows.iter().any(|row| row.row_id == *id)).count();
        }
        let recall = hits as f64 / (K * QUERIES) as f64;
        let least = match defaults().quantization {
            Quantization::None => 0.95,
            Quantization::Sq8 => 0.93,
            Quantization::Sq4 => 0.92,
        };
        assert!(recall >= least, "{metric:?}, {count} crowds of {each}: {recall}");
    }
}

/// Rows like those of documents made from a few templates. The rows of each template are a crowd, of more rows than a walk keeps.
#[test]
fn the_nearest_of_many_crowds_is_found() {
    let rows = crowds(80, 150);
    for (metric, shuffled) in [(Metric::L2sq, false), (Metric::L2sq, true), (Metric::Cosine, true)] {
        let mut rows = rows.clone();
        if shuffled {
            let mut random = Random(5);
            random.shuffle(&mut rows);
        }
        let found = recall(&linked(metric, &[&rows]), metric, &rows, 0.0);
        let least = match defaults().quantization {
            Quantization::None => 0.98,
            Quantization::Sq8 => 0.95,
            // Its codes tell crowds apart less well: .926 to .972 is found.
            Quantization::Sq4 => 0.9,
        };
        assert!(found >= least, "{metric:?}, shuffled: {shuffled}: {found}");
    }
}
