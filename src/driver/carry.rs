//! How the actions of a transfer become operations, and completions its events.
//!
//! May know: slots, transfers, operations, bounce buffers. Must not know: who waits for a request,
//! and what admits a request.

use super::Driver;
use super::bounce::{self, Bounce};
use super::fallback::{Fallback, errno_of};
use super::lane::LaneKind;
use super::op::{Memory, Op};
use super::slot::{Answer, SlotIndex, Work};
use crate::memory::{HUGE_PAGE_BYTES, huge};
use crate::open_file::FileRef;
use crate::transfer::{Action, Direction, Event, Segment};

impl Driver {
    /// Makes the transfer of a plain request, as it is after its submission.
    #[cold]
    pub(super) fn unfold(&mut self, index: SlotIndex) {
        let slot = &mut self.table[index];
        let (&Work::Plain(sent), Some(file)) = (&slot.work, &slot.file) else {
            return;
        };
        let transfer = sent.submitted(file.geometry(sent.direction, sent.pinned));
        let Segment { addr, len } = sent.segment();
        let pinned = if sent.pinned {
            self.find_pinned(addr, len)
        } else {
            None
        };
        let op = self.main_op(index);
        let slot = &mut self.table[index];
        slot.cold.op = op;
        slot.cold.pinned = pinned;
        slot.work = Work::Transfer(transfer);
    }

    /// The main operation of a slot has its result.
    pub(super) fn answered(&mut self, index: SlotIndex, result: i32) {
        self.unfold(index);
        let slot = &mut self.table[index];
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
                        self.stats.fallback(Fallback::BounceInSmallPages);
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
            Work::Free | Work::ToLook | Work::Plain(_) => {
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
    pub(super) fn drive(&mut self, index: SlotIndex, event: Event) {
        let mut event = event;
        loop {
            let Work::Transfer(transfer) = &mut self.table[index].work else {
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
    pub(super) fn drive_deferred(&mut self, index: SlotIndex, event: Event) {
        let slot = &mut self.table[index];
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

    /// Does what the transfer said.
    pub(super) fn carry_out(&mut self, index: SlotIndex, action: Action) {
        let slot = &mut self.table[index];
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
        index: SlotIndex,
        action: Action,
        write: bool,
        main: FileRef,
        buffered: FileRef,
        freed: bool,
    ) {
        let priority = self.table[index].priority;
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

    pub(super) fn carry_out_bounce(&mut self, index: SlotIndex, action: Action) {
        // The copy is what may be stuck, with the buffer in its hands.
        let kind = match action {
            _ if self.table[index].cold.bounce.is_some() => LaneKind::Plain,
            _ if self.table[index].cold.pinned.is_some() => LaneKind::Plain,
            Action::CopyIn { len } | Action::BounceRead { len, .. } => {
                self.lane_of_memory(index, len)
            }
            _ => LaneKind::Suspect,
        };
        let slot = &mut self.table[index];
        let Some(bounce) = &mut self.bounce else {
            debug_assert!(false, "no bounce without buffers");
            return self.drive_deferred(index, Event::Completed(Err(libc::ENOMEM)));
        };
        let Some(place) = slot.cold.bounce.or_else(|| bounce.take(kind)) else {
            slot.cold.deferred = Some(action);
            bounce.wait(index, kind);
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
        let offload = file.must_offload();
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
                        offload,
                        priority,
                    },
                    Answer::Completed,
                    offload,
                );
            }
            _ => debug_assert!(false, "{action:?} needs no bounce buffer"),
        }
    }

    pub(super) fn bounce_freed(&mut self) {
        if let Some(index) = self.bounce.as_mut().and_then(Bounce::next_waiting)
            && let Some(action) = self.table[index].cold.deferred.take()
        {
            self.carry_out_bounce(index, action);
        }
    }

    /// Advises huge pages for what is absent of the memory that a read has still to fill, once for
    /// each request.
    #[cold]
    fn advise_rest(&mut self, index: SlotIndex) {
        let slot = &mut self.table[index];
        let Work::Transfer(transfer) = &slot.work else {
            return;
        };
        if transfer.direction() != Direction::Read
            || std::mem::replace(&mut slot.cold.advised, true)
        {
            return;
        }
        let large = |piece: &Segment| piece.len >= HUGE_PAGE_BYTES;
        for piece in transfer.iter().pieces(0, usize::MAX).filter(large) {
            if let Err(error) = huge::advise(piece.addr, piece.len) {
                let errno = errno_of(&error);
                self.stats.fallback(Fallback::NotAdvised { errno });
            }
        }
    }
}
