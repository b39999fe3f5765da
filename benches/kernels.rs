//! The distance kernels of every instruction set that this processor runs.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use vss::testing::naive::Random;
use vss::vectors::distance::Kernels;

fn kernels(c: &mut Criterion) {
    for dimensions in [384, 1024] {
        let mut random = Random(1);
        let mut vector = || (0..dimensions).map(|_| random.normal()).collect::<Vec<f32>>();
        let (a, b) = (vector(), [vector(), vector(), vector(), vector()]);
        let four = [0, 1, 2, 3].map(|i| b[i].as_ptr());
        for (name, product) in [("l2sq", false), ("ip", true)] {
            let mut group = c.benchmark_group(format!("{name} {dimensions}"));
            group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
            for kernels in Kernels::all_supported() {
                let kernel = if product { kernels.ip } else { kernels.l2sq };
                group.bench_function(BenchmarkId::new("one pair", kernels.name), |bench| {
                    // SAFETY: both vectors hold `dimensions` floats, and the processor runs this set.
                    bench.iter(|| unsafe { kernel(black_box(a.as_ptr()), black_box(four[0]), dimensions) });
                });
                let kernel = if product { kernels.ip4 } else { kernels.l2sq4 };
                group.bench_function(BenchmarkId::new("four pairs", kernels.name), |bench| {
                    let mut out = [0.0; 4];
                    // SAFETY: as above, for all five.
                    bench.iter(|| unsafe { kernel(black_box(a.as_ptr()), black_box(&four), dimensions, &mut out) });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
