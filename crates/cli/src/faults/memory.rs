//! Memory of every kind, as mmap(2) gives it.
//!
//! There are no references to it: it may be written by the kernel at any time, change its
//! protection, or be a file that is cut short. It is copied in and out. Touching memory that is not
//! there is a SIGSEGV or SIGBUS, which the cell's parent reports.

use std::io::{self, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::stop::{Doing, Stop};

/// The size of a page, in bytes.
pub(crate) fn page() -> usize {
    // SAFETY: no pointers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The next address to wish for: multiples of 2 MiB, so that huge pages fit.
static NEXT: AtomicUsize = AtomicUsize::new(1 << 36);

/// A mapping, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Map {
    addr: usize,
    len: usize,
    /// What requests may name: more than `len` after [`Map::cut`].
    reach: usize,
}

/// A part of a mapping, for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) addr: usize,
    pub(crate) len: usize,
    map: PhantomData<&'a Map>,
}

impl Map {
    /// Private anonymous memory, not touched yet.
    pub(crate) fn anonymous(len: usize) -> Result<Map, Stop> {
        Map::new(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0).doing("map memory")
    }

    /// Anonymous memory with all pages there, holding the pattern.
    pub(crate) fn pattern(seed: u64, len: usize) -> Result<Map, Stop> {
        let map = Map::anonymous(len)?;
        map.put(0, &super::pattern::bytes(seed, 0, len));
        Ok(map)
    }

    /// `len` bytes of a file from `offset` on; `shared` or private.
    pub(crate) fn file(
        file: &std::fs::File,
        offset: usize,
        len: usize,
        shared: bool,
    ) -> Result<Map, Stop> {
        let kind = if shared {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        match Map::new(len, kind, file.as_raw_fd(), offset) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Err(Stop::Skip(
                "files of this filesystem cannot be mapped (ENODEV)".to_owned(),
            )),
            other => other.doing("map the file"),
        }
    }

    /// `len` bytes of a file, privately, of a descriptor that may only read.
    pub(crate) fn read_only(file: &std::fs::File, len: usize) -> Result<Map, Stop> {
        let map = Map::file(file, 0, len, false)?;
        map.protect(0..len, libc::PROT_READ)?;
        Ok(map)
    }

    /// As mmap(2), readable and writable.
    pub(crate) fn new(len: usize, flags: i32, fd: i32, offset: usize) -> io::Result<Map> {
        let len = len.next_multiple_of(page());
        // A wish for a place where the kernel puts nothing by itself, so that what is unmapped
        // later stays unmapped.
        let wish = NEXT.fetch_add(len.next_multiple_of(1 << 21) + (1 << 21), Ordering::Relaxed)
            as *mut libc::c_void;
        // SAFETY: a wish only: nothing that is in use is mapped over.
        let addr = unsafe {
            libc::mmap64(
                wish,
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags & !libc::MAP_FIXED,
                fd,
                offset as i64,
            )
        };
        if addr == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Map {
                addr: addr as usize,
                len,
                reach: len,
            })
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn at(&self, range: &Range<usize>) -> *mut u8 {
        assert!(
            range.start <= range.end && range.end <= self.reach,
            "{range:?} of a mapping of {} bytes",
            self.reach
        );
        (self.addr + range.start) as *mut u8
    }

    /// For a request.
    pub(crate) fn piece(&self, range: Range<usize>) -> Piece<'_> {
        Piece {
            addr: self.at(&range).addr(),
            len: range.len(),
            map: PhantomData,
        }
    }

    /// All of it, for a request.
    pub(crate) fn all(&self) -> Piece<'_> {
        self.piece(0..self.reach)
    }

    /// Copies out.
    pub(crate) fn get(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len()];
        // SAFETY: the range is inside the mapping, the copy's target is its own; nobody has
        // references to the mapping.
        unsafe { std::ptr::copy_nonoverlapping(self.at(&range), bytes.as_mut_ptr(), range.len()) };
        bytes
    }

    /// Copies in.
    pub(crate) fn put(&self, start: usize, bytes: &[u8]) {
        let range = start..start + bytes.len();
        // SAFETY: as in `get`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(&range), bytes.len()) };
    }

    /// One byte, while others may use the memory.
    pub(crate) fn atom(&self, at: usize) -> u8 {
        // SAFETY: inside the mapping, which lives as long as this borrow; an atomic may be written
        // by others.
        unsafe { AtomicU8::from_ptr(self.at(&(at..at + 1))) }.load(Ordering::Relaxed)
    }

    /// Sets one byte, while others may use the memory.
    pub(crate) fn set_atom(&self, at: usize, byte: u8) {
        // SAFETY: as in `atom`.
        unsafe { AtomicU8::from_ptr(self.at(&(at..at + 1))) }.store(byte, Ordering::Relaxed);
    }

    /// As mprotect(2).
    pub(crate) fn protect(&self, range: Range<usize>, protection: i32) -> Result<(), Stop> {
        // SAFETY: a range of this mapping, to which there are no references.
        let result = unsafe { libc::mprotect(self.at(&range).cast(), range.len(), protection) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error()).doing("mprotect")
        }
    }

    /// Unmaps what is beyond `keep` bytes. Requests may still name it.
    pub(crate) fn cut(mut self, keep: usize) -> Result<Map, Stop> {
        // SAFETY: as in `protect`; the mapping is shorter from now on.
        let result = unsafe { libc::munmap(self.at(&(keep..self.len)).cast(), self.len - keep) };
        self.len = keep;
        if result == 0 {
            Ok(self)
        } else {
            Err(io::Error::last_os_error()).doing("munmap")
        }
    }

    /// As madvise(2).
    pub(crate) fn advise(&self, range: Range<usize>, advice: i32) -> io::Result<()> {
        // SAFETY: as in `protect`.
        let result = unsafe { libc::madvise(self.at(&range).cast(), range.len(), advice) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// How many of its pages are swapped out, by bit 62 of their words in /proc/self/pagemap. They
    /// may still be in memory, in the swap cache.
    pub(crate) fn swapped_pages(&self) -> Result<usize, Stop> {
        let mut pagemap =
            std::fs::File::open("/proc/self/pagemap").doing("open /proc/self/pagemap")?;
        let mut words = vec![0; self.len / page() * 8];
        pagemap
            .seek(SeekFrom::Start((self.addr / page() * 8) as u64))
            .doing("seek in /proc/self/pagemap")?;
        pagemap
            .read_exact(&mut words)
            .doing("read /proc/self/pagemap")?;
        Ok(words
            .chunks_exact(8)
            .filter(|word| word[7] & 0x40 != 0)
            .count())
    }

    /// Which of its pages are in memory, the swap cache included: mincore(2).
    pub(crate) fn in_memory(&self) -> io::Result<Vec<bool>> {
        let mut pages = vec![0u8; self.len / page()];
        // SAFETY: a mapping of that many pages, and a byte for each of them.
        let result =
            unsafe { libc::mincore(self.at(&(0..self.len)).cast(), self.len, pages.as_mut_ptr()) };
        if result == 0 {
            Ok(pages.iter().map(|&page| page & 1 != 0).collect())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: pieces borrow the mapping, and a way of doing I/O has waited for its requests, so
        // nobody uses it any more.
        unsafe { libc::munmap(self.addr as *mut libc::c_void, self.len) };
    }
}
