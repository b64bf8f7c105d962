//! Buffers at page and huge page boundaries, mapped by the kernel.
//!
//! May know: mmap, and the advice for huge pages. Must not know: requests or registration.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::buf::{IoBuf, IoBufMut, SharedIoBuf};
use super::huge::HUGE_PAGE_BYTES;
use crate::sys::{page_size, populate};

/// Zeroed memory of its own mapping, aligned to a page or a huge page: what direct I/O likes best.
///
/// From 2 MiB on it lies in huge pages, where the kernel has them: a large request is then described
/// to the device in few pieces. See [`huge_pages`](super::huge_pages) for what the machine grants.
///
/// The pages of a new buffer are absent until they are touched or
/// [populated](AlignedBuf::populate): a buffer that is used again and again pays once.
///
/// ```
/// let mut buf = nofault::AlignedBuf::new(8192)?;
/// buf[0] = 1;
/// assert_eq!(buf.len(), 8192);
/// assert_eq!(buf.as_ptr().addr() % 4096, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    /// The length that the owner sees, in bytes.
    len: usize,
    /// The size of the mapping at `ptr`, in bytes; 0 for an empty buffer, which has no mapping.
    mapped: usize,
    huge_advised: bool,
}

impl AlignedBuf {
    /// `len` zeroed bytes at a page boundary. 0 is allowed.
    ///
    /// From 2 MiB on the buffer starts at a 2 MiB boundary, and the kernel is advised to use huge
    /// pages (MADV_HUGEPAGE). Its last part is a huge page only where that takes at most an eighth
    /// more memory than `len`. A huge page is zeroed as a whole when one byte of it is touched: for
    /// a large buffer of which little will be used, see [`ordinary`](AlignedBuf::ordinary).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for more than `isize::MAX` bytes, rounded up to pages; what mmap(2) says,
    /// `ENOMEM` above all.
    pub fn new(len: usize) -> io::Result<AlignedBuf> {
        if len < HUGE_PAGE_BYTES {
            return AlignedBuf::with_advice(len, round_up(len, page_size())?, None);
        }
        let pages = round_up(len, page_size())?;
        let whole = round_up(len, HUGE_PAGE_BYTES)?;
        let mapped = if whole - pages <= pages / 8 {
            whole
        } else {
            pages
        };
        AlignedBuf::with_advice(len, mapped, Some(libc::MADV_HUGEPAGE))
    }

    /// `len` zeroed bytes at a page boundary, in pages of the base size whatever their number
    /// (MADV_NOHUGEPAGE).
    ///
    /// # Errors
    ///
    /// As for [`new`](AlignedBuf::new).
    pub fn ordinary(len: usize) -> io::Result<AlignedBuf> {
        let mapped = round_up(len, page_size())?;
        AlignedBuf::with_advice(len, mapped, Some(libc::MADV_NOHUGEPAGE))
    }

    /// `len` zeroed bytes at a 2 MiB boundary, with the advice to use huge pages, whatever the
    /// length. The mapping is a whole number of 2 MiB, so that the last part of the buffer may be
    /// huge as well.
    ///
    /// A kernel without huge pages gives ordinary ones; ask
    /// [`is_huge_advised`](AlignedBuf::is_huge_advised).
    ///
    /// # Errors
    ///
    /// As for [`new`](AlignedBuf::new).
    pub fn huge(len: usize) -> io::Result<AlignedBuf> {
        let mapped = round_up(len, HUGE_PAGE_BYTES)?;
        AlignedBuf::with_advice(len, mapped, Some(libc::MADV_HUGEPAGE))
    }

    /// `mapped` bytes, a multiple of the page size, for `len` of the owner's. With the advice for
    /// huge pages they start at a boundary of such.
    fn with_advice(len: usize, mapped: usize, advice: Option<i32>) -> io::Result<AlignedBuf> {
        let huge = advice == Some(libc::MADV_HUGEPAGE);
        if mapped == 0 {
            let align = if huge { HUGE_PAGE_BYTES } else { page_size() };
            return Ok(AlignedBuf {
                ptr: empty(align),
                len,
                mapped,
                huge_advised: false,
            });
        }
        let ptr = if huge {
            map_at_huge_border(mapped)?
        } else {
            map(mapped)?
        };
        let advised = advice.is_some_and(|advice| {
            // SAFETY: the range is the mapping just made; the advice changes no contents.
            unsafe { libc::madvise(ptr.as_ptr().cast(), mapped, advice) == 0 }
        });
        Ok(AlignedBuf {
            ptr,
            len,
            mapped,
            huge_advised: huge && advised,
        })
    }

    /// Whether the kernel took the advice to use huge pages. It still gives ordinary ones where it
    /// has no free huge ones.
    #[must_use]
    pub fn is_huge_advised(&self) -> bool {
        self.huge_advised
    }

    /// Faults all pages in now, so that no request waits for it. Contents stay as they are. Takes
    /// about 0.5 ms for each MiB of 4 KiB pages, 0.1 ms in huge pages.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when memory runs out (a prefix may be faulted in), `EINVAL` before Linux 5.14.
    pub fn populate(&mut self) -> io::Result<()> {
        if self.mapped == 0 {
            return Ok(());
        }
        populate::populate(self.ptr.addr().get(), self.mapped, true)
            .map_err(io::Error::from_raw_os_error)
    }
}

/// `len` rounded up to a multiple of `to`, if a slice may be that long.
fn round_up(len: usize, to: usize) -> io::Result<usize> {
    len.checked_next_multiple_of(to)
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "a buffer is at most isize::MAX bytes long",
            )
        })
}

/// The address of an empty buffer: aligned, never accessed.
fn empty(align: usize) -> NonNull<u8> {
    NonNull::new(std::ptr::without_provenance_mut(align)).unwrap_or(NonNull::dangling())
}

/// New zeroed memory, page aligned. `bytes` is a multiple of the page size and not 0.
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new anonymous mapping at an address that the kernel chooses: no other mapping is
    // replaced.
    let ptr = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if ptr == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(ptr.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// New zeroed memory at a 2 MiB boundary. `bytes` is a multiple of the page size and not 0.
///
/// A mapping of whole huge pages is placed at such a boundary by newer kernels (Linux 6.7) at once.
/// Elsewhere it is mapped again, one huge page too long, and cut at both ends.
fn map_at_huge_border(bytes: usize) -> io::Result<NonNull<u8>> {
    let whole = round_up(bytes, HUGE_PAGE_BYTES)?;
    let mut long = whole;
    let mut base = map(long)?;
    let mut before = base.addr().get().wrapping_neg() & (HUGE_PAGE_BYTES - 1);
    if before > 0 {
        unmap(base, long);
        long = round_up(whole.saturating_add(HUGE_PAGE_BYTES), HUGE_PAGE_BYTES)?;
        base = map(long)?;
        before = base.addr().get().wrapping_neg() & (HUGE_PAGE_BYTES - 1);
    }
    let behind = long - before - bytes;
    // SAFETY: `before` is 0, or less than HUGE_PAGE_BYTES, by which the mapping is longer than
    // `bytes` then: inside it.
    let ptr = unsafe { base.add(before) };
    unmap(base, before);
    // SAFETY: `behind` bytes up to the end of the mapping, by the subtraction above.
    unmap(unsafe { ptr.add(bytes) }, behind);
    Ok(ptr)
}

/// Unmaps a part of a mapping made by `map`. 0 bytes: nothing is unmapped.
fn unmap(ptr: NonNull<u8>, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the callers, all in this file, give ranges made by `map`, to which no reference is
        // left. The call fails only where splitting a mapping exceeds the limit of mappings: then
        // the part is leaked.
        unsafe { libc::munmap(ptr.as_ptr().cast(), bytes) };
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        unmap(self.ptr, self.mapped);
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes of a mapping that this value owns, zeroed by the kernel, at most
        // isize::MAX; or none, at an aligned address.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for AlignedBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Shows the address and the size, not the contents.
impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("ptr", &self.ptr)
            .field("len", &self.len)
            .field("huge_advised", &self.huge_advised)
            .finish()
    }
}

// SAFETY: the value owns its mapping alone, like a Box<[u8]>.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above: shared references only read.
unsafe impl Sync for AlignedBuf {}

// SAFETY: the mapping keeps its address when the value is moved, and is unmapped only by the value's
// drop.
unsafe impl IoBuf for AlignedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len
    }
}

// SAFETY: the bytes change through `&mut self` only.
unsafe impl SharedIoBuf for AlignedBuf {}

// SAFETY: as above; all bytes were initialised by the kernel.
unsafe impl IoBufMut for AlignedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_memory::alone;
    use crate::memory::{Thp, huge_pages};

    #[test]
    fn a_buffer_is_zeroed_and_aligned_at_every_length() {
        let granted = huge_pages().anonymous != Thp::Unknown;
        for len in [
            0,
            1,
            4095,
            4096,
            4097,
            HUGE_PAGE_BYTES - 1,
            HUGE_PAGE_BYTES,
            HUGE_PAGE_BYTES + 1,
        ] {
            let mut buf = AlignedBuf::new(len).unwrap();
            assert_eq!(
                (buf.len(), buf.bytes_init(), buf.bytes_total()),
                (len, len, len)
            );
            assert_eq!(buf.as_ptr().addr() % page_size(), 0);
            assert!(buf.iter().all(|byte| *byte == 0));
            buf.populate().unwrap();
            buf.fill(7);
            assert_eq!(buf.is_huge_advised(), len >= HUGE_PAGE_BYTES && granted);

            let mut buf = AlignedBuf::huge(len).unwrap();
            assert_eq!(buf.len(), len);
            assert_eq!(buf.as_ptr().addr() % HUGE_PAGE_BYTES, 0);
            assert!(buf.iter().all(|byte| *byte == 0));
            buf.populate().unwrap();
            buf.fill(7);
        }
    }

    #[test]
    fn a_length_that_no_memory_has_is_an_error() {
        for len in [
            usize::MAX,
            usize::MAX - 4095,
            isize::MAX as usize,
            isize::MAX as usize + 1,
            1 << 60,
        ] {
            assert!(AlignedBuf::new(len).is_err());
            assert!(AlignedBuf::huge(len).is_err());
        }
    }

    #[test]
    fn dropping_gives_every_page_back() {
        alone!(dropping_gives_every_page_back);
        let text = |path| std::fs::read_to_string(path).unwrap();
        // The size of the address space, in pages.
        let size = || {
            text("/proc/self/statm")
                .split(' ')
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        };
        size();
        for make in [AlignedBuf::new, AlignedBuf::ordinary, AlignedBuf::huge] {
            let before = size();
            let buf = make(3 << 20).unwrap();
            assert_eq!(size(), before + buf.mapped / page_size());
            drop(buf);
            assert_eq!(size(), before);
        }
    }

    #[test]
    fn debug_does_not_show_contents() {
        let mut buf = AlignedBuf::new(16).unwrap();
        buf.fill(0xab);
        let text = format!("{buf:?}");
        assert!(text.contains("len: 16") && !text.contains("171"), "{text}");
    }
}
