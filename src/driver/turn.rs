//! A turn: what is queued is started, what has an answer is carried on, and what is out of time is
//! cancelled.
//!
//! May know: the back end, completions, deadlines. Must not know: how a request was made, and who
//! gets its result.

use std::io;
#[cfg(feature = "tokio")]
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::Driver;
use super::deadlines::{Whose, bound};
use super::fallback::Fallback;
use super::lane::LaneKind;
use super::op::{Completion, Wait, one};
use super::slot::{Lane, SlotIndex, Work, token, untoken};
use crate::transfer::{Direction, Segment};

/// When requests are started before the turn that would.
///
/// Where most of what was in flight has ended at once, as virtual disks like to have it, the device
/// stands idle while the answers are worked off and followed by new requests. So the first of
/// these, as many as are still with the device but not just a few, do not wait for the others.
/// `cargo bench --bench hot` on a virtio disk, depth 32, elapsed against the bare ring: 0.93 to
/// 0.96 without, 0.88 to 0.92 with it.
#[derive(Default)]
pub(super) struct Early {
    /// So many more requests; 0: it is not expected.
    left: u32,
    /// What has ended since the last turn, of which nobody was told yet.
    ended: u64,
}

impl Early {
    /// Fewer are not worth a system call of their own.
    const FEWEST: usize = 8;

    /// To be called for each request, before it is queued.
    #[inline(always)]
    pub(super) fn is_time(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.left == 0
    }

    /// So many of those in flight have ended, and will be followed by others, as far as anybody can
    /// know.
    fn plan(&mut self, in_flight: usize, ended: usize) {
        let enough = in_flight.saturating_sub(ended).max(Early::FEWEST);
        // The last ones need no help: the turn comes then.
        self.left = if ended >= enough + Early::FEWEST / 2 {
            enough as u32 + 1
        } else {
            0
        };
    }
}

impl Driver {
    /// Starts what is queued although there will be more.
    #[cold]
    pub(super) fn start_early(&mut self) {
        self.stats.early_starts += 1;
        let before = self.stats.ended;
        // An error that stays is met again by the turn.
        let _ = self.round(Wait::No);
        self.early.ended += self.stats.ended - before;
    }

    /// Starts what is queued, waits as told unless something is over already, and carries requests
    /// on. Returns how many came to their end.
    pub(crate) fn turn(&mut self, wait: Wait) -> io::Result<usize> {
        self.give_back_unused();
        // Room is made after a turn too, when results are taken. Whoever waits for it is called
        // up before this thread may sleep.
        self.call_up_waiters();
        let before = self.stats.ended - self.early.ended;
        let mut wait = if self.stats.ended == before && !self.foreign.wakes() {
            wait
        } else {
            Wait::No
        };
        let deadline = match wait {
            Wait::For(time) => Instant::now().checked_add(time),
            _ => None,
        };
        // Each round but the last carries at least one operation on, and the measure of its
        // transfer falls.
        loop {
            let idle = !self.round(wait)?;
            // What is woken without an end is a time that is over.
            if idle || wait == Wait::No || self.stats.ended != before || self.foreign.wakes() {
                break;
            }
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                wait = if left.is_zero() {
                    Wait::No
                } else {
                    Wait::For(left)
                };
            }
        }
        self.look_at_new();
        if self.backend.has_queued() {
            let entered = self.backend.enter(Wait::No, &mut self.stats);
            self.entered(entered)?;
        }
        self.call_up_waiters();
        self.clock.passes();
        // Not before: after an error nobody was told.
        self.early.ended = 0;
        Ok((self.stats.ended - before) as usize)
    }

    /// Whether a turn would start something: what is queued, or what waits for room that there is.
    #[inline]
    pub(crate) fn wants_turn(&mut self) -> bool {
        !self.looks.to_look.is_empty()
            || self.backend.has_queued()
            || (!self.waiters.is_empty() && (self.table.has_room() || self.unclaimed_slots > 0))
    }

    /// Whether there are answers to take in, or may be at any moment without anybody saying so.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_answers(&mut self) -> bool {
        self.backend.has_answers()
    }

    /// A descriptor that becomes readable, as an edge, when something has an answer; until
    /// `unlisten` was called as often as this.
    #[cfg(feature = "tokio")]
    pub(crate) fn listen(&mut self) -> io::Result<OwnedFd> {
        self.backend.listen()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn unlisten(&mut self) {
        self.backend.unlisten();
    }

    /// A turn that comes back as soon as anything has happened, be it that somebody wrote to the
    /// eventfd. What requests want to do next is queued, and started by the next one.
    pub(crate) fn short_turn(&mut self, wait: Wait) -> io::Result<()> {
        self.give_back_unused();
        self.call_up_waiters();
        let early = std::mem::take(&mut self.early.ended);
        let may_wait = early == 0 && !self.foreign.wakes();
        let result = self.round(if may_wait { wait } else { Wait::No });
        self.call_up_waiters();
        result.map(drop)
    }

    /// Starts what is queued, waits as told, and carries on what has an answer. Whether there was
    /// anything to carry on.
    fn round(&mut self, wait: Wait) -> io::Result<bool> {
        let before = self.stats.ended;
        self.look_at_new();
        // A look may have ended a request, for which nobody has to wait then.
        let waited = if self.stats.ended == before {
            bound(wait, self.next_deadline())
        } else {
            Wait::No
        };
        let entered = self.backend.enter(waited, &mut self.stats);
        let in_flight = self.in_flight();
        // Of few, the first is better followed by another at once: otherwise the device has nothing
        // to do meanwhile.
        if waited != Wait::No && in_flight >= 2 * Early::FEWEST {
            self.backend.gather(&mut self.stats);
        }
        let mut completions = std::mem::take(&mut self.completions);
        self.backend.reap(&mut completions);
        self.clock.passes();
        let answers = !completions.is_empty();
        self.early.plan(in_flight, completions.len());
        for completion in completions.drain(..) {
            self.completed(completion);
        }
        self.completions = completions;
        let expired = !self.deadlines.is_empty() && self.expire();
        let passed = self.lanes.stuck_at().is_some() && self.pass_the_stuck();
        // A ring that was lost is something to carry on with.
        let failed = entered.is_err();
        self.entered(entered)?;
        Ok(answers || expired || passed || failed)
    }

    /// Cancels the requests whose time is over, and wakes those who waited for room until it was;
    /// says whether there were any.
    fn expire(&mut self) -> bool {
        let mut some = false;
        let now = Instant::now();
        while let Some(whose) = self.deadlines.next_due(now) {
            some = true;
            match whose {
                Whose::Request(key) => {
                    let slot = &mut self.table[key.index()];
                    if slot.turn == key.turn() && !slot.done {
                        slot.cold.expired = true;
                        self.cancel(key.index());
                    }
                }
                // Whoever waits is called up, and finds that the time is over.
                Whose::Ticket(ticket) => {
                    if let Some(waker) = self.waiters.leave(ticket) {
                        self.foreign.wake(waker);
                    }
                }
            }
        }
        some
    }

    /// When the first request's time is over, or a lane counts as stuck.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let both = [self.deadlines.next(), self.lanes.stuck_at()];
        both.into_iter().flatten().min()
    }

    #[inline]
    fn completed(&mut self, completion: Completion) {
        let Completion { token, result } = completion;
        let (index, lane) = untoken(token);
        let slot = &mut self.table[index];
        // What most requests end with.
        if lane == Lane::Main
            && let Work::Plain(sent) = slot.work
            && sent.is_whole(result)
        {
            slot.main = false;
            match sent.direction {
                Direction::Read => self.stats.bytes_read += result as u64,
                Direction::Write => self.stats.bytes_written += result as u64,
            }
            return self.end_at_once(index, Ok(result as usize));
        }
        let again = match (result, lane) {
            (errno, _) if errno == -libc::EOPNOTSUPP => self.sent_again(index, lane),
            (errno, Lane::Main) if errno == -libc::ECANCELED => self.carried_out_here(index),
            _ => false,
        };
        if again {
            return;
        }
        self.completed_otherwise(index, lane, result);
    }

    /// A device without polled queues refuses what is sent to be polled: the request, and all
    /// others of the file, go the ordinary way.
    #[cold]
    fn sent_again(&mut self, index: SlotIndex, lane: Lane) -> bool {
        let slot = &self.table[index];
        let (Lane::Main, &Work::Plain(sent), Some(file)) = (lane, &slot.work, &slot.file) else {
            return false;
        };
        if !self.backend.polls() || slot.cold.expired {
            return false;
        }
        if file.direct().polled {
            file.set_polled(false);
            self.stats.fallback(Fallback::NoPolledQueues);
        }
        let Segment { addr, len } = sent.segment();
        let pinned = if sent.pinned {
            self.find_pinned(addr, len)
        } else {
            None
        };
        let (token, stats) = (token(index, Lane::Main), &mut self.stats);
        let (memory, priority) = (one(pinned.as_ref(), addr, len), slot.priority);
        // SAFETY: as in `start`.
        unsafe {
            self.backend.push_rw(
                sent.direction,
                file.direct(),
                memory,
                sent.offset,
                priority,
                token,
                stats,
            )
        };
        true
    }

    fn completed_otherwise(&mut self, index: SlotIndex, lane: Lane, result: i32) {
        match lane {
            Lane::Main => {
                let slot = &mut self.table[index];
                slot.main = false;
                if let Some(kind) = slot.cold.lane.take() {
                    self.leave_lane(kind);
                }
                self.answered(index, result);
            }
            Lane::Ahead => {
                self.leave_lane(LaneKind::Suspect);
                self.ahead_ended(index, result);
            }
        }
    }

    /// Waits until nothing is in flight, at most until the deadline.
    pub(crate) fn drain(&mut self, time: Duration) {
        let Some(deadline) = Instant::now().checked_add(time) else {
            return;
        };
        loop {
            self.forget_done();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.in_flight() == 0 || left.is_zero() || self.turn(Wait::For(left)).is_err() {
                return;
            }
        }
    }
}
