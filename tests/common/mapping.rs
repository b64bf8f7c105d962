//! Mappings at addresses of our own, far below where the kernel places anything by itself.
//!
//! A test that makes a hole must be sure that no other thread's allocation fills it: the kernel
//! searches from the top, so nothing lands down here unasked, and both neighbours of every mapping
//! stay unmapped.

use super::sys::{self, PAGE};
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes from one slot to the next.
const SLOT: usize = 8 << 30;
/// Where the first slot starts, in bytes.
const FIRST: usize = 0x1000_0000_0000;
/// Slots before the numbers start again.
const SLOTS: usize = 2048;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A mapping, unmapped when dropped, holes and all.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: usize,
    len: usize,
}

pub(crate) const READ: i32 = libc::PROT_READ;
pub(crate) const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
pub(crate) const ANON: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

impl Mapping {
    /// `mmap` into a free slot. `len` is rounded up to pages and must stay under the slot's 8 GiB.
    pub(crate) fn new(
        len: usize,
        protection: i32,
        flags: i32,
        fd: RawFd,
        offset: u64,
    ) -> io::Result<Self> {
        let len = len.next_multiple_of(PAGE).max(PAGE);
        assert!(len < SLOT);
        for _ in 0..SLOTS {
            let address = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS * SLOT;
            let flags = flags | libc::MAP_FIXED_NOREPLACE;
            // SAFETY: NOREPLACE never touches a mapping that exists, so no Rust object can be
            // harmed.
            let got = unsafe {
                libc::mmap64(address as *mut _, len, protection, flags, fd, offset as i64)
            };
            if got as usize == address {
                return Ok(Self { address, len });
            }
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EEXIST) {
                return Err(error);
            }
        }
        panic!("no free slot: mappings are leaked");
    }

    /// Private anonymous memory, readable and writable, not touched.
    pub(crate) fn anon(len: usize) -> Self {
        Self::new(len, READ_WRITE, ANON, -1, 0).expect("anonymous mapping")
    }

    pub(crate) fn address(&self) -> usize {
        self.address
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Changes what may be done with a range of pages.
    pub(crate) fn protect(&self, range: Range<usize>, protection: i32) {
        let (address, len) = self.part(range);
        // SAFETY: a part of our own mapping, which no Rust reference names.
        let result = unsafe { libc::mprotect(address as *mut _, len, protection) };
        assert_eq!(result, 0, "mprotect: errno {}", sys::errno());
    }

    /// `madvise`; the errno if it is refused.
    pub(crate) fn advise(&self, range: Range<usize>, advice: i32) -> Result<(), i32> {
        let (address, len) = self.part(range);
        // SAFETY: a part of our own mapping, which no Rust reference names.
        match unsafe { libc::madvise(address as *mut _, len, advice) } {
            0 => Ok(()),
            _ => Err(sys::errno()),
        }
    }

    /// Unmaps a range of pages. Nothing fills the hole: see the module's first lines.
    pub(crate) fn punch(&self, range: Range<usize>) {
        let (address, len) = self.part(range);
        // SAFETY: a part of our own mapping, which no Rust reference names.
        let result = unsafe { libc::munmap(address as *mut _, len) };
        assert_eq!(result, 0, "munmap: errno {}", sys::errno());
    }

    /// Writes the pattern of `seed` over a range of bytes that must be writable.
    pub(crate) fn fill(&self, range: Range<usize>, seed: u64) {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the mapping; the caller fills before it takes rights away.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut((self.address + range.start) as *mut u8, range.len())
        };
        pattern(bytes, seed, range.start);
    }

    /// Reads one byte of every page, which maps the zero page where nothing was written.
    pub(crate) fn touch_to_read(&self) {
        for page in (0..self.len).step_by(PAGE) {
            // SAFETY: inside the mapping, which is readable here.
            unsafe { std::ptr::read_volatile((self.address + page) as *const u8) };
        }
    }

    /// The bytes of the mapping from its start, for memory that is there.
    pub(crate) fn prefix(&self, len: usize) -> Vec<u8> {
        assert!(len <= self.len);
        // SAFETY: inside the mapping; the caller knows that it can be read, and nobody writes to it
        // now.
        unsafe { std::slice::from_raw_parts(self.address as *const u8, len) }.to_vec()
    }

    /// All bytes of the mapping.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.prefix(self.len)
    }

    fn part(&self, range: Range<usize>) -> (usize, usize) {
        assert!(
            range.start <= range.end
                && range.end <= self.len
                && range.start.is_multiple_of(PAGE)
                && range.end.is_multiple_of(PAGE)
        );
        (self.address + range.start, range.len())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own slot; munmap does not mind holes in it.
        unsafe { libc::munmap(self.address as *mut _, self.len) };
    }
}

/// The pattern's period: a prime, so that no two pages or blocks within it look alike.
const PERIOD: usize = 65521;

/// Fills bytes with a pattern that differs from seed to seed, from page to page and from byte to
/// byte. `start` is where the slice stands.
pub(crate) fn pattern(bytes: &mut [u8], seed: u64, start: usize) {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut next = || {
            // xorshift64: anything without visible order serves.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..PERIOD).map(|_| next()).collect()
    });
    // Copies of table pieces: the byte-wise way takes milliseconds a file in a debug build.
    let mut at = ((seed % PERIOD as u64) as usize * 4801 + start) % PERIOD;
    let mut done = 0;
    while done < bytes.len() {
        let piece = (PERIOD - at).min(bytes.len() - done);
        bytes[done..done + piece].copy_from_slice(&table[at..at + piece]);
        done += piece;
        at = 0;
    }
}

/// A vector full of the pattern.
pub(crate) fn patterned(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pattern(&mut bytes, seed, 0);
    bytes
}
