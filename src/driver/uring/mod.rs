//! The io_uring back end: one ring, and a second one if completions are to be polled for.
//!
//! May know: the io-uring crate, descriptors, addresses. Must not know: requests, windows, buffers
//! and who owns them.
//!
//! # Polling
//!
//! A ring with IORING_SETUP_IOPOLL takes direct reads and writes and nothing else, and only where
//! the device has queues that are polled. So it gets the plain requests of files that were not
//! refused there yet; everything else goes by the other ring. A refusal (EOPNOTSUPP) is an answer
//! to a request of that very file, never to a guess beforehand; the request is then sent by the
//! other ring.

mod entry;
#[cfg(test)]
mod gather_test;
#[cfg(feature = "tokio")]
mod listen;
mod ring;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use io_uring::{Probe, cqueue, opcode, squeue, types};
use ring::Ring;
pub(crate) use ring::Wishes;

use super::op::{Completion, Memory, Op, Wait};
use super::stats::Stats;
use super::wake;
use crate::memory::Pinned;
use crate::open_file::FileRef;

/// Tokens that no operation has: the watch on the eventfd, and cancellations, whose own result says
/// nothing.
const WAKE: u64 = u64::MAX;
const IGNORED: u64 = u64::MAX - 1;

/// Places in the ring's tables.
const FILES: u32 = 1024;
const BUFFERS: u16 = 256;

/// How often one call may answer EAGAIN, EBUSY or EINTR before the error is handed up.
const ENTER_TRIES: u32 = 16;

/// How often the clock is read, for [`Stats::latency`] and
/// [`Stats::submit_time`](crate::Stats::submit_time).
///
/// [`Stats::latency`]: crate::Stats::latency
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Timing {
    /// The latency of one request in 64; the time of one call in 64 that both submits and waits,
    /// and of every call that only submits.
    #[default]
    Sampled,
    /// Of every request and every call. To tell submitting from waiting costs a second system call
    /// each time.
    Every,
    /// Of none.
    Off,
}

impl Timing {
    /// The time of a request is taken if its number has none of these bits.
    pub(super) fn mask(self) -> Option<u64> {
        match self {
            Timing::Sampled => Some(63),
            Timing::Every => Some(0),
            Timing::Off => None,
        }
    }
}

pub(crate) struct Uring {
    ring: Ring,
    polled: Option<Polled>,
    /// What did not fit in the submission queue, whose entries are fewer than the operations that
    /// may be in flight.
    queued: Vec<squeue::Entry>,
    wake: Arc<OwnedFd>,
    watching: bool,
    /// One watch sees all wake-ups, where the kernel has such (Linux 5.13).
    watches_on: bool,
    files: Vec<u32>,
    buffers: Option<Box<[bool]>>,
    flags: Vec<&'static str>,
    set_len: bool,
    bounded_workers: usize,
    timing: Timing,
    enters: u64,
    #[cfg(feature = "tokio")]
    listeners: listen::Listeners,
}

/// The ring that is polled, and how many operations it has.
struct Polled {
    ring: Ring,
    in_flight: usize,
}

impl Uring {
    /// Sets up a ring with room for `operations` in flight, or says why there can't be one. Wishes
    /// that are not granted are noted.
    pub(crate) fn new(
        operations: u32,
        timing: Timing,
        wishes: Wishes,
        stats: &mut Stats,
    ) -> io::Result<Uring> {
        let entries = operations.next_power_of_two().clamp(8, 4096);
        // Twice the operations: a cancellation and the watch on the eventfd complete too.
        let completions = (2 * operations.max(entries))
            .next_power_of_two()
            .clamp(32, 65536);
        let mut flags = Vec::new();
        let set_up = |wishes, flags: &mut Vec<_>| Ring::new(entries, completions, wishes, flags);
        let plain = Wishes {
            io_poll: false,
            ..wishes
        };
        let ring = match set_up(plain, &mut flags) {
            Err(error) if wishes.sq_poll.is_some() => {
                stats.fallback(format!(
                    "no kernel thread for submissions (SQPOLL): {error}"
                ));
                set_up(
                    Wishes {
                        sq_poll: None,
                        ..plain
                    },
                    &mut flags,
                )?
            }
            set_up => set_up?,
        };
        let params = ring.ring().params();
        if !params.is_feature_nodrop() || !params.is_feature_ext_arg() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "io_uring is older than Linux 5.11",
            ));
        }
        if wishes.no_iowait && !params.is_feature_no_iowait() {
            stats.fallback(
                "waiting counts as waiting for I/O: NO_IOWAIT needs Linux 6.15".to_owned(),
            );
        }
        let mut probe = Probe::new();
        ring.ring().submitter().register_probe(&mut probe)?;
        let set_len = probe.is_supported(opcode::Ftruncate::CODE);
        let polled = wishes.io_poll.then(|| {
            set_up(
                Wishes {
                    sq_poll: None,
                    ..wishes
                },
                &mut Vec::new(),
            )
        });
        let polled = polled.and_then(|polled| {
            polled
                .inspect_err(|error| {
                    stats.fallback(format!("completions are not polled for (IOPOLL): {error}"))
                })
                .ok()
        });
        if polled.is_some() {
            flags.push("IOPOLL ring");
        }

        let mut uring = Uring {
            ring,
            polled: polled.map(|ring| Polled { ring, in_flight: 0 }),
            queued: Vec::new(),
            wake: Arc::new(wake::eventfd()?),
            watching: false,
            watches_on: true,
            files: Vec::new(),
            buffers: None,
            flags: Vec::new(),
            set_len,
            bounded_workers: 0,
            timing,
            enters: 0,
            #[cfg(feature = "tokio")]
            listeners: listen::Listeners::default(),
        };
        uring.prove()?;
        uring.bounded_workers = uring.ask_bounded_workers(entries);
        let places = FILES.min(open_files_limit());
        if places > 0
            && uring
                .on_each(|ring| ring.ring().submitter().register_files_sparse(places))
                .is_ok()
        {
            uring.files = (0..places).rev().collect();
            flags.push("registered files");
        }
        if uring
            .on_each(|ring| {
                ring.ring()
                    .submitter()
                    .register_buffers_sparse(BUFFERS.into())
            })
            .is_ok()
        {
            uring.buffers = Some(vec![false; BUFFERS.into()].into());
            flags.push("registered buffers");
        }
        uring.flags = flags;
        Ok(uring)
    }

    /// Does the same with both rings, so that their tables are alike. After an error on the second
    /// the first may have it.
    fn on_each<R>(&self, mut f: impl FnMut(&Ring) -> io::Result<R>) -> io::Result<R> {
        let result = f(&self.ring)?;
        if let Some(polled) = &self.polled {
            f(&polled.ring)?;
        }
        Ok(result)
    }

    /// One round trip. A filter may allow the set-up of a ring and forbid its use.
    fn prove(&mut self) -> io::Result<()> {
        // SAFETY: a NOP names no memory.
        unsafe { self.push_entry(opcode::Nop::new().build().user_data(IGNORED)) };
        self.ring.enter(Wait::Forever)?;
        match self.ring.completion().next() {
            Some(done) if done.result() >= 0 => Ok(()),
            Some(done) => Err(io::Error::from_raw_os_error(-done.result())),
            None => Err(io::Error::other("io_uring completes nothing")),
        }
    }

    fn ask_bounded_workers(&self, entries: u32) -> usize {
        let mut workers = [0, 0];
        let asked = self
            .ring
            .ring()
            .submitter()
            .register_iowq_max_workers(&mut workers);
        match (asked, workers[0]) {
            (Ok(()), 1..) => workers[0] as usize,
            // The kernel's default (io_wq_create).
            _ => (entries as usize)
                .min(4 * std::thread::available_parallelism().map_or(1, |count| count.get())),
        }
    }

    /// Below io-wq's bounded workers, so that a request which the kernel itself sends there finds
    /// one although faults are stuck.
    pub(crate) fn slow_limit(&self) -> usize {
        let bounded = self.bounded_workers;
        bounded.saturating_sub((bounded / 4).max(1)).clamp(1, 64)
    }

    pub(crate) fn wake_fd(&self) -> Arc<OwnedFd> {
        self.wake.clone()
    }

    pub(crate) fn flags(&self) -> &[&'static str] {
        &self.flags
    }

    pub(crate) fn can_set_len(&self) -> bool {
        self.set_len
    }

    pub(crate) fn has_queued(&mut self) -> bool {
        !self.queued.is_empty()
            || !self.ring.submission().is_empty()
            || self
                .polled
                .as_mut()
                .is_some_and(|polled| !polled.ring.submission().is_empty())
    }

    /// Whether completions are polled for on files that allow it.
    pub(crate) fn polls(&self) -> bool {
        self.polled.is_some()
    }

    /// # Safety
    ///
    /// See [`Backend::push`](super::backend::Backend::push).
    pub(crate) unsafe fn push(&mut self, op: Op, token: u64) {
        debug_assert!(token < IGNORED);
        // SAFETY: the caller keeps what the op names valid until its completion.
        unsafe { self.push_entry(entry::entry(op, token)) }
    }

    /// # Safety
    ///
    /// See [`Backend::push_rw`](super::backend::Backend::push_rw).
    #[inline(always)]
    pub(crate) unsafe fn push_rw(
        &mut self,
        write: bool,
        file: FileRef,
        memory: Memory,
        offset: u64,
        priority: u16,
        token: u64,
    ) {
        let entry = entry::plain(write, file, memory, offset, priority, token);
        if file.polled
            && let Some(polled) = &mut self.polled
            // SAFETY: the caller keeps what the entry names valid until its completion.
            && unsafe { polled.ring.push(&entry) }
        {
            polled.in_flight += 1;
            return;
        }
        // SAFETY: as above.
        unsafe { self.push_entry(entry) }
    }

    /// # Safety
    ///
    /// What the entry names stays valid until its completion.
    #[inline(always)]
    unsafe fn push_entry(&mut self, entry: squeue::Entry) {
        // In order: behind what did not fit before.
        // SAFETY: the caller's contract.
        if !self.queued.is_empty() || !unsafe { self.ring.push(&entry) } {
            self.queued.push(entry);
        }
    }

    pub(crate) fn cancel(&mut self, token: u64) {
        // SAFETY: a cancellation names no memory.
        unsafe { self.push_entry(opcode::AsyncCancel::new(token).build().user_data(IGNORED)) }
    }

    /// Moves entries to the submission queue, as many as it takes, in order.
    fn refill(&mut self) {
        let mut queue = self.ring.submission();
        let count = self.queued.len().min(queue.capacity() - queue.len());
        // SAFETY: the entries came through `push_entry`, whose contract still holds: none was
        // started yet.
        if unsafe { queue.push_multiple(&self.queued[..count]) }.is_ok() {
            self.queued.drain(..count);
        }
    }

    pub(crate) fn enter(&mut self, wait: Wait, stats: &mut Stats) -> io::Result<()> {
        if !self.watching {
            self.watching = true;
            let watch = opcode::PollAdd::new(types::Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
                .multi(self.watches_on);
            // SAFETY: a poll names no memory, and the ring is closed before the eventfd.
            unsafe { self.push_entry(watch.build().user_data(WAKE)) };
        }
        // What does not fit in the submission queue goes in turns; each of them takes at least one
        // entry, or ends in an error.
        while !self.queued.is_empty() {
            self.call(Wait::No, stats)?;
            if self.ring.submission().is_full() {
                self.ring.wait_for_room()?;
            }
            self.refill();
        }
        if self
            .polled
            .as_mut()
            .is_some_and(|polled| polled.in_flight > 0)
        {
            return self.poll(wait, stats);
        }
        let wait = if self.ring.completion().is_empty() {
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
                // A signal: the caller may have something to say about it, so waiting ends.
                Some(libc::EINTR) if wait != Wait::No => return Ok(()),
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

    #[inline]
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        if let Some(polled) = &mut self.polled {
            let before = out.len();
            out.extend(polled.ring.completion().map(|done| Completion {
                token: done.user_data(),
                result: done.result(),
            }));
            polled.in_flight -= out.len() - before;
        }
        for done in self.ring.completion() {
            match done.user_data() {
                WAKE => {
                    self.watches_on &= done.result() != -libc::EINVAL;
                    // A watch that goes on tells of each write; that there were some before does
                    // not matter to it.
                    if !cqueue::more(done.flags()) {
                        self.watching = false;
                        wake::clear(&self.wake);
                    }
                }
                IGNORED => {}
                token => out.push(Completion {
                    token,
                    result: done.result(),
                }),
            }
        }
    }

    pub(crate) fn register_file(&mut self, fd: BorrowedFd<'_>) -> Option<u32> {
        let index = self.files.pop()?;
        match self.on_each(|ring| {
            ring.ring()
                .submitter()
                .register_files_update(index, &[fd.as_raw_fd()])
        }) {
            Ok(1) => Some(index),
            _ => {
                self.unregister_file(index);
                None
            }
        }
    }

    pub(crate) fn unregister_file(&mut self, index: u32) {
        // Where it fails the place stays taken: a descriptor too long open is better than a wrong
        // one.
        if self
            .on_each(|ring| ring.ring().submitter().register_files_update(index, &[-1]))
            .is_ok()
        {
            self.files.push(index);
        }
    }

    /// # Safety
    ///
    /// The range stays mapped until `unregister_buffers`, or until the ring is gone.
    pub(crate) unsafe fn register_buffers(&mut self, addr: usize, len: usize) -> io::Result<u16> {
        let unsupported = || {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "no table of registered buffers before Linux 5.19",
            )
        };
        let taken = self.buffers.as_mut().ok_or_else(unsupported)?;
        let entries = len.div_ceil(Pinned::ENTRY_BYTES);
        let full = || {
            io::Error::new(
                io::ErrorKind::StorageFull,
                format!("the ring's table of {BUFFERS} registered buffers is full"),
            )
        };
        let first = (0..taken.len()).find(|&first| {
            taken[first..]
                .iter()
                .take_while(|taken| !**taken)
                .take(entries)
                .count()
                == entries
        });
        let first = first.filter(|_| entries > 0).ok_or_else(full)?;
        let iovecs: Vec<libc::iovec> = (0..entries)
            .map(|entry| {
                let start = entry * Pinned::ENTRY_BYTES;
                let iov_base = std::ptr::with_exposed_provenance_mut(addr + start);
                libc::iovec {
                    iov_base,
                    iov_len: (len - start).min(Pinned::ENTRY_BYTES),
                }
            })
            .collect();
        // SAFETY: the caller keeps the range mapped.
        let registered = self.on_each(|ring| unsafe {
            ring.ring()
                .submitter()
                .register_buffers_update(first as u32, &iovecs, None)
        });
        if let Err(error) = registered {
            // Some entries may have been set before one failed.
            self.clear_buffers(first, entries);
            return Err(error);
        }
        if let Some(taken) = self.buffers.as_mut() {
            taken[first..first + entries].fill(true);
        }
        Ok(first as u16)
    }

    pub(crate) fn unregister_buffers(&mut self, first: u16, len: usize) {
        let entries = len.div_ceil(Pinned::ENTRY_BYTES);
        if self.clear_buffers(first.into(), entries)
            && let Some(taken) = self.buffers.as_mut()
        {
            taken[first.into()..usize::from(first) + entries].fill(false);
        }
    }

    fn clear_buffers(&mut self, first: usize, entries: usize) -> bool {
        let none = vec![
            libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0
            };
            entries
        ];
        // SAFETY: empty entries name no memory.
        self.on_each(|ring| unsafe {
            ring.ring()
                .submitter()
                .register_buffers_update(first as u32, &none, None)
        })
        .is_ok()
    }
}

impl AsRawFd for Uring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.ring().as_raw_fd()
    }
}

fn open_files_limit() -> u32 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours and as large as the call wants it.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur.min(u32::MAX.into()) as u32,
        _ => 0,
    }
}
