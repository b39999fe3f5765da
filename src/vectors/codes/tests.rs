use super::*;
use crate::testing::naive;

fn space(metric: Metric, dimensions: usize) -> Space {
    Space::new(metric, dimensions)
}

/// Vectors in stored form, and a quantizer that knows their centre.
struct Set {
    quantizer: Quantizer,
    vectors: Vec<Vec<f32>>,
}

impl Set {
    fn new(metric: Metric, quantization: Quantization, vectors: &[Vec<f32>]) -> Self {
        let dimensions = vectors[0].len();
        let quantizer = Quantizer::new(space(metric, dimensions), quantization, SEED);
        let store = |vector: &Vec<f32>| {
            let mut stored = Vec::new();
            quantizer.space.store(vector, &mut stored).map(|_| stored)
        };
        let vectors: Vec<_> = vectors.iter().filter_map(store).collect();
        quantizer.set_centre(centre(vectors.iter().map(|vector| vector.iter().copied()), dimensions));
        Self { quantizer, vectors }
    }

    fn row(&self, vector: &[f32]) -> Vec<u8> {
        let mut row = vec![0; self.quantizer.quantization.row_bytes(vector.len())];
        self.quantizer.encode(vector, &mut Vec::new(), &mut row);
        row
    }

    fn distance(&self, query: &[u8], row: &[u8]) -> f32 {
        // SAFETY: the quantizer has made both.
        unsafe { (self.quantizer.measures().0)(query.as_ptr(), row.as_ptr(), self.quantizer.code_bytes()) }
    }
}

fn normal(random: &mut naive::Random, dimensions: usize) -> Vec<f32> {
    (0..dimensions).map(|_| random.normal()).collect()
}

fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    // stored form: for cosine the norms are 1
    naive::distance(if metric == Metric::Cosine { Metric::Ip } else { metric }, a, b)
}

const METRICS: [Metric; 3] = [Metric::L2sq, Metric::Cosine, Metric::Ip];
const BOTH: [Quantization; 2] = [Quantization::Sq8, Quantization::Sq4];

fn lengths() -> impl Iterator<Item = usize> {
    (1..=20).chain((21..=300).step_by(13)).chain([63, 64, 65, 127, 128, 129, 384, 768, 1024, 1536])
}

/// Sets of unusual vectors of all kinds, by name.
fn odd_sets(random: &mut naive::Random, dimensions: usize) -> Vec<(&'static str, Vec<Vec<f32>>)> {
    let mut some = |number: usize, change: &dyn Fn(usize, Vec<f32>) -> Vec<f32>| -> Vec<Vec<f32>> {
        (0..number).map(|i| change(i, normal(random, dimensions))).collect()
    };
    let one_hot =
        |i: usize| (0..dimensions).map(|at| if at == i % dimensions { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
    vec![
        ("normal", some(24, &|_, v| v)),
        ("offset 50", some(24, &|_, v| v.iter().map(|x| x + 50.0).collect())),
        ("offset 1000", some(24, &|_, v| v.iter().map(|x| x + 1e3).collect())),
        ("tiny", some(24, &|_, v| v.iter().map(|x| x * 1e-18).collect())),
        ("huge", some(24, &|_, v| v.iter().map(|x| x * 1e16).collect())),
        ("norms", some(24, &|i, v| v.iter().map(|x| x * 10f32.powi(i as i32 % 8 - 4)).collect())),
        ("constant", some(24, &|i, _| vec![i as f32 - 7.0; dimensions])),
        ("one-hot", some(24, &|i, _| one_hot(i))),
        ("equal", some(24, &|_, _| vec![0.5; dimensions])),
        ("zero", some(24, &|i, v| if i % 2 == 0 { vec![0.0; dimensions] } else { v })),
        ("heavy tails", some(24, &|_, v| v.iter().map(|x| x * x * x * x * x).collect())),
    ]
}

#[test]
fn errors_are_never_beyond_the_bound_that_always_holds() {
    let mut random = naive::Random(5);
    for dimensions in lengths() {
        for (name, vectors) in odd_sets(&mut random, dimensions) {
            for metric in METRICS {
                for quantization in BOTH {
                    let set = Set::new(metric, quantization, &vectors);
                    let rows: Vec<_> = set.vectors.iter().map(|vector| set.row(vector)).collect();
                    for (vector, own) in set.vectors.iter().zip(&rows) {
                        let query = set.quantizer.prepare(vector);
                        let per_norm = set.quantizer.error_per_norm(&query, f32::INFINITY);
                        let mut scratch = vec![7; set.quantizer.query_bytes()];
                        set.quantizer.prepare_row(own, &mut scratch);
                        set.quantizer.add_error_of(own, &mut scratch);
                        // A query made of a row has an error of its own, as large again.
                        let per_norm_of_row = 2.0 * set.quantizer.error_per_norm(&scratch, f32::INFINITY);
                        for (other, row) in set.vectors.iter().zip(&rows) {
                            let exact = exact(metric, vector, other);
                            let size: f64 = vector.iter().chain(other).map(|&x| f64::from(x) * f64::from(x)).sum();
                            // What rounding to `f32` loses, also before the vectors are centred.
                            let float = 2e-6 * (size + exact.abs()) + 1e-36;
                            let check = |query: &[u8], per_norm: f32| {
                                let found = f64::from(set.distance(query, row));
                                let bound = f64::from(per_norm * set.quantizer.norm(row)) * 1.001 + float;
                                assert!(
                                    (found - exact).abs() <= bound,
                                    "{name} {dimensions} {metric:?} {quantization:?}: {found} for {exact}, bound {bound}"
                                );
                            };
                            check(&query, per_norm);
                            check(&scratch, per_norm_of_row);
                        }
                    }
                }
            }
        }
    }
}

/// The error model: distances have no bias, and the standard error that the model says.
#[test]
fn errors_are_spread_as_the_model_says() {
    for dimensions in [16, 65, 128, 384, 1024] {
        for metric in METRICS {
            for (quantization, most) in [(Quantization::Sq8, 1.1), (Quantization::Sq4, 1.06)] {
                let mut random = naive::Random(dimensions as u64);
                let offset = normal(&mut random, dimensions);
                let mut vector = || -> Vec<f32> {
                    normal(&mut random, dimensions).iter().zip(&offset).map(|(x, o)| x + o).collect()
                };
                let vectors: Vec<Vec<f32>> = (0..120).map(|_| vector()).collect();
                let set = Set::new(metric, quantization, &vectors);
                let rows: Vec<_> = set.vectors.iter().map(|vector| set.row(vector)).collect();
                let mut errors = Vec::new();
                for (i, vector) in set.vectors.iter().enumerate() {
                    let query = set.quantizer.prepare(vector);
                    let per_norm = set.quantizer.error_per_norm(&query, 1.0);
                    for (j, row) in rows.iter().enumerate().filter(|&(j, _)| j != i) {
                        let exact = exact(metric, vector, &set.vectors[j]);
                        let found = f64::from(set.distance(&query, row));
                        errors.push((found - exact) / f64::from(per_norm * set.quantizer.norm(row)));
                    }
                }
                let count = errors.len() as f64;
                let mean = errors.iter().sum::<f64>() / count;
                let spread = (errors.iter().map(|error| error * error).sum::<f64>() / count).sqrt();
                let what = format!("{dimensions} {metric:?} {quantization:?}: mean {mean}, spread {spread}");
                // Errors of one row, and of one query, are correlated, so the mean is less certain than their number suggests.
                assert!(mean.abs() < 0.1, "{what}");
                assert!((0.5..most).contains(&spread), "{what}");
            }
        }
    }
}

#[test]
fn equal_vectors_have_equal_codes_and_the_centre_has_no_error() {
    for quantization in BOTH {
        for dimensions in [1, 2, 3, 7, 8, 100] {
            let mut random = naive::Random(9);
            let one = normal(&mut random, dimensions);
            let set = Set::new(Metric::L2sq, quantization, &[one.clone(), one.clone()]);
            assert_eq!(set.row(&one), set.row(&one));
            let query = set.quantizer.prepare(&one);
            assert_eq!(set.distance(&query, &set.row(&one)), 0.0);
            let other = normal(&mut random, dimensions);
            let exact = naive::distance(Metric::L2sq, &one, &other) as f32;
            assert!((set.distance(&query, &set.row(&other)) - exact).abs() <= 1e-5 * exact);
        }
    }
}

#[test]
fn every_element_has_one_place_and_every_place_a_nibble() {
    for dimensions in (1..=200).chain([384, 1000]) {
        let quantizer = Quantizer::new(space(Metric::L2sq, dimensions), Quantization::Sq4, SEED);
        let mut places = vec![0; dimensions];
        let nibbles: std::collections::HashSet<_> =
            (0..quantizer.code_bytes()).flat_map(|byte| [nibble(byte, false), nibble(byte, true)]).collect();
        for place in 0..quantizer.query_numbers() {
            if let Some(element) = quantizer.element(place) {
                places[element] += 1;
                assert!(nibbles.contains(&place), "{dimensions} {place}");
            }
        }
        assert!(places.iter().all(|&places| places == 1), "{dimensions}");
    }
}
