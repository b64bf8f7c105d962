//! An open file as one driver sees it: descriptors, their places in the ring's table, and the sizes that hold for its requests.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
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
    /// The file was opened to append: a write in several passes would be torn apart by other writers.
    Append,
    /// A filesystem that keeps its files in the page cache only (tmpfs, ramfs, hugetlbfs).
    MemoryFilesystem,
    /// The filesystem refuses O_DIRECT.
    Refused,
    /// It was opened with O_DIRECT, but statx says that direct I/O does not work, or no alignment was found that does.
    NoAlignment,
    /// Direct and buffered I/O need a descriptor each, and the second could not be opened; with the errno.
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
                write!(f, "a second descriptor could not be opened through /proc/self/fd: {}", io::Error::from_raw_os_error(*errno))
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
    /// Copied from `opened`, where every request would look them up.
    facts: Facts,
    buffered: RawFd,
    direct: Option<RawFd>,
    reads: Rc<Geometry>,
    writes: Rc<Geometry>,
    fixed_buffered: Cell<Option<u32>>,
    fixed_direct: Cell<Option<u32>>,
    /// Whether completions are polled for, until the device says that it can't.
    polled: Cell<bool>,
    retired: Retired,
    opened: Arc<Opened>,
}

impl FileShared {
    /// An open file, for the driver that `base` and `retired` are of.
    pub(crate) fn new(opened: Arc<Opened>, base: Geometry, retired: Retired) -> FileShared {
        let facts = opened.facts;
        let direct = opened.direct_fd().map(|fd| fd.as_raw_fd());
        let sized = |block: u32| {
            let (mem, block) = (facts.alignment.mem as usize, block as usize);
            Rc::new(Geometry { direct: direct.is_some(), whole: facts.append, mem, block, ..base })
        };
        FileShared {
            facts,
            buffered: opened.buffered_fd().as_raw_fd(),
            direct,
            reads: sized(facts.alignment.read_offset),
            writes: sized(facts.alignment.offset),
            fixed_buffered: Cell::new(None),
            fixed_direct: Cell::new(None),
            polled: Cell::new(false),
            retired,
            opened,
        }
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

    pub(crate) fn set_fixed(&self, buffered: Option<u32>, direct: Option<u32>) {
        self.fixed_buffered.set(buffered);
        self.fixed_direct.set(direct);
    }

    pub(crate) fn set_polled(&self, polled: bool) {
        self.polled.set(polled);
    }

    pub(crate) fn buffered(&self) -> FileRef {
        FileRef { raw: self.buffered, fixed: self.fixed_buffered.get(), polled: false }
    }

    pub(crate) fn direct(&self) -> FileRef {
        match self.direct {
            Some(raw) => FileRef { raw, fixed: self.fixed_direct.get(), polled: self.polled.get() },
            None => self.buffered(),
        }
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

    /// Whether one operation on the file's main path takes all of a range, as far as the file and the numbers can tell. What this refuses may
    /// still be right: it is looked at more closely by [`FileShared::admit`] and by a transfer.
    #[inline]
    pub(crate) fn takes_plain(&self, direction: Direction, addr: usize, len: usize, offset: u64) -> bool {
        let Facts { kind, readable, writable, append, alignment } = self.facts;
        let (allowed, block) = match direction {
            Direction::Read => (readable, alignment.read_offset),
            Direction::Write => (writable, alignment.offset),
        };
        // Without a direct path all alignments are 1.
        let aligned = addr & (alignment.mem as usize - 1) == 0 && (len as u64 | offset) & (u64::from(block) - 1) == 0;
        let ordinary = allowed && !append && kind == Kind::Positioned;
        aligned
            && ordinary
            && len.wrapping_sub(1) < self.reads.pass
            && offset <= (i64::MAX / 2) as u64
            && addr <= USER_END - self.reads.pass
    }

    /// What the kernel checks first, see [`Opened::admit`].
    pub(crate) fn admit(&self, direction: Direction, offset: u64, total: usize, vectored: bool) -> Result<usize, Errno> {
        self.opened.admit(direction, offset, total, vectored)
    }

    /// Gives up the places in the ring's table.
    pub(crate) fn retire(&self) {
        let places = self.fixed_buffered.take().into_iter().chain(self.fixed_direct.take());
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
