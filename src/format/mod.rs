//! The stored form of an index: see `docs/format.md`.
//!
//! An image is a [`root::Root`] and pages that the host keeps. The pages fall into two groups. The *graph* pages hold the graph as it was
//! at some time. The *rows* pages say which of its rows are left, and hold the rows that came since; whoever loads the image links these
//! again. While little has changed, only rows pages are written (a "light" image). When more has changed, those pages of the graph that
//! differ are written, too.

pub mod checksum;
pub mod layout;
pub mod links;
pub mod norms;
pub mod root;
pub mod widths;
