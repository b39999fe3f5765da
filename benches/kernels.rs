//! The distance kernels of every instruction set that this processor runs.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use vss::distance::Kernels;
use vss::naive::Random;

fn kernels(c: &mut Criterion) {
    for dimensions in [384, 1024] {
        let mut random = Random(1);
        let mut vector = || (0..dimensions).map(|_| random.normal()).collect::<Vec<f32>>();
        let (a, b) = (vector(), vector());
        for (name, kernel) in [("l2sq", 0), ("dot", 1)] {
            let mut group = c.benchmark_group(format!("{name} {dimensions}"));
            group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
            for kernels in Kernels::all_supported() {
                let kernel = if kernel == 0 { kernels.l2sq } else { kernels.dot };
                group.bench_function(BenchmarkId::from_parameter(kernels.name), |bench| {
                    // SAFETY: both vectors hold `dimensions` floats, and the processor runs this set.
                    bench.iter(|| unsafe { kernel(black_box(a.as_ptr()), black_box(b.as_ptr()), dimensions) });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
