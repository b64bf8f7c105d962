//! Memory that is registered with the ring, and how it is let go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory::Pinned;

/// One registered range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinning {
    pub(crate) pinned: Pinned,
    pub(crate) len: usize,
}

/// Memory that was pinned and is no longer needed. Filled from any thread; the memory is dropped
/// after its registration.
#[derive(Clone, Default)]
pub(crate) struct Unpinned(Arc<UnpinnedList>);

#[derive(Default)]
struct UnpinnedList {
    some: AtomicBool,
    list: Mutex<Vec<(Pinning, Box<dyn Send + Sync>)>>,
}

impl Unpinned {
    pub(crate) fn push(&self, pinning: Pinning, memory: Box<dyn Send + Sync>) {
        self.0
            .list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((pinning, memory));
        self.0.some.store(true, Ordering::Release);
    }

    /// Asked on every turn: one load.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        !self.0.some.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Vec<(Pinning, Box<dyn Send + Sync>)> {
        if self.is_empty() || !self.0.some.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.0.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
