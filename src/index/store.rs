//! Writing: a checkpoint writes those pages of the index that have changed.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::image::{Image, Images, Stored, StoredPage};
use crate::error::{Error, Result};
use crate::format::checksum::checksum;
use crate::format::layout::{Extent, Layout, Region};
use crate::format::links;
use crate::format::norms::{self, Known};
use crate::format::root::Root;
use crate::graph::lock::ReadGuard;
use crate::host::Pages;
use crate::index::Generation;
use crate::index::rows::{SlotState, State};
use crate::index::widths::Widths;
use crate::vectors::Row;

/// One in this many rows may be missing from the stored graph before the graph is written again. Missing rows are stored as pending, and
/// linked after loading.
const ROWS_PER_UNSTORED: usize = 100;
/// This many rows may always be missing.
const UNSTORED_MIN: usize = 256;

/// The contents of the index at one moment, to be written. The graph and its vectors do not change while this lives.
struct Snapshot<'a> {
    graph: &'a ReadGuard<'a>,
    /// Lists above the bottom level: node and level.
    upper: Vec<(u32, usize)>,
    /// States of the stored graph's slots.
    states: Vec<SlotState>,
    pending: Vec<(i64, Cow<'a, [u8]>)>,
    unrankable: Vec<i64>,
    /// Room for the links of a node.
    list: Vec<u32>,
    /// How far both regions of links are packed, if they are.
    base: Packed,
    above: Packed,
}

/// How far the lists of a region are packed. They are written from the first to the last.
#[derive(Default)]
struct Packed {
    /// Lists packed.
    lists: usize,
    /// The packed bytes that are not yet written.
    bytes: Vec<u8>,
}

impl Images {
    /// Writes the pages of the index that have changed since the last image, and frees the pages that it no longer needs. Deleted rows are
    /// not in the image, even if snapshots still see them.
    ///
    /// - `covered`, `verified`: see [`Root`].
    ///
    /// The caller keeps appends and removals out. Searches go on; linking pauses. Takes the lock of the newest image, a read guard of the
    /// graph, and the row lock. Errors: those of `pages`, `OutOfMemory`; the previous image stays valid, and the pages written meanwhile
    /// are freed.
    pub fn store(&self, pages: &dyn Pages, covered: u64, verified: u64) -> Result<Image> {
        let mut stored = self.newest.lock();
        let _paused = self.maintenance.pause();
        let generation = self.rows.generation();
        generation.graph.drain();
        let graph = generation.graph.read();
        let changes = self.rows.changes();
        let before = stored.take().filter(|before| before.root.page_bytes == pages.page_bytes() as u64);
        if let Some(mut same) = before.as_ref().filter(|before| before.changes == changes).map(Stored::copy) {
            (same.root.covered, same.root.verified) = (covered, verified);
            return Ok(stored.insert(same).image(0, &self.rows.widths));
        }
        let mut writer = Writer { pages, written: Vec::new(), buffer: vec![0; pages.page_bytes()] };
        match self.write(&mut writer, &generation, &graph, before.as_ref(), covered, verified) {
            Ok((mut new, whole_graph)) => {
                new.changes = changes;
                // Only now: after an error the previous image stays, and so do the notes of what has changed since it.
                if whole_graph {
                    generation.links_stored();
                }
                let kept = |id| new.graph.iter().chain(&new.rows).any(|page: &StoredPage| page.id == id);
                let old = before.iter().flat_map(|before| before.graph.iter().chain(&before.rows));
                // Most pages keep their place in the group, so `kept` rarely has to search.
                let same_place = |at: usize, id| new.graph.get(at).is_some_and(|page| page.id == id);
                for (at, page) in old.enumerate() {
                    if !same_place(at, page.id) && !kept(page.id) {
                        pages.free(page.id);
                    }
                }
                let written = writer.written.len() * pages.page_bytes();
                Ok(stored.insert(new).image(written, &self.rows.widths))
            }
            Err(error) => {
                writer.written.iter().for_each(|&id| pages.free(id));
                *stored = before;
                Err(error)
            }
        }
    }

    /// Returns the ids of all pages and forgets them, because the index is dropped.
    pub fn forget_pages(&self) -> Vec<i64> {
        let stored = self.newest.lock().take();
        stored.iter().flat_map(|stored| stored.graph.iter().chain(&stored.rows)).map(|page| page.id).collect()
    }

    /// Writes the new image. Returns it, and whether it holds the whole graph as it is now. `links`: the guard of the generation's graph.
    fn write(
        &self,
        writer: &mut Writer<'_>,
        generation: &Arc<Generation>,
        links: &ReadGuard<'_>,
        before: Option<&Stored>,
        covered: u64,
        verified: u64,
    ) -> Result<(Stored, bool)> {
        let same_core =
            before.filter(|before| before.generation.upgrade().is_some_and(|stored| Arc::ptr_eq(&stored, generation)));
        let nodes = links.len();
        let relinked = generation.relinked();
        let setup = &self.rows.setup;
        let rows = self.rows.read();
        let ready = setup.codec.is_ready();
        let blocks = rows.pending.snapshot();
        let again = relinked.as_deref().unwrap_or_default();
        let missing = |stored: &Stored| nodes - stored.root.slots as usize + again.len() + rows.pending.len();
        let enough = |stored: &Stored| UNSTORED_MIN.max(stored.root.slots as usize / ROWS_PER_UNSTORED);
        let light = same_core
            .filter(|stored| relinked.is_some() && !generation.links_changed() && missing(stored) <= enough(stored));
        let slots = light.map_or(nodes, |stored| stored.root.slots as usize);

        let full = |_| Error::out_of_memory("while storing an HNSW index");
        let mut snapshot = Snapshot {
            graph: links,
            upper: Vec::new(),
            states: Vec::new(),
            pending: Vec::new(),
            unrankable: Vec::new(),
            list: Vec::new(),
            base: Packed::default(),
            above: Packed::default(),
        };
        snapshot.states.try_reserve_exact(slots).map_err(full)?;
        snapshot.states.extend((0..slots as u32).map(|slot| generation.states.at(slot).load()));
        let unstored = if light.is_some() { again } else { &[] };
        snapshot.pending.try_reserve(nodes - slots + unstored.len() + rows.pending.len()).map_err(full)?;
        for slot in unstored.iter().copied().chain(slots as u32..nodes as u32) {
            let slot_state = generation.states.at(slot).load();
            if slot_state.state == State::Live {
                snapshot.pending.push((slot_state.row_id, Cow::Borrowed(links.row(slot))));
            }
            if let Some(stored) = snapshot.states.get_mut(slot as usize) {
                *stored = SlotState::EMPTY;
            }
        }
        for (slot_state, row) in blocks.iter().flat_map(|block| block.rows()) {
            if slot_state.state == State::Live {
                let row = match row {
                    Row::Plain(row) if !ready => Cow::Borrowed(row),
                    row => setup.codec.coded(row),
                };
                snapshot.pending.push((slot_state.row_id, row));
            }
        }
        snapshot.unrankable.extend(self.rows.unrankable.live_rows());
        let norms = rows.norms.held();
        let comparable = self.rows.unrankable.comparable();
        drop(rows);

        let mut root = light.map_or_else(
            || Root::new(&setup.options, setup.codec.space.dimensions, writer.buffer.len()),
            |stored| stored.root.clone(),
        );
        root.pending = snapshot.pending.len() as u64;
        root.unrankable = snapshot.unrankable.len() as u64;
        (root.covered, root.verified) = (covered, verified);
        // Only now: coding the plain rows may have raised the largest error.
        let learnt = setup.codec.learnt();
        root.seed = learnt.seed;
        root.error = learnt.error.to_bits();
        root.centre = if ready { learnt.centre.iter().map(|x| x.to_bits()).collect() } else { Vec::new() };
        let graph = if let Some(stored) = light {
            stored.graph.clone()
        } else {
            root.slots = nodes as u64;
            for slot in 0..nodes as u32 {
                snapshot.upper.extend((1..=links.level(slot)).map(|level| (slot, level)));
            }
            root.upper = snapshot.upper.len() as u64;
            if root.packs_links() {
                root.base_bytes = snapshot.packed_bytes(&root, Region::Base);
                root.upper_bytes = snapshot.packed_bytes(&root, Region::Upper);
            }
            root.entry = u64::from(links.entry().unwrap_or(0));
            let old = before.map(|stored| (stored.root.graph_layout(), &stored.graph[..]));
            // A slot's vector stays the same until the slot is reused.
            let known = same_core.filter(|_| relinked.is_some());
            let first_new = known.map_or(0, |stored| stored.root.slots as u32);
            let same_vectors =
                |slots: Range<u32>| slots.end <= first_new && !again.iter().any(|slot| slots.contains(slot));
            writer.group(&mut snapshot, &root, &root.graph_layout(), old, &same_vectors)?
        };
        let old = before.map(|stored| (stored.root.rows_layout(), &stored.rows[..]));
        let rows = writer.group(&mut snapshot, &root, &root.rows_layout(), old, &|_| false)?;
        root.graph_sums = graph.iter().map(|page| page.checksum).collect();
        root.rows_sums = rows.iter().map(|page| page.checksum).collect();
        let new = Stored { root, norms, comparable, generation: Arc::downgrade(generation), changes: 0, graph, rows };
        Ok((new, light.is_none()))
    }
}

impl Stored {
    fn copy(&self) -> Self {
        Self {
            root: self.root.clone(),
            generation: self.generation.clone(),
            norms: self.norms,
            comparable: self.comparable,
            changes: self.changes,
            graph: self.graph.clone(),
            rows: self.rows.clone(),
        }
    }

    fn image(&self, written: usize, widths: &Widths) -> Image {
        let pages = self.graph.iter().chain(&self.rows).map(|page| page.id).collect();
        let root = self.root.encode();
        let known = Known { norms: self.norms.to_bits(), comparable: self.comparable as u64 };
        let norms = norms::encode(known, &root);
        let widths = widths.newest().map_or_else(Vec::new, |measured| measured.encode());
        Image { root, norms, widths, pages, written }
    }
}

/// Writes pages and remembers their ids.
struct Writer<'a> {
    pages: &'a dyn Pages,
    written: Vec<i64>,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    /// Writes the pages of a group that differ from the `old` ones. `same_vectors`: whether the vectors of these slots are unchanged since
    /// then.
    fn group(
        &mut self,
        snapshot: &mut Snapshot<'_>,
        root: &Root,
        layout: &Layout,
        old: Option<(Layout, &[StoredPage])>,
        same_vectors: &dyn Fn(Range<u32>) -> bool,
    ) -> Result<Vec<StoredPage>> {
        let mut result = Vec::with_capacity(layout.pages.len());
        for (at, extents) in layout.pages.iter().enumerate() {
            let same_place = old.as_ref().filter(|(layout, _)| layout.pages.get(at) == Some(extents));
            let old_page = same_place.map(|(_, pages)| pages[at]);
            let untouched = |extent: &Extent| {
                let record = root.record(Region::Vectors);
                let slots = (extent.bytes.start / record) as u32..extent.bytes.end.div_ceil(record) as u32;
                extent.region == Region::Vectors && same_vectors(slots)
            };
            if let Some(page) = old_page.filter(|_| extents.iter().all(untouched)) {
                result.push(page);
                continue;
            }
            self.buffer.fill(0);
            for extent in extents {
                snapshot.fill(root, extent, &mut self.buffer[extent.at..][..extent.bytes.len()]);
            }
            let checksum = checksum(&self.buffer);
            let id = match old_page.filter(|page| page.checksum == checksum) {
                Some(page) => page.id,
                None => {
                    let id = self.pages.write(&self.buffer)?;
                    self.written.push(id);
                    id
                }
            };
            result.push(StoredPage { checksum, id });
        }
        Ok(result)
    }
}

impl Snapshot<'_> {
    /// Copies a part of a region. Packed lists are copied in order: each part follows the last one.
    fn fill(&mut self, root: &Root, extent: &Extent, out: &mut [u8]) {
        if root.packs_links() && matches!(extent.region, Region::Base | Region::Upper) {
            return self.fill_packed(root, extent.region, out);
        }
        let record = root.record(extent.region);
        let mut whole = vec![0; record];
        let mut at = extent.bytes.start;
        let mut out = out;
        while !out.is_empty() {
            let skipped = at % record;
            let (part, rest) = out.split_at_mut((record - skipped).min(out.len()));
            if part.len() == record {
                self.record(extent.region, at / record, part);
            } else {
                self.record(extent.region, at / record, &mut whole);
                part.copy_from_slice(&whole[skipped..][..part.len()]);
            }
            at += part.len();
            out = rest;
        }
    }

    fn record(&mut self, region: Region, index: usize, out: &mut [u8]) {
        match region {
            Region::Levels => out[0] = self.graph.level(index as u32) as u8,
            Region::Base | Region::Upper => self.links(region, index, out),
            Region::Vectors => out.copy_from_slice(self.graph.row(index as u32)),
            Region::SlotStates => {
                let slot_state = self.states[index];
                // Tombstones serve snapshots, which do not outlive the process.
                let gone = SlotState { state: State::Dead, row_id: 0 };
                let kept = if slot_state.state == State::Tombstone { gone } else { slot_state };
                out.copy_from_slice(&kept.pack().to_le_bytes());
            }
            Region::PendingRows => out.copy_from_slice(&self.pending[index].0.to_le_bytes()),
            Region::PendingVectors => out.copy_from_slice(&self.pending[index].1),
            Region::Unrankable => out.copy_from_slice(&self.unrankable[index].to_le_bytes()),
        }
    }

    /// One list of links.
    fn list(&mut self, region: Region, index: usize, most: usize) -> &mut [u32] {
        let (slot, level) = if region == Region::Base { (index as u32, 0) } else { self.upper[index] };
        self.list.resize(most, 0);
        let count = self.graph.neighbors(slot, level, &mut self.list).len();
        &mut self.list[..count]
    }

    /// Bytes of all lists of a region.
    fn packed_bytes(&mut self, root: &Root, region: Region) -> u64 {
        let mut packed = Vec::new();
        let mut bytes = 0;
        for index in 0..root.records(region) {
            packed.clear();
            links::pack(self.list(region, index, root.links_max(region)), &mut packed);
            bytes += packed.len() as u64;
        }
        bytes
    }

    fn fill_packed(&mut self, root: &Root, region: Region, out: &mut [u8]) {
        let of = |snapshot: &mut Self| {
            std::mem::take(if region == Region::Base { &mut snapshot.base } else { &mut snapshot.above })
        };
        let mut packed = of(self);
        while packed.bytes.len() < out.len() {
            links::pack(self.list(region, packed.lists, root.links_max(region)), &mut packed.bytes);
            packed.lists += 1;
        }
        out.copy_from_slice(&packed.bytes[..out.len()]);
        packed.bytes.drain(..out.len());
        *if region == Region::Base { &mut self.base } else { &mut self.above } = packed;
    }

    fn links(&mut self, region: Region, index: usize, out: &mut [u8]) {
        let links = self.list(region, index, out.len() / 4 - 1);
        let words = [links.len() as u32].into_iter().chain(links.iter().copied());
        let words = words.chain(std::iter::repeat(0));
        out.as_chunks_mut::<4>().0.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
    }
}
