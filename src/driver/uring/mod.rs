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

mod enter;
mod entry;
#[cfg(test)]
mod gather_test;
mod here;
#[cfg(feature = "tokio")]
mod listen;
mod ring;
mod tables;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use io_uring::{Probe, cqueue, opcode, squeue};
use ring::Ring;
pub(crate) use ring::Wishes;

use super::fallback::{Fallback, errno_of};
use super::lane::LaneLimits;
use super::op::{Completion, Memory, Op, Wait};
use super::stats::Stats;
use super::wake;
use crate::open_file::FileRef;

/// Tokens that no operation has: the watch on the eventfd, and cancellations, whose own result says
/// nothing.
const WAKE: u64 = u64::MAX;
const IGNORED: u64 = u64::MAX - 1;

/// Places in the ring's tables.
const FILES: u32 = 1024;
const BUFFERS: u16 = 256;

/// How often the clock is read, for [`Stats::latency`] and
/// [`Stats::submit_time`](crate::Stats::submit_time).
///
/// [`Stats::latency`]: crate::Stats::latency
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
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
    /// The descriptor in each place of the table of files.
    descriptors: Vec<RawFd>,
    /// Answers of operations that were carried out on this thread.
    here: Vec<Completion>,
    /// The kernel has made a worker for this ring (io-wq), and keeps one.
    has_worker: bool,
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
                let errno = errno_of(&error);
                stats.fallback(Fallback::NoSubmissionThread { errno });
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
            stats.fallback(Fallback::WaitsCount);
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
                    let errno = errno_of(error);
                    stats.fallback(Fallback::NoPolledRing { errno });
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
            descriptors: Vec::new(),
            here: Vec::new(),
            has_worker: true,
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
        if !uring.has_worker {
            stats.fallback(Fallback::NoKernelWorker);
        }
        uring.bounded_workers = uring.ask_bounded_workers(entries);
        let places = FILES.min(tables::open_files_limit());
        if places > 0
            && uring
                .on_each(|ring| ring.ring().submitter().register_files_sparse(places))
                .is_ok()
        {
            uring.files = (0..places).rev().collect();
            uring.descriptors = vec![-1; places as usize];
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

    /// One round trip: a filter may allow the set-up of a ring and forbid its use. And one by a
    /// worker: where the kernel can't make one (RLIMIT_NPROC, a pids cgroup at its limit), whatever
    /// needs one ends with ECANCELED. The kernel keeps the last worker of a ring.
    fn prove(&mut self) -> io::Result<()> {
        self.round_trip(squeue::Flags::empty())?;
        match self.round_trip(squeue::Flags::ASYNC) {
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => self.has_worker = false,
            other => other?,
        }
        Ok(())
    }

    fn round_trip(&mut self, flags: squeue::Flags) -> io::Result<()> {
        let nop = opcode::Nop::new().build().user_data(IGNORED).flags(flags);
        // SAFETY: a NOP names no memory.
        unsafe { self.push_entry(nop) };
        self.ring.enter(Wait::Forever)?;
        match self.ring.completion().next() {
            Some(done) if done.result() >= 0 => Ok(()),
            Some(done) => Err(io::Error::from_raw_os_error(-done.result())),
            None => Err(io::Error::other("io_uring completes nothing")),
        }
    }

    /// How many bounded workers (io-wq) the kernel makes for this thread's rings at most. There are
    /// four for each processor, which on a small machine is few for two lanes: it is asked for more.
    fn ask_bounded_workers(&self, entries: u32) -> usize {
        const ENOUGH: u32 = 16;
        let submitter = self.ring.ring().submitter();
        let mut workers = [0, 0];
        let asked = submitter.register_iowq_max_workers(&mut workers);
        match (asked, workers[0]) {
            (Ok(()), few @ 1..ENOUGH) => {
                match submitter.register_iowq_max_workers(&mut [ENOUGH, 0]) {
                    Ok(()) => ENOUGH as usize,
                    Err(_) => few as usize,
                }
            }
            (Ok(()), many @ 1..) => many as usize,
            // The kernel's default (io_wq_create).
            _ => {
                let processors =
                    std::thread::available_parallelism().map_or(1, |count| count.get());
                (entries as usize).min(4 * processors)
            }
        }
    }

    /// Below io-wq's bounded workers, so that a request which the kernel itself sends there finds
    /// one although faults are stuck.
    pub(crate) fn lane_limits(&self) -> LaneLimits {
        LaneLimits::of(self.bounded_workers)
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
            || !self.here.is_empty()
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
        if !self.has_worker && here::needs_worker(&op) {
            // SAFETY: the caller keeps what the op names valid until its completion.
            return unsafe { self.answer_here(op, token) };
        }
        // SAFETY: as above.
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

    #[inline]
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        if !self.here.is_empty() {
            out.append(&mut self.here);
        }
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
}

impl AsRawFd for Uring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.ring().as_raw_fd()
    }
}
