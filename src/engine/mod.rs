//! The engine: one per thread, futures over a [`Driver`].
//!
//! May know: the driver, wakers, who owns a buffer. Must not know: transfers and operations.
//!
//! Wakers are woken, and buffers that nobody waits for are dropped, only while the driver is not
//! borrowed: both run foreign code, which may call the engine again.

mod builder;
mod future;
mod left_behind;
mod op;
mod pool;
mod region;
mod set;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

pub use builder::EngineBuilder;
pub(crate) use future::{InFlight, Pending, futures};
pub use left_behind::{LeftBehind, left_behind};
pub(crate) use op::Submission;
pub use op::{Io, IoVec, RawIo, Simple};
pub(crate) use pool::Pages;
pub use pool::{Pool, PoolBuf};
pub(crate) use region::{Keep, Pin, Registered};
pub use region::{Region, RegionBuf};
pub(crate) use set::RequestSet;

use crate::driver::op::Wait;
use crate::driver::{BackendKind, Driver, Foreign, Key, Stats, Taken, notify};
use crate::memory::IoBufMut;
use crate::sys::Errno;

/// Asynchronous direct I/O for one thread.
///
/// A handle: clones share the engine, and so do the files and requests made from it. It is gone
/// when the last of them is dropped. Then everything in flight is cancelled and waited for, a
/// second at most (see [`EngineBuilder::drain_timeout`]). What still can't end, such as a page
/// fault that this very thread would have to resolve, stays behind with its buffers, see
/// [`left_behind`]: never freed under the kernel's hands, and not waited for by the engine. (The
/// kernel does wait when the thread itself ends: with io_uring a thread is not gone before the
/// workers of its rings are. The end of the process ends them.)
///
/// An engine can't be sent to another thread: an io_uring belongs to the thread that submits. It
/// belongs to one process, too. In a child of fork(2) every request ends with ENOTRECOVERABLE, those
/// that were in flight at the fork as well, and dropping what was inherited only frees memory; the
/// parent's requests go on. An engine that the child builds for itself works.
///
/// # Abilities that are lost later
///
/// Where the kernel no longer lets the process enter the ring (a sandbox that is closed after the
/// start), worker threads take over, and requests that the kernel had not taken are handed to them.
/// What the kernel had taken by then stays pending: nothing in the process can tell when the kernel
/// is done with its buffer. Where the kernel can make no worker task (RLIMIT_NPROC, a pids cgroup at
/// its limit), what needs one is carried out on the engine's thread. [`Stats::fallbacks`] tells of
/// both.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("file");
/// let engine = nofault::Engine::new()?;
/// let file = nofault::File::create(&engine, &path)?;
/// engine.block_on(async {
///     let (written, _buffer) = file.write_at(&b"no fault"[..], 0).await;
///     assert_eq!(written?, 8);
///     let (read, buffer) = file.read_at(Vec::with_capacity(100), 3).await;
///     assert_eq!((read?, &buffer[..]), (5, &b"fault"[..]));
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Rc<Inner>,
}

/// What the handles share.
pub(crate) struct Inner {
    /// `None` only while it is dropped.
    driver: RefCell<Option<Driver>>,
    wake: Arc<OwnedFd>,
    drain: Duration,
    /// See [`EngineBuilder::huge_pages`].
    huge_pages: bool,
    /// Swapped with the driver's, so that waking costs no allocation.
    spare: Cell<Foreign>,
}

impl Inner {
    /// Runs `f` on the driver, then wakes and drops what that has made ready.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Driver) -> R) -> R {
        let mut driver = self.driver.borrow_mut();
        // The only place that takes it out is drop, when nobody else is left to call.
        let Some(inside) = driver.as_mut() else {
            unreachable!("the driver is gone before its last handle")
        };
        inside.check_process();
        let result = f(inside);
        if inside.starter.is_some() && inside.wants_turn() {
            inside
                .starter
                .take()
                .into_iter()
                .for_each(|starter| inside.foreign.wake(starter));
        }
        if !inside.foreign.is_empty() {
            let mut foreign = self.spare.take();
            std::mem::swap(&mut inside.foreign, &mut foreign);
            drop(driver);
            foreign.run();
            self.spare.set(foreign);
        }
        result
    }

    /// Asks for the result of a request. If the request is in flight, its end wakes the task.
    #[inline]
    pub(crate) fn poll_result(&self, key: Key, waker: &Waker) -> Poll<Result<usize, Errno>> {
        match self.with(|driver| driver.take(key, waker)) {
            Taken::Ready(result) => Poll::Ready(result),
            Taken::Pending => Poll::Pending,
            Taken::Unknown => {
                // Foreign code, which may ask this engine: nothing is borrowed meanwhile.
                let copy = waker.clone();
                self.with(|driver| driver.wake_by(key, copy));
                match self.with(|driver| driver.take(key, waker)) {
                    Taken::Ready(result) => Poll::Ready(result),
                    Taken::Pending | Taken::Unknown => Poll::Pending,
                }
            }
        }
    }

    /// Like `with`, for use in drop, where the driver may be borrowed further up the stack.
    pub(crate) fn try_with(&self, f: impl FnOnce(&mut Driver)) {
        if self.driver.try_borrow_mut().is_ok() {
            self.with(f);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(mut driver) = self.driver.get_mut().take() else {
            return;
        };
        driver.check_process();
        driver.cancel_all();
        driver.drain(self.drain);
        driver.give_back_unused();
        let mut foreign = std::mem::take(&mut driver.foreign);
        // Whoever takes turns has nothing to do any more, and sees that.
        driver
            .starter
            .take()
            .into_iter()
            .for_each(|starter| foreign.wake(starter));
        if driver.in_flight() > 0 {
            left_behind::keep(driver);
        } else {
            drop(driver);
        }
        foreign.run();
    }
}

/// Which back end an engine has, and what it was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineInfo {
    /// What carries the requests out.
    pub backend: BackendKind,
    /// Why it is not io_uring, and what to do about it.
    pub reason: Option<String>,
    /// The ring's negotiated set-up.
    pub flags: Vec<&'static str>,
}

impl fmt::Display for EngineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.backend)?;
        if !self.flags.is_empty() {
            write!(f, " ({})", self.flags.join(", "))?;
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// The waker of `block_on`: a flag, and the eventfd for those who come from another thread.
struct Unpark {
    woken: AtomicBool,
    thread: usize,
    wake: Arc<OwnedFd>,
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.try_with(|mark| std::ptr::from_ref(mark).addr())
        .unwrap_or(0)
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        if this_thread() != self.thread {
            notify(&self.wake);
        }
    }
}

impl Engine {
    /// An engine with the default settings.
    ///
    /// # Errors
    ///
    /// As [`EngineBuilder::build`].
    pub fn new() -> io::Result<Engine> {
        Engine::builder().build()
    }

    /// Settings, to be changed before the engine is built.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Runs a future on this thread until it is ready, and the engine's requests with it. Sleeps in
    /// the kernel while there is nothing to do.
    ///
    /// Wakers may be called from any thread. Other futures' requests on this engine go on as well.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let unpark = Arc::new(Unpark {
            woken: AtomicBool::new(true),
            thread: this_thread(),
            wake: self.inner.wake.clone(),
        });
        let waker = Waker::from(unpark.clone());
        let mut context = Context::from_waker(&waker);
        let mut refusals = 0u32;
        loop {
            if unpark.woken.swap(false, Ordering::Acquire)
                && let Poll::Ready(output) = future.as_mut().poll(&mut context)
            {
                // What the future has queued and left (a cancellation) is not to wait for the next
                // call.
                let _ = self.turn(Some(Duration::ZERO));
                return output;
            }
            let wait = if unpark.woken.load(Ordering::Acquire) {
                Wait::No
            } else {
                Wait::Forever
            };
            match self.inner.with(|driver| driver.turn(wait)) {
                Ok(_) => refusals = 0,
                // The kernel takes nothing now, for want of memory: what is in flight can't be
                // given up, so there is only waiting, ever longer, up to a tenth of a second.
                Err(_) => {
                    refusals = (refusals + 1).min(100);
                    std::thread::sleep(Duration::from_millis(refusals.into()));
                }
            }
        }
    }

    /// Drives the requests by hand: starts what is queued and takes in what has ended. `None` waits
    /// for a request to end, if there are any in flight; a time waits that long at most; zero only
    /// looks. Returns how many requests ended, with those that did so before: where most of what
    /// was in flight has ended at once, the next requests may be started as they are made
    /// ([`Stats::early_starts`]).
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) answers, after a bounded number of tries. Nothing is lost: call
    /// again.
    pub fn turn(&self, timeout: Option<Duration>) -> io::Result<usize> {
        self.inner.with(|driver| {
            let wait = match timeout {
                None if driver.in_flight() == 0 => Wait::No,
                None => Wait::Forever,
                Some(Duration::ZERO) => Wait::No,
                Some(time) => Wait::For(time),
            };
            driver.turn(wait)
        })
    }

    /// When [`turn`](Engine::turn) has to be called at the latest, for those who drive the engine
    /// from an event loop of their own: the time of a request
    /// ([`File::with_timeout`](crate::File::with_timeout)) is over then. May be that of a request
    /// which has ended since.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.inner.with(|driver| driver.next_deadline())
    }

    /// `count` buffers of `bytes` bytes each, rounded up to whole pages, in memory that is faulted
    /// in now and pinned. Reads and writes of one buffer are submitted without a look; those of
    /// several ([`readv_at`](crate::File::readv_at)) look at pinned memory too.
    ///
    /// A pool of 2 MiB or more takes a multiple of 2 MiB, in huge pages where the kernel has them
    /// (see [`Pool::is_huge`], and [`EngineBuilder::huge_pages`] to switch that off): faulted in
    /// and pinned some times faster, and a large request is described to the device in few pieces.
    /// Sequential reads of 1 MiB, four in flight, reached 3.7 GiB/s with huge pages and 1.3 to 2.2
    /// GiB/s with 4 KiB pages. Its buffers lie so that none crosses more huge pages than its size
    /// makes it, as long as that costs at most an eighth of the memory: take sizes that divide 2
    /// MiB.
    ///
    /// Where memory can't be pinned (RLIMIT_MEMLOCK, worker threads, a kernel before 5.19) the pool
    /// works all the same, see [`Pool::is_pinned`], and [`Stats::fallbacks`] says why.
    ///
    /// # Errors
    ///
    /// ENOMEM from mmap(2), or a size that overflows.
    pub fn pool(&self, count: usize, bytes: usize) -> io::Result<Pool> {
        let pages = Pages::by_choice(self.inner.huge_pages);
        Pool::new(self, count, bytes, pages)
    }

    /// As [`Engine::pool`], in huge pages whatever its size and whatever
    /// [`EngineBuilder::huge_pages`] says: also a pool of less than 2 MiB takes a multiple of 2
    /// MiB.
    ///
    /// # Errors
    ///
    /// As for [`Engine::pool`].
    pub fn huge_pool(&self, count: usize, bytes: usize) -> io::Result<Pool> {
        Pool::new(self, count, bytes, Pages::Huge)
    }

    /// Pins the initialised bytes of `buffer`, a storage engine's own arena. Reads and writes of one
    /// slice of it, and of one piece of raw memory inside, are submitted without a look.
    ///
    /// Where it can't be pinned it works all the same, as with [`Engine::pool`].
    pub fn register<B: IoBufMut + Send>(&self, buffer: B) -> Region {
        Region::new(self, buffer)
    }

    /// What ends a wait of this engine, from any thread.
    pub(crate) fn wake_fd(&self) -> Arc<OwnedFd> {
        self.inner.wake.clone()
    }

    /// Whether both are handles to one engine.
    pub(crate) fn is(&self, other: &Engine) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.with(|driver| driver.stats())
    }

    /// The back end and what it was granted.
    #[must_use]
    pub fn info(&self) -> EngineInfo {
        self.inner.with(|driver| EngineInfo {
            backend: driver.backend_kind(),
            reason: driver.reason().map(str::to_owned),
            flags: driver.backend_flags(),
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("info", &self.info())
            .finish_non_exhaustive()
    }
}
