//! What a back end is asked to do, and how it answers.
//!
//! An [`Op`] is one system call's worth of work. It knows descriptors and addresses, and nothing of
//! requests, windows or results.

use crate::memory::Pinned;
use crate::open_file::FileRef;

/// The memory side of a read or write. Whoever makes the op keeps it valid until the op's
/// completion was reaped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    /// One range. `fixed` is the index of the registered buffer that holds all of it.
    One {
        addr: usize,
        len: usize,
        fixed: Option<u16>,
    },
    /// `count` structs of type iovec at `iov`.
    Many { iov: *const libc::iovec, count: u32 },
}

impl Memory {
    /// The number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        match *self {
            Memory::One { len, .. } => len,
            Memory::Many { iov, count } => {
                // SAFETY: whoever makes the value keeps `count` structs at `iov` valid.
                let pieces = unsafe { std::slice::from_raw_parts(iov, count as usize) };
                pieces.iter().map(|piece| piece.iov_len).sum()
            }
        }
    }
}

/// One piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Rw {
        write: bool,
        file: FileRef,
        memory: Memory,
        offset: u64,
        /// Not on the submitting thread: the memory may fault, or the request came back with
        /// EAGAIN.
        offload: bool,
        /// As in ioprio_set(2); 0: the thread's own.
        priority: u16,
    },
    /// Fault in whole pages, contents untouched.
    Populate {
        addr: usize,
        len: usize,
        write: bool,
    },
    Sync {
        file: FileRef,
        data_only: bool,
    },
    Allocate {
        file: FileRef,
        offset: u64,
        len: u64,
    },
    SetLen {
        file: FileRef,
        len: u64,
    },
}

/// How an op ended: the count, or the negated errno, as in a CQE.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) token: u64,
    pub(crate) result: i32,
}

/// How long a turn may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Only look.
    No,
    /// Until there is one.
    Forever,
    /// Until there is one or the time is over.
    For(std::time::Duration),
}

/// One range, in its registered buffer if there is one.
#[inline(always)]
pub(super) fn one(pinned: Option<&Pinned>, addr: usize, len: usize) -> Memory {
    let fixed = pinned.and_then(|pinned| {
        let (from, to) = (addr - pinned.base, addr - pinned.base + len - 1);
        let entry = from / Pinned::ENTRY_BYTES;
        (entry == to / Pinned::ENTRY_BYTES).then(|| pinned.index + entry as u16)
    });
    Memory::One { addr, len, fixed }
}
