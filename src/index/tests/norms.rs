//! The interval of norms, compared with the vectors that came.

use std::sync::atomic::{AtomicBool, Ordering};

use super::image::Disk;
use super::*;
use crate::index::{Image, Norms};

const QUANTIZATIONS: [Quantization; 3] = [Quantization::None, Quantization::Sq8, Quantization::Sq4];
const METRICS: [Metric; 3] = [Metric::L2sq, Metric::Cosine, Metric::Ip];

fn options(metric: Metric, quantization: Quantization) -> Options {
    Options { metric, quantization, ..Options::default() }
}

fn empty(metric: Metric, quantization: Quantization) -> Index {
    Index::new(options(metric, quantization), 3, Box::new(Unlimited)).unwrap()
}

/// A vector with this norm.
fn long(norm: f32, row: i64) -> [f32; 3] {
    let angle = row as f32;
    [0.0, norm * angle.sin(), norm * angle.cos()]
}

fn add(index: &Index, origin: Origin, row: i64, norm: f32) {
    index.append(origin, &[row], &long(norm, row)).unwrap();
}

/// Whether the index gives this interval of norms, up to the rounding of the vectors.
fn are(index: &Index, min: f32, max: f32) -> bool {
    let norms = index.norms();
    assert_eq!(norms, index.stats().unwrap().norms);
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-6 * b;
    near(norms.min, min) && near(norms.max, max)
}

#[test]
fn every_row_that_comes_counts() {
    for quantization in QUANTIZATIONS {
        for metric in METRICS {
            let index = empty(metric, quantization);
            assert_eq!(index.norms(), Norms::EMPTY);
            (0..700).for_each(|row| add(&index, Origin::Host, row, 2.0));
            assert!(are(&index, 2.0, 2.0) && index.norms().are_one(1e-5));
            add(&index, Origin::Scan, 700, 3.0);
            assert!(are(&index, 2.0, 3.0));
            index.maintenance().finish(&Uninterrupted).unwrap();
            add(&index, Origin::Host, 701, 1.0);
            assert!(are(&index, 1.0, 3.0) && !index.norms().are_one(1.9));
            // Unrankable vectors do not count.
            index.append(Origin::Host, &[702, 703], &[f32::NAN, 0.0, 1.0, 1e19, 0.0, 0.0]).unwrap();
            // The same direction, and under cosine the same row. A commit that fails hands a row back in the same way.
            add(&index, Origin::Host, 5, 7.0);
            assert!(are(&index, 1.0, 7.0));
            index.remove(&[5], 9);
            add(&index, Origin::Host, 5, 8.0);
            assert!(are(&index, 1.0, 8.0));
            // Deleted rows still count.
            index.remove(&(0..704).collect::<Vec<_>>(), 10);
            index.expire(11, 12);
            index.maintenance().finish(&Uninterrupted).unwrap();
            assert!(are(&index, 1.0, 8.0));
            index.append(Origin::Host, &[900], &[0.0; 3]).unwrap();
            assert_eq!(index.norms().min, if metric == Metric::Cosine { 1.0f32.next_down() } else { 0.0 });
        }
    }
}

#[test]
fn compaction_measures_the_rows_that_are_left() {
    for quantization in QUANTIZATIONS {
        for metric in METRICS {
            let index = empty(metric, quantization);
            (0..1_000).for_each(|row| add(&index, Origin::Host, row, if row < 600 { 1.0 + row as f32 } else { 4.0 }));
            index.maintenance().finish(&Uninterrupted).unwrap();
            add(&index, Origin::Host, 1_000, 5.0);
            index.remove(&(0..600).collect::<Vec<_>>(), 1);
            index.expire(2, 3);
            assert!(are(&index, 1.0, 600.0));
            index.maintenance().compact(&Uninterrupted).unwrap();
            let told = quantization == Quantization::None && metric != Metric::Cosine;
            assert!(if told { are(&index, 4.0, 5.0) } else { are(&index, 1.0, 600.0) });
            // Also if there is nothing to compact.
            index.remove(&[1_000], 3);
            index.expire(4, 5);
            index.maintenance().compact(&Uninterrupted).unwrap();
            assert!(if told { are(&index, 4.0, 4.0) } else { are(&index, 1.0, 600.0) });
            // Without rows there are no norms.
            index.remove(&(600..1_000).collect::<Vec<_>>(), 5);
            index.expire(6, 7);
            index.maintenance().compact(&Uninterrupted).unwrap();
            assert_eq!(index.norms(), Norms::EMPTY);
        }
    }
}

#[test]
fn an_image_keeps_the_norms() {
    for quantization in QUANTIZATIONS {
        for metric in METRICS {
            let disk = Disk::new(4096);
            let index = empty(metric, quantization);
            (0..900).for_each(|row| add(&index, Origin::Host, row, 2.0 + row as f32));
            index.maintenance().finish(&Uninterrupted).unwrap();
            add(&index, Origin::Host, 900, 1.0);
            index.remove(&[899], 1);
            let image = index.images().store(&disk, 901, 1).unwrap();
            let load = |image: &Image| {
                Index::load(options(metric, quantization), 3, Box::new(Unlimited), image, &disk).unwrap().0
            };
            let loaded = load(&image);
            assert_eq!(loaded.norms(), index.norms());
            assert_eq!(loaded.images().store(&disk, 901, 1).unwrap().norms, image.norms);
            // An older image, or one that another version has written since. Floats that were not scaled give their norms.
            let told = quantization == Quantization::None && metric != Metric::Cosine;
            let others = Image { root: index.images().store(&disk, 902, 1).unwrap().root, ..image.clone() };
            for image in [Image { norms: Vec::new(), ..image }, others] {
                let loaded = load(&image);
                assert!(if told { are(&loaded, 1.0, 900.0) } else { loaded.norms() == Norms::UNKNOWN });
                add(&loaded, Origin::Host, 5_000, 2_000.0);
                assert_eq!(loaded.norms().is_known(), told);
            }
        }
    }
}

/// A caller that has found a row with another norm, and asks afterwards, sees that norm in the interval.
#[test]
fn a_row_counts_before_it_is_found() {
    for metric in METRICS {
        for turn in 0..20 {
            let index = empty(metric, Quantization::Sq8);
            (0..600).for_each(|row| add(&index, Origin::Host, row, 1.0));
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        index.maintenance().compact(&Uninterrupted).unwrap();
                        index.maintenance().link(16, &Uninterrupted).unwrap();
                    }
                });
                scope.spawn(|| {
                    (600..650).for_each(|row| add(&index, Origin::Host, row, 1.0));
                    add(&index, Origin::Host, 999, 3.0);
                });
                while !done.load(Ordering::Relaxed) {
                    let found = index.searcher().nearest(&long(3.0, 999), 5, 64, &AllVisible).unwrap();
                    if found.rows.iter().any(|row| row.row_id == 999) {
                        assert!(!index.norms().are_one(1.0), "turn {turn}");
                        done.store(true, Ordering::Relaxed);
                    }
                }
            });
            assert!(are(&index, 1.0, 3.0));
        }
    }
}
