//! A pool of buffers in one piece of pinned memory.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Engine;
use super::region::Registered;
use crate::memory::{AlignedBuf, HUGE_PAGE_BYTES, IoBuf, IoBufMut, Pinned, SharedIoBuf, huge};
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
    /// Pages of the base size.
    Ordinary,
    /// Huge ones, whatever the size of the pool.
    Huge,
    /// Huge ones for a pool of at least one huge page, otherwise what the machine gives.
    HugeIfLarge,
}

impl Pages {
    /// What [`EngineBuilder::huge_pages`](super::EngineBuilder::huge_pages) chooses.
    pub(crate) fn by_choice(huge: bool) -> Pages {
        if huge {
            Pages::HugeIfLarge
        } else {
            Pages::Ordinary
        }
    }
}

/// Where the buffers of a pool start: in groups, `per_group` buffers one behind the other in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// The size of a buffer, in bytes.
    bytes: usize,
    per_group: usize,
    /// From the start of a group to the next, in bytes.
    group_bytes: usize,
    /// From the start of the first buffer to the end of the last, in bytes.
    total: usize,
}

impl Layout {
    /// One behind the other. `None` where they do not fit into an address space.
    fn dense(count: usize, bytes: usize) -> Option<Layout> {
        let total = bytes.checked_mul(count).filter(|&total| is_size(total))?;
        Some(Layout {
            bytes,
            per_group: count.max(1),
            group_bytes: total,
            total,
        })
    }

    /// For memory in huge pages: a group is a huge page, or as many as one buffer needs, and no
    /// buffer crosses more borders of huge pages than its size makes it. Buffers that divide a huge
    /// page, or are a multiple of it, lie dense either way. Where the unused ends of the groups
    /// would take more than an eighth of the memory, the buffers lie dense, too, and some cross one
    /// border more than they had to.
    fn in_huge_pages(count: usize, bytes: usize) -> Option<Layout> {
        let group_bytes = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES)?;
        let per_group = group_bytes / bytes;
        if group_bytes - per_group * bytes > group_bytes / 8 {
            return Layout::dense(count, bytes);
        }
        let groups = count.div_ceil(per_group);
        let last = count - groups.saturating_sub(1) * per_group;
        let total = groups
            .saturating_sub(1)
            .checked_mul(group_bytes)?
            .checked_add(last * bytes)
            .filter(|&total| is_size(total))?;
        Some(Layout {
            bytes,
            per_group,
            group_bytes,
            total,
        })
    }

    /// Where a buffer starts, in bytes from the start of the pool.
    fn offset(&self, index: usize) -> usize {
        index / self.per_group * self.group_bytes + index % self.per_group * self.bytes
    }
}

/// Whether memory can have so many bytes.
fn is_size(bytes: usize) -> bool {
    isize::try_from(bytes).is_ok()
}

struct Shared {
    base: usize,
    layout: Layout,
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
        let dense = Layout::dense(count, bytes).ok_or_else(too_large)?;
        let large = dense.total >= HUGE_PAGE_BYTES;
        let (mut memory, layout) = match pages {
            Pages::Huge | Pages::HugeIfLarge if large => {
                let layout = Layout::in_huge_pages(count, bytes).ok_or_else(too_large)?;
                (AlignedBuf::huge(layout.total)?, layout)
            }
            Pages::Huge => (AlignedBuf::huge(dense.total)?, dense),
            Pages::HugeIfLarge => (AlignedBuf::new(dense.total)?, dense),
            Pages::Ordinary => (AlignedBuf::ordinary(dense.total)?, dense),
        };
        memory.populate()?;
        let start = memory.as_ptr().addr();
        // The mapping is a multiple of a huge page where these were advised.
        let end = start + memory.len().next_multiple_of(HUGE_PAGE_BYTES);
        let huge = memory.is_huge_advised() && huge::lies_in_huge_pages(start..end, false);
        let base = memory.as_mut_ptr().expose_provenance();
        let words = count.div_ceil(64);
        let free = (0..words)
            .map(|word| match count - word * 64 {
                64.. => AtomicU64::new(u64::MAX),
                rest => AtomicU64::new((1 << rest) - 1),
            })
            .collect();
        let Registered { pinned, keeps } = register(memory, base, layout.total)?;
        Ok(Pool {
            shared: Arc::new(Shared {
                base,
                layout,
                count,
                free,
                pinned,
                huge,
                _memory: keeps,
            }),
        })
    }

    /// A buffer, or `None` while all are in use. Its contents are what its last user left.
    #[must_use]
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
                        let index = word * 64 + bit as usize;
                        return Some(PoolBuf {
                            addr: self.shared.base + self.shared.layout.offset(index),
                            shared: self.shared.clone(),
                            index,
                        });
                    }
                    Err(now) => seen = now,
                }
            }
        }
        None
    }

    /// Whether the memory is pinned, so that requests with it need no look.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.shared.pinned.is_some()
    }

    /// Whether all of the memory lay in huge pages when the pool was made. Before Linux 6.7, which
    /// can't say: whether the kernel took the advice, and the machine's settings grant huge pages.
    #[must_use]
    pub fn is_huge(&self) -> bool {
        self.shared.huge
    }

    /// The size of each buffer, in bytes.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.shared.layout.bytes
    }

    /// How many buffers there are, in use or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.count
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("count", &self.shared.count)
            .field("buffer_bytes", &self.shared.layout.bytes)
            .field("is_pinned", &self.is_pinned())
            .field("is_huge", &self.shared.huge)
            .finish()
    }
}

/// A buffer of a [`Pool`], back in the pool when dropped. All its bytes are initialised; a request
/// takes all of them, or a part, see [`into_slice`](crate::IoBufExt::into_slice).
pub struct PoolBuf {
    shared: Arc<Shared>,
    index: usize,
    addr: usize,
}

impl Deref for PoolBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the pool's memory is mapped, initialised, and lives as long as `shared`; this
        // part of it belongs to this buffer alone.
        unsafe {
            std::slice::from_raw_parts(
                std::ptr::with_exposed_provenance(self.addr),
                self.shared.layout.bytes,
            )
        }
    }
}

impl DerefMut for PoolBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed alone.
        unsafe {
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut(self.addr),
                self.shared.layout.bytes,
            )
        }
    }
}

impl AsRef<[u8]> for PoolBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for PoolBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuf")
            .field("index", &self.index)
            .field("bytes", &self.shared.layout.bytes)
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
        std::ptr::with_exposed_provenance(self.addr)
    }

    fn bytes_init(&self) -> usize {
        self.shared.layout.bytes
    }

    fn pinned(&self) -> Option<Pinned> {
        self.shared.pinned
    }
}

// SAFETY: the bytes change through `&mut self` only.
unsafe impl SharedIoBuf for PoolBuf {}

// SAFETY: as above.
unsafe impl IoBufMut for PoolBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.addr)
    }

    fn bytes_total(&self) -> usize {
        self.shared.layout.bytes
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}

#[cfg(test)]
#[path = "pool_test.rs"]
mod tests;
