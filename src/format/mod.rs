//! The stored form of an index: see `docs/format.md`.
//!
//! An image is a [`root::Root`] and pages that the host keeps. Pages fall into two groups. The *graph* pages hold the
//! graph as it was at some time; the *rows* pages say which of its rows are left and hold the rows that came since, to be
//! linked again by whoever loads the image. While little has changed only rows pages are written ("light"); when more has,
//! the pages of the graph that have changed are written, too.

pub mod checksum;
pub mod layout;
mod load;
pub mod root;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Weak;

use self::root::Root;
use crate::index::Core;

/// A page that the host keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StoredPage {
    checksum: u64,
    id: i64,
}

/// The newest image of an index.
pub(crate) struct Stored {
    /// What it says; its checksums are those of `graph` and `rows`.
    root: Root,
    /// The generation whose graph it holds.
    core: Weak<Core>,
    /// The index's count of changes at that time.
    changes: u64,
    graph: Vec<StoredPage>,
    rows: Vec<StoredPage>,
}

/// An image, as the host has to remember it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The encoded root.
    pub root: Vec<u8>,
    /// The host's ids of all pages, in order.
    pub pages: Vec<i64>,
    /// Bytes written to pages for this image.
    pub written: usize,
}
