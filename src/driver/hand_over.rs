//! What happens when an ability is lost after the set-up: a ring that can't be entered any more, a
//! kernel that makes no worker, a child of fork.
//!
//! May know: slots, operations, the back end. Must not know: who waits for a request.

use std::io;

use super::Driver;
use super::backend::Backend;
use super::fallback::{Fallback, errno_of};
use super::lane::{LaneKind, Lanes};
use super::lost::Gone;
use super::op::{Op, one};
use super::slot::{Lane, SlotIndex, Work, token, untoken};
use crate::sys::address_space;

/// How often in a row io_uring_enter(2) may refuse for want of memory before it counts as lost. With
/// the pauses that `block_on` makes in between, about five seconds.
const REFUSALS: u32 = 100;

impl Driver {
    /// Makes sure that this is the process in which the driver was made.
    #[inline]
    pub(crate) fn check_process(&mut self) {
        if address_space::generation() != self.made_in {
            self.leave_to_the_parent();
        }
    }

    /// This is a child of fork. The parent has the ring, the workers and the requests: here every
    /// request ends with ENOTRECOVERABLE, those in flight at once.
    #[cold]
    fn leave_to_the_parent(&mut self) {
        self.made_in = address_space::generation();
        let gone = Backend::Gone(Box::new(Gone::new(self.backend.wake_fd())));
        // The ring's memory is not mapped in a child (MADV_DONTFORK), nor are the bounce buffers,
        // and a lock of the worker threads may be held for ever.
        std::mem::forget(std::mem::replace(&mut self.backend, gone));
        std::mem::forget(self.bounce.take());
        self.base.bounce = 0;
        self.completions.clear();
        self.reason = Some("made in the parent process, before fork(2)".to_owned());
        for index in self.table.indices() {
            let slot = &mut self.table[index];
            if matches!(slot.work, Work::Free) || slot.done {
                continue;
            }
            slot.main = false;
            slot.cold.lane = None;
            slot.cold.waits_in = None;
            slot.cold.bounce = None;
            slot.cold.parked = None;
            slot.cold.deferred = None;
            slot.work = Work::Simple;
            self.end(index, Err(libc::ENOTRECOVERABLE));
        }
        self.looks.to_look.clear();
        self.lanes = Lanes::new(self.backend.lane_limits());
    }

    /// What io_uring_enter(2) has answered. `Ok`: the driver goes on, maybe without the ring.
    pub(super) fn entered(&mut self, result: io::Result<()>) -> io::Result<()> {
        let Err(error) = result else {
            self.refusals = 0;
            return Ok(());
        };
        self.refusals += 1;
        let transient = matches!(
            error.raw_os_error(),
            None | Some(libc::EAGAIN | libc::EBUSY | libc::EINTR | libc::ENOMEM)
        );
        if transient && self.refusals < REFUSALS {
            return Err(error);
        }
        if self.lose_ring(&error) {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Hands over to worker threads what the kernel has not taken, and what comes from now on.
    #[cold]
    fn lose_ring(&mut self, error: &io::Error) -> bool {
        let Backend::Uring(uring) = &mut self.backend else {
            return false;
        };
        let Some(tokens) = uring.take_back() else {
            return false;
        };
        let fallback = Fallback::RingLost {
            errno: errno_of(error),
        };
        self.reason = Some(fallback.to_string());
        self.stats.fallback(fallback);
        self.refusals = 0;
        self.backend.lose(&mut self.stats);
        for token in tokens {
            let (index, lane) = untoken(token);
            match lane {
                Lane::Ahead => {
                    self.leave_lane(LaneKind::Suspect);
                    self.ahead_ended(index, -libc::EAGAIN);
                }
                Lane::Main => {
                    if let Some(op) = self.main_op(index) {
                        // SAFETY: the operation is the one that was pushed by `start` or
                        // `push_plain`, whose contract still holds: it was never started.
                        unsafe { self.backend.push(op, token, &mut self.stats) };
                    }
                }
            }
        }
        true
    }

    /// The operation that a slot's main operation is.
    pub(super) fn main_op(&self, index: SlotIndex) -> Option<Op> {
        let slot = &self.table[index];
        let (&Work::Plain(sent), Some(file)) = (&slot.work, &slot.file) else {
            return slot.cold.op;
        };
        let segment = sent.segment();
        Some(Op::Rw {
            write: sent.direction == crate::transfer::Direction::Write,
            file: file.direct(),
            memory: one(None, segment.addr, segment.len),
            offset: sent.offset,
            offload: false,
            priority: slot.priority,
        })
    }

    /// An operation that nobody cancelled has ended with ECANCELED: the kernel could not make a
    /// worker for it (io-wq; RLIMIT_NPROC, or a pids cgroup at its limit). It is carried out on this
    /// thread. Whether it was.
    #[cold]
    pub(super) fn carried_out_here(&mut self, index: SlotIndex) -> bool {
        let slot = &self.table[index];
        if slot.cold.cancelled {
            return false;
        }
        let Some(op) = self.main_op(index) else {
            return false;
        };
        // SAFETY: the operation's completion was reaped, so the kernel is done with it; the slot's
        // contract (`push`) still holds.
        unsafe {
            self.backend
                .carry_out_here(op, token(index, Lane::Main), &mut self.stats)
        };
        true
    }
}
