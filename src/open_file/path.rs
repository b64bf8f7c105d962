//! The way the bytes of a file go, and why.

use std::fmt;
use std::io;

/// The way the bytes of a file go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoPath {
    /// O_DIRECT, wherever memory, offset and length allow it.
    ///
    /// A device's write error is told exactly once. A write that went to the device tells EIO
    /// itself, and the next sync does not. A piece that went through the page cache (a ragged edge,
    /// a short ragged write, a piece that the device had no room for: ENOSPC) is counted when the
    /// page cache has it; the device is asked later, and the next sync of this file tells the error.
    /// The sync after that succeeds, although the bytes are not on the device: write them again.
    Direct,
    /// The page cache, and why.
    Buffered(Reason),
    /// O_DIRECT for everything: the file was handed over open with O_DIRECT, and the descriptor for
    /// the page cache could not be opened, with the errno.
    ///
    /// Reads of any shape work. A write that is not as [`File::alignment`](crate::File::alignment)
    /// says, or memory that direct I/O can't be given to, is answered as the descriptor itself
    /// answers it: mostly by EINVAL.
    DirectOnly(i32),
}

/// Why a file has no direct path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// [`OpenOptions::direct`](crate::OpenOptions::direct) was set to false.
    NotAsked,
    /// The file was opened to append. A write in several passes could have another writer's bytes
    /// in its middle, so each write is one call.
    Append,
    /// The filesystem keeps its files in the page cache and nowhere else (tmpfs, ramfs, hugetlbfs).
    MemoryFilesystem,
    /// The filesystem refuses O_DIRECT.
    Refused,
    /// The filesystem accepts O_DIRECT, but statx says that direct I/O does not work on this file,
    /// or no alignment was found at which a direct read works.
    NoAlignment,
    /// Direct and buffered I/O need a descriptor each, and the second could not be opened; with the
    /// errno.
    NotReopened(i32),
    /// Not a regular file or a block device.
    ///
    /// Each request on a character device is one call of the kernel's, and the call's answer is the
    /// result, be it as short as it likes.
    Kind,
    /// A regular file that the kernel makes up as it is read (procfs, sysfs and their like). Each
    /// request is one call of the kernel's, as for [`Reason::Kind`].
    Special,
    /// Open neither to read nor to write (O_PATH, access mode 3), or without such operations.
    NoAccess,
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
            Reason::Special => f.write_str("the kernel makes the file up as it is read"),
            Reason::NoAccess => f.write_str("open neither to read nor to write"),
        }
    }
}

impl fmt::Display for IoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoPath::Direct => f.write_str("direct"),
            IoPath::DirectOnly(errno) => write!(
                f,
                "direct, without the page cache for what is not aligned: a second descriptor could \
                 not be opened through /proc/self/fd: {}",
                io::Error::from_raw_os_error(*errno)
            ),
            IoPath::Buffered(reason) => write!(f, "buffered: {reason}"),
        }
    }
}
