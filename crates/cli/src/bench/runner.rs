//! The seam between what is measured and how: a column of the table is a [`Runner`], and a runner
//! knows one way to do I/O.
//!
//! A round goes alike in every column: `Meter::begin`, requests from the feed with at most the
//! row's depth in flight, one look at the clock for each turn, in the joined pass of a writing row
//! one `fdatasync`, `Meter::end`. Whatever a runner needs (ring, registration, open file) it has
//! before the round begins.

use std::io;

use super::meter::{Meter, Pass};
use super::workload::Feed;

/// The columns, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Nofault,
    Bare,
    Buffered,
}

impl Column {
    pub(crate) const ALL: [Column; 3] = [Column::Nofault, Column::Bare, Column::Buffered];

    /// What the table calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Column::Nofault => "nofault",
            Column::Bare => "bare io_uring",
            Column::Buffered => "buffered",
        }
    }
}

/// One way to do the requests of a round.
pub(crate) trait Runner {
    /// Does one round. An error means that the round has no figures; the runner can be used again.
    fn round(&mut self, feed: &mut Feed<'_>, pass: Pass, meter: &mut Meter) -> io::Result<()>;
}
