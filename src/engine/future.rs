//! The futures of requests: what those of an engine and those of a handle have in common.
//!
//! May know: buffers, and who holds them when. Must not know: how a request gets to its driver,
//! which is the matter of an [`InFlight`].
//!
//! A future holds the buffer while the request is in flight. A future that is dropped early leaves
//! the buffer with whoever carries the request out; a future that is leaked leaks the buffer too.
//! Either way the memory outlives the kernel's use of it.

use std::fmt;
use std::io;
use std::task::{Context, Poll};

use crate::memory::{IoBuf, IoBufMut};
use crate::sys::Errno;

/// A request in flight, as a face has it. `K` is what keeps its memory valid.
pub(crate) trait InFlight<K> {
    /// The result, once. Until then the task is woken when there may be one.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Errno>>;

    /// Asks to end the request early. Its result still comes.
    fn cancel(&mut self);

    /// Gives up: what `keep` returns is kept until the kernel no longer uses the memory. `keep` is
    /// not called where the request is over already.
    fn abandon(&mut self, keep: impl FnOnce() -> Option<K>);

    /// The error that users get for an errno.
    fn error(errno: Errno) -> io::Error;

    /// Where the request is, in a word or two for `Debug`.
    fn place(&self) -> &'static str;
}

/// A request in flight and what it has to keep: the inside of every future of a request.
pub(crate) struct Pending<S: InFlight<K>, K> {
    request: S,
    /// `None`: given back.
    kept: Option<K>,
    /// Tells the buffer how many of its bytes are initialised now.
    filled: unsafe fn(&mut K, usize),
}

// A buffer may be moved: the address of its memory does not change, by the contract of `IoBuf`.
impl<S: InFlight<K>, K> Unpin for Pending<S, K> {}

impl<S: InFlight<K>, K> Pending<S, K> {
    /// A request that fills no buffer: a write, or one whose memory is the caller's own matter.
    ///
    /// # Safety
    ///
    /// `request` names memory of `kept` only, or memory that its caller answers for.
    #[inline]
    pub(crate) unsafe fn new(request: S, kept: K) -> Pending<S, K> {
        Pending {
            request,
            kept: Some(kept),
            filled: |_, _| {},
        }
    }

    /// A read into one buffer.
    ///
    /// # Safety
    ///
    /// `request` fills memory of `buffer`, from its first byte on, and no more than `bytes_total`.
    #[inline]
    pub(crate) unsafe fn read(request: S, buffer: K) -> Pending<S, K>
    where
        K: IoBufMut,
    {
        Pending {
            request,
            kept: Some(buffer),
            filled: K::set_init,
        }
    }

    /// The result and what was kept, once; pending for ever after that, as most futures are.
    #[inline]
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<(io::Result<usize>, K)> {
        let Poll::Ready(result) = self.request.poll(context) else {
            return Poll::Pending;
        };
        let Some(mut kept) = self.kept.take() else {
            return Poll::Pending;
        };
        if let Ok(count) = result {
            // SAFETY: the request has filled the first `count` bytes, by the contract of `read` and
            // `read_vectored`.
            unsafe { (self.filled)(&mut kept, count) };
        }
        Poll::Ready((result.map_err(S::error), kept))
    }

    /// Asks to end the request early. Its result still comes.
    pub(crate) fn cancel(&mut self) {
        self.request.cancel();
    }
}

impl<S: InFlight<Vec<B>>, B: IoBuf> Pending<S, Vec<B>> {
    /// A read into several buffers in order.
    ///
    /// # Safety
    ///
    /// `request` fills memory of these buffers, one after the other, each up to its `bytes_total`.
    pub(crate) unsafe fn read_vectored(request: S, buffers: Vec<B>) -> Pending<S, Vec<B>>
    where
        B: IoBufMut,
    {
        Pending {
            request,
            kept: Some(buffers),
            filled: set_init_in_order,
        }
    }
}

/// Tells buffers that were read into one after the other how many of their bytes are initialised.
///
/// # Safety
///
/// The first `count` bytes of the buffers, counted in order, are initialised.
unsafe fn set_init_in_order<B: IoBufMut>(buffers: &mut Vec<B>, mut count: usize) {
    for buffer in buffers {
        let here = count.min(buffer.bytes_total());
        // SAFETY: each buffer is filled before the next.
        unsafe { buffer.set_init(here) };
        count -= here;
    }
}

impl<S: InFlight<K>, K> Drop for Pending<S, K> {
    #[inline]
    fn drop(&mut self) {
        let kept = &mut self.kept;
        self.request.abandon(|| kept.take());
    }
}

impl<S: InFlight<K>, K> fmt::Debug for Pending<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.request.place())
    }
}

/// The futures of one face. `$request` is its [`InFlight`], `$keeper` who keeps the buffers of
/// futures that were dropped, `$idle` when that is over for all of them, and the last argument what
/// a buffer must be beside `'static`.
macro_rules! futures {
    ($request:ty, $keeper:literal, $idle:literal, [$($bound:tt)*]) => {
        /// A read or write of one buffer. Gives the count, or the error, and the buffer back.
        ///
        #[doc = concat!(
            "Dropped before it is ready it cancels the request; ", $keeper,
            " keeps the buffer until the kernel no longer uses it, and drops it then."
        )]
        /// To get the buffer back, and know what was moved, see [`Io::cancel`].
        #[must_use = "a request whose future is dropped is cancelled"]
        pub struct Io<B: $($bound)* 'static>(pub(crate) Pending<$request, B>);

        impl<B: $($bound)* 'static> Io<B> {
            /// Asks to end the request early, and gives the future back, to be awaited: it is ready
            /// as soon as the kernel no longer uses the buffer, and gives the buffer and what has
            /// become of the request. That is the count, if all or a part was moved; or the error;
            /// ECANCELED where nothing was moved because of this call. So a request that loses a
            /// race (a timeout, `select!`) loses neither its buffer nor its count:
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> {
            /// # let dir = tempfile::tempdir()?;
            /// # let path = dir.path().join("file");
            /// # std::fs::write(&path, [7; 8192])?;
            /// let engine = nofault::Engine::new()?;
            /// let file = nofault::File::open(&engine, &path)?;
            /// let read = file.read_at(Vec::with_capacity(8192), 0);
            /// // Somebody is in a hurry.
            /// let (result, buffer) = engine.block_on(read.cancel());
            /// match result {
            ///     Ok(count) => assert_eq!(buffer.len(), count),
            ///     Err(error) => assert_eq!(error.raw_os_error(), Some(125), "{error}"),
            /// }
            /// assert!(buffer.capacity() >= 8192);
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// What the device has already can't be called back: such a request ends when the
            /// device answers. A future that was ready before stays pending.
            pub fn cancel(mut self) -> Self {
                self.0.cancel();
                self
            }
        }

        impl<B: $($bound)* 'static> Future for Io<B> {
            type Output = (io::Result<usize>, B);

            #[inline]
            fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
                self.0.poll(context)
            }
        }

        /// A read or write of several buffers. Gives the count, or the error, and the buffers back.
        ///
        #[doc = concat!(
            "Dropped before it is ready it cancels the request; ", $keeper,
            " keeps the buffers until the kernel no longer uses them, and drops them then."
        )]
        #[must_use = "a request whose future is dropped is cancelled"]
        pub struct IoVec<B: $($bound)* 'static>(pub(crate) Pending<$request, Vec<B>>);

        impl<B: $($bound)* 'static> IoVec<B> {
            /// Asks to end the request early, and gives the future back, to be awaited. See
            /// [`Io::cancel`].
            pub fn cancel(mut self) -> Self {
                self.0.cancel();
                self
            }
        }

        impl<B: $($bound)* 'static> Future for IoVec<B> {
            type Output = (io::Result<usize>, Vec<B>);

            fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
                self.0.poll(context)
            }
        }

        /// A read or write of memory that the caller answers for. Gives the count, or the error.
        ///
        #[doc = concat!(
            "Dropped before it is ready it cancels the request, and the memory has to stay valid ",
            "until ", $idle, ". [`RawIo::cancel`] says sooner when the memory is free again."
        )]
        #[must_use = "a request whose future is dropped is cancelled"]
        pub struct RawIo(pub(crate) Pending<$request, ()>);

        impl RawIo {
            /// Asks to end the request early, and gives the future back, to be awaited: when it is
            /// ready the kernel no longer uses the memory. See [`Io::cancel`].
            pub fn cancel(mut self) -> Self {
                self.0.cancel();
                self
            }
        }

        impl Future for RawIo {
            type Output = io::Result<usize>;

            fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
                self.0.poll(context).map(|(result, ())| result)
            }
        }

        /// A request without memory: a sync, a change of size.
        #[must_use = "a request whose future is dropped is cancelled"]
        pub struct Simple(pub(crate) Pending<$request, ()>);

        impl Simple {
            /// Asks to end the request early, and gives the future back, to be awaited. See
            /// [`Io::cancel`].
            pub fn cancel(mut self) -> Self {
                self.0.cancel();
                self
            }
        }

        impl Future for Simple {
            type Output = io::Result<()>;

            fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
                self.0.poll(context).map(|(result, ())| result.map(drop))
            }
        }

        impl<B: $($bound)* 'static> fmt::Debug for Io<B> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("Io").field(&self.0).finish()
            }
        }

        impl<B: $($bound)* 'static> fmt::Debug for IoVec<B> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("IoVec").field(&self.0).finish()
            }
        }

        impl fmt::Debug for RawIo {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("RawIo").field(&self.0).finish()
            }
        }

        impl fmt::Debug for Simple {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("Simple").field(&self.0).finish()
            }
        }
    };
}
pub(crate) use futures;
