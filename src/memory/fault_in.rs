//! Takes the page faults of a range now, and returns how many bytes were faulted in.
//!
//! May know: the populate advices and the touching of one word (`sys`). Must not know: requests.
//!
//! Named after the kernel's `fault_in_readable` and `fault_in_writeable` (mm/gup.c), with one
//! difference: the kernel's functions return the bytes that were not faulted in, these return the
//! bytes that were. Contents are never changed.
//!
//! Not for the submission path: there is no bound to the time of a fault, and a fault in a
//! userfaultfd whose handler never answers lasts for ever.
//!
//! How the good prefix of a range with a bad page is found: the populate advices return no count.
//! They succeed for a range up to some length and fail for every longer one, so halving finds the
//! first bad page. For n pages there are at most log2(n) + 2 calls. Memory that refuses to be populated though it can be touched
//! (memfd_secret, `[vvar]`, all memory before Linux 5.14) is touched, one word a page, one call
//! each.

use crate::sys::populate::populate;
use crate::sys::{page_size, touch};

/// Touched pages between two tries to populate the rest at once.
const TOUCH_PAGES: usize = 512;

/// Faults in the `len` bytes from `ptr` on for reading, contents untouched: what a write to a file
/// will send. Returns how many bytes can be read, counted from `ptr` up to the first page that can't
/// be: `len` if all can. The kernel's function of this name returns the other part of `len`.
///
/// Any pointer may be given. The zero page may be mapped, so that a later write to the same page
/// faults again. Blocks as long as the faults take: never call it on the thread that resolves a
/// userfaultfd's faults, nor on a thread that submits requests for other tasks.
#[must_use]
pub fn fault_in_readable(ptr: *const u8, len: usize) -> usize {
    fault_in(ptr.addr(), len, false)
}

/// Faults in the `len` bytes from `ptr` on for writing, contents untouched: what a read from a file
/// will fill. Returns how many bytes can be written, counted from `ptr` up to the first page that
/// can't be: `len` if all can. The kernel's function of this name returns the other part of `len`.
///
/// Any pointer may be given. Where a page can't be populated but may be writable, the word at its
/// start (inside the same page, perhaps before `ptr`) gets 0 added atomically. Blocks as
/// [`fault_in_readable`] does.
pub fn fault_in_writeable(ptr: *mut u8, len: usize) -> usize {
    fault_in(ptr.addr(), len, true)
}

fn fault_in(addr: usize, len: usize, write: bool) -> usize {
    if len == 0 {
        return 0;
    }
    let page = page_size();
    // The last page of the address space is never mapped: without it no sum below overflows.
    let end = addr.saturating_add(len).min(usize::MAX & !(page - 1));
    let start = addr & !(page - 1);
    let Some(bytes) = end.checked_sub(start) else {
        return 0;
    };
    let pages = bytes.div_ceil(page);
    let good = good_pages(start, pages, page, write);
    // `end` bounds it: start + good * page is at most `end` rounded up.
    (start + good * page).min(end).saturating_sub(addr)
}

/// How many of the pages from `start` on are good, counted from the first.
fn good_pages(start: usize, pages: usize, page: usize, write: bool) -> usize {
    let mut good = 0;
    while good < pages {
        let (from, rest) = (start + good * page, pages - good);
        if populate(from, rest * page, write).is_ok() {
            return pages;
        }
        match populate(from, page, write) {
            Ok(()) => {
                let (prefix, errno) = halve(from, rest, page, write);
                good += prefix;
                if errno != libc::EINVAL {
                    return good;
                }
                // The next round meets the refusing page first.
            }
            Err(libc::EINVAL) => {
                let some = rest.min(TOUCH_PAGES);
                let touched = touched_pages(from, some, page, write);
                good += touched;
                if touched < some {
                    return good;
                }
            }
            Err(_) => return good,
        }
    }
    good
}

/// How many of `pages` are good, and the errno of the first bad one. The first page is known to be
/// good, and not all of them are.
fn halve(start: usize, pages: usize, page: usize, write: bool) -> (usize, i32) {
    let (mut good, mut bad, mut errno) = (1, pages, libc::EFAULT);
    // The kernel goes through a range in order, so the errno of every failed call is that of the
    // first bad page.
    while good < bad {
        let middle = good + (bad - good).div_ceil(2);
        match populate(start + good * page, (middle - good) * page, write) {
            Ok(()) => good = middle,
            Err(error) => (bad, errno) = (middle - 1, error),
        }
    }
    (good, errno)
}

/// How many of the pages can be touched, counted from the first.
fn touched_pages(start: usize, pages: usize, page: usize, write: bool) -> usize {
    let touch = if write { touch::write } else { touch::read };
    (0..pages)
        .take_while(|index| touch(start + index * page).is_ok())
        .count()
}

#[cfg(test)]
#[path = "fault_in_test.rs"]
mod tests;
