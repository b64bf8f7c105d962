//! An open file before any engine knows it: two descriptors of one inode, and what was found out
//! about them.
//!
//! May know: open flags, filesystems, what pread64 and pwrite64 check. Must not know: rings, sizes
//! of windows, engines. It may be shared by engines on several threads.

use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use super::align::{self, Alignment, AlignmentSource};
use super::path::{IoPath, Reason};
use crate::sys::{self, Errno};
use crate::transfer::{Direction, MAX_RW_COUNT};

/// What positioned reads and writes do on a file of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They work.
    Positioned,
    /// A directory: EISDIR for a read.
    Directory,
    /// A pipe, a socket, a terminal: ESPIPE.
    NoPosition,
}

/// What every request asks of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) append: bool,
    pub(super) block_device: bool,
    pub(super) alignment: Alignment,
}

/// The descriptors of an open file, closed when it is dropped.
pub(crate) struct Opened {
    buffered: OwnedFd,
    direct: Option<OwnedFd>,
    pub(super) facts: Facts,
    pub(crate) source: Option<AlignmentSource>,
    pub(crate) path: IoPath,
}

impl Opened {
    /// Takes an open descriptor and finds its other half.
    pub(crate) fn new(file: std::fs::File, direct_wanted: bool) -> io::Result<Opened> {
        let flags = sys::stat::status_flags(file.as_fd())?;
        let file_type = file.metadata()?.file_type();
        let access = flags & libc::O_ACCMODE;
        let path_only = flags & libc::O_PATH != 0;
        let readable = !path_only && access != libc::O_WRONLY;
        let kind = if file_type.is_dir() {
            Kind::Directory
        } else if file_type.is_fifo()
            || file_type.is_socket()
            || (!path_only && !sys::stat::seekable(file.as_fd()))
        {
            Kind::NoPosition
        } else {
            Kind::Positioned
        };
        let writable = !path_only && access != libc::O_RDONLY;
        let append = flags & libc::O_APPEND != 0;
        let mut opened = Opened {
            buffered: file.into(),
            direct: None,
            facts: Facts {
                kind,
                readable,
                writable,
                append,
                block_device: file_type.is_block_device(),
                alignment: Alignment::NONE,
            },
            source: None,
            path: IoPath::Buffered(Reason::Kind),
        };
        let given_direct = flags & libc::O_DIRECT != 0;
        let ordinary =
            kind == Kind::Positioned && (file_type.is_file() || file_type.is_block_device());
        let found = if !ordinary || path_only {
            Err(Reason::Kind)
        } else if append {
            Err(Reason::Append)
        } else if file_type.is_file() && in_memory(opened.buffered.as_fd()) {
            Err(Reason::MemoryFilesystem)
        } else if !direct_wanted {
            Err(Reason::NotAsked)
        } else {
            // Writes that are to be on the device when they complete are so on either way.
            opened.other_half(given_direct, access | flags & libc::O_SYNC)?
        };
        match found {
            Ok(()) => opened.path = IoPath::Direct,
            Err(reason) => {
                opened.path = IoPath::Buffered(reason);
                opened.direct = None;
                opened.facts.alignment = Alignment::NONE;
                if given_direct {
                    opened.clear_direct(flags)?;
                }
            }
        }
        Ok(opened)
    }

    /// Opens the same inode once more, with or without O_DIRECT: whichever the given descriptor
    /// lacks.
    fn other_half(&mut self, given_direct: bool, same: i32) -> io::Result<Result<(), Reason>> {
        let flags = same | libc::O_CLOEXEC | if given_direct { 0 } else { libc::O_DIRECT };
        let name = format!("/proc/self/fd/{}\0", self.buffered.as_raw_fd());
        // SAFETY: the name ends in a zero byte and lives until the call returns.
        let fd = unsafe { libc::open64(name.as_ptr().cast(), flags) };
        if fd < 0 {
            return Ok(Err(match sys::errno() {
                libc::EINVAL => Reason::Refused,
                errno => Reason::NotReopened(errno),
            }));
        }
        // SAFETY: the descriptor is new, so nobody else closes it.
        let other = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
        self.direct = Some(if given_direct {
            std::mem::replace(&mut self.buffered, other)
        } else {
            other
        });
        let Some(direct) = &self.direct else {
            return Ok(Err(Reason::Refused));
        };
        Ok(
            match align::find(direct.as_fd(), self.facts.block_device, self.facts.readable)? {
                Some((alignment, source)) => {
                    (self.facts.alignment, self.source) = (alignment, Some(source));
                    Ok(())
                }
                None => Err(Reason::NoAlignment),
            },
        )
    }

    /// The caller's own descriptor had O_DIRECT, and there is no direct path: all goes through it
    /// without.
    fn clear_direct(&self, flags: i32) -> io::Result<()> {
        if sys::stat::status_flags(self.buffered.as_fd())? & libc::O_DIRECT == 0 {
            return Ok(());
        }
        // SAFETY: F_SETFL takes no pointer.
        match unsafe {
            libc::fcntl(
                self.buffered.as_raw_fd(),
                libc::F_SETFL,
                flags & !libc::O_DIRECT,
            )
        } {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn buffered_fd(&self) -> BorrowedFd<'_> {
        self.buffered.as_fd()
    }

    pub(crate) fn direct_fd(&self) -> Option<BorrowedFd<'_>> {
        self.direct.as_ref().map(|fd| fd.as_fd())
    }

    pub(crate) fn alignment(&self) -> Alignment {
        self.facts.alignment
    }

    /// Whether nothing is done with nothing: a device may answer a request of no bytes with an
    /// error.
    pub(crate) fn is_ordinary(&self) -> bool {
        !matches!(self.path, IoPath::Buffered(Reason::Kind))
    }

    /// The size in bytes, of a block device too.
    pub(crate) fn len(&self) -> io::Result<u64> {
        let file = std::fs::File::from(self.buffered.try_clone()?);
        let metadata = file.metadata()?;
        if metadata.file_type().is_block_device() {
            // A duplicate shares its position with the original, which nothing here uses.
            return (&file).seek(io::SeekFrom::End(0));
        }
        Ok(metadata.len())
    }

    /// What pread64 and pwrite64 check before they look at memory (ksys_pread64, vfs_read,
    /// rw_verify_area), in the same order. Returns how much of `total` one call would move at most.
    pub(crate) fn admit(
        &self,
        direction: Direction,
        offset: u64,
        total: usize,
        vectored: bool,
    ) -> Result<usize, Errno> {
        let position = i64::try_from(offset).map_err(|_| libc::EINVAL)?;
        if self.facts.kind == Kind::NoPosition {
            return Err(libc::ESPIPE);
        }
        let open = match direction {
            Direction::Read => self.facts.readable,
            Direction::Write => self.facts.writable,
        };
        if !open {
            return Err(libc::EBADF);
        }
        // A vector is cut to what one call moves before its end is computed (import_iovec); a
        // single range after.
        let counted = if vectored {
            total.min(MAX_RW_COUNT)
        } else {
            total
        };
        let count = i64::try_from(counted).map_err(|_| libc::EINVAL)?;
        position.checked_add(count).ok_or(libc::EINVAL)?;
        if self.facts.kind == Kind::Directory {
            return Err(libc::EISDIR);
        }
        Ok(total.min(MAX_RW_COUNT))
    }
}

/// Whether a regular file's bytes have no other place than the page cache. Not to be asked of a
/// device: fstatfs(2) describes the filesystem that holds its node.
fn in_memory(fd: BorrowedFd<'_>) -> bool {
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    matches!(sys::stat::filesystem(fd), Ok(magic) if [libc::TMPFS_MAGIC, RAMFS_MAGIC, libc::HUGETLBFS_MAGIC].contains(&magic))
}
