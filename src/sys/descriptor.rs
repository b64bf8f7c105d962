//! One descriptor: its status flags, the errno with which it refuses positioned reads and writes, and
//! the same inode opened once more.
//!
//! May know: fcntl, pread, open through /proc. Must not know: which path a file takes by the answers.
//! No function here changes the open file, which other descriptors may share: no position moves, no
//! flag is set.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Errno, errno};

/// The status flags of an open file: access mode, O_APPEND, O_DIRECT.
pub(crate) fn status_flags(fd: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: F_GETFL takes no pointer.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) } {
        flags if flags >= 0 => Ok(flags),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The errno with which pread64(2), or pwrite64(2), refuses every request on this descriptor: ESPIPE
/// where the file has no position, EBADF where the descriptor is not open for reading (writing),
/// EINVAL where the file has no such operation. `None`: requests reach the file.
///
/// The function calls pread64 for one byte at an address that no process can map. The kernel checks
/// the file's mode, then the address, and calls the file last (ksys_pread64, vfs_read), so no byte
/// is read and nothing changes. lseek(2) is no substitute: it succeeds on an eventfd.
pub(crate) fn refusal(fd: BorrowedFd<'_>, write: bool) -> Option<Errno> {
    const UNMAPPABLE: usize = usize::MAX - 4095;
    let address = std::ptr::without_provenance_mut::<libc::c_void>(UNMAPPABLE);
    // SAFETY: the address is in the kernel's half of all addresses, which the kernel neither reads
    // nor writes for a process.
    let result = unsafe {
        if write {
            libc::pwrite64(fd.as_raw_fd(), address, 1, 0)
        } else {
            libc::pread64(fd.as_raw_fd(), address, 1, 0)
        }
    };
    if result >= 0 {
        return None;
    }
    Some(errno()).filter(|errno| [libc::ESPIPE, libc::EBADF, libc::EINVAL].contains(errno))
}

/// Whether this open file holds a lease that opening the inode once more would break (fcntl(2),
/// F_SETLEASE), which signals the holder and waits for it.
pub(crate) fn holds_write_lease(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GETLEASE takes no pointer.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLEASE) == libc::F_WRLCK }
}

/// Whether this open file allows reads that must not wait (FMODE_NOWAIT). The file must be open for
/// reading.
///
/// The function asks for one byte at the largest offset, with RWF_NOWAIT: where the file does not
/// allow such reads, the kernel answers EOPNOTSUPP before it calls the file. Elsewhere the call may
/// count as a read (access time).
pub(crate) fn reads_without_waiting(fd: BorrowedFd<'_>) -> bool {
    let mut byte = 0u8;
    let iovec = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: one byte of our own.
    let result =
        unsafe { libc::preadv2(fd.as_raw_fd(), &iovec, 1, i64::MAX - 4095, libc::RWF_NOWAIT) };
    result >= 0 || errno() != libc::EOPNOTSUPP
}

/// Opens the inode behind a descriptor once more, through /proc/self/fd.
pub(crate) fn open_again(fd: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd, Errno> {
    let name = format!("/proc/self/fd/{}\0", fd.as_raw_fd());
    // SAFETY: the name ends in a zero byte and lives until the call returns.
    let fd = unsafe { libc::open64(name.as_ptr().cast(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: the descriptor is new, so nobody else closes it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
