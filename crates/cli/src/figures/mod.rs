//! Figures and their words: medians, percentile curves, units, lines of a bounded width. Pure.
//!
//! Must not know: where a figure comes from, where it is shown.

pub(crate) mod curve;
pub(crate) mod median;
pub(crate) mod text;
pub(crate) mod timeline;
pub(crate) mod units;
