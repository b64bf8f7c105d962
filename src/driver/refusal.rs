//! Which requests are refused: those that the kernel would refuse before it looks at memory.

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
