//! How an operation is started: its memory, its place in the slow lane, the fault-in ahead of it.
//!
//! May know: slots, operations, the back end. Must not know: why an operation is wanted.

use std::time::Instant;

use super::Driver;
use super::lane::LaneKind;
use super::looks::look_at;
use super::op::{Memory, Op, one};
use super::slot::{Answer, Lane, SlotIndex, Work, token};
use crate::sys;
use crate::transfer::{Direction, Event, Stop};

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

    /// Starts a slot's main operation. `slow`: the operation may fault, and takes a place in a lane.
    pub(super) fn start(&mut self, index: SlotIndex, op: Op, answer: Answer, slow: bool) {
        let lane = slow.then(|| self.lane_of(index, &op, answer));
        let slot = &mut self.table[index];
        debug_assert!(!slot.main && slot.cold.parked.is_none());
        slot.answer = answer;
        self.start_in(index, op, lane);
    }

    /// The lane for an operation that may fault.
    fn lane_of(&mut self, index: SlotIndex, op: &Op, answer: Answer) -> LaneKind {
        let plain = match op {
            // The engine's own memory.
            _ if answer == Answer::Prepared => true,
            Op::Rw { memory, .. } => return self.lane_of_memory(index, memory.bytes()),
            _ => false,
        };
        if plain {
            LaneKind::Plain
        } else {
            LaneKind::Suspect
        }
    }

    /// The lane for an operation on the next `len` bytes of a transfer's memory.
    pub(super) fn lane_of_memory(&mut self, index: SlotIndex, len: usize) -> LaneKind {
        let Work::Transfer(transfer) = &self.table[index].work else {
            return LaneKind::Suspect;
        };
        let pieces = transfer.iter().pieces(0, len);
        let (_, stop) = look_at(&mut self.looks.residency, transfer.direction(), pieces);
        if stop == Stop::End && !self.resolves_faults_itself(index) {
            LaneKind::Plain
        } else {
            LaneKind::Suspect
        }
    }

    /// Starts a slot's main operation as soon as its lane has a place.
    fn start_in(&mut self, index: SlotIndex, op: Op, lane: Option<LaneKind>) {
        let slot = &mut self.table[index];
        if let Some(kind) = lane
            && !self.lanes.get(kind).enter()
        {
            slot.cold.parked = Some(op);
            slot.cold.waits_in = Some(kind);
            self.lanes.get(kind).wait(index);
            self.stats.slow_lane_waits += 1;
            return;
        }
        slot.main = true;
        slot.cold.op = Some(op);
        slot.cold.lane = lane;
        // SAFETY: the memory is valid until the request is over, by the contract of `push`, or
        // belongs to the slot (iovecs) or to this driver (bounce); neither is touched before the
        // completion. The slot keeps the file, and with it the descriptor, as long.
        unsafe {
            self.backend
                .push(op, token(index, Lane::Main), &mut self.stats)
        };
    }

    /// Gives back a place in a lane, to whoever waits for one.
    pub(super) fn leave_lane(&mut self, kind: LaneKind) {
        if let Some(index) = self.lanes.get(kind).leave() {
            self.start_parked(index, kind);
        }
    }

    fn start_parked(&mut self, index: SlotIndex, kind: LaneKind) {
        let cold = &mut self.table[index].cold;
        cold.waits_in = None;
        if let Some(op) = cold.parked.take() {
            self.start_in(index, op, Some(kind));
        }
    }

    /// Where the suspect lane is stuck, starts what waits in it and can't be stuck itself. Whether the
    /// lane was stuck.
    pub(super) fn pass_the_stuck(&mut self) -> bool {
        let Some(stuck_at) = self.lanes.stuck_at() else {
            return false;
        };
        let now = Instant::now();
        if now < stuck_at {
            return false;
        }
        self.stats.lanes_stuck += 1;
        for index in self.lanes.take_stuck(now) {
            if self.is_plain(index) {
                self.lanes.forget(index);
                self.start_parked(index, LaneKind::Plain);
            }
        }
        true
    }

    /// Whether the caller has said that it resolves the faults of the memory.
    fn resolves_faults_itself(&self, index: SlotIndex) -> bool {
        let slot = &self.table[index];
        let Work::Transfer(transfer) = &slot.work else {
            return false;
        };
        // Where the file has all its requests offloaded, that is not told apart.
        let by_the_file = slot.file.as_ref().is_some_and(|file| file.must_offload());
        transfer.is_offloaded() && !by_the_file
    }

    /// Whether the memory of a parked operation is such that no fault in it can be stuck.
    fn is_plain(&mut self, index: SlotIndex) -> bool {
        let slot = &self.table[index];
        let (Work::Transfer(transfer), Some(op)) = (&slot.work, &slot.cold.parked) else {
            return false;
        };
        if self.resolves_faults_itself(index) {
            return false;
        }
        match op {
            Op::Populate { addr, len, .. } => self.plain_memory.holds(*addr, *len),
            Op::Rw { memory, .. } => {
                let mut pieces = transfer.iter().pieces(0, memory.bytes());
                pieces.all(|piece| self.plain_memory.holds(piece.addr, piece.len))
            }
            Op::Sync { .. } | Op::Allocate { .. } | Op::SetLen { .. } => false,
        }
    }

    /// Faults in what comes next while the main operation is under way, if the slow lane has a
    /// place that nobody waits for.
    pub(super) fn start_ahead(&mut self, index: SlotIndex) {
        if !self.lanes.get(LaneKind::Suspect).has_room() {
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
        self.lanes.get(LaneKind::Suspect).enter();
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
