//! The futures of requests that an I/O thread carries out.
//!
//! As in the engine's futures a buffer is held by its future, left behind by one that is dropped
//! early, and leaked by one that is leaked; so the memory outlives the kernel's use of it. What
//! differs is who is told: a cell, that the I/O thread shares.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::admission::Entry;
use super::cell::Cell;
use super::file::FileInner;
use super::shared::Mail;
use crate::driver::Kind;
use crate::engine::set_init_in_order;
use crate::memory::{IoBuf, IoBufMut};
use crate::sys::Errno;

enum State {
    /// `waited`: it may be in the queue before admission.
    Sent {
        cell: Arc<Cell>,
        waited: bool,
    },
    /// The handle was shut down before.
    Refused,
    Over,
}

/// A request and its way to the I/O thread.
pub(super) struct Submission {
    /// Keeps the I/O threads while somebody waits for them.
    file: Arc<FileInner>,
    state: State,
}

impl Submission {
    /// Starts the request, or puts it in the queue.
    ///
    /// # Safety
    ///
    /// The memory that the request names stays valid until `poll` was ready, or what keeps it valid
    /// was handed to `abandon`, or for ever. It may be used from another thread.
    #[inline]
    pub(super) unsafe fn new(file: &Arc<FileInner>, kind: Kind, bytes: usize) -> Submission {
        let shared = file.shared();
        let cell = Cell::new(
            kind,
            file.name(),
            shared.choose(),
            shared.admission.cost(bytes as u64),
        );
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
                State::Sent { cell, waited: true }
            }
            Entry::Refused => State::Refused,
        };
        Submission {
            file: file.clone(),
            state,
        }
    }

    #[inline]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let result = match &self.state {
            // SAFETY: this is the cell's one future, borrowed alone.
            State::Sent { cell, .. } => match unsafe { cell.poll(context.waker()) } {
                Some(result) => result,
                None => return Poll::Pending,
            },
            State::Refused => Err(libc::EPIPE),
            // Like most futures it stays pending.
            State::Over => return Poll::Pending,
        };
        self.state = State::Over;
        Poll::Ready(result.map_err(to_io))
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Gives up: `keeps` makes what is left to the I/O thread, if that has to have it.
    #[cold]
    fn abandon(&mut self, keeps: impl FnOnce() -> Box<dyn Send>) {
        let State::Sent { cell, waited } = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let shared = self.file.shared();
        if waited {
            let mut granted = Vec::new();
            let left = shared.admission.leave(&cell, &mut granted);
            shared.hand_on_all(&mut granted);
            if left {
                return;
            }
        }
        // SAFETY: this is the cell's one future, and it is over now.
        if unsafe { cell.abandon(keeps) } {
            let thread = usize::from(cell.thread);
            shared.posts[thread].send(Mail::Cancel(cell));
        }
    }
}

fn to_io(errno: Errno) -> io::Error {
    match errno {
        // No positioned read or write, sync or change of size says so.
        libc::EPIPE => io::Error::new(io::ErrorKind::BrokenPipe, "the handle was shut down"),
        errno => io::Error::from_raw_os_error(errno),
    }
}

/// A read or write of one buffer. Gives the count, or the error, and the buffer back.
///
/// Dropped before it is ready it cancels the request; the I/O thread keeps the buffer until the
/// kernel no longer uses it, and drops it.
#[must_use = "a request whose future is dropped is cancelled"]
pub struct Io<B: Send + 'static> {
    submission: Submission,
    buffer: Option<B>,
    /// Tells the buffer how many bytes are initialised now.
    filled: unsafe fn(&mut B, usize),
}

// The buffer may be moved: the address of its memory does not change, by the contract of `IoBuf`.
impl<B: Send> Unpin for Io<B> {}

impl<B: IoBuf + Send> Io<B> {
    /// # Safety
    ///
    /// `submission` names memory of `buffer` only.
    pub(super) unsafe fn write(submission: Submission, buffer: B) -> Io<B> {
        Io {
            submission,
            buffer: Some(buffer),
            filled: |_, _| {},
        }
    }

    /// # Safety
    ///
    /// `submission` names memory of `buffer` only.
    pub(super) unsafe fn read(submission: Submission, buffer: B) -> Io<B>
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

impl<B: Send> Future for Io<B> {
    type Output = (io::Result<usize>, B);

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(result) = self.submission.poll(context) else {
            return Poll::Pending;
        };
        let Some(mut buffer) = self.buffer.take() else {
            return Poll::Pending;
        };
        if let Ok(count) = result {
            // SAFETY: the request read `count` bytes into the buffer's first bytes, and no more
            // than `bytes_total`.
            unsafe { (self.filled)(&mut buffer, count) };
        }
        Poll::Ready((result, buffer))
    }
}

impl<B: Send + 'static> Drop for Io<B> {
    #[inline]
    fn drop(&mut self) {
        if !self.submission.is_over() {
            let buffer = &mut self.buffer;
            self.submission.abandon(|| Box::new(buffer.take()));
        }
    }
}

/// A read or write of several buffers. Gives the count, or the error, and the buffers back.
///
/// Dropped before it is ready it cancels the request; the I/O thread keeps the buffers until the
/// kernel no longer uses them, and drops them.
#[must_use = "a request whose future is dropped is cancelled"]
pub struct IoVec<B: Send + 'static> {
    submission: Submission,
    buffers: Option<Vec<B>>,
    filled: unsafe fn(&mut [B], usize),
}

// As for `Io`: what the kernel uses is behind the buffers, not in them.
impl<B: Send> Unpin for IoVec<B> {}

impl<B: IoBuf + Send> IoVec<B> {
    /// # Safety
    ///
    /// `submission` names memory of `buffers` only.
    pub(super) unsafe fn write(submission: Submission, buffers: Vec<B>) -> IoVec<B> {
        IoVec {
            submission,
            buffers: Some(buffers),
            filled: |_, _| {},
        }
    }

    /// # Safety
    ///
    /// `submission` names memory of `buffers` only.
    pub(super) unsafe fn read(submission: Submission, buffers: Vec<B>) -> IoVec<B>
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

impl<B: Send> Future for IoVec<B> {
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
        Poll::Ready((result, buffers))
    }
}

impl<B: Send + 'static> Drop for IoVec<B> {
    fn drop(&mut self) {
        if !self.submission.is_over() {
            let buffers = &mut self.buffers;
            self.submission.abandon(|| Box::new(buffers.take()));
        }
    }
}

/// A request without memory: a sync, a change of size.
#[must_use = "a request whose future is dropped is cancelled"]
pub struct Simple(pub(super) Submission);

impl Future for Simple {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context).map(|result| result.map(drop))
    }
}

impl Drop for Simple {
    fn drop(&mut self) {
        if !self.0.is_over() {
            self.0.abandon(|| Box::new(()));
        }
    }
}
