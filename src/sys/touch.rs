//! Touching one word of foreign memory through the kernel: a bad address is an errno, not a signal.
//!
//! May know: the futex calls that read or write a user word. Must not know: why somebody wants the
//! page.
//!
//! For the few kinds of memory that can be touched but not populated (memfd_secret, `[vvar]`), and
//! kernels without MADV_POPULATE. The futex calls read and write the word with the page fault
//! handler at work (kernel/futex/requeue.c, waitwake.c), need no privilege, and no sandbox that
//! lets threads run forbids them, unlike process_vm_readv. One system call a page.

use super::Errno;
use std::sync::atomic::AtomicU32;

/// `FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0x5a5)`: add nothing, and compare with a number that
/// the word hardly ever has. If it does, one waiter on that word wakes without cause, which every
/// user of a futex must expect.
const ADD_NOTHING: usize = (1 << 28) | 0x5a5;

/// Reads the four bytes at `address` (a multiple of 4) and drops them.
pub(crate) fn read(address: usize) -> Result<(), Errno> {
    let own = AtomicU32::new(0);
    // SAFETY: CMP_REQUEUE with nobody to wake and nobody to requeue reads the first word, compares
    // it, and changes nothing. The private flag keeps it from looking for the file behind the page.
    // `own` outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            address,
            libc::FUTEX_CMP_REQUEUE | libc::FUTEX_PRIVATE_FLAG,
            0usize,
            0usize,
            own.as_ptr(),
            0usize,
        )
    };
    match result {
        0.. => Ok(()),
        // The word differs from the 0 compared with: it was read.
        _ => match super::errno() {
            libc::EAGAIN => Ok(()),
            errno => Err(errno),
        },
    }
}

/// Writes the four bytes at `address` (a multiple of 4) back as they are, atomically.
pub(crate) fn write(address: usize) -> Result<(), Errno> {
    let own = AtomicU32::new(0);
    // SAFETY: WAKE_OP adds 0 to the second word atomically, so no contents change, whoever else
    // writes there. Nobody waits on `own`, which outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            own.as_ptr(),
            libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG,
            0usize,
            0usize,
            address,
            ADD_NOTHING,
        )
    };
    if result >= 0 {
        Ok(())
    } else {
        Err(super::errno())
    }
}
