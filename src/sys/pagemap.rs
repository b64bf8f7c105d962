//! /proc/self/pagemap: what the page tables say of each page of this process, read without touching
//! the page.
//!
//! May know: the file and its bits (Documentation/admin-guide/mm/pagemap.rst). Must not know: which
//! of its pages a request may use.
//!
//! The file belongs to the address space in which it was opened: after fork, the child's reads
//! through an inherited descriptor show the parent's pages. A caller that keeps the file open
//! compares [`super::address_space::generation`].

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// The page is in memory and mapped here.
pub(crate) const PRESENT: u64 = 1 << 63;
/// A page of a file, or of shared anonymous memory.
pub(crate) const FILE: u64 = 1 << 61;
/// Armed by a userfaultfd: a write to it waits for the handler.
pub(crate) const UFFD_WP: u64 = 1 << 57;
/// Mapped here and nowhere else.
pub(crate) const EXCLUSIVE: u64 = 1 << 56;
/// In swap, or a marker such as a guard.
pub(crate) const SWAPPED: u64 = 1 << 62;
/// A guard page (MADV_GUARD_INSTALL).
#[cfg(test)]
pub(crate) const GUARD: u64 = 1 << 58;

/// `struct pm_scan_arg` of include/uapi/linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

const _: () = assert!(size_of::<Scan>() == 96 && size_of::<Region>() == 24);

/// `_IOWR('f', 16, struct pm_scan_arg)`, and its categories of pages.
const PAGEMAP_SCAN: libc::Ioctl = libc::_IOWR::<Scan>(b'f' as u32, 16);
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;
const PAGE_IS_HUGE: u64 = 1 << 6;

/// An open /proc/self/pagemap.
#[derive(Debug)]
pub(crate) struct Pagemap {
    file: File,
}

impl Pagemap {
    /// Opens the page map of this address space. Needs /proc, and a process that may look at itself
    /// (PR_SET_DUMPABLE).
    pub(crate) fn open() -> io::Result<Pagemap> {
        Ok(Pagemap {
            file: File::open("/proc/self/pagemap")?,
        })
    }

    /// Reads the entries of the pages from number `first_page_index` (address divided by the page
    /// size) on. Returns how many entries were read: fewer than `entries` holds at the end of the
    /// address space. One system call.
    pub(crate) fn read(&self, first_page_index: usize, entries: &mut [u64]) -> io::Result<usize> {
        let Some(offset) = (first_page_index as u64)
            .checked_mul(8)
            .filter(|offset| *offset <= i64::MAX as u64)
        else {
            return Ok(0);
        };
        // SAFETY: a u64 may hold any eight bytes; the slice covers exactly the memory of `entries`,
        // which is borrowed for as long.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(entries.as_mut_ptr().cast::<u8>(), size_of_val(entries))
        };
        Ok(self.file.read_at(bytes, offset)? / 8)
    }

    /// The first run of zero pages (small or huge) in `start..end`, both page aligned; an empty run
    /// at `end` if the range has none. PAGEMAP_SCAN, Linux 6.7: ENOTTY before. One system call.
    pub(crate) fn zero_pages(&self, start: usize, end: usize) -> io::Result<Range<usize>> {
        self.first_run(Scan {
            start: start as u64,
            end: end as u64,
            category_mask: PAGE_IS_PFNZERO,
            ..Scan::default()
        })
    }

    /// The first run of pages in `start..end` that are in memory or in swap; otherwise as
    /// [`Pagemap::zero_pages`].
    pub(crate) fn populated_pages(&self, start: usize, end: usize) -> io::Result<Range<usize>> {
        self.first_run(Scan {
            start: start as u64,
            end: end as u64,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            ..Scan::default()
        })
    }

    /// The first run of pages in `start..end` that are in memory, but not mapped as part of a huge
    /// page (transparent or hugetlb); otherwise as [`Pagemap::zero_pages`].
    pub(crate) fn small_pages(&self, start: usize, end: usize) -> io::Result<Range<usize>> {
        self.first_run(Scan {
            start: start as u64,
            end: end as u64,
            category_inverted: PAGE_IS_HUGE,
            category_mask: PAGE_IS_PRESENT | PAGE_IS_HUGE,
            ..Scan::default()
        })
    }

    /// The first run of pages that have the categories of `scan`, within its `start..end`.
    fn first_run(&self, scan: Scan) -> io::Result<Range<usize>> {
        let mut region = Region::default();
        let end = scan.end as usize;
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            vec: (&raw mut region).expose_provenance() as u64,
            vec_len: 1,
            // A run ends where the returned categories change. Only the categories that select the
            // pages are returned, so that no other difference cuts a run.
            return_mask: scan.category_mask,
            ..scan
        };
        // SAFETY: the kernel reads and writes `scan` and at most `vec_len` regions at `vec`; both
        // live on this stack frame.
        let found = unsafe { libc::ioctl(self.file.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) };
        match found {
            ..0 => Err(io::Error::last_os_error()),
            0 => Ok(end..end),
            _ => Ok(region.start as usize..region.end as usize),
        }
    }
}
