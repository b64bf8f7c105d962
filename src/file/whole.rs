//! Reads and writes that go on until all of the buffer was moved, as the faces have in common.
//!
//! May know: how a pass is started. Must not know: the faces.

use std::fmt;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Instant;

use super::start::{Start, until};
use crate::driver::Options;
use crate::engine::{InFlight, Pending};
use crate::memory::{IoBuf, IoBufExt, IoBufMut, Slice};

/// Starts a pass over a part of the buffer.
type StartPass<F, B> =
    fn(&F, B, Range<usize>, u64, Options) -> Pending<<F as Start>::Request, Slice<B>>;

/// A request in as many passes as it takes. Each pass moves a byte at least, or is the last.
pub(crate) struct Whole<F, B>
where
    F: Start<Request: InFlight<Slice<B>>>,
{
    file: F,
    pass: Pending<F::Request, Slice<B>>,
    start_pass: StartPass<F, B>,
    /// What it means that a pass moves nothing.
    ended: io::ErrorKind,
    offset: u64,
    total: usize,
    done: usize,
    due: Option<Instant>,
    cancelled: bool,
}

impl<F, B> Whole<F, B>
where
    F: Start<Request: InFlight<Slice<B>>>,
{
    pub(crate) fn read(file: &F, buffer: B, offset: u64) -> Whole<F, B>
    where
        B: IoBufMut,
    {
        let total = buffer.bytes_total();
        let start_pass: StartPass<F, B> = |file, buffer, part, offset, options| {
            file.read_with(buffer.into_slice(part), offset, options)
        };
        let ended = io::ErrorKind::UnexpectedEof;
        Whole::new(file, buffer, offset, total, start_pass, ended)
    }

    pub(crate) fn write(file: &F, buffer: B, offset: u64) -> Whole<F, B>
    where
        B: IoBuf,
    {
        let total = buffer.bytes_init();
        let start_pass: StartPass<F, B> = |file, buffer, part, offset, options| {
            file.write_with(buffer.into_slice(part), offset, options)
        };
        let ended = io::ErrorKind::WriteZero;
        Whole::new(file, buffer, offset, total, start_pass, ended)
    }

    /// Starts the first pass.
    fn new(
        file: &F,
        buffer: B,
        offset: u64,
        total: usize,
        start_pass: StartPass<F, B>,
        ended: io::ErrorKind,
    ) -> Whole<F, B> {
        let options = file.options();
        let due = options.due();
        Whole {
            file: file.clone(),
            pass: start_pass(file, buffer, 0..total, offset, options),
            start_pass,
            ended,
            offset,
            total,
            done: 0,
            due,
            cancelled: false,
        }
    }

    /// The end of the whole, and the buffer.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<(io::Result<()>, B)> {
        loop {
            let Poll::Ready((result, slice)) = self.pass.poll(context) else {
                return Poll::Pending;
            };
            let buffer = slice.into_inner();
            match result {
                Err(error) => return Poll::Ready((Err(error), buffer)),
                Ok(0) if self.done < self.total => {
                    return Poll::Ready((Err(self.ended.into()), buffer));
                }
                Ok(count) => self.done += count,
            }
            if self.done >= self.total {
                return Poll::Ready((Ok(()), buffer));
            }
            if self.cancelled {
                let error = io::Error::from_raw_os_error(libc::ECANCELED);
                return Poll::Ready((Err(error), buffer));
            }
            self.pass = (self.start_pass)(
                &self.file,
                buffer,
                self.done..self.total,
                self.offset + self.done as u64,
                until(self.file.options(), self.due),
            );
        }
    }

    /// Asks to end the pass in flight early. No other will follow.
    pub(crate) fn cancel(&mut self) {
        self.cancelled = true;
        self.pass.cancel();
    }

    /// How many bytes the passes have moved that are over.
    pub(crate) fn done(&self) -> usize {
        self.done
    }
}

impl<F, B> fmt::Debug for Whole<F, B>
where
    F: Start<Request: InFlight<Slice<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, {} of {} bytes done",
            self.pass, self.done, self.total
        )
    }
}
