//! The stored form of an index: see `docs/format.md`.
//!
//! An image is a [`root::Root`] and pages that the host keeps. Pages fall into two groups. The *graph* pages hold the
//! graph as it was at some time; the *rows* pages say which of its rows are left and hold the rows that came since, to be
//! linked again by whoever loads the image. While little has changed only rows pages are written ("light"); when more has,
//! the pages of the graph that have changed are written, too.

pub mod checksum;
pub mod layout;
pub mod links;
pub mod norms;
pub mod root;
pub mod widths;
