//! The bare core as one of the systems of the comparison: obeys the commands of `benches/peers/process.py`, a JSON object
//! a line, for as long as there are any.
//!
//! `cargo bench --bench raw -- SET METRIC M EF_CONSTRUCTION [QUANTIZATION]`, where the directory SET holds `dimensions` (a number as
//! text), `vectors.f32` and `queries.f32` (raw 32-bit floats of this machine).

use std::io::{BufRead, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};
use vss::host::{AllVisible, Uninterrupted, Unlimited};
use vss::index::{Index, Origin};
use vss::options::Metric;
use vss::options::{Options, Quantization};
use vss::vectors::{Codec, Space};

/// Rows handed over at once, as DuckDB does.
const CHUNK: usize = 2048;
/// Queries a thread takes at once.
const STEP: usize = 16;

/// What can be asked. Ranges of queries exclude the last.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Command {
    /// Says what this is.
    Prepare,
    /// Builds the index on so many threads.
    Build { threads: usize },
    /// One query after the other, each timed.
    Search { ef: usize, k: usize, first: usize, last: usize },
    /// All queries at once, shared out among threads.
    Batch { ef: usize, k: usize, first: usize, last: usize, threads: usize },
    /// How often the distances of codes are as near the true ones as their bound says, at so many standard errors: of all rows, and of the
    /// nearest of each query. The codes' centre is the mean of the first rows, so many.
    Calibrate { deviations: f32, learn: usize, nearest: usize, first: usize, last: usize },
}

struct Bench {
    options: Options,
    dimensions: usize,
    vectors: Vec<f32>,
    queries: Vec<f32>,
    /// Ranks by the vectors, as they are stored in `plain`, what codes have found; as the table does in SQL.
    floats: Codec,
    plain: Vec<u8>,
    index: Option<Index>,
}

impl Bench {
    fn new(set: &Path, options: Options) -> Self {
        let dimensions = std::fs::read_to_string(set.join("dimensions")).expect("SET/dimensions");
        let dimensions = dimensions.trim().parse().expect("a number");
        let codec = Codec::new(Space::new(options.metric, dimensions), Quantization::None);
        let vectors = floats(&set.join("vectors.f32"));
        let plain = encoded(&codec, &vectors, dimensions);
        Self {
            options,
            dimensions,
            vectors,
            queries: floats(&set.join("queries.f32")),
            floats: codec,
            plain,
            index: None,
        }
    }

    fn obey(&mut self, command: Command) -> Value {
        match command {
            Command::Prepare => json!({
                "version": self.name(),
                "offers": ["array"],
                "approximate": true,
                "filters": false,
                "inserts": false,
            }),
            Command::Build { threads } => self.build(threads),
            Command::Search { ef, k, first, last } => self.search(ef, k, first, last),
            Command::Batch { ef, k, first, last, threads } => self.batch(ef, k, first, last, threads),
            Command::Calibrate { deviations, learn, nearest, first, last } => {
                self.calibrate(deviations, learn, nearest, first..last)
            }
        }
    }

    fn name(&self) -> String {
        let name = concat!("bare core of vss ", env!("CARGO_PKG_VERSION"));
        match self.options.quantization {
            Quantization::None => name.to_owned(),
            quantization => format!("{name} {}, re-ranked", quantization.name()),
        }
    }

    fn build(&mut self, threads: usize) -> Value {
        self.index = None;
        let start = Instant::now();
        let index = Index::new(self.options.clone(), self.dimensions, Box::new(Unlimited)).unwrap();
        let rows: Vec<i64> = (0..(self.vectors.len() / self.dimensions) as i64).collect();
        index.reserve_rows(rows.len());
        for (rows, vectors) in rows.chunks(CHUNK).zip(self.vectors.chunks(CHUNK * self.dimensions)) {
            index.append(Origin::Host, rows, vectors).unwrap();
        }
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| index.maintenance().link(usize::MAX, &Uninterrupted).unwrap());
            }
        });
        let answer = json!({ "seconds": start.elapsed().as_secs_f64(), "memory": index.memory_used() });
        self.index = Some(index);
        answer
    }

    /// The nearest rows, and how many candidates the index found for them.
    fn nearest(&self, query: usize, k: usize, ef: usize) -> (Vec<i64>, usize) {
        let query = &self.queries[query * self.dimensions..(query + 1) * self.dimensions];
        let found = self.index.as_ref().expect("built").searcher().nearest(query, k, ef, &AllVisible).unwrap();
        let candidates = found.rows.len();
        let row_ids = found.rows.iter().map(|row| row.row_id);
        if self.options.quantization == Quantization::None {
            return (row_ids.collect(), candidates);
        }
        let mut stored = Vec::new();
        self.floats.space.store(query, &mut stored).expect("a query that can be ranked");
        let (query, row_bytes) = (self.floats.prepare(&stored), self.floats.row_bytes());
        let row = |row_id: i64| &self.plain[row_id as usize * row_bytes..][..row_bytes];
        let mut ranked: Vec<_> = row_ids.map(|id| (self.floats.distance(&query, row(id)), id)).collect();
        ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        (ranked.into_iter().take(k).map(|(_, id)| id).collect(), candidates)
    }

    fn search(&self, ef: usize, k: usize, first: usize, last: usize) -> Value {
        let (mut times, mut ids, mut candidates) = (Vec::new(), Vec::new(), 0);
        for query in first..last {
            let start = Instant::now();
            let (found, count) = self.nearest(query, k, ef);
            candidates += count;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            ids.push(found);
        }
        json!({ "ms": times, "ids": ids, "candidates": candidates })
    }

    fn batch(&self, ef: usize, k: usize, first: usize, last: usize, threads: usize) -> Value {
        let next = AtomicUsize::new(first);
        let worker = || {
            let mut found = Vec::new();
            loop {
                let from = next.fetch_add(STEP, Ordering::Relaxed);
                if from >= last {
                    return found;
                }
                found.extend((from..last.min(from + STEP)).map(|query| (query, self.nearest(query, k, ef).0)));
            }
        };
        let start = Instant::now();
        let mut found: Vec<(usize, Vec<i64>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        let seconds = start.elapsed().as_secs_f64();
        found.sort_unstable();
        json!({ "seconds": seconds, "ids": found.into_iter().map(|(_, ids)| ids).collect::<Vec<_>>() })
    }
}

impl Bench {
    fn calibrate(&self, deviations: f32, learn: usize, nearest: usize, queries: Range<usize>) -> Value {
        let space = Space::new(self.options.metric, self.dimensions);
        let (floats, exact_rows) = (&self.floats, &self.plain);
        let codes = Codec::new(space, self.options.quantization);
        codes.learn(exact_rows.chunks_exact(floats.row_bytes()).take(learn));
        let rows = encoded(&codes, &self.vectors, self.dimensions);
        let (mut all, mut near, mut squares) = (0, 0, 0.0);
        for query in self.queries.chunks_exact(self.dimensions).take(queries.end).skip(queries.start) {
            let mut stored = Vec::new();
            space.store(query, &mut stored).expect("a query that can be ranked");
            let (exact_query, query) = (floats.prepare(&stored), codes.prepare(&stored));
            let per_norm = codes.error_per_norm(&query, deviations);
            let pairs = exact_rows.chunks_exact(floats.row_bytes()).zip(rows.chunks_exact(codes.row_bytes()));
            let mut found: Vec<(f32, f32)> = pairs
                .map(|(exact_row, row)| {
                    let exact = floats.distance(&exact_query, exact_row);
                    (exact, (codes.distance(&query, row) - exact) / (per_norm * codes.norm(row)))
                })
                .collect();
            squares += found.iter().map(|&(_, error)| f64::from(error).powi(2)).sum::<f64>();
            let covered = |found: &[(f32, f32)]| found.iter().filter(|(_, error)| error.abs() <= 1.0).count();
            all += covered(&found);
            found.select_nth_unstable_by(nearest - 1, |a, b| a.0.total_cmp(&b.0));
            near += covered(&found[..nearest]);
        }
        let count = (queries.len() * rows.len() / codes.row_bytes()) as f64;
        json!({
            "all": all as f64 / count,
            "near": near as f64 / (queries.len() * nearest) as f64,
            "spread": f64::from(deviations) * (squares / count).sqrt(),
        })
    }
}

fn encoded(codec: &Codec, vectors: &[f32], dimensions: usize) -> Vec<u8> {
    let (mut encoder, mut rows) = (codec.encoder(), Vec::new());
    for vector in vectors.chunks_exact(dimensions) {
        encoder.encode(vector, &mut rows).expect("a vector that can be ranked");
    }
    rows
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes.chunks_exact(4).map(|bytes| f32::from_ne_bytes(bytes.try_into().expect("four bytes"))).collect()
}

fn main() {
    // cargo adds --bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [set, metric, m, ef_construction, rest @ ..] = &arguments[..] else {
        eprintln!("usage: raw SET METRIC M EF_CONSTRUCTION [QUANTIZATION] < COMMANDS");
        std::process::exit(2);
    };
    let metric = Metric::parse(metric).unwrap();
    let [m, ef_construction] = [m, ef_construction].map(|number| number.parse().expect("a number"));
    let quantization = rest.first().map_or(Quantization::None, |name| Quantization::parse(name).unwrap());
    let options = Options { metric, quantization, m, m0: 2 * m, ef_construction, ..Options::default() };
    let mut bench = Bench::new(Path::new(set), options);
    for line in std::io::stdin().lock().lines() {
        let command = serde_json::from_str(&line.unwrap()).expect("a command");
        println!("{}", bench.obey(command));
        std::io::stdout().flush().unwrap();
    }
}
