//! How a request ends, is cancelled, and gives its result to its owner.
//!
//! May know: slots, lists, who waits for a result or a slot. Must not know: windows and operations.

use std::any::Any;
use std::task::Waker;
use std::time::Instant;

use super::Driver;
use super::deadlines::Whose;
use super::request::Ended;
use super::slot::{Key, Lane, Owner, SlotIndex, Work, token};
use super::waiters::Ticket;
use crate::sys::Errno;
use crate::transfer::{Direction, Event};

/// The answer to whoever asks for a result.
pub(crate) enum Taken {
    /// The result. The slot is free.
    Ready(Result<usize, Errno>),
    /// The request is in flight, and its end wakes the waker that was shown.
    Pending,
    /// The request is in flight, and its end does not wake that waker: see [`Driver::wake_by`].
    Unknown,
}

impl Driver {
    /// Asks for the result of a request. `waker` is only compared with the one that is known.
    #[inline]
    pub(crate) fn take(&mut self, key: Key, waker: &Waker) -> Taken {
        let index = key.index();
        if !self.table.has(key) {
            return self.take_unclaimed(key);
        }
        let slot = &mut self.table[index];
        if slot.done {
            let result = slot.cold.result.take().unwrap_or(Err(libc::EIO));
            self.unclaimed_slots -= 1;
            self.release(index);
            return Taken::Ready(result);
        }
        match &slot.cold.waker {
            Some(known) if known.will_wake(waker) => Taken::Pending,
            _ => Taken::Unknown,
        }
    }

    #[cold]
    fn take_unclaimed(&mut self, key: Key) -> Taken {
        let result = self.unclaimed.remove(&key);
        debug_assert!(result.is_some(), "a result is taken once");
        Taken::Ready(result.unwrap_or(Err(libc::EIO)))
    }

    /// Wakes `waker` at the end of a request, which must not have been taken. To be followed by
    /// [`Driver::take`]: the request may have ended since it was asked for last.
    pub(crate) fn wake_by(&mut self, key: Key, waker: Waker) {
        let old = if self.table.has(key) && !self.table[key.index()].done {
            self.table[key.index()].cold.waker.replace(waker)
        } else {
            Some(waker)
        };
        self.foreign.drop_waker(old);
    }

    /// Opens a list of results.
    pub(crate) fn open_list(&mut self) -> u32 {
        self.lists.open()
    }

    /// Closes a list. None of its requests may be in flight: they are over, or were abandoned.
    pub(crate) fn close_list(&mut self, list: u32) {
        let waker = self.lists.close(list);
        self.foreign.drop_waker(waker);
    }

    /// Swaps the results that a list has with `into`, which is empty.
    pub(crate) fn take_ended(&mut self, list: u32, into: &mut Vec<Ended>) {
        self.lists.take(list, into);
    }

    /// Whether the next result of a list wakes `waker`.
    pub(crate) fn list_wakes(&mut self, list: u32, waker: &Waker) -> bool {
        self.lists.knows(list, waker)
    }

    /// Wakes `waker` at the next result of a list. To be followed by [`Driver::take_ended`]: there
    /// may be results since it was asked last.
    pub(crate) fn wake_list_by(&mut self, list: u32, waker: Waker) {
        let old = self.lists.set_waker(list, waker);
        self.foreign.drop_waker(old);
    }

    /// Whether a list has results.
    pub(crate) fn has_ended(&self, list: u32) -> bool {
        self.lists.has_ended(list)
    }

    /// The owner of a request is gone. The request is cancelled as far as it can be; `buffer` is
    /// dropped when the kernel is done with it.
    pub(crate) fn abandon(&mut self, key: Key, buffer: Box<dyn Any>) {
        let index = key.index();
        if !self.table.has(key) {
            // Over: of a list, or with its result kept apart.
            self.unclaimed.remove(&key);
            return self.foreign.drop_later(buffer);
        }
        let slot = &mut self.table[index];
        let old = slot.cold.waker.take();
        if slot.done {
            self.unclaimed_slots -= 1;
            self.foreign.drop_later(buffer);
            self.release(index);
        } else {
            self.stats.cancelled += 1;
            slot.owner = Owner::Nobody;
            slot.cold.buffer_kept = Some(buffer);
            self.cancel(index);
        }
        self.foreign.drop_waker(old);
    }

    /// Ends a request early, as far as that can be done. Its owner still gets its result.
    pub(crate) fn cancel_one(&mut self, key: Key) {
        let slot = &self.table[key.index()];
        if slot.turn == key.turn() && !slot.done && !matches!(slot.work, Work::Free) {
            self.cancel(key.index());
        }
    }

    /// Ends a request early, as far as that can be done.
    pub(super) fn cancel(&mut self, index: SlotIndex) {
        if let Work::ToLook = self.table[index].work {
            return self.end(index, Err(libc::ECANCELED));
        }
        self.unfold(index);
        let slot = &mut self.table[index];
        slot.cold.cancelled = true;
        if let Work::Transfer(transfer) = &mut slot.work {
            match slot.owner {
                Owner::Nobody => transfer.abandon(),
                Owner::Asker | Owner::List { .. } => transfer.cancel(),
            }
            if transfer.is_ahead() {
                self.backend.cancel(token(index, Lane::Ahead));
            }
        }
        if slot.main {
            self.backend.cancel(token(index, Lane::Main));
        } else if slot.cold.parked.take().is_some() {
            self.lanes.forget(index);
            self.table[index].cold.waits_in = None;
            self.answered(index, -libc::ECANCELED);
        } else if slot.cold.deferred.take().is_some() {
            if let Some(bounce) = &mut self.bounce {
                bounce.forget(index);
            }
            self.drive_deferred(index, Event::Completed(Err(libc::ECANCELED)));
        }
        // Otherwise the request waits for the fault-in ahead, whose end finds it cancelled.
    }

    /// Cancels everything that is in flight.
    pub(crate) fn cancel_all(&mut self) {
        for index in self.table.indices() {
            if !matches!(self.table[index].work, Work::Free) && !self.table[index].done {
                self.cancel(index);
            }
        }
    }

    /// Frees the slots of requests that are over and that nobody can take, as when the engine goes.
    pub(crate) fn forget_done(&mut self) {
        for index in self.table.indices() {
            if self.table[index].done {
                self.unclaimed_slots -= 1;
                self.release(index);
            }
        }
    }

    /// The transfer has its result. The result is given out when nothing touches the memory any
    /// more.
    pub(super) fn finish(&mut self, index: SlotIndex, result: Result<usize, Errno>) {
        let slot = &mut self.table[index];
        slot.cold.result = Some(result);
        if let Work::Transfer(transfer) = &slot.work {
            self.stats.not_pinnable += u64::from(transfer.is_not_pinnable());
            if let Ok(count) = result {
                match transfer.direction() {
                    Direction::Read => self.stats.bytes_read += count as u64,
                    Direction::Write => self.stats.bytes_written += count as u64,
                }
            }
            if transfer.is_ahead() {
                return self.backend.cancel(token(index, Lane::Ahead));
            }
        }
        self.end(index, result);
    }

    /// The request is over.
    #[inline]
    pub(super) fn end(&mut self, index: SlotIndex, result: Result<usize, Errno>) {
        self.end_at_once(index, result);
    }

    /// The same, as a part of the caller.
    #[inline(always)]
    pub(super) fn end_at_once(&mut self, index: SlotIndex, result: Result<usize, Errno>) {
        self.stats.ended += 1;
        let slot = &mut self.table[index];
        let mut result = result;
        if result == Err(libc::ECANCELED) && slot.cold.expired {
            result = Err(libc::ETIMEDOUT);
        }
        if std::mem::take(&mut slot.timed) {
            self.record_latency(index);
        }
        let slot = &mut self.table[index];
        match slot.owner {
            Owner::List { list, name } => {
                if let Some(waker) = self.lists.add(list, Ended { name, result }) {
                    self.foreign.wake(waker);
                }
                slot.owner = Owner::Asker;
                self.vacate(index);
            }
            Owner::Asker => {
                slot.cold.result = Some(result);
                slot.done = true;
                self.unclaimed_slots += 1;
                if let Some(waker) = slot.cold.waker.take() {
                    self.foreign.wake(waker);
                }
            }
            Owner::Nobody => self.release(index),
        }
    }

    #[cold]
    fn record_latency(&mut self, index: SlotIndex) {
        let now = self.clock.now_ns();
        let started = self.table[index].cold.started_ns;
        self.stats.latency.record(now.saturating_sub(started));
    }

    fn release(&mut self, index: SlotIndex) {
        let slot = &mut self.table[index];
        slot.cold.result = None;
        slot.done = false;
        slot.owner = Owner::Asker;
        let (waker, kept) = (slot.cold.waker.take(), slot.cold.buffer_kept.take());
        self.vacate(index);
        self.foreign.drop_waker(waker);
        kept.into_iter()
            .for_each(|buffer| self.foreign.drop_later(buffer));
    }

    /// Frees the slot of a request whose owner has its result, and calls up who waits for a slot.
    #[inline(always)]
    fn vacate(&mut self, index: SlotIndex) {
        let slot = &mut self.table[index];
        debug_assert!(
            !slot.main
                && slot.cold.parked.is_none()
                && slot.cold.deferred.is_none()
                && slot.cold.bounce.is_none()
        );
        debug_assert!(!slot.timed && slot.cold.waker.is_none() && slot.cold.buffer_kept.is_none());
        if !matches!(slot.work, Work::Plain(_)) {
            slot.cold.reset();
        }
        slot.work = Work::Free;
        slot.file = None;
        slot.turn = slot.turn.wrapping_add(1);
        self.table.give_back(index);
        if !self.waiters.is_empty() {
            self.call_up(1);
        }
    }

    /// A place in the queue of those who found no free slot. `ticket` is what an earlier call
    /// returned.
    pub(crate) fn wait_for_slot(&mut self, ticket: Option<Ticket>, waker: Waker) -> Ticket {
        self.stats.admission_waits += u64::from(ticket.is_none());
        let (ticket, old) = self.waiters.join(ticket, waker);
        self.foreign.drop_waker(old);
        ticket
    }

    /// Also wakes whoever waits in that queue when `due` has come. To be called once for each
    /// ticket and time.
    pub(crate) fn remind(&mut self, ticket: Ticket, due: Instant) {
        self.deadlines
            .add(due, Whose::Ticket(ticket), &self.table, &self.waiters);
    }

    /// Gives up a place in that queue. If its holder was called up already, the next in line is.
    pub(crate) fn leave_queue(&mut self, ticket: Ticket) {
        match self.waiters.leave(ticket) {
            Some(waker) => self.foreign.drop_waker(Some(waker)),
            None => self.call_up(1),
        }
    }

    fn call_up(&mut self, count: usize) {
        for _ in 0..count.min(self.table.room()) {
            match self.waiters.call_up() {
                Some(waker) => self.foreign.wake(waker),
                None => break,
            }
        }
    }

    /// Calls up those who wait for a slot, as many as there are free slots; to be called before the
    /// thread may sleep. Slots whose requests are over and were not asked for are freed first, where
    /// nothing else is free: whoever holds those futures may be waiting for the others.
    #[inline]
    pub(super) fn call_up_waiters(&mut self) {
        if !self.waiters.is_empty() {
            if !self.table.has_room() && self.unclaimed_slots > 0 {
                self.keep_results_apart();
            }
            self.call_up(self.table.room());
        }
    }

    /// Frees the slots of requests that are over, and keeps their results until they are taken.
    #[cold]
    fn keep_results_apart(&mut self) {
        for index in self.table.indices() {
            let slot = &mut self.table[index];
            if slot.done
                && let Some(result) = slot.cold.result
            {
                let key = Key::new(index, slot.turn);
                self.unclaimed.insert(key, result);
                self.unclaimed_slots -= 1;
                self.release(index);
            }
        }
    }
}
