//! The table of slots: one for each request that may be in flight.
//!
//! May know: slots and keys. Must not know: what a slot's request does.

use std::ops::{Index, IndexMut};

use super::slot::{Key, Slot, SlotIndex};

/// All slots, and which of them are free.
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<SlotIndex>,
}

impl Table {
    /// A table of `depth` free slots.
    pub(super) fn new(depth: u32) -> Table {
        Table {
            slots: (0..depth).map(|_| Slot::new()).collect(),
            // The first slots are used first, so that few requests touch few cache lines.
            free: (0..depth).rev().map(SlotIndex).collect(),
        }
    }

    /// The number of slots.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a slot is free.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// The number of free slots.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.free.len()
    }

    /// The number of slots that have a request: in flight, or over and not taken.
    #[inline]
    pub(super) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a free slot.
    #[inline]
    pub(super) fn take(&mut self) -> Option<SlotIndex> {
        self.free.pop()
    }

    /// Gives back a slot, whose request is gone.
    #[inline]
    pub(super) fn give_back(&mut self, index: SlotIndex) {
        debug_assert!(!self.free.contains(&index), "a slot is given back once");
        self.free.push(index);
    }

    /// Whether the request that `key` names still has its slot.
    #[inline]
    pub(super) fn has(&self, key: Key) -> bool {
        self[key.index()].turn == key.turn()
    }

    /// All places of the table.
    pub(super) fn indices(&self) -> impl Iterator<Item = SlotIndex> + use<> {
        (0..self.slots.len() as u32).map(SlotIndex)
    }
}

impl Index<SlotIndex> for Table {
    type Output = Slot;

    #[inline]
    fn index(&self, index: SlotIndex) -> &Slot {
        &self.slots[index.0 as usize]
    }
}

impl IndexMut<SlotIndex> for Table {
    #[inline]
    fn index_mut(&mut self, index: SlotIndex) -> &mut Slot {
        &mut self.slots[index.0 as usize]
    }
}
