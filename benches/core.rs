//! The core beside usearch's own `index_dense`: 20,000 clustered vectors of 384 dimensions, cosine, M 16, efConstruction
//! 128, ef 64, one thread. Refuses to time a search that does not find the neighbours.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use vss::host::{AllVisible, Uninterrupted, Unlimited};
use vss::index::{Index, Origin};
use vss::options::Metric;
use vss::options::Options;
use vss::testing::naive::{self, Random};

const ROWS: usize = 20_000;
const DIMENSIONS: usize = 384;
/// So few that the neighbours are not found all by themselves: at a recall of 1 a worse graph would not show.
const CLUSTERS: usize = 20;
const K: usize = 10;
const QUERIES: usize = 200;
const BUILDS: usize = 3;

struct Data {
    vectors: Vec<f32>,
    queries: Vec<f32>,
    /// The `K` nearest rows of each query.
    exact: Vec<Vec<(i64, f64)>>,
}

fn data() -> &'static Data {
    static DATA: OnceLock<Data> = OnceLock::new();
    DATA.get_or_init(|| {
        let mut all = Random(42).clustered(ROWS + QUERIES, DIMENSIONS, CLUSTERS);
        let queries = all.split_off(ROWS * DIMENSIONS);
        let nearest = |query| naive::nearest(Metric::Cosine, rows(&all), query, K);
        let exact = queries.chunks_exact(DIMENSIONS).map(nearest).collect();
        Data { exact, queries, vectors: all }
    })
}

fn rows(vectors: &[f32]) -> impl Iterator<Item = (i64, &[f32])> {
    vectors.chunks_exact(DIMENSIONS).enumerate().map(|(row, vector)| (row as i64, vector))
}

fn ours() -> Index {
    let options = Options { metric: Metric::Cosine, ..Options::default() };
    let index = Index::new(options, DIMENSIONS, Box::new(Unlimited)).unwrap();
    index.reserve_rows(ROWS);
    for (row, vector) in rows(&data().vectors) {
        index.append(Origin::Host, &[row], vector).unwrap();
    }
    index.maintenance().link(ROWS, &Uninterrupted).unwrap();
    index
}

fn theirs() -> usearch::Index {
    let options = usearch::IndexOptions {
        dimensions: DIMENSIONS,
        metric: usearch::MetricKind::Cos,
        quantization: usearch::ScalarKind::F32,
        connectivity: 16,
        expansion_add: 128,
        expansion_search: 64,
        ..Default::default()
    };
    let index = usearch::Index::new(&options).unwrap();
    index.reserve(ROWS).unwrap();
    for (row, vector) in rows(&data().vectors) {
        index.add(row as u64, vector).unwrap();
    }
    index
}

fn recall(search: impl Fn(&[f32]) -> Vec<i64>) -> f64 {
    let queries = data().queries.chunks_exact(DIMENSIONS);
    queries.zip(&data().exact).map(|(query, exact)| naive::recall(exact, search(query))).sum::<f64>() / QUERIES as f64
}

/// Builds a few times, in turn, so that a change of the machine's speed meets both. Criterion would want ten builds of
/// each, which takes minutes.
fn build() -> (Index, usearch::Index) {
    data();
    let mut built = None;
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..BUILDS {
        let start = Instant::now();
        let ours = ours();
        seconds[0].push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let theirs = theirs();
        seconds[1].push(start.elapsed().as_secs_f64());
        built = Some((ours, theirs));
    }
    for (name, seconds) in ["vss", "usearch index_dense"].into_iter().zip(&seconds) {
        println!("build {ROWS} x {DIMENSIONS}/{name}: {seconds:.2?} s");
    }
    built.expect("BUILDS is not 0")
}

fn core(c: &mut Criterion) {
    let (ours_built, theirs_built) = build();
    let search_ours = |query: &[f32]| -> Vec<i64> {
        ours_built.searcher().nearest(query, K, 64, &AllVisible).unwrap().rows.iter().map(|row| row.row_id).collect()
    };
    let search_theirs = |query: &[f32]| -> Vec<i64> {
        theirs_built.search(query, K).unwrap().keys.iter().map(|&key| key as i64).collect()
    };
    let (recall_ours, recall_theirs) = (recall(search_ours), recall(search_theirs));
    println!("recall@{K}: vss {recall_ours:.3}, usearch {recall_theirs:.3}");
    assert!(recall_ours >= 0.9, "{recall_ours}");

    let mut search = c.benchmark_group("search 20,000 x 384");
    let mut queries = data().queries.chunks_exact(DIMENSIONS).cycle();
    search.bench_function("vss", |b| b.iter(|| black_box(search_ours(queries.next().unwrap()))));
    search.bench_function("usearch index_dense", |b| b.iter(|| black_box(search_theirs(queries.next().unwrap()))));
    search.finish();
}

criterion_group!(benches, core);
criterion_main!(benches);
