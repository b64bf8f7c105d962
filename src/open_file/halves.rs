//! The two descriptors of an open file, and which requests go by which.
//!
//! Direct I/O and the page cache need a descriptor each. The first is given; the second is opened
//! on the same inode.
//!
//! The given descriptor may share its open file with others (a duplicate, one that was inherited or
//! passed), and closing any descriptor of an inode releases the process's record locks on it
//! (fcntl(2)). So the given descriptor's flags and position are never changed, and a second
//! descriptor, once open, stays open until the file is dropped, also where it turns out that nothing
//! goes by it. It is opened only if the given one tells nothing that speaks against it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::align::{self, Alignment, AlignmentSource, Told};
use super::facts::{Facts, Kind};
use super::path::{IoPath, Reason};
use crate::sys;
use crate::transfer::Direction;

/// Which of the two descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Given,
    Second,
}

/// The descriptors of an open file, closed when it is dropped.
pub(super) struct Halves {
    given: OwnedFd,
    second: Option<OwnedFd>,
    buffered: Half,
    direct: Option<Half>,
}

/// What was found out along the way.
pub(super) struct Found {
    pub(super) halves: Halves,
    pub(super) path: IoPath,
    pub(super) alignment: Alignment,
    pub(super) source: Option<AlignmentSource>,
}

impl Halves {
    pub(super) fn buffered(&self) -> BorrowedFd<'_> {
        self.half(self.buffered)
    }

    pub(super) fn direct(&self) -> Option<BorrowedFd<'_>> {
        self.direct.map(|half| self.half(half))
    }

    fn half(&self, half: Half) -> BorrowedFd<'_> {
        match (half, &self.second) {
            (Half::Second, Some(second)) => second.as_fd(),
            _ => self.given.as_fd(),
        }
    }

    /// The given descriptor for everything.
    fn alone(given: OwnedFd) -> Halves {
        Halves {
            given,
            second: None,
            buffered: Half::Given,
            direct: None,
        }
    }
}

/// Finds the way the bytes of a file go, and opens the second descriptor where one is needed.
pub(super) fn find(given: OwnedFd, flags: i32, facts: &Facts, direct_wanted: bool) -> Found {
    let reason = match facts.without_direct() {
        None if !direct_wanted => Some(Reason::NotAsked),
        reason => reason,
    };
    let halves = Halves::alone(given);
    if flags & libc::O_DIRECT == 0 {
        match reason {
            Some(reason) => halves.all_buffered(reason),
            None => beside_buffered(halves, flags, facts),
        }
    } else {
        match reason {
            // O_DIRECT means nothing to these.
            Some(
                reason @ (Reason::Kind
                | Reason::Special
                | Reason::NoAccess
                | Reason::MemoryFilesystem),
            ) => halves.all_buffered(reason),
            Some(reason) => match halves.with_second(same(flags)) {
                Ok(mut halves) => {
                    halves.buffered = Half::Second;
                    halves.all_buffered(reason)
                }
                // Each request is one call on the given descriptor, which refuses what is not aligned.
                Err((halves, errno)) => Found {
                    path: IoPath::DirectOnly(errno),
                    ..halves.all_buffered(reason)
                },
            },
            None => beside_direct(halves, flags, facts),
        }
    }
}

/// The flags that both descriptors have: access, O_APPEND, and that a write is on the device when
/// it completes.
fn same(flags: i32) -> i32 {
    flags & (libc::O_ACCMODE | libc::O_APPEND | libc::O_SYNC | libc::O_NOATIME)
}

/// The given descriptor is for the page cache.
fn beside_buffered(halves: Halves, flags: i32, facts: &Facts) -> Found {
    let told = align::told(halves.given.as_fd(), facts.kind == Kind::Device);
    if told == Told::NoDirect {
        return halves.all_buffered(Reason::NoAlignment);
    }
    let mut halves = match halves.with_second(same(flags) | libc::O_DIRECT) {
        Ok(halves) => halves,
        Err((halves, libc::EINVAL)) => return halves.all_buffered(Reason::Refused),
        Err((halves, errno)) => return halves.all_buffered(Reason::NotReopened(errno)),
    };
    match alignment(halves.half(Half::Second), told, facts) {
        Some((alignment, source)) => {
            halves.direct = Some(Half::Second);
            halves.aligned(IoPath::Direct, alignment, source)
        }
        None => halves.all_buffered(Reason::NoAlignment),
    }
}

/// The given descriptor is for direct I/O, if it works.
fn beside_direct(halves: Halves, flags: i32, facts: &Facts) -> Found {
    let told = align::told(halves.given.as_fd(), facts.kind == Kind::Device);
    let alignment = alignment(halves.given.as_fd(), told, facts);
    let (mut halves, path) = match halves.with_second(same(flags)) {
        Ok(mut halves) => {
            halves.buffered = Half::Second;
            (halves, IoPath::Direct)
        }
        Err((halves, errno)) => (halves, IoPath::DirectOnly(errno)),
    };
    match alignment {
        Some((alignment, source)) => {
            halves.direct = Some(Half::Given);
            halves.aligned(path, alignment, source)
        }
        None => halves.all_buffered(Reason::NoAlignment),
    }
}

fn alignment(
    direct: BorrowedFd<'_>,
    told: Told,
    facts: &Facts,
) -> Option<(Alignment, AlignmentSource)> {
    match told {
        Told::Alignment(alignment, source) => Some((alignment, source)),
        Told::NoDirect => None,
        Told::Nothing => align::probe(direct, facts.refusal(Direction::Read).is_none()),
    }
}

impl Halves {
    /// Opens the second descriptor. Fails with what there is already and the errno.
    fn with_second(self, flags: i32) -> Result<Halves, (Halves, sys::Errno)> {
        if sys::descriptor::holds_write_lease(self.given.as_fd()) {
            return Err((self, libc::EWOULDBLOCK));
        }
        match sys::descriptor::open_again(self.given.as_fd(), flags) {
            Ok(second) => Ok(Halves {
                second: Some(second),
                ..self
            }),
            Err(errno) => Err((self, errno)),
        }
    }

    fn all_buffered(self, reason: Reason) -> Found {
        Found {
            halves: self,
            path: IoPath::Buffered(reason),
            alignment: Alignment::NONE,
            source: None,
        }
    }

    fn aligned(self, path: IoPath, alignment: Alignment, source: AlignmentSource) -> Found {
        Found {
            halves: self,
            path,
            alignment,
            source: Some(source),
        }
    }
}
