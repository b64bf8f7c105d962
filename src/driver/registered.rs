//! Files and memory in the ring's tables, and how they are let go.
//!
//! May know: the back end's tables. Must not know: requests.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Driver;
use super::fallback::{Fallback, errno_of};
use super::pinning::{Pinning, Unpinned};
use crate::memory::Pinned;
use crate::open_file::{FileShared, Retired};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that no driver has and no other caller gets, to mark pinned memory with.
pub(crate) fn new_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// What is registered, and what was let go while the driver could not be asked.
#[derive(Default)]
pub(super) struct Registered {
    pinnings: Vec<Pinning>,
    retired: Retired,
    unpinned: Unpinned,
}

impl Driver {
    /// Gives the file's descriptors places in the ring's table, if there are any.
    pub(crate) fn adopt(&mut self, file: &FileShared) {
        self.give_back_unused();
        let direct = file
            .direct_fd()
            .and_then(|fd| self.backend.register_file(fd));
        let buffered = self.backend.register_file(file.buffered_fd());
        file.set_places(buffered, direct);
        file.set_polled(self.backend.polls());
    }

    /// Pins a range, so that requests inside it need no look.
    ///
    /// # Safety
    ///
    /// The range stays mapped until the driver is gone, or for as long as it is not in
    /// [`Driver::unpinned`].
    pub(crate) unsafe fn pin(&mut self, addr: usize, len: usize) -> io::Result<Pinned> {
        self.give_back_unused();
        // SAFETY: the caller's contract.
        let registered = unsafe { self.backend.register_buffers(addr, len) };
        let index = registered.inspect_err(|error| {
            let errno = errno_of(error);
            self.stats.fallback(Fallback::NotPinned { errno });
        })?;
        let pinned = Pinned {
            engine: self.id,
            base: addr,
            index,
        };
        self.registered.pinnings.push(Pinning { pinned, len });
        Ok(pinned)
    }

    pub(crate) fn unpinned(&self) -> Unpinned {
        self.registered.unpinned.clone()
    }

    pub(crate) fn retired(&self) -> Retired {
        self.registered.retired.clone()
    }

    /// The registration that holds all of a range.
    pub(crate) fn find_pinned(&self, addr: usize, len: usize) -> Option<Pinned> {
        let holds = |p: &&Pinning| {
            addr >= p.pinned.base && len <= p.len && addr - p.pinned.base <= p.len - len
        };
        self.registered
            .pinnings
            .iter()
            .find(holds)
            .map(|p| p.pinned)
    }

    /// Gives back what was let go while the driver could not be asked.
    #[inline]
    pub(crate) fn give_back_unused(&mut self) {
        if !self.registered.retired.borrow().is_empty() || !self.registered.unpinned.is_empty() {
            self.give_back();
        }
    }

    #[cold]
    fn give_back(&mut self) {
        loop {
            // Closing a place may drop nothing of ours, so the borrow is over before anything else
            // happens.
            let Some(index) = self.registered.retired.borrow_mut().pop() else {
                break;
            };
            self.backend.unregister_file(index);
        }
        for (gone, memory) in self.registered.unpinned.take() {
            self.backend.unregister_buffers(gone.pinned.index, gone.len);
            self.registered
                .pinnings
                .retain(|kept| kept.pinned != gone.pinned);
            self.foreign.drop_later(Box::new(memory));
        }
    }
}
