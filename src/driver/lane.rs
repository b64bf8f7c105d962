//! The slow lane: how many operations that may be stuck in a page fault are in flight, and which
//! slots wait for a place among them.
//!
//! May know: slot indices. Must not know: operations, and how they are started.

use std::collections::VecDeque;

use super::slot::SlotIndex;

/// Places for operations that may be stuck, fewer than the back end has workers.
pub(super) struct SlowLane {
    active: usize,
    limit: usize,
    queue: VecDeque<SlotIndex>,
}

impl SlowLane {
    /// A lane with `limit` places, at least one.
    pub(super) fn new(limit: usize) -> SlowLane {
        SlowLane {
            active: 0,
            limit: limit.max(1),
            queue: VecDeque::new(),
        }
    }

    /// Takes a place if one is free.
    pub(super) fn enter(&mut self) -> bool {
        let free = self.has_room();
        self.active += usize::from(free);
        free
    }

    /// Whether a place is free.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.active < self.limit
    }

    /// The slot waits for a place.
    pub(super) fn wait(&mut self, index: SlotIndex) {
        self.queue.push_back(index);
    }

    /// Gives back a place, and names the slot that waits for one.
    pub(super) fn leave(&mut self) -> Option<SlotIndex> {
        debug_assert!(self.active > 0, "a place is given back once");
        self.active = self.active.saturating_sub(1);
        self.queue.pop_front()
    }

    /// The slot waits no more.
    pub(super) fn forget(&mut self, index: SlotIndex) {
        self.queue.retain(|waiting| *waiting != index);
    }
}
