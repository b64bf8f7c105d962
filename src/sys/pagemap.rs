//! /proc/self/pagemap: what the page tables say of each page of this process, read without touching the page.
//!
//! May know: the file and its bits (Documentation/admin-guide/mm/pagemap.rst). Must not know: what a request needs of a page.
//!
//! The file belongs to the address space in which it was opened: after fork, the child's reads through an inherited descriptor show the
//! parent's pages. Whoever keeps one compares [`super::address_space::generation`].

use std::fs::File;
use std::io;
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
#[cfg(test)]
pub(crate) const SWAPPED: u64 = 1 << 62;
/// A guard page (MADV_GUARD_INSTALL).
#[cfg(test)]
pub(crate) const GUARD: u64 = 1 << 58;

/// An open /proc/self/pagemap.
#[derive(Debug)]
pub(crate) struct Pagemap {
    file: File,
}

impl Pagemap {
    /// Opens the page map of this address space. Needs /proc, and a process that may look at itself (PR_SET_DUMPABLE).
    pub(crate) fn open() -> io::Result<Pagemap> {
        Ok(Pagemap { file: File::open("/proc/self/pagemap")? })
    }

    /// Reads the entries of the pages from number `first_page_index` on (address divided by the page size). Gives how many entries were
    /// read: fewer than asked for at the end of the address space. One system call.
    pub(crate) fn read(&self, first_page_index: usize, entries: &mut [u64]) -> io::Result<usize> {
        let Some(offset) = (first_page_index as u64).checked_mul(8).filter(|offset| *offset <= i64::MAX as u64) else {
            return Ok(0);
        };
        // SAFETY: a u64 may hold any eight bytes; the slice covers exactly the memory of `entries`, which is borrowed for as long.
        let bytes = unsafe { std::slice::from_raw_parts_mut(entries.as_mut_ptr().cast::<u8>(), size_of_val(entries)) };
        Ok(self.file.read_at(bytes, offset)? / 8)
    }
}
