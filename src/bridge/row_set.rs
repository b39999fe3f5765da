//! A set of rows, as C++ fills it.

use cxx::UniquePtr;

use super::ffi;
use super::host::HostLedger;
use crate::bridge::guard::{Crossing, guard};
use crate::memory::Memory;
use crate::search;

/// Rows that pass a filter.
pub struct RowSet(pub(super) search::RowSet);

pub(super) fn create_row_set(memory: UniquePtr<ffi::HostMemory>) -> std::result::Result<Box<RowSet>, Crossing> {
    guard(|| Ok(Box::new(RowSet(search::RowSet::new(&Memory::new(Box::new(HostLedger(memory))))?))))
}

impl RowSet {
    pub(super) fn beside(&self) -> Box<Self> {
        Box::new(Self(self.0.beside()))
    }

    pub(super) fn insert(&mut self, row_ids: &[i64]) -> std::result::Result<(), Crossing> {
        guard(|| self.0.insert(row_ids))
    }

    pub(super) fn merge(&mut self, other: &RowSet) -> std::result::Result<(), Crossing> {
        guard(|| self.0.merge(&other.0))
    }

    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, row_id: i64) -> bool {
        self.0.contains(row_id)
    }

    pub(super) fn contains_any(&self, first: i64, last: i64) -> bool {
        self.0.contains_any(first, last)
    }
}
