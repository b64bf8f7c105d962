//! The table of requests in flight.

use std::any::Any;
use std::rc::Rc;
use std::task::Waker;

use super::bounce::Place;
use super::op::Op;
use crate::file::FileShared;
use crate::memory::Pinned;
use crate::sys::Errno;
use crate::transfer::{Action, Direction, Event, Geometry, Segment, Segments, Stop, Transfer, Trust};

/// Names a request in flight. Good until its result was taken or it was abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(super) u32);

/// A request, before it has a slot.
pub(crate) struct Request {
    pub(crate) file: Rc<FileShared>,
    pub(crate) kind: Kind,
}

/// What a request asks for.
pub(crate) enum Kind {
    Transfer { direction: Direction, segments: Segments, offset: u64, trust: Trust, pinned: Option<Pinned> },
    Sync { data_only: bool },
    Allocate { offset: u64, len: u64 },
    SetLen { len: u64 },
}

/// Which of a slot's operations a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Main,
    Ahead,
}

pub(super) fn token(index: u32, lane: Lane) -> u64 {
    u64::from(index) | if lane == Lane::Ahead { 1 << 32 } else { 0 }
}

pub(super) fn untoken(token: u64) -> (u32, Lane) {
    (token as u32, if token >> 32 == 0 { Lane::Main } else { Lane::Ahead })
}

/// Which event the completion of the main operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Completed,
    FaultedIn,
    Copied,
    /// The bounce buffer's pages are there: the deferred action can be carried out.
    Prepared,
}

/// A transfer whose first steps are known beforehand: submit all of it, and if all of it was moved, finish. Its [`Transfer`] is made only
/// where the kernel answers anything else.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    pub(crate) direction: Direction,
    pub(crate) trust: Trust,
    pub(crate) segment: Segment,
    pub(crate) offset: u64,
}

impl Plain {
    /// The transfer, just after its submission.
    pub(super) fn submitted(self, geometry: Rc<Geometry>) -> Transfer {
        let Plain { direction, trust, segment, offset } = self;
        let mut transfer = Transfer::new(direction, trust, geometry, Segments::One(segment), offset, segment.len);
        let mut action = transfer.step(Event::Start);
        if let Action::Look { len } = action {
            action = transfer.step(Event::Looked { bytes: len, stop: Stop::End });
        }
        debug_assert!(
            [Action::Submit { offset, len: segment.len, offload: false }, Action::Buffered { offset, len: segment.len, offload: false }]
                .contains(&action)
        );
        transfer
    }
}

/// What is done for the request.
pub(super) enum Work {
    Free,
    /// A transfer that one submission is expected to carry out.
    Plain(Plain),
    Transfer(Transfer),
    Simple,
}

/// One request in flight.
pub(super) struct Slot {
    pub(super) work: Work,
    pub(super) file: Option<Rc<FileShared>>,
    pub(super) pinned: Option<Pinned>,
    /// The main operation is with the back end.
    pub(super) main: bool,
    /// The main operation counts as one that may be stuck.
    pub(super) slow: bool,
    pub(super) answer: Answer,
    /// An operation that waits for its turn among those that may be stuck.
    pub(super) parked: Option<Op>,
    /// An action that waits for a bounce buffer.
    pub(super) deferred: Option<Action>,
    pub(super) bounce: Option<Place>,
    /// Where the fault-in ahead ends, as bytes from the request's start.
    pub(super) ahead_end: usize,
    /// The vector of the main operation. Its heap block stays where it is until the next one is made.
    pub(super) iovecs: Vec<libc::iovec>,
    /// Known, but not yet given out: the fault-in ahead has to end first.
    pub(super) result: Option<Result<usize, Errno>>,
    /// The request is over and its result can be taken.
    pub(super) done: bool,
    pub(super) waker: Option<Waker>,
    /// The buffer of a request that nobody waits for.
    pub(super) orphan: Option<Box<dyn Any>>,
    pub(super) started_ns: u64,
}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot {
            work: Work::Free,
            file: None,
            pinned: None,
            main: false,
            slow: false,
            answer: Answer::Completed,
            parked: None,
            deferred: None,
            bounce: None,
            ahead_end: 0,
            iovecs: Vec::new(),
            result: None,
            done: false,
            waker: None,
            orphan: None,
            started_ns: 0,
        }
    }
}
