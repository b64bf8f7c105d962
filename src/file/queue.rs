//! Many requests of one task, without a future for each.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use super::File;
use super::start::{self, Start};
use crate::driver::Plain;
use crate::engine::{Engine, RequestSet};
use crate::memory::{IoBuf, IoBufMut};

/// A request that is over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Done<B, T = ()> {
    /// What the request was given to be known by.
    pub tag: T,
    /// The count of bytes moved, or the error, as [`File::read_at`] and [`File::write_at`] give it.
    pub result: io::Result<usize>,
    /// The buffer.
    pub buffer: B,
}

/// A set of reads and writes in flight that one task waits for, in whatever order they end.
///
/// Does what a `FuturesUnordered` of [`File::read_at`] does, without its costs: one waker serves
/// all requests, and once the queue has been as full as it gets, nothing is allocated. The cheapest
/// way through an engine, for those who keep many requests in flight.
///
/// Requests start when they are made, up to the engine's [`depth`](crate::EngineBuilder::depth);
/// the others wait in the queue. Dropping the queue cancels what is in flight; the engine keeps the
/// buffers until the kernel no longer uses them.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("file");
/// let engine = nofault::Engine::new()?;
/// let file = nofault::File::create(&engine, &path)?;
/// let mut queue = nofault::Queue::new(&engine);
/// for block in 0..8u64 {
///     queue.write_at(&file, vec![block as u8; 4096], block * 4096, block);
/// }
/// engine.block_on(async {
///     while let Some(done) = queue.next().await {
///         assert_eq!(done.result?, 4096);
///         assert_eq!(done.buffer[0], done.tag as u8);
///     }
///     Ok(())
/// })
/// # }
/// ```
pub struct Queue<B: 'static, T: 'static = ()> {
    engine: Engine,
    set: RequestSet<Entry<B, T>>,
}

struct Entry<B, T> {
    tag: T,
    buffer: B,
    /// Tells the buffer how many bytes are initialised now.
    filled: unsafe fn(&mut B, usize),
}

impl<B: IoBuf, T: 'static> Queue<B, T> {
    /// An empty queue on an engine.
    #[must_use]
    pub fn new(engine: &Engine) -> Queue<B, T> {
        Queue {
            engine: engine.clone(),
            set: RequestSet::new(&engine.inner),
        }
    }

    /// Reads as [`File::read_at`].
    ///
    /// # Panics
    ///
    /// If the file belongs to another engine.
    pub fn read_at(&mut self, file: &File, mut buffer: B, offset: u64, tag: T)
    where
        B: IoBufMut,
    {
        let plain = start::read(&mut buffer, offset, file.options());
        self.start(
            file,
            plain,
            Entry {
                tag,
                buffer,
                filled: B::set_init,
            },
        );
    }

    /// Writes as [`File::write_at`].
    ///
    /// # Panics
    ///
    /// If the file belongs to another engine.
    pub fn write_at(&mut self, file: &File, buffer: B, offset: u64, tag: T) {
        let plain = start::write(&buffer, offset, file.options());
        self.start(
            file,
            plain,
            Entry {
                tag,
                buffer,
                filled: |_, _| {},
            },
        );
    }

    #[inline]
    fn start(&mut self, file: &File, plain: Plain, entry: Entry<B, T>) {
        assert!(
            file.engine().is(&self.engine),
            "the file belongs to another engine than the queue"
        );
        // SAFETY: the memory is that of the buffer, which goes along and, by the contract of
        // `IoBuf`, may be moved meanwhile.
        unsafe { self.set.plain(file.shared(), plain, entry) };
    }

    /// How many requests are in the queue: waiting, in flight, or over and not yet taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next request that is over; `None` at once if the queue is empty. May be dropped and
    /// called again, nothing is lost.
    pub async fn next(&mut self) -> Option<Done<B, T>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Queue::next`], for those who write their own futures.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Done<B, T>>> {
        match self.set.pop(Some(context.waker())) {
            Some(over) => Poll::Ready(Some(Queue::done(over))),
            None if self.is_empty() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// One that is over by now. For those who drive the engine by hand, see [`Engine::turn`].
    pub fn try_next(&mut self) -> Option<Done<B, T>> {
        self.set.pop(None).map(Queue::done)
    }

    #[inline]
    fn done((mut entry, result): (Entry<B, T>, Result<usize, i32>)) -> Done<B, T> {
        if let Ok(count) = result {
            // SAFETY: the request read `count` bytes into the buffer's first bytes, and no more
            // than `bytes_total`.
            unsafe { (entry.filled)(&mut entry.buffer, count) };
        }
        Done {
            tag: entry.tag,
            result: result.map_err(io::Error::from_raw_os_error),
            buffer: entry.buffer,
        }
    }
}

impl<B, T> fmt::Debug for Queue<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.set.len())
            .finish_non_exhaustive()
    }
}
