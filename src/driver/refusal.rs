//! What is refused, and in which words: requests that the kernel would refuse before it looks at
//! memory, and abilities that the kernel itself refuses.

use std::io;

use super::op::{Memory, Op};
use super::{MAX_PIECES, threads};
use crate::open_file::FileShared;
use crate::sys::Errno;
use crate::transfer::{Direction, Segments};

/// Whether a read or write may be tried at all, and how much of it one call would move; or else its
/// result.
///
/// What the kernel refuses before it looks at memory is refused here, in the kernel's order. The
/// kernel itself is asked, by a call that moves nothing, where there are more pieces than one call
/// takes, where an address is none of a process's at all (`access_ok`), and where a request is of
/// no bytes and the file may have something to say about that.
pub(super) fn admit(
    file: &FileShared,
    direction: Direction,
    segments: &Segments,
    offset: u64,
) -> Result<usize, Result<usize, Errno>> {
    let total = segments.total();
    // Too many pieces are the kernel's to refuse: what it checks before depends on its version.
    let asks_kernel = segments.count() > MAX_PIECES
        || !segments.are_user_addresses()
        || (total == Some(0) && !file.is_ordinary());
    if !asks_kernel {
        return file
            .admit(direction, offset, total, segments.count() != 1)
            .map_err(Err);
    }
    let iovecs: Vec<libc::iovec> = segments.to_iovecs();
    let memory = match segments {
        Segments::One(one) => Memory::One {
            addr: one.addr,
            len: one.len,
            fixed: None,
        },
        Segments::Many(_) => Memory::Many {
            iov: iovecs.as_ptr(),
            count: iovecs.len() as u32,
        },
    };
    let write = direction == Direction::Write;
    Err(
        match threads::carry_out(Op::Rw {
            write,
            file: file.descriptor(),
            memory,
            offset,
            offload: false,
            priority: 0,
        }) {
            errno @ ..0 => Err(-errno),
            count => Ok(count as usize),
        },
    )
}

/// What a refused io_uring means, and what to do.
pub(super) fn explain(error: &io::Error) -> String {
    let what = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "the kernel has no io_uring (ENOSYS); Linux 5.11 or later is needed, or a sandbox hides it"
        }
        Some(libc::EPERM) => {
            "io_uring is forbidden (EPERM): by a container's seccomp profile, or by sysctl kernel.io_uring_disabled; \
             allow io_uring_setup, io_uring_enter and io_uring_register, or set the sysctl to 0"
        }
        Some(libc::EACCES) => "io_uring is forbidden by a security module (EACCES)",
        Some(libc::ENOMEM) => {
            "no memory for the ring (ENOMEM); raise RLIMIT_MEMLOCK (ulimit -l), or build the engine with a smaller depth"
        }
        Some(libc::EMFILE) => "too many open files (EMFILE); raise RLIMIT_NOFILE (ulimit -n)",
        _ => return format!("io_uring can't be used: {error}"),
    };
    what.to_owned()
}

pub(super) fn explain_pin(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => "over RLIMIT_MEMLOCK (ENOMEM); raise it (ulimit -l), or ask for less".to_owned(),
        Some(libc::EFAULT) => "this kind of memory can't be registered (EFAULT): a shared mapping of a file, or not writable".to_owned(),
        _ => error.to_string(),
    }
}
