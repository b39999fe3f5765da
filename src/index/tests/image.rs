//! Images, compared with the index that was stored, and with damage.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use super::{defaults, exact_distances, may_be_nearest};
use crate::error::{Error, ErrorKind, Result};
use crate::host::{AllVisible, Pages, Uninterrupted, Unlimited};
use crate::index::Image;
use crate::index::{Index, Origin};
use crate::options::Metric;
use crate::options::{Options, Quantization};
use crate::sync::Mutex;
use crate::testing::naive::Random;

const DIMENSIONS: usize = 8;

/// Pages in memory.
pub(super) struct Disk {
    page: usize,
    pages: Mutex<BTreeMap<i64, Vec<u8>>>,
    next: AtomicI64,
    /// Writes that still succeed.
    left: AtomicUsize,
}

impl Disk {
    pub(super) fn new(page: usize) -> Self {
        Self { page, pages: Mutex::default(), next: AtomicI64::new(7), left: AtomicUsize::new(usize::MAX) }
    }
}

impl Pages for Disk {
    fn page_bytes(&self) -> usize {
        self.page
    }

    fn readers(&self) -> usize {
        3
    }

    fn write(&self, bytes: &[u8]) -> Result<i64> {
        let left = self.left.load(Ordering::Relaxed).checked_sub(1);
        self.left.store(left.ok_or_else(|| Error::new(ErrorKind::Storage, "the disk is full"))?, Ordering::Relaxed);
        let id = self.next.fetch_add(3, Ordering::Relaxed);
        self.pages.lock().insert(id, bytes.to_vec());
        Ok(id)
    }

    fn read(&self, id: i64, out: &mut [u8]) -> Result<()> {
        let pages = self.pages.lock();
        let page = pages.get(&id).ok_or_else(|| Error::new(ErrorKind::Storage, format!("there is no page {id}")))?;
        out.copy_from_slice(page);
        Ok(())
    }

    fn free(&self, id: i64) {
        assert!(self.pages.lock().remove(&id).is_some(), "page {id} was freed twice");
    }
}

fn options(metric: Metric) -> Options {
    Options { metric, m: 4, m0: 8, ..defaults() }
}

fn index(metric: Metric) -> Index {
    Index::new(options(metric), DIMENSIONS, Box::new(Unlimited)).unwrap()
}

fn load(metric: Metric, image: &Image, disk: &Disk) -> Result<Index> {
    Index::load(options(metric), DIMENSIONS, Box::new(Unlimited), image, disk).map(|(index, _)| index)
}

fn vector(random: &mut Random) -> Vec<f32> {
    (0..DIMENSIONS).map(|_| random.normal()).collect()
}

fn work(index: &Index) {
    while index.maintenance().consolidate(64, &Uninterrupted).unwrap()
        + index.maintenance().link(64, &Uninterrupted).unwrap()
        > 0
    {}
}

/// All rows, nearest first, by an exact search.
fn all(index: &Index, live: &BTreeMap<i64, Vec<f32>>) -> Vec<i64> {
    let seen = |row: i64| live.contains_key(&row);
    let found = index.searcher().nearest(&[0.5; DIMENSIONS], live.len() + 10, 10, &seen).unwrap();
    found.rows.iter().map(|row| row.row_id).collect()
}

/// An index loaded from an image answers like the one that was stored, through many rounds of changes. No page leaks.
#[test]
fn images_follow_the_index() {
    for (metric, page) in [(Metric::L2sq, 512), (Metric::Cosine, 4096), (Metric::Ip, 16384)] {
        let disk = Disk::new(page);
        let mut index = index(metric);
        let mut random = Random(3);
        let mut live = BTreeMap::new();
        let mut next = 0;
        for round in 0..60 {
            let come = random.below(if round == 0 { 3000 } else { 120 });
            for _ in 0..come {
                let mut new = vector(&mut random);
                if random.below(50) == 0 {
                    new[0] = f32::NAN;
                }
                index.append(Origin::Host, &[next], &new).unwrap();
                live.insert(next, new);
                next += 1;
            }
            let gone: Vec<i64> = live.keys().copied().filter(|_| random.below(40) == 0).collect();
            gone.iter().for_each(|row| drop(live.remove(row)));
            index.remove(&gone, round);
            match random.below(5) {
                0 => {
                    index.expire_tombstones(round + 1);
                    index.maintenance().compact(&Uninterrupted).unwrap();
                }
                1 => {}
                _ => {
                    index.expire_tombstones(round + 1);
                    work(&index);
                }
            }
            let image = index.images().store(&disk, next as u64, round).unwrap();
            assert_eq!(disk.pages.lock().len(), image.pages.len(), "pages are neither lost nor kept");
            let again = index.images().store(&disk, next as u64, round).unwrap();
            assert_eq!((again.written, &again.root, &again.pages), (0, &image.root, &image.pages));

            let loaded = load(metric, &image, &disk).unwrap();
            assert_eq!(loaded.stats().unwrap().count, live.len());
            let (found, expected) = (all(&loaded, &live), all(&index, &live));
            assert!(found == expected, "round {round}: {:?}", found.iter().zip(&expected).find(|(a, b)| a != b));
            if round % 7 == 0 {
                index = loaded; // goes on from the image
            }
        }
        work(&index);
        for (row, vector) in live.iter().filter(|(_, vector)| !vector[0].is_nan()).step_by(50) {
            let found = index.searcher().nearest(vector, 1, 64, &AllVisible).unwrap();
            assert!(metric == Metric::Ip || may_be_nearest(&found, *row));
        }
        index.images().forget_pages().iter().for_each(|&id| disk.free(id));
        assert!(disk.pages.lock().is_empty());
    }
}

/// While few rows have changed, the pages of the graph are not written.
#[test]
fn small_changes_write_little() {
    let disk = Disk::new(4096);
    let index = index(Metric::L2sq);
    let mut random = Random(5);
    let vectors: Vec<f32> = (0..20_000).flat_map(|_| vector(&mut random)).collect();
    index.append(Origin::Host, &(0..20_000).collect::<Vec<_>>(), &vectors).unwrap();
    work(&index);
    let image = index.images().store(&disk, 20_000, 1).unwrap();
    assert_eq!(image.written, image.pages.len() * 4096);
    let (mut all, mut graphs) = (0, 0);
    for round in 0..30 {
        let row = 20_000 + 20 * round;
        let ids: Vec<i64> = (row..row + 20).collect();
        index.append(Origin::Host, &ids, &vectors[..20 * DIMENSIONS]).unwrap();
        index.remove(&[row / 3], 1);
        work(&index);
        let changed = index.images().store(&disk, 30_000, 1).unwrap();
        let share = changed.written as f64 / (changed.pages.len() * 4096) as f64;
        all += changed.written;
        // Now and then the graph is written again. The vectors are so short that this is most of the image.
        graphs += usize::from(share > 0.1);
        assert_eq!(load(Metric::L2sq, &changed, &disk).unwrap().stats().unwrap().count, index.stats().unwrap().count);
    }
    assert!(graphs <= 30 * 20 / 200 + 1, "{graphs} of 30 rounds wrote the graph");
    assert!(all < 5 * image.written, "{all} bytes for an image of {}", image.written);
}

#[test]
fn a_failed_write_leaves_the_image_before() {
    let disk = Disk::new(512);
    let index = index(Metric::L2sq);
    let mut random = Random(7);
    let vectors: Vec<f32> = (0..2000).flat_map(|_| vector(&mut random)).collect();
    let ids: Vec<i64> = (0..2000).collect();
    index.append(Origin::Host, &ids[..1000], &vectors[..1000 * DIMENSIONS]).unwrap();
    work(&index);
    let before = index.images().store(&disk, 1000, 1).unwrap();
    index.append(Origin::Host, &ids[1000..], &vectors[1000 * DIMENSIONS..]).unwrap();
    work(&index);
    for left in [0, 1, 50] {
        disk.left.store(left, Ordering::Relaxed);
        assert_eq!(index.images().store(&disk, 2000, 2).unwrap_err().kind, ErrorKind::Storage);
        assert_eq!(disk.pages.lock().len(), before.pages.len());
        assert_eq!(load(Metric::L2sq, &before, &disk).unwrap().stats().unwrap().count, 1000);
    }
    disk.left.store(usize::MAX, Ordering::Relaxed);
    let after = index.images().store(&disk, 2000, 2).unwrap();
    assert_eq!(load(Metric::L2sq, &after, &disk).unwrap().stats().unwrap().count, 2000);
}

/// Wherever a write fails, the next image has all that has changed since the last complete one, above all the vectors of reused slots.
#[test]
fn an_image_after_a_failed_write_is_whole() {
    const ROWS: i64 = 1000;
    let mut failed = 0;
    for left in 0.. {
        let disk = Disk::new(512);
        let index = index(Metric::L2sq);
        let vector = |row: i64| -> Vec<f32> { (0..DIMENSIONS as i64).map(|d| (row * (d + 3) % 1009) as f32).collect() };
        let vectors = |rows: &[i64]| rows.iter().flat_map(|&row| vector(row)).collect::<Vec<_>>();
        let ids: Vec<i64> = (0..ROWS).collect();
        index.append(Origin::Host, &ids, &vectors(&ids)).unwrap();
        work(&index);
        index.images().store(&disk, 1000, 1).unwrap();
        // New rows reuse the slots of others.
        index.remove(&ids[..100], 1);
        index.expire_tombstones(2);
        work(&index);
        let others: Vec<i64> = (ROWS..ROWS + 90).collect();
        index.append(Origin::Host, &others, &vectors(&others)).unwrap();
        work(&index);
        disk.left.store(left, Ordering::Relaxed);
        if index.images().store(&disk, 1090, 2).is_ok() {
            break;
        }
        failed += 1;
        disk.left.store(usize::MAX, Ordering::Relaxed);
        let after = index.images().store(&disk, 1090, 3).unwrap();
        let loaded = load(Metric::L2sq, &after, &disk).unwrap();
        for row in (100..ROWS + 90).step_by(7) {
            let found = loaded.searcher().nearest(&vector(row), 1, 64, &|other: i64| other == row).unwrap();
            assert_eq!(found.rows[0].row_id, row, "after {left} writes");
            assert!(!exact_distances() || found.rows[0].distance == 0.0, "after {left} writes");
        }
    }
    assert!(failed > 20, "{failed} writes");
}

/// Options of small images: with floats, and with codes and so with packed links.
fn small_options() -> [Options; 2] {
    [Quantization::None, Quantization::Sq4].map(|quantization| Options { quantization, ..options(Metric::L2sq) })
}

fn load_small(options: &Options, image: &Image, disk: &Disk) -> Result<Index> {
    Index::load(options.clone(), DIMENSIONS, Box::new(Unlimited), image, disk).map(|(index, _)| index)
}

/// An image with linked, pending, dead and unrankable rows, and lists on several levels.
fn small_image(options: &Options, disk: &Disk) -> Image {
    let index = Index::new(options.clone(), DIMENSIONS, Box::new(Unlimited)).unwrap();
    let mut random = Random(11);
    for row in 0..60 {
        index.append(Origin::Host, &[row], &vector(&mut random)).unwrap();
        if row < 50 {
            work(&index);
        }
    }
    index.append(Origin::Host, &[100], &[f32::NAN; DIMENSIONS]).unwrap();
    index.remove(&[3, 4, 5], 1);
    index.expire_tombstones(2);
    index.images().store(disk, 101, 5).unwrap()
}

#[test]
fn every_damaged_byte_is_noticed() {
    for options in small_options() {
        let disk = Disk::new(512);
        let image = small_image(&options, &disk);
        let ids: Vec<i64> = disk.pages.lock().keys().copied().collect();
        for id in ids {
            for at in 0..512 {
                disk.pages.lock().get_mut(&id).unwrap()[at] ^= 1 << (at % 8);
                let error = load_small(&options, &image, &disk).err();
                assert_eq!(error.map(|error| error.kind), Some(ErrorKind::Corrupt));
                disk.pages.lock().get_mut(&id).unwrap()[at] ^= 1 << (at % 8);
            }
        }
        assert!(load_small(&options, &image, &disk).is_ok());
    }
}

/// Wrong bytes with a right checksum: whatever they say, reading them gives an index that works, or an error.
#[test]
fn pages_that_lie_do_no_harm() {
    small_options().iter().for_each(lie);
}

fn lie(options: &Options) {
    let disk = Disk::new(512);
    let image = small_image(options, &disk);
    let original = disk.pages.lock().clone();
    let mut random = Random(13);
    let mut accepted = 0;
    for turn in 0..10_000 {
        let mut root = crate::format::root::Root::decode(&image.root).unwrap();
        let at = random.below(image.pages.len());
        let id = image.pages[at];
        let mut page = original[&id].clone();
        for _ in 0..1 + random.below(3) {
            let byte = random.below(page.len());
            page[byte] = [0, 1, 255, turn as u8][random.below(4)];
        }
        let sum = crate::format::checksum::checksum(&page);
        match at.checked_sub(root.graph_sums.len()) {
            None => root.graph_sums[at] = sum,
            Some(at) => root.rows_sums[at] = sum,
        }
        disk.pages.lock().insert(id, page);
        let lying = Image { root: root.encode(), ..image.clone() };
        match load_small(options, &lying, &disk) {
            Ok(index) => {
                accepted += 1;
                index.searcher().nearest(&[0.1; DIMENSIONS], 5, 10, &AllVisible).unwrap();
                let mut new = Random(turn);
                for row in 1000..1010 {
                    index.append(Origin::Host, &[row], &vector(&mut new)).unwrap();
                }
                work(&index);
                index.expire_tombstones(100);
                index.maintenance().compact(&Uninterrupted).unwrap();
                index.searcher().nearest(&[0.1; DIMENSIONS], 100, 10, &AllVisible).unwrap();
            }
            Err(error) => assert_eq!(error.kind, ErrorKind::Corrupt),
        }
        disk.pages.lock().insert(id, original[&id].clone());
    }
    assert!(accepted > 500, "vectors and row ids may be anything");
}

#[test]
fn images_of_others_are_refused() {
    let disk = Disk::new(512);
    let image = small_image(&options(Metric::L2sq), &disk);
    let refused = |image: &Image, disk: &Disk, metric| match load(metric, image, disk) {
        Ok(_) => panic!("was read"),
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Corrupt);
            error.message
        }
    };
    assert!(refused(&image, &disk, Metric::Cosine).contains("other options"));
    assert!(refused(&image, &Disk::new(1024), Metric::L2sq).contains("another size"));
    let fewer = Image { pages: image.pages[1..].to_vec(), ..image.clone() };
    assert!(refused(&fewer, &disk, Metric::L2sq).contains("number of pages"));
    let foreign = Image { root: b"something else".to_vec(), ..image };
    assert!(refused(&foreign, &disk, Metric::L2sq).contains("not one of this extension's"));
}
