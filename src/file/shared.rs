//! An open file as one driver sees it: descriptors, their places in the ring's table, and the sizes
//! that hold for its requests.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use super::opened::{Facts, Kind, Opened};
use crate::driver::op::FileRef;
use crate::sys::Errno;
use crate::transfer::{Direction, Geometry, USER_END};

/// The way the bytes of a file go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoPath {
    /// O_DIRECT, wherever memory, offset and length allow it.
    Direct,
    /// The page cache, and why.
    Buffered(Reason),
}

/// Why a file has no direct path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// [`OpenOptions::direct`](crate::OpenOptions::direct) was set to false.
    NotAsked,
    /// The file was opened to append: a write in several passes would be torn apart by other
    /// writers.
    Append,
    /// A filesystem that keeps its files in the page cache only (tmpfs, ramfs, hugetlbfs).
    MemoryFilesystem,
    /// The filesystem refuses O_DIRECT.
    Refused,
    /// It was opened with O_DIRECT, but statx says that direct I/O does not work, or no alignment
    /// was found that does.
    NoAlignment,
    /// Direct and buffered I/O need a descriptor each, and the second could not be opened; with the
    /// errno.
    NotReopened(i32),
    /// Not a regular file or a block device.
    Kind,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotAsked => f.write_str("direct I/O was not asked for"),
            Reason::Append => f.write_str("opened to append"),
            Reason::MemoryFilesystem => f.write_str("the filesystem keeps its files in memory"),
            Reason::Refused => f.write_str("the filesystem refuses O_DIRECT"),
            Reason::NoAlignment => f.write_str("no alignment works for direct I/O on this file"),
            Reason::NotReopened(errno) => {
                write!(
                    f,
                    "a second descriptor could not be opened through /proc/self/fd: {}",
                    io::Error::from_raw_os_error(*errno)
                )
            }
            Reason::Kind => f.write_str("neither a regular file nor a block device"),
        }
    }
}

impl fmt::Display for IoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoPath::Direct => f.write_str("direct"),
            IoPath::Buffered(reason) => write!(f, "buffered: {reason}"),
        }
    }
}

/// Places in the ring's table that were given up while the driver could not be asked.
pub(crate) type Retired = Rc<RefCell<Vec<u32>>>;

/// The open file, shared by the handle and the requests in flight on it.
pub(crate) struct FileShared {
    // What every request looks at stands together.
    plain_reads: Plain,
    plain_writes: Plain,
    /// The main path: direct if there is one.
    main: Cell<FileRef>,
    buffered: Cell<FileRef>,
    reads: Rc<Geometry>,
    writes: Rc<Geometry>,
    /// Places in the ring's table, to be given up.
    places: Cell<[Option<u32>; 2]>,
    retired: Retired,
    opened: Arc<Opened>,
}

/// What one operation on the file's main path takes without further thought, in one direction.
struct Plain {
    /// Bits that an address may not have.
    addr: usize,
    /// Bits that an offset or a length may not have.
    range: u64,
    /// Bytes at most; 0: nothing goes this way.
    most: usize,
    /// The highest address.
    highest: usize,
}

impl Plain {
    fn new(facts: &Facts, allowed: bool, block: u32, pass: usize) -> Plain {
        // Without a direct path all alignments are 1.
        let Facts {
            kind,
            append,
            alignment,
            ..
        } = *facts;
        let ordinary = allowed && !append && kind == Kind::Positioned;
        let too_large = !((1 << 62) - 1);
        Plain {
            addr: alignment.mem as usize - 1,
            range: (u64::from(block) - 1) | too_large,
            most: if ordinary { pass } else { 0 },
            highest: USER_END - pass,
        }
    }
}

impl FileShared {
    /// An open file, for the driver that `base` and `retired` are of.
    pub(crate) fn new(opened: Arc<Opened>, base: Geometry, retired: Retired) -> FileShared {
        let facts = opened.facts;
        let direct = opened.direct_fd().is_some();
        let sized = |block: u32| {
            let (mem, block) = (facts.alignment.mem as usize, block as usize);
            Rc::new(Geometry {
                direct,
                whole: facts.append,
                mem,
                block,
                ..base
            })
        };
        let raw = FileRef::new(opened.buffered_fd().as_raw_fd(), None);
        let shared = FileShared {
            plain_reads: Plain::new(
                &facts,
                facts.readable,
                facts.alignment.read_offset,
                base.pass,
            ),
            plain_writes: Plain::new(&facts, facts.writable, facts.alignment.offset, base.pass),
            main: Cell::new(raw),
            buffered: Cell::new(raw),
            reads: sized(facts.alignment.read_offset),
            writes: sized(facts.alignment.offset),
            places: Cell::new([None; 2]),
            retired,
            opened,
        };
        shared.set_places(None, None);
        shared
    }

    pub(crate) fn opened(&self) -> &Arc<Opened> {
        &self.opened
    }

    pub(crate) fn buffered_fd(&self) -> BorrowedFd<'_> {
        self.opened.buffered_fd()
    }

    pub(crate) fn direct_fd(&self) -> Option<BorrowedFd<'_>> {
        self.opened.direct_fd()
    }

    /// The descriptors have these places in the ring's table.
    pub(crate) fn set_places(&self, buffered: Option<u32>, direct: Option<u32>) {
        self.places.set([buffered, direct]);
        let buffered = FileRef::new(self.buffered_fd().as_raw_fd(), buffered);
        self.buffered.set(buffered);
        self.main.set(
            self.direct_fd()
                .map_or(buffered, |fd| FileRef::new(fd.as_raw_fd(), direct)),
        );
    }

    /// Whether completions are polled for; until the device says that it can't.
    pub(crate) fn set_polled(&self, polled: bool) {
        let polled = polled && self.direct_fd().is_some();
        self.main.set(FileRef {
            polled,
            ..self.main.get()
        });
    }

    pub(crate) fn buffered(&self) -> FileRef {
        self.buffered.get()
    }

    /// The buffered descriptor itself, for a call on this thread.
    pub(crate) fn descriptor(&self) -> FileRef {
        FileRef::new(self.buffered_fd().as_raw_fd(), None)
    }

    /// The direct descriptor, or the buffered one where there is none.
    #[inline]
    pub(crate) fn direct(&self) -> FileRef {
        self.main.get()
    }

    /// The sizes for requests in this direction.
    pub(crate) fn geometry(&self, direction: Direction) -> Rc<Geometry> {
        match direction {
            Direction::Read => self.reads.clone(),
            Direction::Write => self.writes.clone(),
        }
    }

    /// Whether nothing is done with nothing, see [`Opened::is_ordinary`].
    pub(crate) fn is_ordinary(&self) -> bool {
        self.opened.is_ordinary()
    }

    /// Whether one operation on the file's main path takes all of a range, as far as the file and
    /// the numbers can tell. What this refuses may still be right: it is looked at more closely by
    /// [`FileShared::admit`] and by a transfer.
    #[inline]
    pub(crate) fn takes_plain(
        &self,
        direction: Direction,
        addr: usize,
        len: usize,
        offset: u64,
    ) -> bool {
        let plain = match direction {
            Direction::Read => &self.plain_reads,
            Direction::Write => &self.plain_writes,
        };
        (addr & plain.addr) as u64 | (len as u64 | offset) & plain.range == 0
            && len.wrapping_sub(1) < plain.most
            && addr <= plain.highest
    }

    /// What the kernel checks first, see [`Opened::admit`].
    pub(crate) fn admit(
        &self,
        direction: Direction,
        offset: u64,
        total: usize,
        vectored: bool,
    ) -> Result<usize, Errno> {
        self.opened.admit(direction, offset, total, vectored)
    }

    /// Gives up the places in the ring's table.
    pub(crate) fn retire(&self) {
        let places = self.places.take().into_iter().flatten();
        // Borrowed only to push and to drain, never across foreign code.
        if let Ok(mut retired) = self.retired.try_borrow_mut() {
            retired.extend(places);
        }
    }
}

impl Drop for FileShared {
    fn drop(&mut self) {
        self.retire();
    }
}
