//! The way the bytes of a file go, and why.

use std::fmt;
use std::io;

/// The way the bytes of a file go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoPath {
    /// O_DIRECT, wherever memory, offset and length allow it.
    ///
    /// A block device tells each error of a write exactly once. A write that went to the device
    /// tells its own. A piece that went through the page cache (a ragged edge, a short ragged
    /// write) tells nothing when it is written: the device is asked later, and the error is told by
    /// the next sync of the page cache, through this file or any other that is open on the device.
    /// Neither error is told again by a later sync or write that succeeds.
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
