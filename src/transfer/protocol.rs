//! The words in which a driver and a [`Transfer`](super::Transfer) talk: events in, actions out.
//!
//! Every action but [`Action::Finish`] is answered by exactly one event; each event names the
//! actions that it answers.

use super::{Errno, Stop};

/// The way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// From the file into memory.
    Read,
    /// From memory into the file.
    Write,
}

/// How far the request's memory is trusted not to fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// Registered with the ring, or vouched for by the caller: submitted without a look.
    Full,
    /// Looked at before every submission.
    Look,
    /// Looked at, and even resident memory is never submitted on the caller's thread.
    Offload,
}

/// What happened to the last action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// The request was admitted. The first event, and only the first.
    Start,
    /// Answer to [`Action::Look`]: so many bytes from the cursor on are resident, and why the look
    /// ended there.
    Looked { bytes: usize, stop: Stop },
    /// Answer to [`Action::Submit`], [`Action::BounceRead`], [`Action::BounceWrite`] and
    /// [`Action::Buffered`].
    Completed(Result<usize, Errno>),
    /// Answer to [`Action::FaultIn`].
    FaultedIn(Result<(), Errno>),
    /// Answer to [`Action::CopyIn`] and [`Action::CopyOut`].
    Copied(Result<usize, Errno>),
    /// Answer to [`Action::AwaitAhead`]: the fault-in ahead of the cursor ended.
    AheadEnded,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Say how many of the next `len` bytes are resident, without faulting.
    Look { len: usize },
    /// Send the next `len` bytes by the direct path. `offload`: not on this thread.
    Submit {
        offset: u64,
        len: usize,
        offload: bool,
    },
    /// Fault in the next `len` bytes, which are contiguous, off the submitting thread.
    FaultIn { len: usize },
    /// Start nothing, and wait until the fault-in ahead of the cursor has ended.
    AwaitAhead,
    /// Copy the next `len` bytes into the bounce buffer, off the submitting thread.
    CopyIn { len: usize },
    /// Write `len` bytes of the bounce buffer.
    BounceWrite { offset: u64, len: usize },
    /// Read `len` bytes into the bounce buffer.
    BounceRead { offset: u64, len: usize },
    /// Copy `len` bytes of the bounce buffer, from `skip` on, to the cursor, off the submitting
    /// thread.
    CopyOut { skip: usize, len: usize },
    /// Send the next `len` bytes by the page cache. `offload`: not on this thread, because the
    /// memory may fault.
    Buffered {
        offset: u64,
        len: usize,
        offload: bool,
    },
    /// The request's one result.
    Finish(Result<usize, Errno>),
}

/// A fault-in that runs beside an action: `skip` bytes after the cursor, `len` bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ahead {
    pub(crate) skip: usize,
    pub(crate) len: usize,
}
