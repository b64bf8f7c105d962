//! How the actions of a transfer become operations, and completions its events.
//!
//! May know: slots, transfers, operations, bounce buffers. Must not know: who waits for a request,
//! and what admits it.

use super::Driver;
use super::bounce;
use super::op::{Memory, Op};
use super::slot::{Answer, Ended, Lane, Owner, Work, token};
use crate::memory::residency::{Look, Range, Residency, Stop};
use crate::memory::{Access, HUGE_PAGE_BYTES, Pinned, huge, huge_pages};
use crate::open_file::FileRef;
use crate::sys::{self, Errno};
use crate::transfer::{Action, Direction, Event, Segment};

impl Driver {
    /// Makes the transfer of a plain request, as it is after its submission.
    #[cold]
    pub(super) fn unfold(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let (&Work::Plain(sent), Some(file)) = (&slot.work, &slot.file) else {
            return;
        };
        let transfer = sent.submitted(file.geometry(sent.direction));
        let Segment { addr, len } = sent.segment();
        let pinned = if sent.pinned {
            self.find_pinned(addr, len)
        } else {
            None
        };
        let slot = &mut self.slots[index as usize];
        slot.cold.pinned = pinned;
        slot.work = Work::Transfer(transfer);
    }

    /// Looks at the memory of the requests that were made since the last turn, and submits those
    /// whose memory is there. One look serves all that lie close together.
    #[inline]
    pub(super) fn look_at_unseen(&mut self) {
        if !self.unseen.is_empty() {
            self.look_at_all();
        }
    }

    fn look_at_all(&mut self) {
        let mut unseen = std::mem::take(&mut self.unseen);
        let mut ranges = std::mem::take(&mut self.ranges);
        for key in unseen.drain(..) {
            let slot = &self.slots[key.index() as usize];
            if let (Work::Unseen, Some(sent)) = (&slot.work, &slot.cold.unseen)
                && slot.turn == key.turn()
                && !slot.done
            {
                let (access, Segment { addr, len }) = (access(sent.direction), sent.segment());
                // Without the means to look, all of it counts as memory that a direct request must
                // not be given.
                let look = Look {
                    bytes: 0,
                    stop: Stop::NotDirect { bytes: len },
                };
                ranges.push(Range {
                    addr,
                    len,
                    access,
                    name: key.index(),
                    look,
                });
            }
        }
        if let Some(residency) = &mut self.residency {
            residency.look_at_ranges(&mut ranges);
        }
        for range in ranges.drain(..) {
            let Look { bytes, stop } = range.look;
            self.count_look(bytes, stop);
            let slot = &mut self.slots[range.name as usize];
            let (Some(sent), Some(file)) = (slot.cold.unseen.take(), &slot.file) else {
                continue;
            };
            if stop == Stop::End {
                slot.work = Work::Plain(sent);
                slot.main = true;
                let memory = one(None, range.addr, range.len);
                let token = token(range.name, Lane::Main);
                // SAFETY: as in `start`.
                unsafe {
                    self.backend.push_rw(
                        sent.direction,
                        file.direct(),
                        memory,
                        sent.offset,
                        slot.priority,
                        token,
                        &mut self.stats,
                    )
                };
                continue;
            }
            let mut transfer = sent.transfer(file.geometry(sent.direction));
            // It asks for the look that was just made.
            let looked = transfer.step(Event::Start) == Action::Look { len: range.len };
            debug_assert!(looked);
            if !looked {
                transfer = sent.transfer(file.geometry(sent.direction));
            }
            slot.work = Work::Transfer(transfer);
            self.drive(
                range.name,
                if looked {
                    Event::Looked { bytes, stop }
                } else {
                    Event::Start
                },
            );
        }
        (self.unseen, self.ranges) = (unseen, ranges);
    }

    /// The main operation of a slot has its result.
    pub(super) fn answered(&mut self, index: u32, result: i32) {
        self.unfold(index);
        let slot = &mut self.slots[index as usize];
        let result = if result < 0 {
            Err(-result)
        } else {
            Ok(result as usize)
        };
        let event = match slot.answer {
            Answer::Completed => Event::Completed(result),
            Answer::FaultedIn => Event::FaultedIn(result.map(drop)),
            Answer::Copied => Event::Copied(result),
            Answer::Prepared if result == Err(libc::ECANCELED) => {
                slot.cold.deferred = None;
                return self.drive_deferred(index, Event::Completed(result));
            }
            Answer::Prepared => {
                // If it failed the pages will be faulted in by the submission, which is slower and
                // nothing else.
                if let (Some(bounce), Some(place)) = (&mut self.bounce, slot.cold.bounce) {
                    bounce.set_prepared(place);
                    if bounce.lacks_huge_pages(place) {
                        self.stats.fallback(format!(
                            "bounce buffers are not in huge pages: {}",
                            huge_pages()
                        ));
                    }
                }
                match slot.cold.deferred.take() {
                    Some(action) => return self.carry_out(index, action),
                    None => Event::Completed(Err(libc::ECANCELED)),
                }
            }
        };
        match slot.work {
            Work::Transfer(_) => {
                self.count(event);
                self.drive(index, event);
            }
            Work::Simple => self.end(index, result),
            Work::Free | Work::Unseen | Work::Plain(_) => {
                debug_assert!(false, "a completion for a free slot")
            }
        }
    }

    pub(super) fn count(&mut self, event: Event) {
        match event {
            Event::Completed(Err(libc::EAGAIN | libc::EINTR)) => self.stats.retries += 1,
            Event::Completed(Err(libc::EFAULT)) => self.stats.reclaimed += 1,
            Event::FaultedIn(Err(_)) => self.stats.fault_in_failed += 1,
            _ => {}
        }
    }

    /// Tells the transfer what happened and does what it says, until it has to wait or is over.
    pub(super) fn drive(&mut self, index: u32, event: Event) {
        let mut event = event;
        loop {
            let Work::Transfer(transfer) = &mut self.slots[index as usize].work else {
                return;
            };
            let (window, done) = (transfer.window(), transfer.done_before());
            let action = transfer.step(event);
            self.stats.windows_shrunk += u64::from(transfer.window() < window);
            if done > 0 && transfer.done_before() > done {
                self.stats.resubmissions += 1;
            }
            match action {
                Action::Look { len } => event = self.look(index, len),
                action => return self.carry_out(index, action),
            }
        }
    }

    /// The answer to an action that was deferred and is not going to be carried out.
    pub(super) fn drive_deferred(&mut self, index: u32, event: Event) {
        let slot = &mut self.slots[index as usize];
        if let Work::Transfer(transfer) = &mut slot.work {
            // The action may have been the first half of a bounce, which is answered by a copy.
            let event = if transfer.awaits_copy() {
                Event::Copied(Err(libc::ECANCELED))
            } else {
                event
            };
            self.drive(index, event);
        }
    }

    pub(super) fn look(&mut self, index: u32, len: usize) -> Event {
        let Work::Transfer(transfer) = &self.slots[index as usize].work else {
            return Event::Looked {
                bytes: 0,
                stop: Stop::Absent,
            };
        };
        let (bytes, stop) = look_at(
            &mut self.residency,
            transfer.direction(),
            transfer.iter().pieces(0, len),
        );
        self.count_look(bytes, stop);
        Event::Looked { bytes, stop }
    }

    pub(super) fn count_look(&mut self, bytes: usize, stop: Stop) {
        self.stats.looked += 1;
        match stop {
            Stop::End => self.stats.resident += 1,
            _ => self.stats.prefix_submissions += u64::from(bytes > 0),
        }
    }

    /// Does what the transfer said.
    pub(super) fn carry_out(&mut self, index: u32, action: Action) {
        let slot = &mut self.slots[index as usize];
        let (Work::Transfer(transfer), Some(file)) = (&slot.work, &slot.file) else {
            return;
        };
        let write = transfer.direction() == Direction::Write;
        let priority = slot.priority;
        // What most requests need, and nothing else.
        match action {
            Action::Submit {
                offset,
                len,
                offload,
            } if slot.cold.bounce.is_none() => {
                let file = file.direct();
                let memory = self.memory(index, 0, len);
                self.start(
                    index,
                    Op::Rw {
                        write,
                        file,
                        memory,
                        offset,
                        offload,
                        priority,
                    },
                    Answer::Completed,
                    offload,
                );
                return self.start_ahead(index);
            }
            Action::Finish(result) if slot.cold.bounce.is_none() => {
                return self.finish(index, result);
            }
            _ => {}
        }
        let bounces = matches!(
            action,
            Action::CopyIn { .. }
                | Action::CopyOut { .. }
                | Action::BounceRead { .. }
                | Action::BounceWrite { .. }
        );
        if bounces {
            return self.carry_out_bounce(index, action);
        }
        if let (Some(bounce), Some(place)) = (&mut self.bounce, slot.cold.bounce.take()) {
            bounce.give_back(place);
            let (main, buffered) = (file.direct(), file.buffered());
            return self.carry_out_main(index, action, write, main, buffered, true);
        }
        let (main, buffered) = (file.direct(), file.buffered());
        self.carry_out_main(index, action, write, main, buffered, false);
    }

    pub(super) fn carry_out_main(
        &mut self,
        index: u32,
        action: Action,
        write: bool,
        main: FileRef,
        buffered: FileRef,
        freed: bool,
    ) {
        let priority = self.slots[index as usize].priority;
        match action {
            Action::Submit {
                offset,
                len,
                offload,
            } => {
                let memory = self.memory(index, 0, len);
                self.start(
                    index,
                    Op::Rw {
                        write,
                        file: main,
                        memory,
                        offset,
                        offload,
                        priority,
                    },
                    Answer::Completed,
                    offload,
                );
            }
            Action::Buffered {
                offset,
                len,
                offload,
            } => {
                self.stats.buffered += u64::from(len > 0);
                let memory = self.memory(index, 0, len);
                self.start(
                    index,
                    Op::Rw {
                        write,
                        file: buffered,
                        memory,
                        offset,
                        offload,
                        priority,
                    },
                    Answer::Completed,
                    offload,
                );
            }
            Action::FaultIn { len } => {
                self.stats.fault_in_rounds += 1;
                if self.advise_huge {
                    self.advise_rest(index);
                }
                let op = self.populate(index, 0, len);
                self.start(index, op, Answer::FaultedIn, true);
            }
            Action::Finish(result) => self.finish(index, result),
            // The end of the fault-in ahead is the answer.
            Action::AwaitAhead => {}
            Action::Look { .. }
            | Action::CopyIn { .. }
            | Action::CopyOut { .. }
            | Action::BounceRead { .. }
            | Action::BounceWrite { .. } => {
                debug_assert!(false, "{action:?} is carried out elsewhere");
            }
        }
        self.start_ahead(index);
        if freed {
            self.bounce_freed();
        }
    }

    pub(super) fn carry_out_bounce(&mut self, index: u32, action: Action) {
        let slot = &mut self.slots[index as usize];
        let Some(bounce) = &mut self.bounce else {
            debug_assert!(false, "no bounce without buffers");
            return self.drive_deferred(index, Event::Completed(Err(libc::ENOMEM)));
        };
        let Some(place) = slot.cold.bounce.or_else(|| bounce.take()) else {
            slot.cold.deferred = Some(action);
            self.bounce_queue.push_back(index);
            return;
        };
        slot.cold.bounce = Some(place);
        let addr = bounce.addr(place);
        if !bounce.is_prepared(place) {
            // Its pages are not there yet: they too are faulted in off this thread.
            slot.cold.deferred = Some(action);
            return self.start(
                index,
                Op::Populate {
                    addr,
                    len: bounce::SIZE,
                    write: true,
                },
                Answer::Prepared,
                true,
            );
        }
        let (Work::Transfer(transfer), Some(file)) = (&slot.work, &slot.file) else {
            return;
        };
        let (memfd, start) = (bounce.file(), bounce.offset(place));
        let write = transfer.direction() == Direction::Write;
        let (file, pinned, priority) = (file.direct(), slot.cold.pinned.is_some(), slot.priority);
        match action {
            Action::CopyIn { len } => {
                self.stats.bounced += 1;
                let memory = self.memory(index, 0, len);
                self.start(
                    index,
                    Op::Rw {
                        write: true,
                        file: memfd,
                        memory,
                        offset: start,
                        offload: true,
                        priority: 0,
                    },
                    Answer::Copied,
                    true,
                );
            }
            Action::CopyOut { skip, len } if pinned => {
                // Pinned memory can neither fault nor be bad: the copy is made at once.
                let mut from = addr + skip;
                for piece in transfer.iter().pieces(0, len) {
                    let to = std::ptr::with_exposed_provenance_mut::<u8>(piece.addr);
                    // SAFETY: the bounce buffer is this slot's and holds `skip + len` bytes; `to`
                    // is memory that the request lends to the driver (`push`), and that is
                    // registered with the ring, so it is mapped and writable.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            std::ptr::with_exposed_provenance::<u8>(from),
                            to,
                            piece.len,
                        )
                    };
                    from += piece.len;
                }
                self.drive(index, Event::Copied(Ok(len)));
            }
            Action::CopyOut { skip, len } => {
                let memory = self.memory(index, 0, len);
                let offset = start + skip as u64;
                self.start(
                    index,
                    Op::Rw {
                        write: false,
                        file: memfd,
                        memory,
                        offset,
                        offload: true,
                        priority: 0,
                    },
                    Answer::Copied,
                    true,
                );
            }
            Action::BounceRead { offset, len } | Action::BounceWrite { offset, len } => {
                self.stats.bounced += u64::from(!write);
                let memory = Memory::One {
                    addr,
                    len,
                    fixed: None,
                };
                self.start(
                    index,
                    Op::Rw {
                        write,
                        file,
                        memory,
                        offset,
                        offload: false,
                        priority,
                    },
                    Answer::Completed,
                    false,
                );
            }
            _ => debug_assert!(false, "{action:?} needs no bounce buffer"),
        }
    }

    pub(super) fn bounce_freed(&mut self) {
        if let Some(index) = self.bounce_queue.pop_front()
            && let Some(action) = self.slots[index as usize].cold.deferred.take()
        {
            self.carry_out_bounce(index, action);
        }
    }

    /// The memory of the next operation: `len` bytes, `skip` bytes after the cursor.
    pub(super) fn memory(&mut self, index: u32, skip: usize, len: usize) -> Memory {
        let slot = &mut self.slots[index as usize];
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

    /// Advises huge pages for what is absent of the memory that a read has still to fill, before its
    /// first fault-in.
    #[cold]
    fn advise_rest(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let Work::Transfer(transfer) = &slot.work else {
            return;
        };
        if transfer.direction() != Direction::Read || slot.cold.advised == Some(slot.turn) {
            return;
        }
        slot.cold.advised = Some(slot.turn);
        let large = |piece: &Segment| piece.len >= HUGE_PAGE_BYTES;
        for piece in transfer.iter().pieces(0, usize::MAX).filter(large) {
            if let Err(error) = huge::advise(piece.addr, piece.len) {
                self.stats.fallback(format!(
                    "huge pages are not advised for the caller's memory: {error}"
                ));
            }
        }
    }

    /// Faulting in the whole pages around `len` contiguous bytes, `skip` bytes after the cursor.
    pub(super) fn populate(&self, index: u32, skip: usize, len: usize) -> Op {
        let Work::Transfer(transfer) = &self.slots[index as usize].work else {
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
    pub(super) fn start(&mut self, index: u32, op: Op, answer: Answer, slow: bool) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(!slot.main && slot.cold.parked.is_none());
        slot.answer = answer;
        if slow {
            if self.slow.active >= self.slow.limit {
                slot.cold.parked = Some(op);
                self.slow.queue.push_back(index);
                self.stats.slow_lane_waits += 1;
                return;
            }
            self.slow.active += 1;
        }
        slot.main = true;
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
        self.slow.active -= 1;
        if let Some(index) = self.slow.queue.pop_front()
            && let Some(op) = self.slots[index as usize].cold.parked.take()
        {
            let answer = self.slots[index as usize].answer;
            self.start(index, op, answer, true);
        }
    }

    /// Faults in what comes next while the main operation is under way, if the slow lane has a
    /// place that nobody waits for.
    pub(super) fn start_ahead(&mut self, index: u32) {
        if self.slow.active >= self.slow.limit {
            return;
        }
        let slot = &mut self.slots[index as usize];
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
        self.slow.active += 1;
        self.stats.fault_in_ahead += 1;
        // SAFETY: as in `start`; the request is not over before its fault-in ahead is (`finish`).
        unsafe {
            self.backend
                .push(op, token(index, Lane::Ahead), &mut self.stats)
        };
    }

    pub(super) fn ahead_ended(&mut self, index: u32, result: i32) {
        let slot = &mut self.slots[index as usize];
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

    /// The transfer has its result. It is given out when nothing touches the memory any more.
    pub(super) fn finish(&mut self, index: u32, result: Result<usize, Errno>) {
        let slot = &mut self.slots[index as usize];
        slot.cold.result = Some(result);
        if let Work::Transfer(transfer) = &slot.work {
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
    pub(super) fn end(&mut self, index: u32, result: Result<usize, Errno>) {
        self.end_at_once(index, result);
    }

    /// The same, as a part of the caller.
    #[inline(always)]
    pub(super) fn end_at_once(&mut self, index: u32, result: Result<usize, Errno>) {
        self.stats.ended += 1;
        let slot = &mut self.slots[index as usize];
        let mut result = result;
        if result == Err(libc::ECANCELED) && slot.cold.expired {
            result = Err(libc::ETIMEDOUT);
        }
        if std::mem::take(&mut slot.timed) {
            self.record_latency(index);
        }
        let slot = &mut self.slots[index as usize];
        match slot.owner {
            Owner::List { list, name } => {
                if let Some(Some(list)) = self.lists.get_mut(list as usize) {
                    list.ended.push(Ended { name, result });
                    if list.waker.is_some() {
                        self.woken.extend(list.waker.take());
                    }
                }
                slot.owner = Owner::Asker;
                self.vacate(index);
            }
            Owner::Asker => {
                slot.cold.result = Some(result);
                slot.done = true;
                // Many requests of one task end in one turn: it is woken once.
                if let Some(waker) = slot.cold.waker.take()
                    && !self.woken.last().is_some_and(|last| last.will_wake(&waker))
                {
                    self.woken.push(waker);
                }
            }
            Owner::Nobody => self.release(index),
        }
    }

    #[cold]
    fn record_latency(&mut self, index: u32) {
        let now = self.now();
        self.stats
            .latency
            .record(now.saturating_sub(self.slots[index as usize].cold.started_ns));
    }
}

fn access(direction: Direction) -> Access {
    match direction {
        Direction::Read => Access::Fill,
        Direction::Write => Access::Send,
    }
}

/// Looks without faulting. Without the means to look, all of it counts as memory that a direct
/// request must not be given.
pub(super) fn look_at(
    residency: &mut Option<Residency>,
    direction: Direction,
    pieces: impl Iterator<Item = Segment>,
) -> (usize, Stop) {
    let access = access(direction);
    let mut bytes = 0;
    for piece in pieces {
        let Some(residency) = residency else {
            return (0, Stop::NotDirect { bytes: piece.len });
        };
        let look = residency.look(piece.addr, piece.len, access);
        bytes += look.bytes;
        if look.stop != Stop::End {
            return (bytes, look.stop);
        }
    }
    (bytes, Stop::End)
}

/// One range, in its registered buffer if there is one.
#[inline(always)]
pub(super) fn one(pinned: Option<&Pinned>, addr: usize, len: usize) -> Memory {
    let fixed = pinned.and_then(|pinned| {
        let (from, to) = (addr - pinned.base, addr - pinned.base + len - 1);
        let entry = from / Pinned::ENTRY_BYTES;
        (entry == to / Pinned::ENTRY_BYTES).then(|| pinned.index + entry as u16)
    });
    Memory::One { addr, len, fixed }
}
