//! The futures of requests.
//!
//! A future holds the buffer while the request is in flight. Dropped early, it leaves the buffer
//! with the driver; leaked, it leaks the buffer too. Either way the memory outlives the kernel's
//! use of it, which is what makes the calls of [`Driver::push`] sound.

use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Inner;
#[cfg(doc)]
use crate::driver::Driver;
use crate::driver::{Key, Plain, Request, Tell};
use crate::memory::{IoBuf, IoBufMut};
use crate::open_file::FileShared;
use crate::sys::Errno;

enum State {
    /// Not admitted yet. Boxed, so that all the others are small.
    Waiting {
        request: Box<Request>,
        ticket: Option<u64>,
    },
    InFlight(Key),
    /// Its time was over before there was room.
    TooLate,
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
            true => State::InFlight(unsafe { driver.push(request, Tell::Asker) }),
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
        // SAFETY: the caller's contract is that of `push_plain`.
        if let Some(key) =
            inner.with(|driver| unsafe { driver.push_plain(file, &plain, Tell::Asker) })
        {
            return Submission {
                inner: inner.clone(),
                state: State::InFlight(key),
            };
        }
        // SAFETY: the caller's contract.
        unsafe { Submission::new(inner, plain.request(file)) }
    }

    #[inline]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Errno>> {
        if let State::Waiting { .. } = self.state {
            self.admit(context);
        }
        let State::InFlight(key) = self.state else {
            return match self.state {
                State::TooLate => {
                    self.state = State::Over;
                    Poll::Ready(Err(libc::ETIMEDOUT))
                }
                _ => Poll::Pending,
            };
        };
        let result = self.inner.poll_result(key, context.waker());
        if result.is_ready() {
            self.state = State::Over;
        }
        result
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
                *state = State::TooLate;
            } else if let State::Waiting { request, ticket } = std::mem::replace(state, State::Over)
            {
                // SAFETY: the contract of `new` covers the whole life of this submission.
                *state = State::InFlight(unsafe { driver.push(*request, Tell::Asker) });
                // A place in the queue that was not called up is given back.
                if let Some(ticket) = ticket {
                    driver.leave_queue(ticket);
                }
            }
        });
    }

    /// Gives up: `buffer` is kept until the kernel is done with it.
    #[inline]
    fn abandon(&mut self, buffer: impl FnOnce() -> Box<dyn Any>) {
        // Awaited to its end, as nearly all are.
        if matches!(self.state, State::Over) {
            return;
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::InFlight(key) => {
                let buffer = buffer();
                self.inner.with(|driver| driver.abandon(key, buffer));
            }
            State::Waiting {
                ticket: Some(ticket),
                ..
            } => self.inner.with(|driver| driver.leave_queue(ticket)),
            State::Waiting { ticket: None, .. } | State::TooLate | State::Over => {}
        }
    }
}

fn to_io(result: Result<usize, Errno>) -> io::Result<usize> {
    result.map_err(io::Error::from_raw_os_error)
}

/// A read or write of one buffer. Gives the count, or the error, and the buffer back.
///
/// Dropped before it is ready it cancels the request; the engine keeps the buffer until the kernel
/// no longer uses it.
#[must_use = "a request whose future is dropped is cancelled"]
pub struct Io<B: 'static> {
    submission: Submission,
    buffer: Option<B>,
    /// Tells the buffer how many bytes are initialised now.
    filled: unsafe fn(&mut B, usize),
}

// The buffer may be moved: the address of its memory does not change, by the contract of `IoBuf`.
impl<B> Unpin for Io<B> {}

impl<B: IoBuf> Io<B> {
    /// # Safety
    ///
    /// `submission` names memory of `buffer` only.
    pub(crate) unsafe fn write(submission: Submission, buffer: B) -> Io<B> {
        Io {
            submission,
            buffer: Some(buffer),
            filled: |_, _| {},
        }
    }

    /// # Safety
    ///
    /// `submission` names memory of `buffer` only.
    pub(crate) unsafe fn read(submission: Submission, buffer: B) -> Io<B>
    where
        B: IoBufMut,
    {
        Io {
            submission,
            buffer: Some(buffer),
            filled: B::set_init,
        }
    }
}

impl<B> Future for Io<B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(result) = self.submission.poll(context) else {
            return Poll::Pending;
        };
        // Over, and polled again: like most futures, it stays pending.
        let Some(mut buffer) = self.buffer.take() else {
            return Poll::Pending;
        };
        if let Ok(count) = result {
            // SAFETY: the request read `count` bytes into the buffer's first bytes, and no more
            // than `bytes_total`.
            unsafe { (self.filled)(&mut buffer, count) };
        }
        Poll::Ready((to_io(result), buffer))
    }
}

impl<B: 'static> Drop for Io<B> {
    fn drop(&mut self) {
        let buffer = &mut self.buffer;
        self.submission.abandon(|| Box::new(buffer.take()));
    }
}

/// Tells buffers that were read into one after the other how many of their bytes are initialised.
///
/// # Safety
///
/// The first `count` bytes of them, counted in order, are initialised.
pub(crate) unsafe fn set_init_in_order<B: IoBufMut>(buffers: &mut [B], mut count: usize) {
    for buffer in buffers {
        let here = count.min(buffer.bytes_total());
        // SAFETY: each is filled before the next.
        unsafe { buffer.set_init(here) };
        count -= here;
    }
}

/// A read or write of several buffers. Gives the count, or the error, and the buffers back.
///
/// Dropped before it is ready it cancels the request; the engine keeps the buffers until the kernel
/// no longer uses them.
#[must_use = "a request whose future is dropped is cancelled"]
pub struct IoVec<B: 'static> {
    submission: Submission,
    buffers: Option<Vec<B>>,
    filled: unsafe fn(&mut [B], usize),
}

// As for `Io`: what the kernel uses is behind the buffers, not in them.
impl<B> Unpin for IoVec<B> {}

impl<B: IoBuf> IoVec<B> {
    /// # Safety
    ///
    /// `submission` names memory of `buffers` only.
    pub(crate) unsafe fn write(submission: Submission, buffers: Vec<B>) -> IoVec<B> {
        IoVec {
            submission,
            buffers: Some(buffers),
            filled: |_, _| {},
        }
    }

    /// # Safety
    ///
    /// `submission` names memory of `buffers` only.
    pub(crate) unsafe fn read(submission: Submission, buffers: Vec<B>) -> IoVec<B>
    where
        B: IoBufMut,
    {
        IoVec {
            submission,
            buffers: Some(buffers),
            filled: set_init_in_order,
        }
    }
}

impl<B> Future for IoVec<B> {
    type Output = (io::Result<usize>, Vec<B>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(result) = self.submission.poll(context) else {
            return Poll::Pending;
        };
        let Some(mut buffers) = self.buffers.take() else {
            return Poll::Pending;
        };
        if let Ok(count) = result {
            // SAFETY: the request read `count` bytes into these buffers, in order.
            unsafe { (self.filled)(&mut buffers, count) };
        }
        Poll::Ready((to_io(result), buffers))
    }
}

impl<B: 'static> Drop for IoVec<B> {
    fn drop(&mut self) {
        let buffers = &mut self.buffers;
        self.submission.abandon(|| Box::new(buffers.take()));
    }
}

/// A read or write of memory that the caller answers for.
///
/// Dropped before it is ready it cancels the request, and the memory has to stay valid until
/// nothing of the engine is in flight any more, or the engine is gone and
/// [`left_behind`](crate::left_behind) has nothing pending.
#[must_use = "a request whose future is dropped is cancelled"]
pub struct RawIo(pub(crate) Submission);

impl Future for RawIo {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context).map(to_io)
    }
}

impl Drop for RawIo {
    fn drop(&mut self) {
        self.0.abandon(|| Box::new(()));
    }
}

/// A request without memory: a sync, a change of size.
#[must_use = "a request whose future is dropped is cancelled"]
pub struct Simple(pub(crate) Submission);

impl Future for Simple {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context).map(|result| to_io(result).map(drop))
    }
}

impl Drop for Simple {
    fn drop(&mut self) {
        self.0.abandon(|| Box::new(()));
    }
}
