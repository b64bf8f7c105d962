//! Which requests are refused: those that the kernel would refuse before it looks at memory.

use super::op::{Memory, Op};
use super::{MAX_PIECES, threads};
use crate::open_file::FileShared;
use crate::sys::Errno;
use crate::transfer::{Direction, Segments};

/// Whether a read or write may be tried at all, and how much of it one call would move; or else its
/// result.
///
/// What the kernel refuses before it looks at memory is refused here, in its order. Where an
/// address is none of a process's at all (`access_ok`), or a device has something to say about
/// nothing, the kernel itself is asked: such a call moves nothing.
pub(super) fn admit(
    file: &FileShared,
    direction: Direction,
    segments: &Segments,
    offset: u64,
) -> Result<usize, Result<usize, Errno>> {
    if segments.count() > MAX_PIECES {
        return Err(Err(libc::EINVAL));
    }
    let total = segments.total();
    if segments.are_user_addresses() && (total != Some(0) || file.is_ordinary()) {
        let total = total.ok_or(Err(libc::EINVAL))?;
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
