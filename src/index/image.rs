//! The newest image of an index, as the host and the index remember it.

use std::sync::{Arc, Weak};

use super::table::RowTable;
use super::{Generation, Maintenance};
use crate::format::root::Root;
use crate::sync::Mutex;
use crate::vectors::Norms;

/// Keeps the newest image of an index.
pub struct Images {
    pub(super) rows: Arc<RowTable>,
    /// Used to stop linking while an image is written.
    pub(super) maintenance: Arc<Maintenance>,
    pub(super) newest: Mutex<Option<Stored>>,
}

/// A page that the host keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredPage {
    pub(super) checksum: u64,
    pub(super) id: i64,
}

/// The newest image of an index.
pub(crate) struct Stored {
    /// The image's root. Its checksums are those of `graph` and `rows`.
    pub(super) root: Root,
    /// The norms of the image's vectors.
    pub(super) norms: Norms,
    /// See [`crate::format::norms::Known`].
    pub(super) comparable: usize,
    /// The generation whose graph the image holds.
    pub(super) generation: Weak<Generation>,
    /// The index's count of changes when the image was written.
    pub(super) changes: u64,
    pub(super) graph: Vec<StoredPage>,
    pub(super) rows: Vec<StoredPage>,
}

/// An image as the host has to remember it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The encoded root.
    pub root: Vec<u8>,
    /// The encoded norms of the vectors; valid only with this root.
    pub norms: Vec<u8>,
    /// The encoded measurement of the index's search widths; empty if there is none.
    pub widths: Vec<u8>,
    /// The host's ids of all pages, in order.
    pub pages: Vec<i64>,
    /// Bytes written to pages for this image.
    pub written: usize,
}

impl Images {
    pub(super) fn new(rows: Arc<RowTable>, maintenance: Arc<Maintenance>) -> Self {
        Self { rows, maintenance, newest: Mutex::new(None) }
    }
}
