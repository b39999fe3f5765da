//! Sets of rows: the rows that pass a filter.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::host::Visibility;
use crate::memory::{Charge, Memory};

/// Rows of a page. A page of the set covers the rows of one page of the row map.
pub(crate) const PAGE_ROWS: usize = 4096;
/// Largest row id of a set. With larger ids, the table of pages alone would be too large.
const ROW_MAX: i64 = (1 << 40) - 1;

/// A bit for each row.
pub(crate) type Page = [u64; PAGE_ROWS / 64];

/// A set of row ids: pages of bits, allocated where there are rows. A page takes 512 bytes and covers 4096 row ids; a page without rows
/// takes 8 bytes.
///
/// As a [`Visibility`], it shows its rows and no others.
pub struct RowSet {
    pages: Vec<Option<Box<Page>>>,
    len: usize,
    charge: Charge,
}

impl RowSet {
    /// An empty set. Its memory is charged to `memory`. Errors: `OutOfMemory`.
    pub fn new(memory: &Arc<Memory>) -> Result<Self> {
        Ok(Self { pages: Vec::new(), len: 0, charge: memory.charge(0)? })
    }

    /// An empty set that is charged to the account of this set. Many small sets should share an account, because each account reserves more
    /// than it needs.
    pub fn beside(&self) -> Self {
        Self { pages: Vec::new(), len: 0, charge: self.charge.beside() }
    }

    /// Rows in the set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `row_id` is in the set. Any row id may be asked for.
    #[inline]
    pub fn contains(&self, row_id: i64) -> bool {
        let Ok(row) = usize::try_from(row_id) else { return false };
        match self.pages.get(row / PAGE_ROWS) {
            Some(Some(page)) => page[row % PAGE_ROWS / 64] >> (row % 64) & 1 == 1,
            _ => false,
        }
    }

    /// Whether any row from `first` to `last`, both included, is in the set. Any row ids may be asked for. The time grows with the range:
    /// one step for each 64 row ids.
    pub fn contains_any(&self, first: i64, last: i64) -> bool {
        let (first, last) = (first.max(0), last.min((self.pages.len() * PAGE_ROWS) as i64 - 1));
        first <= last
            && (first / 64..=last / 64).any(|word| {
                let after = if word == first / 64 { u64::MAX << (first % 64) } else { u64::MAX };
                let before = if word == last / 64 { u64::MAX >> (63 - last % 64) } else { u64::MAX };
                let page = &self.pages[word as usize / (PAGE_ROWS / 64)];
                page.as_ref().is_some_and(|page| page[word as usize % (PAGE_ROWS / 64)] & after & before != 0)
            })
    }

    /// Adds rows, in any order. Errors: `InvalidInput` for a row id out of range, `OutOfMemory`.
    pub fn insert(&mut self, row_ids: &[i64]) -> Result<()> {
        for &row_id in row_ids {
            if !(0..=ROW_MAX).contains(&row_id) {
                return Err(Error::new(ErrorKind::InvalidInput, format!("row id {row_id} is not of a stored row")));
            }
            let row = row_id as usize;
            let word = &mut self.page(row / PAGE_ROWS)?[row % PAGE_ROWS / 64];
            let bit = 1 << (row % 64);
            let new = *word & bit == 0;
            *word |= bit;
            self.len += usize::from(new);
        }
        Ok(())
    }

    /// Adds the rows of `other`. Errors: `OutOfMemory`.
    pub fn merge(&mut self, other: &RowSet) -> Result<()> {
        for (number, from) in other.pages() {
            let mut new = 0;
            for (word, from) in self.page(number)?.iter_mut().zip(from) {
                new += (from & !*word).count_ones() as usize;
                *word |= from;
            }
            self.len += new;
        }
        Ok(())
    }

    /// The rows, ascending.
    pub fn rows(&self) -> impl Iterator<Item = i64> {
        self.pages()
            .flat_map(|(number, page)| positions(page).map(move |position| (number * PAGE_ROWS + position) as i64))
    }

    /// About every `step`-th row, beginning with the first; at most one of each 64 row ids.
    pub(crate) fn sample(&self, step: usize) -> impl Iterator<Item = i64> {
        let mut before = 0_usize;
        let words = self.pages().flat_map(|(number, page)| {
            page.iter().enumerate().map(move |(at, &word)| (number * PAGE_ROWS + at * 64, word))
        });
        words.filter_map(move |(first, word)| {
            let count = word.count_ones() as usize;
            let skip = before.next_multiple_of(step) - before;
            before += count;
            let mut rest = word;
            (skip < count).then(|| {
                for _ in 0..skip {
                    rest &= rest - 1;
                }
                (first + rest.trailing_zeros() as usize) as i64
            })
        })
    }

    /// The pages that have rows, by number: page `n` holds the rows from `4096 n` on.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (usize, &Page)> {
        self.pages.iter().enumerate().filter_map(|(number, page)| page.as_deref().map(|page| (number, page)))
    }

    /// The page of this number, if it has rows.
    pub(crate) fn page_at(&self, number: usize) -> Option<&Page> {
        self.pages.get(number)?.as_deref()
    }

    /// The page of this number, made if it is missing. Errors: `OutOfMemory`.
    fn page(&mut self, number: usize) -> Result<&mut Page> {
        let full = |_| Error::out_of_memory("for the rows that pass a filter");
        if number >= self.pages.len() {
            let missing = number + 1 - self.pages.len();
            let old = self.pages.capacity();
            self.pages.try_reserve(missing).map_err(full)?;
            self.charge.grow((self.pages.capacity() - old) * size_of::<Option<Box<Page>>>())?;
            self.pages.resize_with(number + 1, || None);
        }
        let page = &mut self.pages[number];
        if page.is_none() {
            self.charge.grow(size_of::<Page>())?;
        }
        Ok(page.get_or_insert_with(|| Box::new([0; PAGE_ROWS / 64])))
    }
}

/// The positions of the bits of a page, ascending.
pub(crate) fn positions(page: &Page) -> impl Iterator<Item = usize> {
    page.iter().enumerate().flat_map(|(at, &word)| {
        let mut word = word;
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
            word &= word - 1;
            Some(at * 64 + bit)
        })
    })
}

impl Visibility for RowSet {
    fn visible(&self, row_id: i64) -> bool {
        self.contains(row_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unlimited;
    use crate::testing::naive::Random;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_tree_set() {
        let memory = Memory::new(Box::new(Unlimited));
        let mut random = Random(5);
        for end in [1, 100, 4097, 100_000, 1 << 30] {
            let (mut set, mut other) = (RowSet::new(&memory).unwrap(), RowSet::new(&memory).unwrap());
            let mut model = BTreeSet::new();
            for turn in 0..500 {
                let row = random.below(end) as i64;
                model.insert(row);
                if turn % 3 == 0 { &mut other } else { &mut set }.insert(&[row, row]).unwrap();
            }
            set.merge(&other).unwrap();
            assert_eq!(set.len(), model.len());
            assert!(set.rows().eq(model.iter().copied()));
            for row in model.iter().flat_map(|row| [row - 1, *row, row + 1, row + 4096]) {
                assert_eq!(set.contains(row), model.contains(&row));
                for rows in [0, 1, 64, 5_000] {
                    assert_eq!(set.contains_any(row, row + rows), model.range(row..=row + rows).next().is_some());
                }
            }
        }
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn strange_rows_are_refused_or_absent() {
        let memory = Memory::new(Box::new(Unlimited));
        let mut set = RowSet::new(&memory).unwrap();
        for row in [-1, i64::MIN, ROW_MAX + 1, i64::MAX] {
            assert_eq!(set.insert(&[row]).unwrap_err().kind, ErrorKind::InvalidInput);
            assert!(!set.contains(row) && !set.contains_any(row, row));
        }
        assert!(set.is_empty() && set.rows().next().is_none() && !set.contains_any(i64::MIN, i64::MAX));
    }
}
