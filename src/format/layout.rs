//! The layout of an image: which bytes stand on which page.
//!
//! An image consists of *regions*, arrays of records, in two groups whose pages change at different times. Each region fills as many whole
//! pages of its own as it can. The rests of the regions of a group (their *tails*) share pages, so a small index takes two pages. The
//! layout follows from the lengths of the regions and the size of a page alone.

use std::ops::Range;

/// The contents of a region; one record a slot unless noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Topmost level of each node: `u8`.
    Levels,
    /// Links on the bottom level: a `u32` count, then room for `m0` slots (`u32`). With codes the lists are packed, see [`super::links`].
    Base,
    /// Links above the bottom level, for each node that has such levels, level by level: as `Base`, with room for `m` slots.
    Upper,
    /// Vectors as rows of the codec: `f32` elements, or codes.
    Vectors,
    /// State and row id of each slot: `u64`, see [`crate::index::rows::SlotState`].
    SlotStates,
    /// Ids of the rows that are not linked in this image: `i64` each.
    PendingRows,
    /// Vectors of the pending rows, in the same order.
    PendingVectors,
    /// Ids of the rows whose vectors cannot be ranked: `i64` each.
    Unrankable,
}

/// The regions that hold the graph as it was linked at some time.
pub const GRAPH: [Region; 4] = [Region::Levels, Region::Base, Region::Upper, Region::Vectors];
/// The regions that say what became of these rows since, and which rows came.
pub const ROWS: [Region; 4] = [Region::SlotStates, Region::PendingRows, Region::PendingVectors, Region::Unrankable];

/// Tails begin at multiples of this.
const ALIGN: usize = 8;

/// A part of a region on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The region.
    pub region: Region,
    /// The bytes of the region.
    pub bytes: Range<usize>,
    /// Where these bytes begin on the page.
    pub at: usize,
}

/// The pages of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The extents of each page.
    pub pages: Vec<Vec<Extent>>,
    /// Bytes of a page.
    page: usize,
    places: Vec<Place>,
}

/// The pages of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    region: Region,
    /// The first of the pages that the region fills, and the number of these pages.
    first: usize,
    whole: usize,
    /// The page of the region's tail; unused if there is none.
    tail: usize,
}

impl Layout {
    /// The layout of `regions` with these lengths in bytes. `page`: bytes of a page, at least 8.
    pub fn new(regions: &[(Region, usize)], page: usize) -> Self {
        let mut pages = Vec::new();
        let mut places = Vec::new();
        for &(region, length) in regions {
            places.push(Place { region, first: pages.len(), whole: length / page, tail: 0 });
            let whole = (0..length / page).map(|i| vec![Extent { region, bytes: i * page..(i + 1) * page, at: 0 }]);
            pages.extend(whole);
        }
        let mut used = page;
        for (&(region, length), place) in regions.iter().zip(&mut places) {
            let tail = length % page;
            if tail == 0 {
                continue;
            }
            if used + tail > page {
                pages.push(Vec::new());
                used = 0;
            }
            place.tail = pages.len() - 1;
            pages[place.tail].push(Extent { region, bytes: length - tail..length, at: used });
            used = (used + tail).next_multiple_of(ALIGN);
        }
        Self { pages, page, places }
    }

    /// The page that holds byte `at` of `region`, and its extent.
    pub fn find(&self, region: Region, at: usize) -> Option<(usize, &Extent)> {
        let place = self.places.iter().find(|place| place.region == region)?;
        let number = at / self.page;
        let page = if number < place.whole { place.first + number } else { place.tail };
        let mut extents = self.pages.get(page)?.iter();
        extents.find(|extent| extent.region == region && extent.bytes.contains(&at)).map(|extent| (page, extent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every byte of every region is on exactly one page, and no two share a place.
        #[test]
        fn every_byte_has_one_place(lengths in proptest::collection::vec(0usize..5000, 4), page in 8usize..700) {
            let regions: Vec<_> = ROWS.into_iter().zip(lengths).collect();
            let layout = Layout::new(&regions, page);
            for (i, extents) in layout.pages.iter().enumerate() {
                let mut end = 0;
                for extent in extents {
                    prop_assert!(extent.at >= end, "extents overlap");
                    end = extent.at + extent.bytes.len();
                    prop_assert!(end <= page);
                    prop_assert_eq!(layout.find(extent.region, extent.bytes.start), Some((i, extent)));
                    prop_assert_eq!(layout.find(extent.region, extent.bytes.end - 1), Some((i, extent)));
                }
            }
            for (region, length) in regions {
                let of_region = layout.pages.iter().flatten().filter(|extent| extent.region == region);
                let mut ranges: Vec<_> = of_region.map(|extent| extent.bytes.clone()).collect();
                ranges.sort_by_key(|range| range.start);
                let covered = ranges.iter().fold(0, |end, range| if range.start == end { range.end } else { usize::MAX });
                prop_assert_eq!(covered, length);
                prop_assert_eq!(layout.find(region, length), None);
            }
        }
    }
}
