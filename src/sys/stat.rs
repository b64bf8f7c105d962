//! What the kernel says of a file: the fields of statx(2) that speak of direct I/O, and the kind of
//! its filesystem.
//!
//! May know: statx, fstatfs, fcntl. Must not know: what is made of the answers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The alignments of direct I/O on one file, in bytes, as statx gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DioAlign {
    /// 0: no direct I/O on this file.
    pub(crate) mem: u32,
    /// 0: no direct I/O on this file.
    pub(crate) offset: u32,
    /// The same for reads, where the kernel tells it apart (Linux 6.14).
    pub(crate) read_offset: Option<u32>,
}

/// STATX_DIOALIGN (Linux 6.1) and STATX_DIO_READ_ALIGN (6.14). `None`: this kernel or filesystem
/// does not say.
pub(crate) fn dio_align(fd: BorrowedFd<'_>) -> Option<DioAlign> {
    // SAFETY: statx is plain old data, for which zero is a value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    const READ_ALIGN: u32 = 0x20000;
    let mask = libc::STATX_DIOALIGN | READ_ALIGN;
    // SAFETY: an empty path with AT_EMPTY_PATH names the descriptor; the struct is ours.
    let result = unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            mask,
            &mut stat,
        )
    };
    if result != 0 || stat.stx_mask & libc::STATX_DIOALIGN == 0 {
        return None;
    }
    // stx_dio_read_offset_align lies behind the fields that every libc has: at 0xb4 of the 256
    // bytes.
    // SAFETY: in bounds of the struct, and aligned to four bytes.
    let read_offset = unsafe { (&raw const stat).cast::<u32>().add(0xb4 / 4).read() };
    let read_offset = (stat.stx_mask & READ_ALIGN != 0 && read_offset != 0).then_some(read_offset);
    Some(DioAlign {
        mem: stat.stx_dio_mem_align,
        offset: stat.stx_dio_offset_align,
        read_offset,
    })
}

/// The size of a block device's sectors in bytes (BLKSSZGET): what its direct I/O is aligned to.
pub(crate) fn sector_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const BLKSSZGET: libc::Ioctl = 0x1268;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the ioctl writes one int, which is ours. What is no block device refuses it (ENOTTY).
    match unsafe { libc::ioctl(fd.as_raw_fd(), BLKSSZGET, &mut bytes) } {
        0 => u32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The magic number of the filesystem, see fstatfs(2).
pub(crate) fn filesystem(fd: BorrowedFd<'_>) -> io::Result<i64> {
    // SAFETY: statfs is plain old data, for which zero is a value.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours.
    match unsafe { libc::fstatfs(fd.as_raw_fd(), &mut stat) } {
        0 => Ok(stat.f_type as i64),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The status flags of an open file: access mode, O_APPEND, O_DIRECT.
pub(crate) fn status_flags(fd: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: F_GETFL takes no pointer.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) } {
        flags if flags >= 0 => Ok(flags),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the file has a position at all: lseek(2) answers ESPIPE for what pread(2) does.
pub(crate) fn seekable(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: lseek takes no pointer, and moving by nothing changes nothing.
    unsafe { libc::lseek64(fd.as_raw_fd(), 0, libc::SEEK_CUR) >= 0 }
}

const _: () = assert!(size_of::<libc::statx>() == 0x100);
