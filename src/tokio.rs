//! An [`Engine`] inside a current-thread runtime of tokio (feature `tokio`).
//!
//! The engine is one more descriptor in the runtime's reactor, which is told by the ring that
//! something has ended; and [`drive`] is the task that takes the engine's turns. There is no second
//! thread, and the runtime sleeps where it always does.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! let local = tokio::task::LocalSet::new();
//! local.block_on(&runtime, async {
//!     let engine = nofault::Engine::new()?;
//!     tokio::task::spawn_local(nofault::tokio::drive(&engine)?);
//!
//!     let file = nofault::File::create(&engine, &path)?;
//!     let (result, _buffer) = file.write_all_at(vec![7; 4096], 0).await;
//!     result
//! })
//! # }
//! ```
//!
//! In a multi-thread runtime there is nothing to drive: a [`Handle`](crate::Handle) works there,
//! and anywhere, without this feature. (A `LocalSet` in one works too, as it stays on its thread.)
//!
//! # When requests start
//!
//! A request that is made in a task is queued. The first one wakes the driving task, which comes
//! behind the tasks that are ready by then; so all that they ask for is submitted by one system
//! call. [`Engine::block_on`] is not needed, and would block the runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;

use crate::driver::op::Wait;
use crate::driver::{Fallback, errno_of};
use crate::engine::{Engine, Inner};
use crate::sys::timer::Timer;

/// Rounds that one turn takes at most, before other tasks have theirs.
const ROUNDS: usize = 8;

/// Drives an engine: registers it with the reactor of the runtime that this is called in, and gives
/// the future that takes its turns. Spawn it with `tokio::task::spawn_local`, or await it beside
/// what you await. Without it no request ends, unless somebody else calls [`Engine::turn`].
///
/// It does not keep the engine: it is ready when the last handle, file and request of the engine
/// are gone.
///
/// # Errors
///
/// What eventfd(2), io_uring_register(2) or epoll_ctl(2) answer: too many open files.
///
/// # Panics
///
/// Outside of a runtime, or in one without [`enable_io`](tokio::runtime::Builder::enable_io).
pub fn drive(engine: &Engine) -> io::Result<Drive> {
    // A descriptor of its own: one that is closed before the reactor has forgotten it might be
    // another's by then.
    let answers = engine.inner.with(|driver| driver.listen())?;
    let listening = Listening(Rc::downgrade(&engine.inner));
    let answers = register(answers)?;
    Ok(Drive {
        answers,
        timer: None,
        set_to: None,
        refusals: 0,
        listening,
    })
}

/// Takes back the driver's `listen`.
struct Listening(Weak<Inner>);

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.try_with(|driver| driver.unlisten());
        }
    }
}

/// The future that takes an engine's turns. See [`drive`].
#[must_use = "an engine is driven by this future being polled"]
pub struct Drive {
    answers: AsyncFd<OwnedFd>,
    /// Made when the first request with a deadline is met. The runtime's own timers may be switched
    /// off.
    timer: Option<AsyncFd<Timer>>,
    /// What the timer is set to.
    set_to: Option<Instant>,
    refusals: u32,
    listening: Listening,
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(inner) = this.listening.0.upgrade() else {
            return Poll::Ready(());
        };
        // What was said until here is looked at below. What happens from here on is said again.
        let timer = this
            .timer
            .as_ref()
            .map_or(Ok(()), |timer| take_readiness(timer, context));
        if take_readiness(&this.answers, context).and(timer).is_err() {
            // The reactor is gone, and the runtime is about to be.
            return Poll::Ready(());
        }
        for _ in 0..ROUNDS {
            match inner.with(|driver| driver.turn(Wait::No)) {
                Ok(_) => this.refusals = 0,
                // The kernel takes nothing now, for want of memory: later, then.
                Err(_) => {
                    this.refusals = (this.refusals + 1).min(100);
                    break;
                }
            }
            if !inner.with(|driver| driver.has_answers()) {
                break;
            }
        }
        let waker = context.waker();
        let mut starter = Some(waker.clone());
        let (deadline, more) = inner.with(|driver| {
            std::mem::swap(&mut driver.starter, &mut starter);
            (driver.next_deadline(), driver.has_answers())
        });
        // The one before; foreign code, and not before the driver is free again.
        drop(starter);
        if more && this.refusals == 0 {
            waker.wake_by_ref();
        }
        let again = (this.refusals > 0)
            .then(|| Instant::now() + Duration::from_millis(this.refusals.into()));
        if let Err(error) = this.set_timer([deadline, again].into_iter().flatten().min(), context) {
            // Without a timer there is only looking again and again, until that time.
            let errno = errno_of(&error);
            inner.with(|driver| driver.stats.fallback(Fallback::NoTimer { errno }));
            waker.wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drive {
    /// Sees to it that this is polled at that time.
    fn set_timer(&mut self, due: Option<Instant>, context: &mut Context<'_>) -> io::Result<()> {
        let Some(due) = due else { return Ok(()) };
        let made = self.timer.is_none();
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => none.insert(register(Timer::new()?)?),
        };
        let now = Instant::now();
        if self.set_to != Some(due) || due <= now {
            self.set_to = Some(due);
            timer.get_ref().set(due.saturating_duration_since(now));
        }
        if made {
            take_readiness(timer, context)
        } else {
            Ok(())
        }
    }
}

/// A descriptor in the reactor of the runtime that this is called in.
fn register<T: AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    // What it is deprecated for does not happen here: both kinds of `fd` own one descriptor and
    // keep it. The function that takes its place came with tokio 1.53, and would shut out all
    // before.
    #[allow(deprecated)]
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Forgets that the descriptor was readable, and asks to be woken when it is.
fn take_readiness<T: AsRawFd>(fd: &AsyncFd<T>, context: &mut Context<'_>) -> io::Result<()> {
    while let Poll::Ready(guard) = fd.poll_read_ready(context) {
        guard?.clear_ready();
    }
    Ok(())
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("gone", &(self.listening.0.strong_count() == 0))
            .finish_non_exhaustive()
    }
}
