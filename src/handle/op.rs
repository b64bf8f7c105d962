//! The way of a request from a future to an I/O thread.
//!
//! Future and I/O thread share a cell: it has the result, the waker, and what the future keeps if
//! that goes early. See [`cell`](super::cell).

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::admission::Entry;
use super::cell::Cell;
use super::file::FileInner;
use super::shared::Mail;
use crate::driver::{Kind, Options};
use crate::engine::{InFlight, Pending, futures};
use crate::sys::Errno;

enum State {
    /// `waited`: it may be in the queue before admission.
    Sent {
        cell: Arc<Cell>,
        waited: bool,
    },
    /// Ended before an I/O thread had it.
    Ended(Errno),
    Over,
}

/// A request and its way to the I/O thread.
pub(crate) struct Submission {
    /// Keeps the I/O threads while somebody waits for them.
    file: Arc<FileInner>,
    state: State,
}

impl Submission {
    /// Starts the request, or puts it in the queue. `bytes` is what it takes of the memory budget.
    ///
    /// # Safety
    ///
    /// The memory that the request names stays valid until `poll` was ready, or what keeps it valid
    /// was handed to `abandon`, or for ever. It may be used from another thread.
    #[inline]
    pub(super) unsafe fn new(
        file: &Arc<FileInner>,
        kind: Kind,
        options: Options,
        bytes: usize,
    ) -> Submission {
        let shared = file.shared();
        if !shared.is_here() {
            return Submission {
                file: file.clone(),
                state: State::Ended(libc::ENOTRECOVERABLE),
            };
        }
        let bytes = shared.admission.cost(bytes as u64);
        let cell = Cell::new(kind, options, file.name(), shared.choose(), bytes);
        let mut granted = Vec::new();
        let state = match shared.admission.enter(&cell, &mut granted) {
            Entry::Admitted => {
                shared.hand_on(cell.clone());
                State::Sent {
                    cell,
                    waited: false,
                }
            }
            Entry::Queued => {
                shared.hand_on_all(&mut granted);
                if cell.due.is_some() {
                    shared.send(cell.thread, Mail::Remind(cell.clone()));
                }
                State::Sent { cell, waited: true }
            }
            Entry::Refused => State::Ended(libc::EPIPE),
        };
        Submission {
            file: file.clone(),
            state,
        }
    }

    /// Gives up the request's place in the queue before admission, if it is still there.
    fn leave_queue(&self, cell: &Cell) -> bool {
        let shared = self.file.shared();
        if !shared.is_here() {
            return false;
        }
        let mut granted = Vec::new();
        let left = shared.admission.leave(cell, &mut granted);
        shared.hand_on_all(&mut granted);
        left
    }

    /// As `abandon`, for a request that is not over.
    #[cold]
    fn give_up<K: Send + 'static>(&mut self, keep: impl FnOnce() -> Option<K>) {
        let State::Sent { cell, waited } = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        if waited && self.leave_queue(&cell) {
            // Nobody has the request now; who would remind it forgets it.
            cell.ask_to_cancel();
            return;
        }
        // SAFETY: this is the cell's one future, and it is over now.
        if unsafe { cell.abandon(|| Box::new(keep())) } {
            self.tell_to_cancel(cell);
        }
    }

    /// Asks the I/O thread to end the request early; once.
    fn tell_to_cancel(&self, cell: Arc<Cell>) {
        if cell.ask_to_cancel() {
            self.file.shared().send(cell.thread, Mail::Cancel(cell));
        }
    }
}

impl<K: Send + 'static> InFlight<K> for Submission {
    #[inline]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Errno>> {
        let result = match &self.state {
            // SAFETY: this is the cell's one future, borrowed alone.
            State::Sent { cell, .. } => match unsafe { cell.poll(context.waker()) } {
                Some(result) => result,
                // The parent's request, in a child of fork.
                None if !self.file.shared().is_here() => Err(libc::ENOTRECOVERABLE),
                None => return Poll::Pending,
            },
            State::Ended(errno) => Err(*errno),
            // Like most futures it stays pending.
            State::Over => return Poll::Pending,
        };
        self.state = State::Over;
        Poll::Ready(result)
    }

    fn cancel(&mut self) {
        let State::Sent { cell, waited } = &self.state else {
            return;
        };
        if *waited && self.leave_queue(cell) {
            cell.ask_to_cancel();
            self.state = State::Ended(libc::ECANCELED);
        } else {
            self.tell_to_cancel(cell.clone());
        }
    }

    #[inline]
    fn abandon(&mut self, keep: impl FnOnce() -> Option<K>) {
        if !matches!(self.state, State::Over) {
            self.give_up(keep);
        }
    }

    fn error(errno: Errno) -> io::Error {
        match errno {
            // No positioned read or write, sync or change of size says so.
            libc::EPIPE => io::Error::new(io::ErrorKind::BrokenPipe, "the handle was shut down"),
            errno => io::Error::from_raw_os_error(errno),
        }
    }

    fn place(&self) -> &'static str {
        match &self.state {
            State::Sent { cell, .. } if cell.is_done() => "done",
            State::Sent { cell, .. } if cell.is_to_end() => "in flight, cancelled",
            State::Sent { .. } => "queued or in flight",
            State::Ended(_) => "ended",
            State::Over => "over",
        }
    }
}

futures!(
    Submission,
    "the I/O thread",
    "nothing of the handle is in flight any more, as [`Handle::shutdown`](crate::Handle::shutdown) \
     tells, if [`left_behind`](crate::left_behind) has nothing pending then",
    [Send+]
);
