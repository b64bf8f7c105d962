//! A number that changes with the address space: what is kept about "this process" (an open
//! pagemap) is stale in a child of fork.
//!
//! May know: MADV_WIPEONFORK (Linux 4.14). Must not know: who asks.
//!
//! One page is wiped to zero in every child that gets a copy of the address space, by whatever call
//! (fork, clone, a library that goes round the C library's handlers); a vfork child shares the page
//! and the address space, so it keeps the number, rightly. Costs one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The last number handed out in this process or an ancestor. Ordinary memory: a child starts from
/// its parent's.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The number of the address space that the caller runs in. Never 0; a child's is larger than its
/// parent's was at the fork.
pub(crate) fn generation() -> u64 {
    static WIPED: OnceLock<Option<usize>> = OnceLock::new();
    let Some(address) = *WIPED.get_or_init(wiped_page) else {
        // Without the page, ask: one more system call per look, on kernels older than this crate
        // needs.
        // SAFETY: getpid takes nothing and can't fail.
        return unsafe { libc::getpid() } as u64;
    };
    // SAFETY: the page was mapped readable and writable by `wiped_page`, is page aligned, and stays
    // mapped for the rest of the process; it is reached only through atomics.
    let page = unsafe { &*std::ptr::with_exposed_provenance::<AtomicU64>(address) };
    match page.load(Ordering::Acquire) {
        0 => {
            let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            match page.compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => next,
                Err(other_thread) => other_thread,
            }
        }
        number => number,
    }
}

/// Maps the page. `None` if the kernel has no such page to give.
fn wiped_page() -> Option<usize> {
    let bytes = super::page_size();
    // SAFETY: a new anonymous mapping where the kernel likes: no memory of anybody's is replaced.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range is the mapping just made.
    if unsafe { libc::madvise(page, bytes, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: nobody else knows the mapping.
        unsafe { libc::munmap(page, bytes) };
        return None;
    }
    Some(page.expose_provenance())
}
