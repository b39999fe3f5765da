//! Reading: an index is loaded from its pages. Every number is checked before it is used.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::image::{Stored, StoredPage};
use crate::bits;
use crate::error::{Error, Result};
use crate::format::checksum::checksum;
use crate::format::layout::{Extent, Layout, Region};
use crate::format::links;
use crate::format::norms;
use crate::format::root::{Root, corrupt};
use crate::format::widths::Measurement;
use crate::graph::Source;
use crate::graph::lock::RowsMut;
use crate::host::{Ledger, Pages, Uninterrupted};
use crate::index::rows::{Place, SlotState, State};
use crate::index::{Generation, Image, Index};
use crate::memory::{Charge, Memory};
use crate::options::{LEVELS_MAX, Options};
use crate::sync::Mutex;
use crate::vectors::{Codec, Learnt, Norms, Row, Space};

/// Rows handed to the pending area at a time.
const BATCH_ROWS: usize = 1024;

/// Pages of rows that a thread reads at a time. The page between two parts is read twice.
const PART_PAGES: usize = 16;

impl Index {
    /// Loads the index that was stored as `image`, and returns its decoded root, too. The norms and widths of the image may be missing.
    ///
    /// Reads almost every page once, with as many threads as the host grants, and holds a page or two of them for each thread beside the
    /// index. Errors: `Corrupt` (damaged, foreign, of another version, or made with other options), `OutOfMemory`, those of `pages`.
    pub fn load(
        options: Options,
        dimensions: usize,
        ledger: Box<dyn Ledger>,
        image: &Image,
        pages: &dyn Pages,
    ) -> Result<(Self, Root)> {
        let root = Root::decode(&image.root)?;
        let ids = &image.pages;
        if !root.made_with(&options, dimensions) {
            return Err(corrupt("it was made with other options than the catalog says"));
        }
        if root.page_bytes != pages.page_bytes() as u64 {
            return Err(corrupt("its pages have another size than those of this database"));
        }
        if ids.len() != root.graph_sums.len() + root.rows_sums.len() {
            return Err(corrupt("it has another number of pages than its root says"));
        }
        let (graph_ids, rows_ids) = ids.split_at(root.graph_sums.len());
        let graph_layout = root.graph_layout();
        let rows_layout = root.rows_layout();
        let graph = || Reader::new(pages, &graph_layout, graph_ids, &root.graph_sums);
        let rows = || Reader::new(pages, &rows_layout, rows_ids, &root.rows_sums);

        let space = Space::new(options.metric, dimensions);
        let floats = |bits: &[u32]| bits.iter().map(|&bits| f32::from_bits(bits)).collect();
        let learnt = Learnt { seed: root.seed, error: f32::from_bits(root.error), centre: floats(&root.centre) };
        let codec = Codec::with(space, options.quantization, &learnt);
        let index = Self::with_codec(options, codec, ledger)?;
        let links = StoredLinks::new(&root, &index.setup.memory, graph(), graph())?;
        let entry = root.entry as u32;
        let (slots, upper) = (root.slots as usize, root.upper as usize);
        let generation = Generation::load(&index.setup, slots, upper, entry, &links);
        let (mut generation, linked) = links.finish(generation)?;
        let loaded = Arc::get_mut(&mut generation).expect("nobody else has it yet");
        read_rows(loaded.graph.rows_mut(), root.record(Region::Vectors), pages, &graph)?;
        index.adopt(&generation, &mut rows(), &root, &linked)?;
        if let Some(measured) = Measurement::decode(&image.widths) {
            index.rows.widths.adopt(measured, 0);
        }
        let known = norms::decode(&image.norms, &image.root);
        index.rows.unrankable.expect_comparable(known.map_or(root.unrankable, |known| known.comparable) as usize);
        index.adopt_pending(&mut rows(), &mut rows(), &root)?;
        index.adopt_norms(&generation, known.and_then(|known| Norms::from_bits(known.norms)))?;

        let stored = |ids: &[i64], sums: &[u64]| {
            ids.iter().zip(sums).map(|(&id, &checksum)| StoredPage { checksum, id }).collect()
        };
        *index.images.newest.lock() = Some(Stored {
            graph: stored(graph_ids, &root.graph_sums),
            rows: stored(rows_ids, &root.rows_sums),
            root: root.clone(),
            norms: index.norms(),
            comparable: index.rows.unrankable.comparable(),
            generation: Arc::downgrade(&generation),
            changes: index.rows.changes(),
        });
        Ok((index, root))
    }

    /// Makes `generation` the current one of an empty index: sets the states, the free slots, and the places of the rows.
    fn adopt(&self, generation: &Arc<Generation>, reader: &mut Reader<'_>, root: &Root, linked: &[u64]) -> Result<()> {
        let mut free = Vec::new();
        let mut rows = self.rows.change();
        for slot in 0..root.slots as u32 {
            let slot_state = SlotState::unpack(u64::from_le_bytes(reader.array(Region::SlotStates, slot as usize)?));
            let is_linked = bits::is_set(linked, slot as usize);
            match slot_state.state {
                State::Live => {
                    rows.adopt(slot_state.row_id, Place::Slot(slot))?;
                    generation.states.at(slot).store(slot_state);
                }
                // A slot that walks can reach must not be reused before the links to it are repaired.
                State::Empty if !is_linked && root.entry != u64::from(slot) => free.push(slot),
                _ => {
                    generation.die(slot);
                }
            }
        }
        // No statement of this process has made these slots dead, so none owes their work.
        generation.set_unowed(usize::MAX);
        generation.reserve_free(free.len())?;
        let mut graph = generation.graph.exclusive();
        let cleared = generation.clear_slots(&free, &mut graph).expect("nobody else knows the generation");
        let freed = generation.free_slots(&free, &cleared, &mut graph);
        debug_assert!(freed, "nobody else knows the generation");
        drop(graph);
        generation.links_stored();
        rows.switch_to(Arc::clone(generation));
        Ok(())
    }

    /// Takes over the norms of the image. Without them, measures the rows.
    fn adopt_norms(&self, generation: &Generation, norms: Option<Norms>) -> Result<()> {
        let norms = match norms {
            Some(norms) => norms,
            None => {
                let pending = self.rows.begin_norms();
                let measured =
                    self.rows.measure_norms(generation, &generation.graph.read(), &pending, &Uninterrupted)?;
                measured.unwrap_or(Norms::UNKNOWN)
            }
        };
        self.rows.change().norms.widen(norms);
        Ok(())
    }

    fn adopt_pending(&self, ids: &mut Reader<'_>, vectors: &mut Reader<'_>, root: &Root) -> Result<()> {
        let coded = root.pending_are_codes();
        let mut row = vec![0; root.record(Region::PendingVectors)];
        let mut rows = self.rows.change();
        for at in 0..root.pending as usize {
            if at % BATCH_ROWS == 0 {
                rows.pending.reserve(BATCH_ROWS.min(root.pending as usize - at), coded)?;
            }
            let row_id = i64::from_le_bytes(ids.array(Region::PendingRows, at)?);
            vectors.record(Region::PendingVectors, at, &mut row)?;
            let ticket = rows.pending.push(row_id, if coded { Row::Coded(&row) } else { Row::Plain(&row) });
            rows.adopt(row_id, Place::Pending(ticket))?;
        }
        rows.pending.release();
        self.rows.unrankable.reserve(root.unrankable as usize)?;
        for row in 0..root.unrankable as usize {
            let row_id = i64::from_le_bytes(ids.array(Region::Unrankable, row)?);
            let position = self.rows.unrankable.push(row_id);
            rows.adopt(row_id, Place::Unrankable(position))?;
        }
        Ok(())
    }
}

/// Reads records of regions. It keeps the last page that it read.
struct Reader<'a> {
    pages: &'a dyn Pages,
    layout: &'a Layout,
    ids: &'a [i64],
    sums: &'a [u64],
    page: usize,
    buffer: Vec<u8>,
    /// The part of the page that was read last.
    extent: Option<&'a Extent>,
}

impl<'a> Reader<'a> {
    fn new(pages: &'a dyn Pages, layout: &'a Layout, ids: &'a [i64], sums: &'a [u64]) -> Self {
        Self { pages, layout, ids, sums, page: usize::MAX, buffer: Vec::new(), extent: None }
    }

    /// Brings a page into the buffer.
    fn open(&mut self, page: usize) -> Result<()> {
        if self.page == page {
            return Ok(());
        }
        self.page = usize::MAX;
        self.buffer.resize(self.pages.page_bytes(), 0);
        self.pages.read(self.ids[page], &mut self.buffer)?;
        if checksum(&self.buffer) != self.sums[page] {
            return Err(corrupt(format!("page {} of {} is damaged", page + 1, self.ids.len())));
        }
        self.page = page;
        Ok(())
    }

    /// The bytes of a region from `at` to the end of the page. Errors: `Corrupt` if the region has no such byte.
    fn rest(&mut self, region: Region, at: usize) -> Result<&[u8]> {
        let extent = match self.extent {
            Some(extent) if extent.region == region && extent.bytes.contains(&at) => extent,
            _ => {
                self.extent = None;
                let (page, extent) = self.layout.find(region, at).ok_or_else(|| corrupt("a part of it is missing"))?;
                self.open(page)?;
                self.extent.insert(extent)
            }
        };
        Ok(&self.buffer[extent.at..][at - extent.bytes.start..extent.bytes.len()])
    }

    /// Reads bytes of a region, from `at` on. Errors: `Corrupt` if they are not all in the region.
    fn bytes(&mut self, region: Region, mut at: usize, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let rest = self.rest(region, at)?;
            let length = rest.len().min(out.len());
            let (part, behind) = out.split_at_mut(length);
            part.copy_from_slice(&rest[..length]);
            at += length;
            out = behind;
        }
        Ok(())
    }

    /// A record of eight bytes.
    fn array(&mut self, region: Region, index: usize) -> Result<[u8; 8]> {
        let mut bytes = [0; 8];
        self.bytes(region, 8 * index, &mut bytes)?;
        Ok(bytes)
    }

    /// A record as long as `out`.
    fn record(&mut self, region: Region, index: usize, out: &mut [u8]) -> Result<()> {
        self.bytes(region, index * out.len(), out)
    }
}

/// Reads all rows, with as many threads as the host grants. `record`: bytes of a row. Errors: the first of each thread, that of the
/// calling one before the others'.
fn read_rows<'a>(
    rows: RowsMut<'_>,
    record: usize,
    pages: &dyn Pages,
    reader: &(impl Fn() -> Reader<'a> + Sync),
) -> Result<()> {
    let part_rows = (PART_PAGES * pages.page_bytes() / record).max(1);
    let threads = pages.readers().min(rows.slots().len().div_ceil(part_rows));
    let left = Mutex::new(rows);
    let read = || {
        let mut reader = reader();
        loop {
            let part = left.lock().split_first(part_rows);
            if part.slots().is_empty() {
                return Ok(());
            }
            for (slot, row) in part.slots().zip(part) {
                reader.record(Region::Vectors, slot as usize, row)?;
            }
        }
    };
    std::thread::scope(|scope| {
        // The threads that the system refuses are not needed.
        let spawn = || std::thread::Builder::new().spawn_scoped(scope, read).ok();
        let others: Vec<_> = (1..threads).map_while(|_| spawn()).collect();
        let own = read();
        others
            .into_iter()
            .fold(own, |so_far, other| so_far.and(other.join().unwrap_or_else(|panic| resume_unwind(panic))))
    })
}

/// The links of a stored graph. They are asked for node by node, level by level. An error is kept and returned at the end, because the
/// graph library does not expect errors in between.
struct StoredLinks<'a> {
    root: &'a Root,
    levels: Vec<u8>,
    _charge: Charge,
    state: RefCell<LinksState<'a>>,
}

struct LinksState<'a> {
    base: Reader<'a>,
    upper: Reader<'a>,
    /// Lists read so far, on the bottom level and above it, and their bytes.
    base_read: Lists,
    upper_read: Lists,
    /// The bytes of one list.
    list: Vec<u8>,
    /// Nodes to which a link leads, a bit each.
    linked: Vec<u64>,
    error: Option<Error>,
}

#[derive(Clone, Copy, Default)]
struct Lists {
    count: usize,
    bytes: usize,
}

impl<'a> StoredLinks<'a> {
    fn new(root: &'a Root, memory: &Arc<Memory>, mut base: Reader<'a>, upper: Reader<'a>) -> Result<Self> {
        let slots = root.slots as usize;
        // The levels count twice, because the graph library has its own copy.
        let charge = memory.charge(slots * (size_of::<u8>() + size_of::<u16>()) + slots / 8)?;
        let mut levels = vec![0; slots];
        base.bytes(Region::Levels, 0, &mut levels)?;
        let highest = levels.iter().copied().max().unwrap_or(0);
        let lists: u64 = levels.iter().map(|&level| u64::from(level)).sum();
        if usize::from(highest) > LEVELS_MAX
            || lists != root.upper
            || slots > 0 && levels[root.entry as usize] != highest
        {
            return Err(corrupt("the levels of its graph do not fit"));
        }
        let linked = vec![0; slots.div_ceil(64)];
        Ok(Self {
            root,
            levels,
            _charge: charge,
            state: RefCell::new(LinksState {
                base,
                upper,
                base_read: Lists::default(),
                upper_read: Lists::default(),
                list: Vec::new(),
                linked,
                error: None,
            }),
        })
    }

    /// Returns what was made of the links, and the nodes to which a link leads. Errors: the first error of reading, else that of `made`,
    /// else `Corrupt` if not all lists were read. The order matters: a caller that ran out of memory has not asked for all lists.
    fn finish<T>(self, made: Result<T>) -> Result<(T, Vec<u64>)> {
        let state = self.state.into_inner();
        if let Some(error) = state.error {
            return Err(error);
        }
        let made = made?;
        let read = [(Region::Base, state.base_read), (Region::Upper, state.upper_read)];
        if read.iter().any(|&(region, lists)| lists.bytes as u128 != self.root.length(region)) {
            return Err(corrupt("the lists of its graph do not fit"));
        }
        Ok((made, state.linked))
    }

    fn read(&self, state: &mut LinksState<'_>, level: usize, out: &mut [u32]) -> Result<usize> {
        let (region, reader, read) = if level == 0 {
            (Region::Base, &mut state.base, &mut state.base_read)
        } else {
            (Region::Upper, &mut state.upper, &mut state.upper_read)
        };
        let too_many = || corrupt("a node of its graph has too many links");
        let count = if self.root.packs_links() {
            let mut head = [0; links::HEAD_BYTES];
            reader.bytes(region, read.bytes, &mut head)?;
            read.bytes += head.len();
            let body = links::body_bytes(head).ok_or_else(too_many)?;
            // `unpack` may read up to 8 bytes beyond the list, and ignores them.
            let with_more = body + size_of::<u64>();
            let rest = if body > 0 { reader.rest(region, read.bytes)? } else { &[] };
            let list = if rest.len() >= with_more {
                rest
            } else {
                state.list.resize(with_more, 0);
                reader.bytes(region, read.bytes, &mut state.list[..body])?;
                &state.list
            };
            read.bytes += body;
            links::unpack(head, list, out).ok_or_else(too_many)?
        } else {
            state.list.resize(self.root.record(region), 0);
            reader.record(region, read.count, &mut state.list)?;
            read.bytes += state.list.len();
            let (&count, list) = state.list.as_chunks::<4>().0.split_first().expect("a list has a count");
            let count = u32::from_le_bytes(count) as usize;
            let list = list.get(..count).filter(|list| list.len() <= out.len()).ok_or_else(too_many)?;
            out.iter_mut().zip(list).for_each(|(to, link)| *to = u32::from_le_bytes(*link));
            count
        };
        read.count += 1;
        for &link in &out[..count] {
            if self.levels.get(link as usize).is_none_or(|&above| (above as usize) < level) {
                return Err(corrupt("a link of its graph leads nowhere"));
            }
            bits::set(&mut state.linked, link as usize);
        }
        Ok(count)
    }
}

impl Source for StoredLinks<'_> {
    fn level(&self, slot: u32) -> usize {
        self.levels[slot as usize] as usize
    }

    fn links(&self, slot: u32, level: usize, out: &mut [u32]) -> usize {
        let mut state = self.state.borrow_mut();
        if state.error.is_some() {
            return 0;
        }
        debug_assert!(level > 0 || state.base_read.count == slot as usize, "lists are asked for in order");
        self.read(&mut state, level, out).unwrap_or_else(|error| {
            state.error = Some(error);
            0
        })
    }
}
