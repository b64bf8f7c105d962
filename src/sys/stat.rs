//! What the kernel says of a file: its kind and size, the fields of statx(2) that speak of direct
//! I/O, and its filesystem.
//!
//! May know: statx, fstat, fstatfs, the ioctls of block devices, uname. Must not know: which path a
//! file takes by the answers.

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

/// The size of a block device's sectors in bytes (BLKSSZGET): the alignment of its direct I/O.
pub(crate) fn sector_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const BLKSSZGET: libc::Ioctl = 0x1268;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the ioctl writes one int, which is ours. Other files refuse it (ENOTTY).
    match unsafe { libc::ioctl(fd.as_raw_fd(), BLKSSZGET, &mut bytes) } {
        0 => u32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The capacity of a block device in bytes (BLKGETSIZE64).
pub(crate) fn device_bytes(fd: BorrowedFd<'_>) -> io::Result<u64> {
    // _IOR(0x12, 114, size_t), whose size is part of the number.
    const BLKGETSIZE64: libc::Ioctl = if size_of::<usize>() == 8 {
        0x8008_1272_u32 as libc::Ioctl
    } else {
        0x8004_1272_u32 as libc::Ioctl
    };
    let mut bytes = 0u64;
    // SAFETY: the ioctl writes eight bytes, which are ours. Other files refuse it.
    match unsafe { libc::ioctl(fd.as_raw_fd(), BLKGETSIZE64, &mut bytes) } {
        0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The type bits of st_mode, and the size in bytes, see fstat(2).
pub(crate) fn kind_and_bytes(fd: BorrowedFd<'_>) -> io::Result<(libc::mode_t, u64)> {
    // SAFETY: stat is plain old data, for which zero is a value.
    let mut stat: libc::stat64 = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours.
    match unsafe { libc::fstat64(fd.as_raw_fd(), &mut stat) } {
        0 => Ok((stat.st_mode & libc::S_IFMT, stat.st_size as u64)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The filesystem that holds a file; of a device, the one that holds its node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filesystem {
    /// Its magic number.
    pub(crate) magic: i64,
    /// The filesystem counts neither blocks nor files: its files are not stored (simple_statfs).
    pub(crate) counts_nothing: bool,
}

/// See fstatfs(2).
pub(crate) fn filesystem(fd: BorrowedFd<'_>) -> io::Result<Filesystem> {
    // SAFETY: statfs is plain old data, for which zero is a value.
    let mut stat: libc::statfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours.
    match unsafe { libc::fstatfs64(fd.as_raw_fd(), &mut stat) } {
        0 => Ok(Filesystem {
            magic: stat.f_type as i64,
            counts_nothing: stat.f_blocks == 0 && stat.f_bfree == 0 && stat.f_files == 0,
        }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel's release, as (major, minor), see uname(2); (0, 0) where it can't be read.
pub(crate) fn kernel_release() -> (u32, u32) {
    // SAFETY: utsname is plain old data, for which zero is a value.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours.
    if unsafe { libc::uname(&mut names) } != 0 {
        return (0, 0);
    }
    release(names.release.iter().map(|&byte| byte as u8))
}

fn release(text: impl Iterator<Item = u8>) -> (u32, u32) {
    let mut numbers = [0u32; 2];
    let mut at = 0;
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                numbers[at] = numbers[at]
                    .saturating_mul(10)
                    .saturating_add(u32::from(byte - b'0'));
            }
            b'.' if at == 0 => at = 1,
            _ => break,
        }
    }
    (numbers[0], numbers[1])
}

const _: () = assert!(size_of::<libc::statx>() == 0x100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_two_numbers() {
        for (text, numbers) in [
            ("6.1.0-39-amd64", (6, 1)),
            ("6.18.44-fc-v857", (6, 18)),
            ("5.14.0-570.el9.x86_64\0\0", (5, 14)),
            ("7.2-rc1", (7, 2)),
            ("", (0, 0)),
        ] {
            assert_eq!(release(text.bytes()), numbers, "{text}");
        }
        assert!(kernel_release() > (4, 0));
    }
}
