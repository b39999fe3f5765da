//! Graphs made from a source that may say anything.

use std::cell::Cell;

use super::*;
use crate::graph::Source;
use crate::host::Ledger;
use crate::index::Generation;
use crate::index::setup::Setup;
use crate::memory::Memory;
use crate::options::LEVELS_MAX;
use crate::options::Quantization;
use crate::vectors::{Codec, Space};

const NODES: usize = 200;

fn setup(ledger: Box<dyn Ledger>) -> Setup {
    let options = Options { metric: Metric::L2sq, m: 4, m0: 8, ..Options::default() };
    let codec = Codec::new(Space::new(Metric::L2sq, 4), Quantization::None);
    Setup::new(options, codec, Memory::new(ledger)).unwrap()
}

/// A source that says something else each time: levels beyond the highest, more links than there is room for, links to nodes that do not
/// exist or are not on that level.
struct Liar(Cell<u64>);

impl Source for Liar {
    fn level(&self, _slot: u32) -> usize {
        self.0.set(self.0.get() + 1);
        Random(self.0.get()).below(9) * 1_000_003
    }

    fn links(&self, slot: u32, _level: usize, out: &mut [u32]) -> usize {
        let mut random = Random(u64::from(slot));
        out.iter_mut().for_each(|to| *to = random.below(3 * NODES) as u32);
        out.len() + random.below(1_000_000)
    }
}

#[test]
fn what_is_impossible_is_left_out_of_a_graph() {
    let generation = Generation::load(&setup(Box::new(Unlimited)), NODES, 0, 7, &Liar(Cell::new(0))).unwrap();
    let graph = generation.graph.read();
    let mut links = vec![0; graph.links_max()];
    let mut linked = 0;
    for slot in 0..NODES as u32 {
        let level = graph.level(slot);
        assert!(level <= LEVELS_MAX);
        for on in 0..=level {
            for &to in graph.neighbors(slot, on, &mut links) {
                assert!((to as usize) < NODES && graph.level(to) >= on, "{slot} to {to} on {on}");
                linked += 1;
            }
        }
    }
    assert!(linked > NODES);
}

/// A ledger with a limited number of bytes.
struct Capped(AtomicI64);

impl crate::host::Ledger for Capped {
    fn reserve(&self, bytes: usize) -> crate::error::Result<()> {
        if self.0.fetch_sub(bytes as i64, Ordering::Relaxed) < bytes as i64 {
            self.release(bytes);
            return Err(crate::error::Error::new(ErrorKind::OutOfMemory, "the test ledger is empty"));
        }
        Ok(())
    }
    fn release(&self, bytes: usize) {
        self.0.fetch_add(bytes as i64, Ordering::Relaxed);
    }
}

/// A source with every node on all levels, which takes thirty times the memory of an ordinary graph.
struct Tower(Cell<usize>);

impl Source for Tower {
    fn level(&self, _slot: u32) -> usize {
        LEVELS_MAX
    }
    fn links(&self, _slot: u32, _level: usize, _out: &mut [u32]) -> usize {
        self.0.set(self.0.get() + 1);
        0
    }
}

#[test]
fn lists_are_charged_before_they_are_made() {
    const ROWS: usize = 100_000;
    // Enough for as many nodes with ordinary levels.
    let setup = setup(Box::new(Capped(AtomicI64::new(16 << 20))));
    let source = Tower(Cell::new(0));
    let refused = Generation::load(&setup, ROWS, LEVELS_MAX * ROWS, 0, &source).err();
    assert_eq!(refused.map(|error| error.kind), Some(ErrorKind::OutOfMemory));
    assert_eq!(source.0.get(), 0, "lists were made");
    assert_eq!(setup.memory.used(), 0);
}
