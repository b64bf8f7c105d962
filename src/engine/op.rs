//! The way of a request from a future of an engine into its driver.
//!
//! What a future has to keep outlives the kernel's use of it, see [`future`](super::future): that
//! makes the calls of [`Driver::push`] sound.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Inner;
use super::future::{InFlight, Pending, futures};
#[cfg(doc)]
use crate::driver::Driver;
use crate::driver::{Key, Notify, Plain, Request};
use crate::open_file::FileShared;
use crate::sys::Errno;

enum State {
    /// Not admitted yet. Boxed, so that all the others are small.
    Waiting {
        request: Box<Request>,
        ticket: Option<u64>,
    },
    InFlight(Key),
    /// In flight, and to end early.
    Cancelled(Key),
    /// Ended before there was room.
    Ended(Errno),
    /// The result was given out.
    Over,
}

/// A request and its way into the driver.
pub(crate) struct Submission {
    inner: Rc<Inner>,
    state: State,
}

impl Submission {
    /// Starts the request now, if there is room.
    ///
    /// # Safety
    ///
    /// The memory that the request names stays valid until `poll` was ready, or what keeps it valid
    /// was handed to `abandon`, or for ever.
    pub(crate) unsafe fn new(inner: &Rc<Inner>, request: Request) -> Submission {
        let state = inner.with(|driver| match driver.has_room() {
            // SAFETY: the caller's contract is that of `push`.
            true => State::InFlight(unsafe { driver.push(request, Notify::Asker) }),
            false => State::Waiting {
                request: Box::new(request),
                ticket: None,
            },
        });
        Submission {
            inner: inner.clone(),
            state,
        }
    }

    /// Starts a read or write of one range, by the short way if it can.
    ///
    /// # Safety
    ///
    /// As for [`Submission::new`].
    pub(crate) unsafe fn plain(
        inner: &Rc<Inner>,
        file: &Rc<FileShared>,
        plain: Plain,
    ) -> Submission {
        let key = inner.with(|driver| {
            // SAFETY: the caller's contract is that of `push_plain`.
            unsafe { driver.push_plain(file, &plain, Notify::Asker) }
        });
        if let Some(key) = key {
            return Submission {
                inner: inner.clone(),
                state: State::InFlight(key),
            };
        }
        // SAFETY: the caller's contract.
        unsafe { Submission::new(inner, plain.request(file)) }
    }

    /// Starts the request if there is room by now, or waits for it.
    fn admit(&mut self, context: &mut Context<'_>) {
        let state = &mut self.state;
        // Foreign code, which may ask this engine: nothing is borrowed meanwhile.
        let mut waker = Some(context.waker().clone());
        self.inner.with(|driver| {
            if let State::Waiting { request, ticket } = state
                && !driver.has_room()
                && !request.is_late()
                && let Some(waker) = waker.take()
            {
                let place = driver.wait_for_slot(*ticket, waker);
                if let Some(due) = request.due
                    && *ticket != Some(place)
                {
                    driver.remind(place, due);
                }
                *ticket = Some(place);
            } else if let State::Waiting { request, ticket } = state
                && request.is_late()
            {
                if let Some(ticket) = ticket {
                    driver.leave_queue(*ticket);
                }
                *state = State::Ended(libc::ETIMEDOUT);
            } else if let State::Waiting { request, ticket } = std::mem::replace(state, State::Over)
            {
                // SAFETY: the contract of `new` covers the whole life of this submission.
                *state = State::InFlight(unsafe { driver.push(*request, Notify::Asker) });
                // A place in the queue that was not called up is given back.
                if let Some(ticket) = ticket {
                    driver.leave_queue(ticket);
                }
            }
        });
    }

    /// As `abandon`, for a request that is not over.
    fn give_up<K: 'static>(&mut self, keep: impl FnOnce() -> Option<K>) {
        let state = std::mem::replace(&mut self.state, State::Over);
        match state {
            State::InFlight(key) | State::Cancelled(key) => {
                let kept: Box<dyn Any> = Box::new(keep());
                let counted = matches!(state, State::Cancelled(_));
                self.inner.with(|driver| {
                    let before = driver.stats.cancelled;
                    driver.abandon(key, kept);
                    if counted {
                        driver.stats.cancelled = before;
                    }
                });
            }
            State::Waiting {
                ticket: Some(ticket),
                ..
            } => self.inner.with(|driver| driver.leave_queue(ticket)),
            State::Waiting { ticket: None, .. } | State::Ended(_) | State::Over => {}
        }
    }
}

impl<K: 'static> InFlight<K> for Submission {
    #[inline]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Errno>> {
        if let State::Waiting { .. } = self.state {
            self.admit(context);
        }
        let key = match self.state {
            State::InFlight(key) | State::Cancelled(key) => key,
            State::Ended(errno) => {
                self.state = State::Over;
                return Poll::Ready(Err(errno));
            }
            State::Waiting { .. } | State::Over => return Poll::Pending,
        };
        let result = self.inner.poll_result(key, context.waker());
        if result.is_ready() {
            self.state = State::Over;
        }
        result
    }

    fn cancel(&mut self) {
        match self.state {
            State::InFlight(key) => {
                self.state = State::Cancelled(key);
                self.inner.with(|driver| {
                    driver.stats.cancelled += 1;
                    driver.cancel_one(key);
                });
            }
            State::Waiting { ticket, .. } => {
                self.state = State::Ended(libc::ECANCELED);
                if let Some(ticket) = ticket {
                    self.inner.with(|driver| driver.leave_queue(ticket));
                }
            }
            State::Cancelled(_) | State::Ended(_) | State::Over => {}
        }
    }

    #[inline]
    fn abandon(&mut self, keep: impl FnOnce() -> Option<K>) {
        // Awaited to its end, as nearly all are.
        if !matches!(self.state, State::Over) {
            self.give_up(keep);
        }
    }

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    fn place(&self) -> &'static str {
        match self.state {
            State::Waiting { .. } => "waits for room",
            State::InFlight(_) => "in flight",
            State::Cancelled(_) => "in flight, cancelled",
            State::Ended(_) => "ended",
            State::Over => "over",
        }
    }
}

futures!(
    Submission,
    "the engine",
    "nothing of the engine is in flight any more, or the engine is gone and \
     [`left_behind`](crate::left_behind) has nothing pending",
    []
);
