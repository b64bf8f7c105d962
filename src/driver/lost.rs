//! Back ends that stand in for one that can't be used any more.
//!
//! May know: the worker threads, the ring's table of files. Must not know: requests.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::lane::LaneLimits;
use super::op::{Completion, Op, Wait};
use super::stats::Stats;
use super::threads::Threads;
use super::uring::Uring;

/// A ring that the kernel no longer lets this process enter, and the worker threads that took over.
///
/// What the kernel had taken before stays with it. The ring is kept until the engine goes, since
/// files are still known by their places in its table.
pub(crate) struct Lost {
    threads: Threads,
    uring: Box<Uring>,
}

impl Lost {
    /// Worker threads in the place of a ring. They share its eventfd, which others write to.
    pub(crate) fn new(uring: Box<Uring>, stats: &mut Stats) -> Lost {
        let threads = Threads::over(uring.wake_fd(), stats);
        Lost { threads, uring }
    }

    /// # Safety
    ///
    /// See [`Backend::push`](super::backend::Backend::push).
    pub(crate) unsafe fn push(&mut self, op: Op, token: u64) {
        // SAFETY: the caller's contract is the same.
        unsafe { self.threads.push(self.uring.by_descriptor(op), token) }
    }

    pub(crate) fn cancel(&mut self, token: u64) {
        self.threads.cancel(token);
    }

    pub(crate) fn enter(&mut self, wait: Wait, stats: &mut Stats) -> io::Result<()> {
        self.threads.enter(wait, stats)
    }

    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        self.threads.reap(out);
        // The kernel may still complete what it had taken.
        self.uring.reap(out);
    }

    pub(crate) fn has_queued(&mut self) -> bool {
        self.threads.has_queued()
    }

    pub(crate) fn lane_limits(&self) -> LaneLimits {
        self.threads.lane_limits()
    }

    pub(crate) fn wake_fd(&self) -> Arc<OwnedFd> {
        self.threads.wake_fd()
    }

    pub(crate) fn unregister_file(&mut self, place: u32) {
        self.uring.unregister_file(place);
    }

    pub(crate) fn unregister_buffers(&mut self, first: u16, len: usize) {
        self.uring.unregister_buffers(first, len);
    }
}

/// What an engine has in a child of fork: nothing. Each operation fails with ENOTRECOVERABLE.
///
/// The ring's memory and the worker threads belong to the parent. Their handles are leaked here: to
/// close or unmap them could reach what the child has put in their place since.
pub(crate) struct Gone {
    answers: Vec<Completion>,
    wake: Arc<OwnedFd>,
}

impl Gone {
    pub(crate) fn new(wake: Arc<OwnedFd>) -> Gone {
        Gone {
            answers: Vec::new(),
            wake,
        }
    }

    /// # Safety
    ///
    /// None is needed: the operation is not carried out. See
    /// [`Backend::push`](super::backend::Backend::push).
    pub(crate) unsafe fn push(&mut self, _op: Op, token: u64) {
        self.answers.push(Completion {
            token,
            result: -libc::ENOTRECOVERABLE,
        });
    }

    pub(crate) fn cancel(&mut self, _token: u64) {}

    pub(crate) fn enter(&mut self, wait: Wait, _stats: &mut Stats) -> io::Result<()> {
        match wait {
            Wait::No => Ok(()),
            _ if self.has_queued() => Ok(()),
            Wait::Forever => super::threads::poll(&self.wake, None),
            Wait::For(time) => super::threads::poll(&self.wake, Some(time)),
        }
    }

    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        super::wake::clear(&self.wake);
        out.append(&mut self.answers);
    }

    pub(crate) fn has_queued(&mut self) -> bool {
        !self.answers.is_empty()
    }

    pub(crate) fn lane_limits(&self) -> LaneLimits {
        LaneLimits::of(1)
    }

    pub(crate) fn wake_fd(&self) -> Arc<OwnedFd> {
        self.wake.clone()
    }
}
