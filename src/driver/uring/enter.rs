//! Entering the kernel: submitting what is queued, waiting, polling.
//!
//! May know: the rings and the clock. Must not know: what an operation is for.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::{opcode, types};

use super::super::op::Wait;
use super::super::stats::Stats;
use super::{Timing, Uring, WAKE};

/// How often one call may answer EAGAIN, EBUSY or EINTR before the error is handed up.
const ENTER_TRIES: u32 = 16;

impl Uring {
    pub(crate) fn enter(&mut self, wait: Wait, stats: &mut Stats) -> io::Result<()> {
        if !self.watching {
            self.watching = true;
            let watch = opcode::PollAdd::new(types::Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
                .multi(self.watches_on);
            // SAFETY: a poll names no memory, and the ring is closed before the eventfd.
            unsafe { self.push_entry(watch.build().user_data(WAKE)) };
        }
        // What does not fit in the submission queue goes in turns; each turn takes at least one
        // entry, or is the last.
        while !self.queued.is_empty() {
            self.call(Wait::No, stats)?;
            if self.ring.submission().is_full() && self.ring.has_kernel_thread() {
                self.ring.wait_for_room()?;
            }
            if self.refill() == 0 {
                // The completion queue has to be emptied first.
                return Ok(());
            }
        }
        if self
            .polled
            .as_mut()
            .is_some_and(|polled| polled.in_flight > 0)
        {
            return self.poll(wait, stats);
        }
        let wait = if self.ring.completion().is_empty() && self.here.is_empty() {
            wait
        } else {
            Wait::No
        };
        let queued = !self.ring.submission().is_empty();
        let split = queued && wait != Wait::No && self.measures();
        if split {
            self.call(Wait::No, stats)?;
            if !self.ring.completion().is_empty() {
                return Ok(());
            }
        }
        if queued || wait != Wait::No || self.ring.has_work() {
            self.call(wait, stats)?;
        }
        Ok(())
    }

    /// Takes in what ended together with what ended the last wait. A call that has slept hands out
    /// as many completions as it waited for, one, since Linux 6.13 (io_cqring_wait,
    /// io_run_local_work). Without this the one would be answered, and what follows it submitted,
    /// alone: one more submission, and one more notification of the device, each time.
    #[inline]
    pub(crate) fn gather(&mut self, stats: &mut Stats) {
        if !self.ring.has_work() {
            return;
        }
        stats.enters += 1;
        if self.ring.enter(Wait::No).is_err() {
            // Nothing was queued and there are completions: the next call meets the error again, if
            // it is one that stays.
            stats.enter_retries += 1;
        }
    }

    /// Polls the device for completions, as there is something to wait for, and looks at the other
    /// ring in between.
    fn poll(&mut self, wait: Wait, stats: &mut Stats) -> io::Result<()> {
        let deadline = match wait {
            Wait::For(time) => Instant::now().checked_add(time),
            _ => None,
        };
        loop {
            if !self.ring.submission().is_empty() || self.ring.has_work() {
                self.call(Wait::No, stats)?;
            }
            let Some(polled) = &mut self.polled else {
                return Ok(());
            };
            stats.enters += 1;
            match polled.ring.enter(Wait::No) {
                Ok(()) => {}
                Err(error)
                    if [Some(libc::EINTR), Some(libc::EAGAIN), Some(libc::EBUSY)]
                        .contains(&error.raw_os_error()) =>
                {
                    stats.enter_retries += 1;
                }
                Err(error) => return Err(error),
            }
            let over =
                wait == Wait::No || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if over || !polled.ring.completion().is_empty() || !self.ring.completion().is_empty() {
                return Ok(());
            }
        }
    }

    fn measures(&mut self) -> bool {
        self.enters += 1;
        match self.timing {
            Timing::Every => true,
            Timing::Sampled => self.enters.is_multiple_of(64),
            Timing::Off => false,
        }
    }

    /// One io_uring_enter, tried again within bounds.
    #[inline]
    fn call(&mut self, wait: Wait, stats: &mut Stats) -> io::Result<()> {
        if wait == Wait::No && self.timing != Timing::Off {
            return self.call_with_care(wait, None, stats);
        }
        stats.enters += 1;
        match self.ring.enter(wait) {
            Ok(()) => Ok(()),
            Err(error) => self.call_with_care(wait, Some(error), stats),
        }
    }

    /// The same with the clock, and with what is done about errors; `refused` is the error of a
    /// first call.
    #[cold]
    fn call_with_care(
        &mut self,
        wait: Wait,
        mut refused: Option<io::Error>,
        stats: &mut Stats,
    ) -> io::Result<()> {
        for _ in 0..ENTER_TRIES {
            let error = match refused.take() {
                Some(error) => error,
                None => {
                    stats.enters += 1;
                    let timed = wait == Wait::No
                        && self.timing != Timing::Off
                        && !self.ring.submission().is_empty();
                    let start = timed.then(Instant::now);
                    let result = self.ring.enter(wait);
                    if let Some(start) = start {
                        stats.submit_time.record(start.elapsed().as_nanos() as u64);
                    }
                    match result {
                        Ok(()) => return Ok(()),
                        Err(error) => error,
                    }
                }
            };
            match error.raw_os_error() {
                Some(libc::ETIME) => return Ok(()),
                // A signal: the caller may have something to say about it, so waiting ends. A call
                // that has submitted something says how much instead, so what is still queued is
                // tried again.
                Some(libc::EINTR)
                    if wait != Wait::No
                        && (self.ring.submission().is_empty() || self.ring.has_kernel_thread()) =>
                {
                    return Ok(());
                }
                Some(libc::EINTR) => stats.enter_retries += 1,
                // The completion queue has to be emptied first (EBUSY), or memory is short
                // (EAGAIN).
                Some(libc::EBUSY | libc::EAGAIN) => {
                    stats.enter_retries += 1;
                    if !self.ring.completion().is_empty() {
                        return Ok(());
                    }
                    std::thread::yield_now();
                }
                _ => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "io_uring_enter was refused 16 times in a row (EAGAIN, EBUSY)",
        ))
    }

    /// Moves entries to the submission queue, in order. Returns how many the queue has taken.
    fn refill(&mut self) -> usize {
        // SAFETY: the entries came through `push_entry`, whose contract still holds: none was
        // started yet.
        let rest = self
            .queued
            .iter()
            .position(|entry| !unsafe { self.ring.push(entry) });
        let count = rest.unwrap_or(self.queued.len());
        self.queued.drain(..count);
        count
    }
}
