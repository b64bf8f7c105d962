//! MADV_POPULATE_READ and MADV_POPULATE_WRITE (Linux 5.14): the page faults of a range are taken
//! now, and its contents stay.
//!
//! May know: the two advices. Must not know: which other way a caller takes when they fail.

use super::Errno;

/// Faults in the pages of `start..start + bytes`, for writing when `write`. `start` must be page
/// aligned.
///
/// The call gives no progress count: on an error a prefix may be populated. The errno (mm/madvise.c,
/// `madvise_populate`): EINVAL for permission, for a mapping that can't be populated, or a kernel
/// before 5.14; EFAULT when the fault itself failed; ENOMEM without a mapping or without memory;
/// EHWPOISON; EINTR on a fatal signal. Blocks for as long as the faults take: for ever, if a
/// userfaultfd handler never answers.
pub(crate) fn populate(start: usize, bytes: usize, write: bool) -> Result<(), Errno> {
    #[cfg(test)]
    CALLS.set(CALLS.get() + 1);
    let advice = if write {
        libc::MADV_POPULATE_WRITE
    } else {
        libc::MADV_POPULATE_READ
    };
    // SAFETY: the two advices change no contents and unmap nothing; the kernel checks the range.
    let result = unsafe { libc::madvise(std::ptr::without_provenance_mut(start), bytes, advice) };
    if result == 0 {
        Ok(())
    } else {
        Err(super::errno())
    }
}

#[cfg(test)]
thread_local! {
    static CALLS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many times this thread has called [`populate`].
#[cfg(test)]
pub(crate) fn calls() -> u64 {
    CALLS.get()
}
