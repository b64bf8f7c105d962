//! `--html`: a run as one page that needs nothing besides itself, neither a network nor a script.
//!
//! `page` is what a page is made of and the only thing that those who measure know; `write` is the
//! file it goes into; the rest draws. All but `write` is pure.

mod bars;
mod chart;
mod curves;
mod document;
mod page;
mod scale;
mod write;

pub(crate) use document::render;
pub(crate) use page::{Cell, Job, Measured, Page, Pair, Round};
pub(crate) use write::Target;
