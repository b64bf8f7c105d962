//! Bounce buffers: aligned memory of the engine's own, for what a direct request can't be given.
//!
//! They lie in a memfd, so that a read or write on the memfd with the foreign memory as its address
//! is a copy which the kernel makes, off the submitting thread, and which ends with a count where
//! the foreign memory is bad.
//!
//! May know: the memfd and its mapping. Must not know: who copies what.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::lane::LaneKind;
use super::slot::SlotIndex;
use crate::memory::huge;
use crate::open_file::FileRef;

/// Buffers at most, and the size of each in bytes: the window, so that a bounced window is one
/// copy.
const COUNT: usize = 4;
pub(crate) const SIZE: usize = 1 << 20;

/// One of the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u8);

/// All of them. Memory is taken when a buffer is first used.
pub(crate) struct Bounce {
    memfd: OwnedFd,
    base: usize,
    free: Vec<Place>,
    prepared: [bool; COUNT],
    /// How many buffers are lent to copies that may be stuck, and never all of them.
    suspect: usize,
    lent_to: [LaneKind; COUNT],
    /// The slots that wait for a buffer, in order.
    waiting: VecDeque<(SlotIndex, LaneKind)>,
    /// Whether huge pages were asked for.
    huge: bool,
}

impl Bounce {
    /// With `huge`, in huge pages where the kernel has them for shared memory
    /// (/sys/kernel/mm/transparent_hugepage/shmem_enabled): it then aligns the mapping by itself.
    pub(crate) fn new(huge: bool) -> io::Result<Bounce> {
        let bytes = COUNT * SIZE;
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the struct is ours and as large as the call wants it.
        if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if limit.rlim_cur < bytes as u64 {
            // ftruncate past the limit would raise SIGXFSZ.
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the file size limit (RLIMIT_FSIZE) is below 4 MiB",
            ));
        }
        // SAFETY: the name ends in a zero byte.
        let fd = unsafe { libc::memfd_create(c"nofault-bounce".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so nobody else closes it.
        let memfd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: ftruncate takes no pointer.
        if unsafe { libc::ftruncate64(memfd.as_raw_fd(), bytes as i64) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new mapping where the kernel likes: no memory of anybody's is replaced.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                memfd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is the mapping just made. A child of fork has no use for it, and must
        // not see I/O through it.
        unsafe { libc::madvise(base, bytes, libc::MADV_DONTFORK) };
        if huge {
            // Whether it was of use is seen when the pages are there.
            let _ = huge::advise_range(base.addr(), bytes);
        }
        let free = (0..COUNT as u8).rev().map(Place).collect();
        Ok(Bounce {
            memfd,
            base: base.expose_provenance(),
            free,
            prepared: [false; COUNT],
            suspect: 0,
            lent_to: [LaneKind::Plain; COUNT],
            waiting: VecDeque::new(),
            huge,
        })
    }

    /// Takes a buffer, if one is free for copies of this kind.
    pub(super) fn take(&mut self, kind: LaneKind) -> Option<Place> {
        if !self.has_room(kind) {
            return None;
        }
        let place = self.free.pop()?;
        self.suspect += usize::from(kind == LaneKind::Suspect);
        self.lent_to[usize::from(place.0)] = kind;
        Some(place)
    }

    /// Whether a buffer is free. One is kept for copies that can't be stuck.
    fn has_room(&self, kind: LaneKind) -> bool {
        let lent_enough = kind == LaneKind::Suspect && self.suspect + 1 >= COUNT;
        !self.free.is_empty() && !lent_enough
    }

    pub(super) fn give_back(&mut self, place: Place) {
        debug_assert!(!self.free.contains(&place));
        if self.lent_to[usize::from(place.0)] == LaneKind::Suspect {
            self.suspect -= 1;
        }
        self.free.push(place);
    }

    /// The slot waits for a buffer.
    pub(super) fn wait(&mut self, index: SlotIndex, kind: LaneKind) {
        self.waiting.push_back((index, kind));
    }

    /// The first slot that waits for a buffer and can have one now.
    pub(super) fn next_waiting(&mut self) -> Option<SlotIndex> {
        let at = self
            .waiting
            .iter()
            .position(|(_, kind)| self.has_room(*kind))?;
        self.waiting.remove(at).map(|(index, _)| index)
    }

    /// The slot waits no more.
    pub(super) fn forget(&mut self, index: SlotIndex) {
        self.waiting.retain(|(waiting, _)| *waiting != index);
    }

    /// Whether the buffer's pages were faulted in.
    pub(crate) fn is_prepared(&self, place: Place) -> bool {
        self.prepared[usize::from(place.0)]
    }

    /// Notes that the buffer's pages were faulted in.
    pub(crate) fn set_prepared(&mut self, place: Place) {
        self.prepared[usize::from(place.0)] = true;
    }

    /// Whether huge pages were asked for, and the buffer, which is prepared, lies in others.
    pub(crate) fn lacks_huge_pages(&self, place: Place) -> bool {
        let addr = self.addr(place);
        self.huge && !huge::lies_in_huge_pages(addr..addr + SIZE, true)
    }

    pub(crate) fn addr(&self, place: Place) -> usize {
        self.base + usize::from(place.0) * SIZE
    }

    /// Where the buffer starts in the memfd.
    pub(crate) fn offset(&self, place: Place) -> u64 {
        u64::from(place.0) * SIZE as u64
    }

    pub(crate) fn file(&self) -> FileRef {
        FileRef::new(self.memfd.as_raw_fd(), None)
    }
}

impl Drop for Bounce {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours. The driver drops this only when no operation is in flight.
        unsafe {
            libc::munmap(
                std::ptr::with_exposed_provenance_mut(self.base),
                COUNT * SIZE,
            )
        };
    }
}
