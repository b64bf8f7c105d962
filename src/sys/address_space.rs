//! A number for each address space: state that belongs to one process (an open page map, a ring) is
//! stale in a child of fork, and the number tells.
//!
//! May know: MADV_WIPEONFORK (Linux 4.14). Must not know: which state is kept for the number.
//!
//! The kernel wipes one page to zero in every child that gets a copy of the address space, whatever
//! call made the child (fork, clone, a library that bypasses the C library's handlers). A vfork
//! child shares the address space, and rightly sees its number. One load.

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
        // Without the page the process id serves, at one more system call. Only kernels older than
        // this crate needs lack the page.
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

/// Maps the page. `None` if the kernel refuses the mapping or the advice.
fn wiped_page() -> Option<usize> {
    let bytes = super::page_size();
    // SAFETY: a new anonymous mapping at an address that the kernel chooses replaces no other.
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
        // SAFETY: the mapping was made above, and its address was given to nobody.
        unsafe { libc::munmap(page, bytes) };
        return None;
    }
    Some(page.expose_provenance())
}
