//! How an operation is started: its memory, its place in the slow lane, the fault-in ahead of it.
//!
//! May know: slots, operations, the back end. Must not know: why an operation is wanted.

use super::Driver;
use super::op::{Memory, Op, one};
use super::slot::{Answer, Lane, SlotIndex, Work, token};
use crate::sys;
use crate::transfer::{Direction, Event};

impl Driver {
    /// The memory of the next operation: `len` bytes, `skip` bytes after the cursor.
    pub(super) fn memory(&mut self, index: SlotIndex, skip: usize, len: usize) -> Memory {
        let slot = &mut self.table[index];
        let Work::Transfer(transfer) = &slot.work else {
            return Memory::One {
                addr: 0,
                len: 0,
                fixed: None,
            };
        };
        let current = transfer.iter().current();
        let pinned = slot.cold.pinned;
        if skip == 0 && len > 0 && len <= current.len {
            return one(pinned.as_ref(), current.addr, len);
        }
        let mut pieces = transfer.iter().pieces(skip, len);
        let Some(first) = pieces.next() else {
            return Memory::One {
                addr: 0,
                len: 0,
                fixed: None,
            };
        };
        let Some(second) = pieces.next() else {
            return one(pinned.as_ref(), first.addr, first.len);
        };
        slot.cold.iovecs.clear();
        slot.cold
            .iovecs
            .extend(
                [first, second]
                    .into_iter()
                    .chain(pieces)
                    .map(|piece| libc::iovec {
                        iov_base: std::ptr::with_exposed_provenance_mut(piece.addr),
                        iov_len: piece.len,
                    }),
            );
        Memory::Many {
            iov: slot.cold.iovecs.as_ptr(),
            count: slot.cold.iovecs.len() as u32,
        }
    }

    /// Faulting in the whole pages around `len` contiguous bytes, `skip` bytes after the cursor.
    pub(super) fn populate(&self, index: SlotIndex, skip: usize, len: usize) -> Op {
        let Work::Transfer(transfer) = &self.table[index].work else {
            return Op::Populate {
                addr: 0,
                len: 0,
                write: false,
            };
        };
        let page = sys::page_size();
        let here = transfer
            .iter()
            .pieces(skip, len)
            .next()
            .map_or(0, |piece| piece.addr);
        let addr = here & !(page - 1);
        // Where the end of the address space is near, what is asked for is not there, and the
        // kernel says so.
        let len = here
            .saturating_add(len)
            .saturating_sub(addr)
            .checked_next_multiple_of(page)
            .unwrap_or(usize::MAX & !(page - 1));
        Op::Populate {
            addr,
            len,
            write: transfer.direction() == Direction::Read,
        }
    }

    /// Starts a slot's main operation. `slow`: it may be stuck, and waits for a place among those.
    pub(super) fn start(&mut self, index: SlotIndex, op: Op, answer: Answer, slow: bool) {
        let slot = &mut self.table[index];
        debug_assert!(!slot.main && slot.cold.parked.is_none());
        slot.answer = answer;
        if slow && !self.slow.enter() {
            slot.cold.parked = Some(op);
            self.slow.wait(index);
            self.stats.slow_lane_waits += 1;
            return;
        }
        slot.main = true;
        slot.cold.op = Some(op);
        slot.cold.slow = slow;
        // SAFETY: the memory is valid until the request is over, by the contract of `push`, or
        // belongs to the slot (iovecs) or to this driver (bounce); neither is touched before the
        // completion. The slot keeps the file, and with it the descriptor, as long.
        unsafe {
            self.backend
                .push(op, token(index, Lane::Main), &mut self.stats)
        };
    }

    pub(super) fn leave_slow_lane(&mut self) {
        if let Some(index) = self.slow.leave()
            && let Some(op) = self.table[index].cold.parked.take()
        {
            let answer = self.table[index].answer;
            self.start(index, op, answer, true);
        }
    }

    /// Faults in what comes next while the main operation is under way, if the slow lane has a
    /// place that nobody waits for.
    pub(super) fn start_ahead(&mut self, index: SlotIndex) {
        if !self.slow.has_room() {
            return;
        }
        let slot = &mut self.table[index];
        if slot.done || slot.cold.result.is_some() {
            return;
        }
        let Work::Transfer(transfer) = &mut slot.work else {
            return;
        };
        let Some(ahead) = transfer.ahead() else {
            return;
        };
        slot.cold.ahead_end = transfer.ahead_end(ahead);
        let op = self.populate(index, ahead.skip, ahead.len);
        self.slow.enter();
        self.stats.fault_in_ahead += 1;
        // SAFETY: as in `start`; the request is not over before its fault-in ahead is (`finish`).
        unsafe {
            self.backend
                .push(op, token(index, Lane::Ahead), &mut self.stats)
        };
    }

    pub(super) fn ahead_ended(&mut self, index: SlotIndex, result: i32) {
        let slot = &mut self.table[index];
        let Work::Transfer(transfer) = &mut slot.work else {
            return;
        };
        let awaited = transfer.ahead_ended(
            slot.cold.ahead_end,
            if result < 0 { Err(-result) } else { Ok(()) },
        );
        match slot.cold.result {
            Some(result) => self.end(index, result),
            None if awaited => self.drive(index, Event::AheadEnded),
            None => self.start_ahead(index),
        }
    }
}
