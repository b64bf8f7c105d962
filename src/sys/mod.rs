//! The system calls and kernel structs that no crate offers, each behind one safe or clearly unsafe
//! function.
//!
//! May know: libc and the kernel's uapi headers. Must not know: buffers, requests, engines. An errno
//! is returned as the kernel gave it; no function here decides what follows from it.

pub(crate) mod address_space;
pub(crate) mod descriptor;
pub(crate) mod pagemap;
pub(crate) mod populate;
pub(crate) mod procmap;
pub(crate) mod smaps;
pub(crate) mod stat;
#[cfg(feature = "tokio")]
pub(crate) mod timer;
pub(crate) mod touch;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An error number as the kernel gave it.
pub(crate) type Errno = i32;

/// The calling thread's errno, for use right after a failed call.
pub(crate) fn errno() -> Errno {
    // raw_os_error is Some for every error that last_os_error makes.
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// The size of a base page, in bytes. A power of two.
pub(crate) fn page_size() -> usize {
    static CACHED: AtomicUsize = AtomicUsize::new(0);
    match CACHED.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: sysconf takes no pointer.
            let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let size = usize::try_from(size)
                .ok()
                .filter(|size| size.is_power_of_two())
                .unwrap_or(4096);
            CACHED.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}
