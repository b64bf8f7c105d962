//! A caller's own arena, pinned once.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Deref, DerefMut, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

use super::Engine;
use crate::driver::{Fallback, Pinning, Unpinned};
use crate::memory::{HUGE_PAGE_BYTES, IoBuf, IoBufMut, Pinned, SharedIoBuf, huge};

/// Memory and its registration. Dropped, it leaves both to the driver, which gives back the
/// registration first: the kernel must never hold a registration for an address that somebody else
/// uses by now.
pub(crate) struct Pin {
    memory: Option<Box<dyn Send + Sync>>,
    pinning: Option<Pinning>,
    unpinned: Unpinned,
}

/// Keeps a value alive and lets nobody at it, so that sharing it between threads is no question of
/// the value.
pub(crate) struct Keep<T>(T);

impl<T> Keep<T> {
    pub(crate) fn new(value: T) -> Keep<T> {
        Keep(value)
    }
}

// SAFETY: a shared `Keep` gives no access to the value.
unsafe impl<T: Send> Sync for Keep<T> {}

impl Pin {
    /// Registers `len` bytes at `base`, which belong to `memory`, if that can be done.
    pub(crate) fn new(
        engine: &Engine,
        memory: impl Send + 'static,
        base: usize,
        len: usize,
    ) -> Pin {
        let wants_huge = engine.inner.huge_pages && len >= HUGE_PAGE_BYTES;
        if wants_huge {
            // Registration faults in all of it: what is absent comes in huge pages then. A refusal
            // is seen below.
            let _ = huge::advise(base, len);
        }
        let (pinning, unpinned) = engine.inner.with(|driver| {
            let pinned = if len == 0 {
                None
            } else {
                // SAFETY: the range belongs to `memory`, which lives until this value is dropped,
                // and then until the driver has unregistered it.
                unsafe { driver.pin(base, len) }.ok()
            };
            // Asked now: registration has faulted in what was absent.
            if wants_huge && !huge::lies_in_huge_pages(huge::interior(base, len), false) {
                driver.stats.fallback(Fallback::PinnedInSmallPages);
            }
            (
                pinned.map(|pinned| Pinning { pinned, len }),
                driver.unpinned(),
            )
        });
        Pin {
            memory: Some(Box::new(Keep(memory))),
            pinning,
            unpinned,
        }
    }

    pub(crate) fn pinned(&self) -> Option<Pinned> {
        self.pinning.map(|pinning| pinning.pinned)
    }
}

/// Memory that may be registered, and the mark by which requests know it.
pub(crate) struct Registered {
    pub(crate) pinned: Option<Pinned>,
    /// Dropped, it gives back memory and registration.
    pub(crate) keeps: Box<dyn Send + Sync>,
}

impl Registered {
    /// With one engine.
    pub(super) fn with(
        engine: &Engine,
        memory: impl Send + 'static,
        base: usize,
        len: usize,
    ) -> Registered {
        let pin = Pin::new(engine, memory, base, len);
        Registered {
            pinned: pin.pinned(),
            keeps: Box::new(pin),
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let (Some(pinning), Some(memory)) = (self.pinning, self.memory.take()) {
            self.unpinned.push(pinning, memory);
        }
    }
}

/// Pinned memory that the caller has brought. See [`Engine::register`].
///
/// A handle; the memory stays until the last handle and the last slice are dropped.
#[derive(Clone)]
pub struct Region {
    shared: Arc<Shared>,
}

struct Shared {
    base: usize,
    len: usize,
    /// The slices that are out, by where they start: no two overlap.
    out: Mutex<BTreeMap<usize, usize>>,
    pinned: Option<Pinned>,
    _memory: Box<dyn Send + Sync>,
}

impl Region {
    pub(super) fn new<B: IoBufMut + Send>(engine: &Engine, buffer: B) -> Region {
        Region::over(buffer, |buffer, base, len| {
            Registered::with(engine, buffer, base, len)
        })
    }

    /// A region whose memory `register` takes and registers: the buffer, its address, and its
    /// length in bytes.
    pub(crate) fn over<B: IoBufMut + Send>(
        mut buffer: B,
        register: impl FnOnce(B, usize, usize) -> Registered,
    ) -> Region {
        let base = buffer.stable_mut_ptr().expose_provenance();
        let len = buffer.bytes_init();
        let Registered { pinned, keeps } = register(buffer, base, len);
        Region {
            shared: Arc::new(Shared {
                base,
                len,
                out: Mutex::default(),
                pinned,
                _memory: keeps,
            }),
        }
    }

    /// Takes a part of the region, for as long as the slice lives. `None` where it is not inside
    /// the region, is empty, or overlaps a slice that is out.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Option<RegionBuf> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.checked_add(1)?,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.shared.len,
        };
        if start >= end || end > self.shared.len {
            return None;
        }
        let mut out = self
            .shared
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if out
            .range(..end)
            .next_back()
            .is_some_and(|(_, &taken_end)| taken_end > start)
        {
            return None;
        }
        out.insert(start, end);
        drop(out);
        Some(RegionBuf {
            shared: self.shared.clone(),
            start,
            len: end - start,
        })
    }

    /// The address of the first byte, for raw requests. Using it while slices are out is the
    /// caller's to get right.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.shared.base)
    }

    /// The size, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len
    }

    /// Whether there are no bytes in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.len == 0
    }

    /// Whether the memory is pinned, so that requests with it need no look.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.shared.pinned.is_some()
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("len", &self.shared.len)
            .field("is_pinned", &self.is_pinned())
            .finish_non_exhaustive()
    }
}

/// A part of a [`Region`], given back when dropped.
pub struct RegionBuf {
    shared: Arc<Shared>,
    start: usize,
    len: usize,
}

impl RegionBuf {
    /// Where it starts in the region, in bytes.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    fn addr(&self) -> usize {
        self.shared.base + self.start
    }
}

impl Deref for RegionBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the region's bytes are initialised and live as long as `shared`; no other slice
        // covers these.
        unsafe {
            std::slice::from_raw_parts(std::ptr::with_exposed_provenance(self.addr()), self.len)
        }
    }
}

impl DerefMut for RegionBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed alone.
        unsafe {
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut(self.addr()),
                self.len,
            )
        }
    }
}

impl AsRef<[u8]> for RegionBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for RegionBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for RegionBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionBuf")
            .field("start", &self.start)
            .field("len", &self.len)
            .finish()
    }
}

impl Drop for RegionBuf {
    fn drop(&mut self) {
        self.shared
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.start);
    }
}

// SAFETY: the address depends on the region and the start only; `shared` keeps the memory, and no
// other slice overlaps until drop.
unsafe impl IoBuf for RegionBuf {
    fn stable_ptr(&self) -> *const u8 {
        std::ptr::with_exposed_provenance(self.addr())
    }

    fn bytes_init(&self) -> usize {
        self.len
    }

    fn pinned(&self) -> Option<Pinned> {
        self.shared.pinned
    }
}

// SAFETY: the bytes change through `&mut self` only.
unsafe impl SharedIoBuf for RegionBuf {}

// SAFETY: as above.
unsafe impl IoBufMut for RegionBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.addr())
    }

    fn bytes_total(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}
