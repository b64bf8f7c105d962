//! What one request is: a pure state machine.
//!
//! [`Transfer`] holds the cursor over the caller's memory, the file position, `done_before` and the
//! window, and answers each event with the next action. It makes no system call, follows no address
//! and has no clock, so that every path through it can be enumerated (`tests/walk.rs` does). It must
//! not know which back end carries its actions out. The order of calls stands in `machine`.
//!
//! The algorithm is that of the kernel's gfs2 and btrfs direct I/O (`iter->nofault`, `done_before`,
//! `fault_in_iov_iter_*`).
//!
//! # Why it ends
//!
//! The measure is `(bytes left, budget, rank of the stage)`, compared in that order. Every step
//! makes the measure fall strictly: moved bytes lower the first part; a pass that moved nothing
//! lowers the second; and within one pass the stages come in one order only (look, then fault in or
//! submit or copy, then the second half of a bounce). At budget 0 the page cache takes the rest, and
//! its answer is the result. Debug builds assert the measure on every step.

mod geometry;
mod iter;
mod machine;
mod protocol;
#[cfg(test)]
mod tests;

pub(crate) use geometry::Geometry;
pub(crate) use iter::{IovIter, MAX_RW_COUNT, Segment, Segments, USER_END};
pub(crate) use machine::Transfer;
pub(crate) use protocol::{Action, Direction, Event, Trust};

pub(crate) use crate::memory::residency::Stop;
pub(crate) use crate::sys::Errno;
