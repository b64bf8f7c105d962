//! The table of requests in flight.

use std::any::Any;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::task::Waker;

use super::bounce::Place;
use super::lane::LaneKind;
use super::op::Op;
use crate::memory::Pinned;
use crate::open_file::FileShared;
use crate::sys::Errno;
use crate::transfer::{
    Action, Direction, Event, Geometry, Segment, Segments, Stop, Transfer, Trust,
};

/// A slot's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SlotIndex(pub(super) u32);

/// Names a request in flight. Good until its result was taken or it was abandoned; for one of a
/// list, until it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(NonZeroU64);

impl Key {
    /// The request that has the slot `index`, as the `turn`th (modulo 2^32) of those who had it.
    #[inline]
    pub(super) fn new(index: SlotIndex, turn: u32) -> Key {
        // In one register, and never 0: there are fewer slots than numbers.
        Key(NonZeroU64::MIN.saturating_add(u64::from(turn) << 32 | u64::from(index.0)))
    }

    #[inline]
    pub(super) fn index(self) -> SlotIndex {
        SlotIndex((self.0.get() - 1) as u32)
    }

    #[inline]
    pub(super) fn turn(self) -> u32 {
        ((self.0.get() - 1) >> 32) as u32
    }
}

/// Who owns a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Somebody who asks; whom to wake is in [`Cold::waker`].
    Asker,
    List {
        list: u32,
        name: u32,
    },
    /// Nobody any more; what is kept until the kernel is done with it is in [`Cold::buffer_kept`].
    Nobody,
}

/// Which of a slot's operations a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Main,
    Ahead,
}

pub(super) fn token(index: SlotIndex, lane: Lane) -> u64 {
    u64::from(index.0) | if lane == Lane::Ahead { 1 << 32 } else { 0 }
}

pub(super) fn untoken(token: u64) -> (SlotIndex, Lane) {
    (
        SlotIndex(token as u32),
        if token >> 32 == 0 {
            Lane::Main
        } else {
            Lane::Ahead
        },
    )
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

/// What a slot keeps of a [`Plain`] request.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) addr: usize,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) direction: Direction,
    pub(super) trust: Trust,
    pub(super) pinned: bool,
}

impl Sent {
    #[inline]
    pub(super) fn segment(self) -> Segment {
        Segment {
            addr: self.addr,
            len: self.len as usize,
        }
    }

    /// Whether a completion says that all of it was moved.
    #[inline]
    pub(super) fn is_whole(self, result: i32) -> bool {
        result > 0 && result as u32 == self.len
    }

    /// The transfer, before it has begun.
    pub(super) fn transfer(self, geometry: Rc<Geometry>) -> Box<Transfer> {
        let Sent {
            direction,
            trust,
            offset,
            len,
            ..
        } = self;
        Box::new(Transfer::new(
            direction,
            trust,
            geometry,
            Segments::One(self.segment()),
            offset,
            len as usize,
        ))
    }

    /// The transfer, just after its submission.
    pub(super) fn submitted(self, geometry: Rc<Geometry>) -> Box<Transfer> {
        let (Segment { len, .. }, offset) = (self.segment(), self.offset);
        let mut transfer = self.transfer(geometry);
        let mut action = transfer.step(Event::Start);
        if let Action::Look { len } = action {
            action = transfer.step(Event::Looked {
                bytes: len,
                stop: Stop::End,
            });
        }
        debug_assert!(
            [
                Action::Submit {
                    offset,
                    len,
                    offload: false
                },
                Action::Buffered {
                    offset,
                    len,
                    offload: false
                }
            ]
            .contains(&action)
        );
        transfer
    }
}

/// What is done for the request.
pub(super) enum Work {
    Free,
    /// A transfer that one submission is expected to carry out.
    Plain(Sent),
    /// Any other, also a plain one that met something unexpected, and one whose memory was not
    /// looked at yet ([`Cold::to_look`]).
    Transfer(Box<Transfer>),
    ToLook,
    Simple,
}

/// One request in flight: one cache line that every request uses, and the rest.
#[repr(C, align(64))]
pub(super) struct Slot {
    pub(super) file: Option<Rc<FileShared>>,
    pub(super) work: Work,
    pub(super) owner: Owner,
    /// Counts who had the slot before.
    pub(super) turn: u32,
    pub(super) answer: Answer,
    /// The main operation is with the back end.
    pub(super) main: bool,
    /// The request is over and its result can be taken.
    pub(super) done: bool,
    /// Its time is taken.
    pub(super) timed: bool,
    pub(super) priority: u16,
    pub(super) cold: Box<Cold>,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// What only some requests use.
#[derive(Default)]
pub(super) struct Cold {
    /// A plain transfer whose memory was not looked at yet.
    pub(super) to_look: Option<Sent>,
    /// The lane in which the main operation has a place.
    pub(super) lane: Option<LaneKind>,
    /// The lane in which the main operation waits for a place.
    pub(super) waits_in: Option<LaneKind>,
    /// Somebody asked to end the request early.
    pub(super) cancelled: bool,
    /// The request was cancelled because its time was over.
    pub(super) expired: bool,
    pub(super) started_ns: u64,
    /// Known, but not yet given out: nobody has asked, or the fault-in ahead has to end first.
    pub(super) result: Option<Result<usize, Errno>>,
    /// Who asked.
    pub(super) waker: Option<Waker>,
    /// The buffer of a request whose owner is gone.
    pub(super) buffer_kept: Option<Box<dyn Any>>,
    /// The registered buffer that holds the memory of a transfer.
    pub(super) pinned: Option<Pinned>,
    /// The main operation, while it is with the back end. That of a plain request is known
    /// otherwise.
    pub(super) op: Option<Op>,
    /// An operation that waits for its turn among those that may be stuck.
    pub(super) parked: Option<Op>,
    /// An action that waits for a bounce buffer.
    pub(super) deferred: Option<Action>,
    pub(super) bounce: Option<Place>,
    /// Where the fault-in ahead ends, as bytes from the request's start.
    pub(super) ahead_end: usize,
    /// Huge pages were advised for the memory of the request.
    pub(super) advised: bool,
    /// The vector of the main operation. Its heap block stays where it is until the next one is
    /// made.
    pub(super) iovecs: Vec<libc::iovec>,
}

impl Cold {
    /// Forgets what belongs to the request that had the slot.
    pub(super) fn reset(&mut self) {
        self.op = None;
        self.pinned = None;
        self.to_look = None;
        self.advised = false;
        self.cancelled = false;
        self.expired = false;
        self.result = None;
    }
}

impl Slot {
    /// Gives a free slot its file and its work. What a free slot has instead is nothing that would
    /// have to be dropped.
    #[inline]
    pub(super) fn begin(&mut self, file: Rc<FileShared>, work: Work) {
        debug_assert!(self.file.is_none() && matches!(self.work, Work::Free));
        std::mem::forget(self.file.replace(file));
        std::mem::forget(std::mem::replace(&mut self.work, work));
    }

    pub(super) fn new() -> Slot {
        Slot {
            file: None,
            work: Work::Free,
            owner: Owner::Asker,
            turn: 0,
            answer: Answer::Completed,
            main: false,
            done: false,
            timed: false,
            priority: 0,
            cold: Box::default(),
        }
    }
}
