//! Requests from any thread: a [`Handle`], the [`File`]s opened through it, and their futures.
//!
//! May know: engines, files, wakers. Must not know: any runtime.
//!
//! A request is handed to an I/O thread, which has an engine of its own, and its result is handed
//! back:
//!
//! - `admission` lets it in, or makes it wait: bytes and requests in flight are bounded, and those
//!   who wait are let in in order.
//! - `inbox` brings it to the thread. The thread is woken only if it sleeps, and by one of those
//!   who have something for it.
//! - `cell` is what future and thread share of one request: the result, the waker, and the buffer
//!   if the future goes early.
//! - `thread` is the loop, `after` what it does last in each turn: wake tasks.
//! - `timed` ends requests whose time is over before they are admitted.
//! - `files` gives files the numbers by which requests name them. Each I/O thread makes a file
//!   known to its ring when it first meets it.
//! - `shared` holds all that together, and the mail for what is rare.

mod admission;
mod after;
mod builder;
mod cell;
mod file;
mod files;
mod inbox;
mod op;
mod park;
mod shared;
mod thread;
mod timed;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::{Arc, Weak};

pub use builder::HandleBuilder;
pub use file::{File, IoAll};
pub use op::{Io, IoVec, RawIo, Simple};
use shared::{Mail, Owner, PinRequest, Shared};

use crate::driver::Stats;
use crate::engine::{EngineInfo, Keep, Pages, Pin, Pool, Region, Registered};
use crate::memory::{IoBufMut, Pinned};

/// Asynchronous direct I/O for programs of many threads, with any runtime or none: `Send`, `Sync`
/// and `Clone`.
///
/// It has one or several I/O threads, each with an [`Engine`](crate::Engine) of its own. Requests
/// are made through a [`File`], from any thread, and their futures are ready wherever they are
/// polled. Where a program has one thread for each core anyway, an `Engine` in each is cheaper: a
/// request through a handle goes to another thread and back.
///
/// An I/O thread takes all requests that have come since it looked last, submits them and waits in
/// one system call, and then wakes the tasks whose requests are over. So the more there is in
/// flight, the less a request costs. It sleeps in the kernel while there is nothing to do.
///
/// Of several I/O threads each thread that makes requests uses one after the other, request by
/// request. A file's descriptors are shared by all of them. There is no order between requests in
/// flight, as ever.
///
/// # The end
///
/// The last handle or file that is dropped, with no future left that waits, ends the I/O threads.
/// Nobody waits for that: they cancel, in the background, what dropped futures have left in flight,
/// wait for it (see [`HandleBuilder::drain_timeout`]), and leave behind what can't be ended (see
/// [`left_behind`](crate::left_behind)). To wait for everything, and know that it is over, there is
/// [`Handle::shutdown`].
///
/// A future that is leaked keeps its buffer, and the I/O threads, for ever.
///
/// Wakers are called on an I/O thread, with nothing locked. A panic in one is caught and forgotten;
/// one that blocks holds up everybody.
///
/// The I/O threads belong to one process. In a child of fork(2) every request ends with
/// ENOTRECOVERABLE, those that were in flight at the fork as well, and dropping what was inherited
/// only frees memory; the parent's requests go on. A handle that the child builds for itself works.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("file");
/// use nofault::{Handle, handle::File};
///
/// let handle = Handle::new()?;
/// let file = File::create(&handle, &path)?;
/// std::thread::scope(|scope| {
///     for block in 0..4u8 {
///         let (handle, file) = (&handle, &file);
///         scope.spawn(move || handle.block_on(file.write_all_at(vec![block; 4096], u64::from(block) * 4096)).0);
///     }
/// });
/// let (count, buffer) = handle.block_on(file.read_at(Vec::with_capacity(4096), 3 * 4096));
/// assert_eq!((count?, buffer), (4096, vec![3; 4096]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Handle {
    owner: Arc<Owner>,
    /// What pools are made of.
    pages: Pages,
}

impl Handle {
    /// A handle with the default settings: one I/O thread.
    ///
    /// # Errors
    ///
    /// As [`HandleBuilder::build`].
    pub fn new() -> io::Result<Handle> {
        Handle::builder().build()
    }

    /// Settings, to be changed before the handle is built.
    pub fn builder() -> HandleBuilder {
        HandleBuilder::default()
    }

    /// Runs a future on this thread until it is ready, and sleeps in between: for programs that
    /// have no runtime. The future may be any.
    ///
    /// Not to be called where a runtime polls tasks, since it blocks.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        park::block_on(future)
    }

    /// Refuses new requests from this call on, with [`BrokenPipe`](io::ErrorKind::BrokenPipe), and
    /// ends the I/O threads as soon as nothing is in flight any more. Requests that were made
    /// before are carried out, those in the queue too. The future, which need not be awaited, is
    /// ready when the threads have given up all they had.
    ///
    /// There is no bound to this wait, because there is none to how long a request may take, or a
    /// fault that nobody resolves. Put one around it if you need it: dropping the future and the
    /// handle then ends the rest as described at [`Handle`].
    pub fn shutdown(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.owner.shared.clone();
        shared.close();
        poll_fn(move |context| shared.poll_gone(context))
    }

    /// `count` buffers of `bytes` bytes each, rounded up to whole pages, in memory that is faulted
    /// in now and pinned for all I/O threads. Reads and writes of one buffer, through this handle,
    /// are submitted without a look; those of several ([`File::readv_at`]) look at pinned memory
    /// too. A blocking call, not to be made from a waker.
    ///
    /// From 2 MiB on it lies in huge pages where the kernel has them, see
    /// [`Engine::pool`](crate::Engine::pool).
    ///
    /// Each I/O thread pins the memory for itself, and RLIMIT_MEMLOCK may count it as often. Where
    /// it can't be pinned by all of them (that limit, worker threads, a kernel before 5.19) the
    /// pool works all the same, see [`Pool::is_pinned`], and [`Stats::fallbacks`] says why.
    ///
    /// # Errors
    ///
    /// ENOMEM from mmap(2), or a size that overflows.
    pub fn pool(&self, count: usize, bytes: usize) -> io::Result<Pool> {
        Pool::over(count, bytes, self.pages, |memory, base, len| {
            Ok(self.pin(memory, base, len))
        })
    }

    /// Pins the initialised bytes of `buffer`, a storage engine's own arena, for all I/O threads.
    /// Reads and writes of one slice of it, and of one piece of raw memory inside, through this
    /// handle, are submitted without a look. A blocking call, not to be made from a waker.
    ///
    /// Where it can't be pinned it works all the same, as with [`Handle::pool`].
    pub fn register<B: IoBufMut + Send>(&self, buffer: B) -> Region {
        Region::over(buffer, |buffer, base, len| self.pin(buffer, base, len))
    }

    /// Registers `len` bytes at `base`, which belong to `memory`, with every I/O thread's ring, or
    /// with none.
    fn pin(&self, memory: impl Send + 'static, base: usize, len: usize) -> Registered {
        let shared = &self.owner.shared;
        let memory: Arc<dyn Send + Sync> = Arc::new(Keep::new(memory));
        let pins = shared.ask(|answer| {
            Mail::Pin(
                PinRequest {
                    base,
                    len,
                    memory: memory.clone(),
                },
                answer,
            )
        });
        let pins: Option<Vec<Pin>> = pins
            .into_iter()
            .map(|pin| pin.filter(|pin| pin.pinned().is_some()))
            .collect();
        let pinned = pins.as_ref().map(|_| Pinned {
            engine: shared.id,
            base,
            index: 0,
        });
        Registered {
            pinned,
            keeps: Box::new(Pins {
                pins,
                _memory: memory,
                shared: Arc::downgrade(shared),
            }),
        }
    }

    /// What all I/O threads have counted so far, summed up. Asks each of them and waits for the
    /// answers, a few microseconds. From a waker, on an I/O thread, nothing can be asked, and there
    /// is only what threads that are gone have left.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.owner.shared.stats()
    }

    /// The back end of the I/O threads, and what it was granted.
    #[must_use]
    pub fn info(&self) -> EngineInfo {
        self.owner.shared.info.clone()
    }

    /// How many I/O threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.owner.shared.posts.len()
    }
}

/// Memory that is registered with each I/O thread's ring. It is freed when the last of them has
/// given up its registration.
struct Pins {
    pins: Option<Vec<Pin>>,
    _memory: Arc<dyn Send + Sync>,
    shared: Weak<Shared>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.pins = None;
        // A thread that sleeps would keep the memory pinned until it is woken by something else.
        if let Some(shared) = self.shared.upgrade() {
            shared.poke();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.owner.shared;
        let in_flight = shared.admission.in_flight();
        f.debug_struct("Handle")
            .field("info", &shared.info)
            .field("threads", &shared.posts.len())
            .field("requests_in_flight", &in_flight.requests)
            .field("bytes_in_flight", &in_flight.bytes)
            .finish_non_exhaustive()
    }
}
