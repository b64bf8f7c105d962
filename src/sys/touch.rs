//! Touching one word of foreign memory through the kernel: a bad address is an errno, not a signal.
//!
//! May know: the futex calls that read or write a user word. Must not know: what the page is
//! wanted for.
//!
//! Two uses: memory that can be touched but not populated (memfd_secret, `[vvar]`), and kernels
//! without MADV_POPULATE. The futex calls read and write the word with page faults enabled
//! (kernel/futex/requeue.c, waitwake.c) and need no privilege. A sandbox that allows threads allows
//! futex, which it need not do for process_vm_readv. One system call a page.

use super::Errno;
use std::sync::atomic::AtomicU32;

/// `FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0x5a5)`: adds 0, and compares the word with a number
/// that it seldom holds. Where the word does hold it, one waiter on the word wakes without cause;
/// every user of a futex must expect that.
const ADD_NOTHING: usize = (1 << 28) | 0x5a5;

/// Reads the four bytes at `address`, a multiple of 4.
pub(crate) fn read(address: usize) -> Result<(), Errno> {
    let own = AtomicU32::new(0);
    // SAFETY: CMP_REQUEUE that wakes no waiter and requeues none reads the first word, compares it,
    // and changes nothing. With the private flag it does not search the file behind the page. `own`
    // outlives the call.
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
        // EAGAIN says that the word is not 0, so the word was read.
        _ => match super::errno() {
            libc::EAGAIN => Ok(()),
            errno => Err(errno),
        },
    }
}

/// Writes the four bytes at `address`, a multiple of 4, back as they are, atomically.
pub(crate) fn write(address: usize) -> Result<(), Errno> {
    let own = AtomicU32::new(0);
    // SAFETY: WAKE_OP adds 0 to the second word atomically, so no contents change, even if another
    // thread writes there. No thread waits on `own`, which outlives the call.
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
