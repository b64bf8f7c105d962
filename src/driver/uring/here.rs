//! What is carried out on this thread, because the kernel makes no worker, and what is taken back
//! because the kernel can't be entered any more.
//!
//! May know: the rings, their tables, system calls. Must not know: requests.

use super::super::fallback::Fallback;
use super::super::op::{Completion, Op};
use super::super::stats::Stats;
use super::super::threads;
use super::{IGNORED, Uring};
use crate::open_file::FileRef;

/// Whether io_uring gives such an operation to a worker (io-wq) without trying it first.
pub(super) fn needs_worker(op: &Op) -> bool {
    match op {
        Op::Rw { offload, .. } => *offload,
        Op::Populate { .. } | Op::Sync { .. } | Op::Allocate { .. } | Op::SetLen { .. } => true,
    }
}

impl Uring {
    /// The operation, with descriptors in the place of places in the table.
    pub(crate) fn by_descriptor(&self, mut op: Op) -> Op {
        match &mut op {
            Op::Rw { file, .. }
            | Op::Sync { file, .. }
            | Op::Allocate { file, .. }
            | Op::SetLen { file, .. } => {
                if file.registered {
                    let place = usize::try_from(file.number).ok();
                    let fd = place.and_then(|place| self.descriptors.get(place));
                    *file = FileRef::new(fd.copied().unwrap_or(-1), None);
                }
            }
            Op::Populate { .. } => {}
        }
        op
    }

    /// Carries an operation out on this thread. Its completion is reaped as any other.
    ///
    /// # Safety
    ///
    /// See [`Backend::push`](super::super::backend::Backend::push).
    pub(super) unsafe fn answer_here(&mut self, op: Op, token: u64) {
        let result = threads::carry_out(self.by_descriptor(op));
        self.here.push(Completion { token, result });
    }

    /// As `answer_here`, after the kernel has said that there is no worker.
    ///
    /// # Safety
    ///
    /// As for `answer_here`.
    pub(crate) unsafe fn carry_out_here(&mut self, op: Op, token: u64, stats: &mut Stats) {
        stats.fallback(Fallback::NoKernelWorker);
        stats.operations += 1;
        // SAFETY: the caller's contract.
        unsafe { self.answer_here(op, token) }
    }

    /// The tokens of operations that the kernel has not taken. The rings must not be entered any
    /// more. `None` with a kernel thread (SQPOLL), which takes entries at any moment.
    pub(crate) fn take_back(&mut self) -> Option<Vec<u64>> {
        if self.ring.has_kernel_thread() {
            return None;
        }
        let mut tokens = self.ring.unsubmitted();
        if let Some(polled) = &mut self.polled {
            tokens.extend(polled.ring.unsubmitted());
        }
        tokens.extend(self.queued.drain(..).map(|entry| entry.get_user_data()));
        tokens.retain(|token| *token < IGNORED);
        Some(tokens)
    }
}
