//! The seam between the table of requests and whatever carries operations out.

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::lane::LaneLimits;
use super::lost::{Gone, Lost};
use super::op::{Completion, Memory, Op, Wait};
use super::stats::Stats;
use super::threads::Threads;
use super::uring::Uring;
use crate::open_file::FileRef;
use crate::transfer::Direction;

/// What carries an engine's requests out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendKind {
    /// io_uring.
    Uring,
    /// Worker threads with pread(2) and pwrite(2).
    Threads,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendKind::Uring => "uring",
            BackendKind::Threads => "threads",
        })
    }
}

/// Carries out operations and says how they ended. One thread owns it.
pub(crate) enum Backend {
    Uring(Box<Uring>),
    Threads(Box<Threads>),
    /// Worker threads in the place of a ring that can't be entered any more.
    Lost(Box<Lost>),
    /// In a child of fork.
    Gone(Box<Gone>),
}

macro_rules! either {
    ($self:expr, $backend:ident => $do:expr) => {
        match $self {
            Backend::Uring($backend) => $do,
            Backend::Threads($backend) => $do,
            Backend::Lost($backend) => $do,
            Backend::Gone($backend) => $do,
        }
    };
}

impl Backend {
    /// Queues an operation. It is started by the next `enter` at the latest, and answered by one
    /// completion with this token.
    ///
    /// # Safety
    ///
    /// The memory and the descriptors that the op names stay valid until that completion was
    /// reaped, or this back end is known to have ended it otherwise.
    pub(crate) unsafe fn push(&mut self, op: Op, token: u64, stats: &mut Stats) {
        stats.operations += 1;
        // SAFETY: the caller's contract is the same.
        either!(self, backend => unsafe { backend.push(op, token) })
    }

    /// Queues a read or write on this thread, which is what most operations are. As `push`.
    ///
    /// # Safety
    ///
    /// As for `push`.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "an `Op` without its packing")]
    pub(crate) unsafe fn push_rw(
        &mut self,
        direction: Direction,
        file: FileRef,
        memory: Memory,
        offset: u64,
        priority: u16,
        token: u64,
        stats: &mut Stats,
    ) {
        let write = direction == Direction::Write;
        match self {
            Backend::Uring(uring) => {
                stats.operations += 1;
                // SAFETY: the caller's contract is the same.
                unsafe { uring.push_rw(write, file, memory, offset, priority, token) }
            }
            // SAFETY: as above.
            _ => unsafe {
                self.push_apart(
                    Op::Rw {
                        write,
                        file,
                        memory,
                        offset,
                        offload: false,
                        priority,
                    },
                    token,
                    stats,
                )
            },
        }
    }

    /// As `push`, where that is not what most calls come to.
    ///
    /// # Safety
    ///
    /// As for `push`.
    #[cold]
    #[inline(never)]
    unsafe fn push_apart(&mut self, op: Op, token: u64, stats: &mut Stats) {
        // SAFETY: the caller's contract.
        unsafe { self.push(op, token, stats) }
    }

    /// Asks to end an operation early. The operation itself still completes, with ECANCELED or with
    /// whatever came first.
    pub(crate) fn cancel(&mut self, token: u64) {
        either!(self, backend => backend.cancel(token))
    }

    /// Carries an operation out on this thread, and answers it as if it had been pushed.
    ///
    /// # Safety
    ///
    /// As for `push`, until this call returns.
    pub(crate) unsafe fn carry_out_here(&mut self, op: Op, token: u64, stats: &mut Stats) {
        match self {
            // SAFETY: the caller's contract.
            Backend::Uring(uring) => unsafe { uring.carry_out_here(op, token, stats) },
            // These have no workers that the kernel would have to make.
            // SAFETY: as above.
            _ => unsafe { self.push(op, token, stats) },
        }
    }

    /// Whether this is a child of fork, where nothing is carried out.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Backend::Gone(_))
    }

    /// Puts worker threads in the place of the ring.
    pub(crate) fn lose(&mut self, stats: &mut Stats) {
        let gone = Backend::Gone(Box::new(Gone::new(self.wake_fd())));
        *self = match std::mem::replace(self, gone) {
            Backend::Uring(uring) => Backend::Lost(Box::new(Lost::new(uring, stats))),
            other => other,
        };
    }

    /// Starts what is queued and, unless completions are there already, waits as told.
    pub(crate) fn enter(&mut self, wait: Wait, stats: &mut Stats) -> io::Result<()> {
        either!(self, backend => backend.enter(wait, stats))
    }

    /// After an `enter` that waited: brings in what else has completed by now, if that takes a
    /// system call.
    #[inline]
    pub(crate) fn gather(&mut self, stats: &mut Stats) {
        if let Backend::Uring(uring) = self {
            uring.gather(stats);
        }
    }

    /// Moves what has completed to `out`.
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        either!(self, backend => backend.reap(out))
    }

    /// Whether operations are queued that no `enter` has started.
    pub(crate) fn has_queued(&mut self) -> bool {
        either!(self, backend => backend.has_queued())
    }

    /// Whether completions are there, or may be at any moment without anybody saying so.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_answers(&mut self) -> bool {
        match self {
            Backend::Uring(uring) => uring.has_answers(),
            // Each is told.
            _ => false,
        }
    }

    /// A descriptor that becomes readable, as an edge, when completions are there or the eventfd
    /// was written to.
    #[cfg(feature = "tokio")]
    pub(crate) fn listen(&mut self) -> io::Result<OwnedFd> {
        match self {
            Backend::Uring(uring) => uring.listen(),
            _ => self.wake_fd().try_clone(),
        }
    }

    /// Takes back one `listen`.
    #[cfg(feature = "tokio")]
    pub(crate) fn unlisten(&mut self) {
        if let Backend::Uring(uring) = self {
            uring.unlisten();
        }
    }

    /// How many operations that may fault can be in flight while others still get on.
    pub(crate) fn lane_limits(&self) -> LaneLimits {
        either!(self, backend => backend.lane_limits())
    }

    /// An eventfd(2) that ends a wait when it is written to, from any thread.
    pub(crate) fn wake_fd(&self) -> Arc<OwnedFd> {
        either!(self, backend => backend.wake_fd())
    }

    /// Registers a descriptor, if there is room.
    pub(crate) fn register_file(&mut self, fd: BorrowedFd<'_>) -> Option<u32> {
        match self {
            Backend::Uring(uring) => uring.register_file(fd),
            _ => None,
        }
    }

    /// Forgets a registered descriptor.
    pub(crate) fn unregister_file(&mut self, index: u32) {
        match self {
            Backend::Uring(uring) => uring.unregister_file(index),
            Backend::Lost(lost) => lost.unregister_file(index),
            Backend::Threads(_) | Backend::Gone(_) => {}
        }
    }

    /// Pins memory. Returns the index of the first of `len / ENTRY_BYTES` entries, rounded up.
    ///
    /// # Safety
    ///
    /// The range stays mapped until `unregister_buffers`, or the end of the back end.
    pub(crate) unsafe fn register_buffers(&mut self, addr: usize, len: usize) -> io::Result<u16> {
        match self {
            // SAFETY: the caller's contract.
            Backend::Uring(uring) => unsafe { uring.register_buffers(addr, len) },
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "worker threads have no registered buffers",
            )),
        }
    }

    /// Unpins what `register_buffers` pinned.
    pub(crate) fn unregister_buffers(&mut self, first: u16, len: usize) {
        match self {
            Backend::Uring(uring) => uring.unregister_buffers(first, len),
            Backend::Lost(lost) => lost.unregister_buffers(first, len),
            Backend::Threads(_) | Backend::Gone(_) => {}
        }
    }

    /// Whether the kernel has this operation without help.
    pub(crate) fn can_set_len(&self) -> bool {
        match self {
            Backend::Uring(uring) => uring.can_set_len(),
            _ => true,
        }
    }

    /// Whether completions are polled for on files that allow it.
    pub(crate) fn polls(&self) -> bool {
        match self {
            Backend::Uring(uring) => uring.polls(),
            _ => false,
        }
    }

    pub(crate) fn kind(&self) -> BackendKind {
        match self {
            Backend::Uring(_) => BackendKind::Uring,
            _ => BackendKind::Threads,
        }
    }

    /// The negotiated set-up, for people.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        match self {
            Backend::Uring(uring) => uring.flags().to_vec(),
            _ => Vec::new(),
        }
    }
}
