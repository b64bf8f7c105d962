//! What is asked of a driver, and how the answer comes back.
//!
//! May know: files, segments, what a caller may ask for beside the bytes. Must not know: slots.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::memory::Pinned;
use crate::open_file::FileShared;
use crate::sys::Errno;
use crate::transfer::{Direction, Segment, Segments, Trust};

/// Who gets the result of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notify {
    /// Whoever asks for it, see [`Driver::take`](super::Driver::take).
    Asker,
    /// A list, under a name, see [`Driver::open_list`](super::Driver::open_list).
    List { list: u32, name: u32 },
}

/// A request, before it has a slot.
pub(crate) struct Request {
    pub(crate) file: Rc<FileShared>,
    pub(crate) kind: Kind,
    pub(crate) priority: u16,
    /// When it is cancelled.
    pub(crate) due: Option<Instant>,
}

impl Request {
    pub(crate) fn new(file: Rc<FileShared>, kind: Kind, options: Options) -> Request {
        Request {
            file,
            kind,
            priority: options.priority,
            due: options.due(),
        }
    }

    /// Whether its time is over.
    pub(crate) fn is_late(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

/// What a caller may ask for beside the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// As in ioprio_set(2); 0: the thread's own.
    pub(crate) priority: u16,
    /// After how many nanoseconds the request is cancelled; 0: never.
    pub(crate) timeout_ns: u64,
}

impl Options {
    /// When a request that is made now is cancelled.
    #[inline]
    pub(crate) fn due(self) -> Option<Instant> {
        match self.timeout_ns {
            0 => None,
            timeout => Instant::now().checked_add(Duration::from_nanos(timeout)),
        }
    }
}

/// What a request asks for.
pub(crate) enum Kind {
    Transfer {
        direction: Direction,
        segments: Segments,
        offset: u64,
        trust: Trust,
        pinned: Option<Pinned>,
    },
    Sync {
        data_only: bool,
    },
    Allocate {
        offset: u64,
        len: u64,
    },
    SetLen {
        len: u64,
    },
}

/// A transfer whose first steps are known beforehand: submit all of it, and if all of it was moved,
/// finish. Its [`Transfer`] is made only where the kernel answers anything else.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    pub(crate) direction: Direction,
    pub(crate) trust: Trust,
    pub(crate) segment: Segment,
    pub(crate) offset: u64,
    pub(crate) pinned: Option<Pinned>,
    pub(crate) options: Options,
}

impl Plain {
    /// What is asked for, as any request has it.
    pub(crate) fn kind(self) -> Kind {
        let Plain {
            direction,
            trust,
            segment,
            offset,
            pinned,
            ..
        } = self;
        Kind::Transfer {
            direction,
            segments: Segments::One(segment),
            offset,
            trust,
            pinned,
        }
    }

    /// The request, to be taken the long way.
    pub(crate) fn request(self, file: &Rc<FileShared>) -> Request {
        let options = self.options;
        Request::new(file.clone(), self.kind(), options)
    }
}

/// A result in a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) name: u32,
    pub(crate) result: Result<usize, Errno>,
}
