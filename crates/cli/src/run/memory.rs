//! The buffers of one worker: one mapping, a piece of it for each request in flight.
//!
//! Fresh for every run, and not touched here unless it is to be written from: whether pages are
//! there when a request starts is part of what is measured.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;

use fio_jobs::Memory;
use nofault::memory::Pinned;
use nofault::{IoBuf, IoBufMut};
use rustix::mm::{MapFlags, ProtFlags};

/// A mapping, unmapped when the last piece of it is gone.
struct Mapping {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: the mapping may be used from any thread, and its bytes are only reached through pieces,
// of which no two overlap.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and no piece of it is left. If it fails the memory is leaked.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), self.bytes) };
    }
}

/// The part of a mapping that one slot's requests use; owned by the request while it is in flight.
pub(super) struct Piece {
    mapping: Arc<Mapping>,
    at: usize,
    len: usize,
    room: usize,
    pinned: Option<Pinned>,
}

impl Piece {
    /// The request that comes next has this many bytes.
    pub(super) fn set_len(&mut self, len: usize) {
        assert!(len <= self.room, "a request fits into its buffer");
        self.len = len;
    }

    /// Where it starts.
    pub(super) fn address(&self) -> *mut u8 {
        self.mapping.base.wrapping_add(self.at)
    }

    /// Its bytes.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: inside the mapping, which is zeroed or from a file and lives as long as this
        // value; no two pieces overlap, and a piece that is here is not in flight.
        unsafe { std::slice::from_raw_parts_mut(self.address(), self.len) }
    }
}

// SAFETY: the address depends on the mapping only, which the piece keeps; no two pieces overlap, so
// while a request owns one nobody else writes to it. Leaking the piece leaks the mapping.
unsafe impl IoBuf for Piece {
    fn stable_ptr(&self) -> *const u8 {
        self.address()
    }

    fn bytes_init(&self) -> usize {
        self.len
    }

    fn pinned(&self) -> Option<Pinned> {
        self.pinned
    }
}

// SAFETY: as above; all of a mapping is initialised.
unsafe impl IoBufMut for Piece {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.address()
    }

    fn bytes_total(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}

/// The memory of a worker, not yet cut up.
pub(super) struct Buffers {
    mapping: Arc<Mapping>,
    /// Where the first piece starts, and what each one takes.
    first: usize,
    stride: usize,
    room: usize,
    slots: usize,
    /// The file that was made to be mapped.
    made: Option<PathBuf>,
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            // Whoever took it away has done what was wanted.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Buffers {
    /// Memory of this kind for so many requests of at most `room` bytes. `file` is the one to be
    /// mapped, if the kind is a file's; it must not be there, and is removed at the end.
    pub(super) fn new(
        kind: &Memory,
        file: Option<PathBuf>,
        slots: usize,
        room: usize,
        align: usize,
    ) -> io::Result<Buffers> {
        let too_much = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the buffers are more than an address space holds",
            )
        };
        // SAFETY: sysconf takes no pointer.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let stride = room.checked_next_multiple_of(page).ok_or_else(too_much)?;
        let spare = if align > page { align } else { 0 };
        let huge = matches!(kind, Memory::ShmHuge | Memory::MmapHuge(_));
        let bytes = stride
            .checked_mul(slots)
            .and_then(|b| b.checked_add(spare))
            .ok_or_else(too_much)?;
        let bytes = if huge {
            bytes
                .checked_next_multiple_of(2 << 20)
                .ok_or_else(too_much)?
        } else {
            bytes
        };
        let shared = matches!(kind, Memory::Shm | Memory::ShmHuge | Memory::MmapShared(_));
        let mut flags = if shared {
            MapFlags::SHARED
        } else {
            MapFlags::PRIVATE
        };
        if huge && file.is_none() {
            flags |= MapFlags::HUGETLB;
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let base = match &file {
            None => {
                // SAFETY: a new mapping at an address that the kernel chooses replaces nothing.
                unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), bytes, protection, flags)? }
            }
            Some(path) => {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(path)?;
                let map = || {
                    file.set_len(bytes as u64)?;
                    // SAFETY: as above; the file is ours, so nobody cuts it while it is mapped.
                    Ok(unsafe {
                        rustix::mm::mmap(
                            ptr::null_mut(),
                            bytes,
                            protection,
                            flags,
                            file.as_fd(),
                            0,
                        )?
                    })
                };
                map().inspect_err(|_: &io::Error| {
                    let _ = std::fs::remove_file(path);
                })?
            }
        };
        let first = base.addr().wrapping_neg()
            & (align.max(1) - 1)
            & if spare > 0 { usize::MAX } else { 0 };
        Ok(Buffers {
            mapping: Arc::new(Mapping {
                base: base.cast(),
                bytes,
            }),
            first,
            stride,
            room,
            slots,
            made: file,
        })
    }

    /// All of it, as one piece: to be registered. The pieces of [`pieces`](Buffers::pieces) must
    /// not be used beside it but for the requests that the registration is for.
    pub(super) fn whole(&self) -> Piece {
        let len = self.stride * self.slots;
        Piece {
            mapping: self.mapping.clone(),
            at: self.first,
            len,
            room: len,
            pinned: None,
        }
    }

    /// One piece for each slot.
    pub(super) fn pieces(&self, pinned: Option<Pinned>) -> Vec<Option<Piece>> {
        let piece = |slot| Piece {
            mapping: self.mapping.clone(),
            at: self.first + slot * self.stride,
            len: self.room,
            room: self.room,
            pinned,
        };
        (0..self.slots).map(|slot| Some(piece(slot))).collect()
    }
}
