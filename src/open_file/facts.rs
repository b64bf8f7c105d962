//! What is known of an open file before its descriptors are chosen: kind, access, filesystem.
//!
//! May know: file types, filesystems, access modes. Must not know: alignments, second descriptors.

use std::io;
use std::os::fd::BorrowedFd;

use super::path::Reason;
use crate::sys::{self, Errno};
use crate::transfer::Direction;

/// What reads and writes do on a file of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file with contents of its own.
    File,
    /// A regular file whose bytes are in the page cache and nowhere else (tmpfs).
    InMemory,
    /// A block device.
    Device,
    /// A regular file that the kernel makes up as it is read (procfs, sysfs).
    MadeUp,
    /// A directory: EISDIR.
    Directory,
    /// A character device, a pipe, a socket, or none of these (eventfd).
    Other,
}

/// What every request asks of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    /// O_APPEND.
    pub(super) append: bool,
    /// Direct requests must not be tried on the submitting thread, see [`waits_badly`].
    pub(super) offload: bool,
    reads_refused: Option<Errno>,
    writes_refused: Option<Errno>,
}

impl Facts {
    /// Asks the kernel. The descriptor is used for nothing that others who share it could notice.
    pub(super) fn of(fd: BorrowedFd<'_>, flags: i32) -> io::Result<Facts> {
        let kind = match sys::stat::kind_and_bytes(fd)?.0 {
            libc::S_IFREG => kind_of_file(fd),
            libc::S_IFBLK => Kind::Device,
            libc::S_IFDIR => Kind::Directory,
            _ => Kind::Other,
        };
        let reads_refused = sys::descriptor::refusal(fd, false);
        Ok(Facts {
            kind,
            append: flags & libc::O_APPEND != 0,
            offload: kind == Kind::File && waits_badly(fd, reads_refused.is_none()),
            reads_refused,
            writes_refused: sys::descriptor::refusal(fd, true),
        })
    }

    /// The errno that every request in this direction ends with, see
    /// [`refusal`](sys::descriptor::refusal).
    pub(super) fn refusal(&self, direction: Direction) -> Option<Errno> {
        match direction {
            Direction::Read => self.reads_refused,
            Direction::Write => self.writes_refused,
        }
    }

    /// Whether a request is one call of the kernel's and its answer the result, because another
    /// call might do something else than to go on.
    pub(super) fn one_call(&self) -> bool {
        self.append || matches!(self.kind, Kind::MadeUp | Kind::Other)
    }

    /// Why a file of this kind has no direct path; `None` where it may have one.
    pub(super) fn without_direct(&self) -> Option<Reason> {
        match self.kind {
            _ if self.reads_refused.is_some() && self.writes_refused.is_some() => {
                Some(Reason::NoAccess)
            }
            Kind::Directory | Kind::Other => Some(Reason::Kind),
            Kind::MadeUp => Some(Reason::Special),
            Kind::InMemory => Some(Reason::MemoryFilesystem),
            Kind::File | Kind::Device if self.append => Some(Reason::Append),
            Kind::File | Kind::Device => None,
        }
    }
}

fn kind_of_file(fd: BorrowedFd<'_>) -> Kind {
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;
    const V9FS_MAGIC: i64 = 0x0102_1997;
    match sys::stat::filesystem(fd) {
        Ok(filesystem) => match filesystem.magic {
            libc::TMPFS_MAGIC | RAMFS_MAGIC | libc::HUGETLBFS_MAGIC => Kind::InMemory,
            // Their numbers are the server's, which may tell none.
            FUSE_SUPER_MAGIC | V9FS_MAGIC => Kind::File,
            _ if filesystem.counts_nothing => Kind::MadeUp,
            _ => Kind::File,
        },
        Err(_) => Kind::File,
    }
}

/// Whether io_uring tries requests on this file without waiting although the filesystem never said
/// that it can: Linux before 6.5 does, and takes -EAGAIN to mean that nothing was done.
///
/// gfs2 answers -EAGAIN also after a first pass that moved the position (Linux 6.1): the request
/// starts over at the moved position, and a read that races an append returns foreign bytes. Other
/// filesystems that do not ask for such requests (FMODE_NOWAIT) were never tested with them either.
fn waits_badly(fd: BorrowedFd<'_>, readable: bool) -> bool {
    const GFS2_MAGIC: i64 = 0x0116_1970;
    /// ext4, XFS and btrfs have asked for them since Linux 4.13.
    const ASKING: [i64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];
    if sys::stat::kernel_release() >= (6, 5) {
        return false;
    }
    match sys::stat::filesystem(fd) {
        Ok(filesystem) if filesystem.magic == GFS2_MAGIC => true,
        Ok(filesystem) if ASKING.contains(&filesystem.magic) => false,
        _ => readable && !sys::descriptor::reads_without_waiting(fd),
    }
}
