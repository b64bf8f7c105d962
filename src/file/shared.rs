//! An open file as the driver sees it: two descriptors of one inode, and what may be asked of them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::rc::Rc;

use super::align::{self, Alignment, AlignmentSource};
use crate::driver::op::FileRef;
use crate::sys::{self, Errno};
use crate::transfer::{Direction, Geometry, MAX_RW_COUNT, USER_END};

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

/// What positioned reads and writes do on a file of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// They work.
    Positioned,
    /// A directory: EISDIR for a read.
    Directory,
    /// A pipe, a socket, a terminal: ESPIPE.
    NoPosition,
}

/// Places in the ring's table that were given up while the driver could not be asked.
pub(crate) type Retired = Rc<RefCell<Vec<u32>>>;

/// The open file, shared by the handle and the requests in flight on it.
pub(crate) struct FileShared {
    buffered: OwnedFd,
    direct: Option<OwnedFd>,
    kind: Kind,
    readable: bool,
    writable: bool,
    append: bool,
    pub(crate) alignment: Alignment,
    pub(crate) source: Option<AlignmentSource>,
    pub(crate) path: IoPath,
    reads: Rc<Geometry>,
    writes: Rc<Geometry>,
    fixed_buffered: Cell<Option<u32>>,
    fixed_direct: Cell<Option<u32>>,
    retired: Retired,
}

impl FileShared {
    /// Takes an open descriptor and finds its other half.
    pub(crate) fn new(file: std::fs::File, direct_wanted: bool, base: Geometry, retired: Retired) -> io::Result<FileShared> {
        let flags = sys::stat::status_flags(file.as_fd())?;
        let file_type = file.metadata()?.file_type();
        let access = flags & libc::O_ACCMODE;
        let path_only = flags & libc::O_PATH != 0;
        let readable = !path_only && access != libc::O_WRONLY;
        let kind = if file_type.is_dir() {
            Kind::Directory
        } else if file_type.is_fifo() || file_type.is_socket() || (!path_only && !sys::stat::seekable(file.as_fd())) {
            Kind::NoPosition
        } else {
            Kind::Positioned
        };
        let mut shared = FileShared {
            buffered: file.into(),
            direct: None,
            kind,
            readable,
            writable: !path_only && access != libc::O_RDONLY,
            append: flags & libc::O_APPEND != 0,
            alignment: Alignment::NONE,
            source: None,
            path: IoPath::Buffered(Reason::Kind),
            reads: Rc::new(base),
            writes: Rc::new(base),
            fixed_buffered: Cell::new(None),
            fixed_direct: Cell::new(None),
            retired,
        };
        let given_direct = flags & libc::O_DIRECT != 0;
        let ordinary = kind == Kind::Positioned && (file_type.is_file() || file_type.is_block_device());
        let found = if !ordinary || path_only {
            Err(Reason::Kind)
        } else if shared.append {
            Err(Reason::Append)
        } else if in_memory(shared.buffered.as_fd()) {
            Err(Reason::MemoryFilesystem)
        } else if !direct_wanted {
            Err(Reason::NotAsked)
        } else {
            shared.other_half(given_direct, access)?
        };
        match found {
            Ok(()) => shared.path = IoPath::Direct,
            Err(reason) => {
                shared.path = IoPath::Buffered(reason);
                shared.direct = None;
                shared.alignment = Alignment::NONE;
                if given_direct {
                    shared.clear_direct(flags)?;
                }
            }
        }
        shared.reads = shared.sized(shared.alignment.read_offset, base);
        shared.writes = shared.sized(shared.alignment.offset, base);
        Ok(shared)
    }

    /// Opens the same inode once more, with or without O_DIRECT: whichever the given descriptor lacks.
    fn other_half(&mut self, given_direct: bool, access: i32) -> io::Result<Result<(), Reason>> {
        let flags = access | libc::O_CLOEXEC | if given_direct { 0 } else { libc::O_DIRECT };
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
        self.direct = Some(if given_direct { std::mem::replace(&mut self.buffered, other) } else { other });
        let Some(direct) = &self.direct else { return Ok(Err(Reason::Refused)) };
        Ok(match align::find(direct.as_fd(), self.readable)? {
            Some((alignment, source)) => {
                (self.alignment, self.source) = (alignment, Some(source));
                Ok(())
            }
            None => Err(Reason::NoAlignment),
        })
    }

    /// The caller's own descriptor had O_DIRECT, and there is no direct path: all goes through it without.
    fn clear_direct(&self, flags: i32) -> io::Result<()> {
        if sys::stat::status_flags(self.buffered.as_fd())? & libc::O_DIRECT == 0 {
            return Ok(());
        }
        // SAFETY: F_SETFL takes no pointer.
        match unsafe { libc::fcntl(self.buffered.as_raw_fd(), libc::F_SETFL, flags & !libc::O_DIRECT) } {
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

    pub(crate) fn set_fixed(&self, buffered: Option<u32>, direct: Option<u32>) {
        self.fixed_buffered.set(buffered);
        self.fixed_direct.set(direct);
    }

    pub(crate) fn buffered(&self) -> FileRef {
        FileRef { raw: self.buffered.as_raw_fd(), fixed: self.fixed_buffered.get() }
    }

    pub(crate) fn direct(&self) -> FileRef {
        match &self.direct {
            Some(direct) => FileRef { raw: direct.as_raw_fd(), fixed: self.fixed_direct.get() },
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

    /// Computes the sizes; `base` holds those that depend on the engine.
    fn sized(&self, block: u32, base: Geometry) -> Rc<Geometry> {
        Rc::new(Geometry {
            direct: self.direct.is_some(),
            whole: self.append,
            mem: self.alignment.mem as usize,
            block: block as usize,
            ..base
        })
    }

    /// Whether nothing is done with nothing: a device may answer a request of no bytes with an error.
    pub(crate) fn is_ordinary(&self) -> bool {
        !matches!(self.path, IoPath::Buffered(Reason::Kind))
    }

    /// Whether one operation on the file's main path takes all of a range, as far as the file and the numbers can tell. What this refuses may
    /// still be right: it is looked at more closely by [`FileShared::admit`] and by a transfer.
    #[inline]
    pub(crate) fn takes_plain(&self, direction: Direction, addr: usize, len: usize, offset: u64) -> bool {
        let (allowed, block) = match direction {
            Direction::Read => (self.readable, self.alignment.read_offset),
            Direction::Write => (self.writable, self.alignment.offset),
        };
        // Without a direct path all alignments are 1.
        let aligned = addr & (self.alignment.mem as usize - 1) == 0 && (len as u64 | offset) & (u64::from(block) - 1) == 0;
        let ordinary = allowed && !self.append && self.kind == Kind::Positioned;
        aligned
            && ordinary
            && len.wrapping_sub(1) < self.reads.pass
            && offset <= (i64::MAX / 2) as u64
            && addr <= USER_END - self.reads.pass
    }

    /// What pread64 and pwrite64 check before they look at memory (ksys_pread64, vfs_read, rw_verify_area), in the same order.
    /// Returns how much of `total` one call would move at most.
    pub(crate) fn admit(&self, direction: Direction, offset: u64, total: usize, vectored: bool) -> Result<usize, Errno> {
        let position = i64::try_from(offset).map_err(|_| libc::EINVAL)?;
        if self.kind == Kind::NoPosition {
            return Err(libc::ESPIPE);
        }
        let open = match direction {
            Direction::Read => self.readable,
            Direction::Write => self.writable,
        };
        if !open {
            return Err(libc::EBADF);
        }
        // A vector is cut to what one call moves before its end is computed (import_iovec); a single range after.
        let counted = if vectored { total.min(MAX_RW_COUNT) } else { total };
        let count = i64::try_from(counted).map_err(|_| libc::EINVAL)?;
        position.checked_add(count).ok_or(libc::EINVAL)?;
        if self.kind == Kind::Directory {
            return Err(libc::EISDIR);
        }
        Ok(total.min(MAX_RW_COUNT))
    }
}

impl FileShared {
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

fn in_memory(fd: BorrowedFd<'_>) -> bool {
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    matches!(sys::stat::filesystem(fd), Ok(magic) if [libc::TMPFS_MAGIC, RAMFS_MAGIC, libc::HUGETLBFS_MAGIC].contains(&magic))
}
