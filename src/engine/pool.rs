//! A pool of buffers in one piece of pinned memory.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Engine;
use super::region::Registered;
use crate::memory::{AlignedBuf, IoBuf, IoBufMut, Pinned};
use crate::sys;

/// Equal buffers in memory that is faulted in and, where that is possible, registered with the
/// ring. See [`Engine::pool`].
///
/// A handle; the memory stays until the last handle and the last buffer are dropped. It and its
/// buffers may be used on any thread, but only the engine that made them knows them as pinned.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// What a pool's memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    Ordinary,
    /// Huge ones, where the kernel has any to give.
    Huge,
}

struct Shared {
    base: usize,
    bytes: usize,
    count: usize,
    /// One bit a buffer: 1 is free.
    free: Box<[AtomicU64]>,
    pinned: Option<Pinned>,
    huge: bool,
    _memory: Box<dyn Send + Sync>,
}

impl Pool {
    pub(super) fn new(
        engine: &Engine,
        count: usize,
        bytes: usize,
        pages: Pages,
    ) -> io::Result<Pool> {
        Pool::over(count, bytes, pages, |memory, base, len| {
            Ok(Registered::with(engine, memory, base, len))
        })
    }

    /// A pool whose memory `register` takes and registers: the memory, its address, and its length
    /// in bytes.
    pub(crate) fn over(
        count: usize,
        bytes: usize,
        pages: Pages,
        register: impl FnOnce(AlignedBuf, usize, usize) -> io::Result<Registered>,
    ) -> io::Result<Pool> {
        let too_large = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "count times bytes is more than an address space holds",
            )
        };
        let bytes = bytes
            .max(1)
            .checked_next_multiple_of(sys::page_size())
            .ok_or_else(too_large)?;
        let total = bytes
            .checked_mul(count)
            .filter(|&total| total <= isize::MAX as usize)
            .ok_or_else(too_large)?;
        let mut memory = match pages {
            Pages::Ordinary => AlignedBuf::new(total)?,
            Pages::Huge => AlignedBuf::huge(total)?,
        };
        let huge = memory.is_huge_advised();
        memory.populate()?;
        let base = memory.as_mut_ptr().expose_provenance();
        let words = count.div_ceil(64);
        let free = (0..words)
            .map(|word| match count - word * 64 {
                64.. => AtomicU64::new(u64::MAX),
                rest => AtomicU64::new((1 << rest) - 1),
            })
            .collect();
        let Registered { pinned, keeps } = register(memory, base, total)?;
        Ok(Pool {
            shared: Arc::new(Shared {
                base,
                bytes,
                count,
                free,
                pinned,
                huge,
                _memory: keeps,
            }),
        })
    }

    /// A buffer, or `None` while all are in use. Its contents are what its last user left.
    pub fn get(&self) -> Option<PoolBuf> {
        for (word, bits) in self.shared.free.iter().enumerate() {
            let mut seen = bits.load(Ordering::Relaxed);
            while seen != 0 {
                let bit = seen.trailing_zeros();
                // Acquire: what the last user did with the memory is over.
                match bits.compare_exchange_weak(
                    seen,
                    seen & !(1 << bit),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        return Some(PoolBuf {
                            shared: self.shared.clone(),
                            index: word * 64 + bit as usize,
                        });
                    }
                    Err(now) => seen = now,
                }
            }
        }
        None
    }

    /// Whether the memory is pinned, so that requests with it need no look.
    pub fn is_pinned(&self) -> bool {
        self.shared.pinned.is_some()
    }

    /// Whether the kernel took the advice to use huge pages for it. It may still have given small
    /// ones where it found no others.
    pub fn is_huge(&self) -> bool {
        self.shared.huge
    }

    /// The size of each buffer, in bytes.
    pub fn buffer_bytes(&self) -> usize {
        self.shared.bytes
    }

    /// How many buffers there are, in use or not.
    pub fn count(&self) -> usize {
        self.shared.count
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("count", &self.shared.count)
            .field("buffer_bytes", &self.shared.bytes)
            .field("is_pinned", &self.is_pinned())
            .finish()
    }
}

/// A buffer of a [`Pool`], back in the pool when dropped. All its bytes are initialised; a request
/// takes all of them, or a part, see [`into_slice`](crate::IoBufExt::into_slice).
pub struct PoolBuf {
    shared: Arc<Shared>,
    index: usize,
}

impl PoolBuf {
    fn addr(&self) -> usize {
        self.shared.base + self.index * self.shared.bytes
    }
}

impl Deref for PoolBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the pool's memory is mapped, initialised, and lives as long as `shared`; this
        // part of it belongs to this buffer alone.
        unsafe {
            std::slice::from_raw_parts(
                std::ptr::with_exposed_provenance(self.addr()),
                self.shared.bytes,
            )
        }
    }
}

impl DerefMut for PoolBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed alone.
        unsafe {
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut(self.addr()),
                self.shared.bytes,
            )
        }
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuf")
            .field("index", &self.index)
            .field("bytes", &self.shared.bytes)
            .finish()
    }
}

impl Drop for PoolBuf {
    fn drop(&mut self) {
        // Release: whoever takes the buffer next sees that this user is done.
        self.shared.free[self.index / 64].fetch_or(1 << (self.index % 64), Ordering::Release);
    }
}

// SAFETY: the address depends on the pool and the index only; `shared` keeps the memory, and the
// index is this buffer's alone until drop.
unsafe impl IoBuf for PoolBuf {
    fn stable_ptr(&self) -> *const u8 {
        std::ptr::with_exposed_provenance(self.addr())
    }

    fn bytes_init(&self) -> usize {
        self.shared.bytes
    }

    fn pinned(&self) -> Option<Pinned> {
        self.shared.pinned
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for PoolBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.addr())
    }

    fn bytes_total(&self) -> usize {
        self.shared.bytes
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}
