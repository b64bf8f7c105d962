//! The settings of an engine.
//!
//! May know: how a driver is set up. Must not know: requests.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

#[cfg(doc)]
use super::Stats;
use super::{Engine, Inner, left_behind};
use crate::driver::{BackendChoice, Config, Driver, Timing, Wishes};

/// Sets up an [`Engine`].
#[derive(Clone, Debug)]
#[must_use = "an engine is made by `build`"]
pub struct EngineBuilder {
    config: Config,
    drain: Duration,
}

impl Default for EngineBuilder {
    fn default() -> EngineBuilder {
        EngineBuilder {
            config: Config {
                depth: 256,
                backend: BackendChoice::Auto,
                timing: Timing::Sampled,
                wishes: Wishes::default(),
                huge_pages: true,
                advise_huge: false,
            },
            drain: Duration::from_secs(1),
        }
    }
}

impl EngineBuilder {
    /// How many requests may be in flight, 1 to 32768; 256 unless told. What comes on top waits for
    /// its turn.
    pub fn depth(mut self, requests: u32) -> Self {
        self.config.depth = requests;
        self
    }

    /// What carries the requests out; [`Backend::Auto`](crate::Backend) unless told.
    pub fn backend(mut self, backend: BackendChoice) -> Self {
        self.config.backend = backend;
        self
    }

    /// How often the clock is read for the histograms of [`Stats`]; sampled unless told.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.config.timing = timing;
        self
    }

    /// Asks that completions of direct reads and writes be polled for (IORING_SETUP_IOPOLL), on
    /// files whose device has polled queues. The thread then spins in the kernel as long as such
    /// requests are in flight, which is worth it on fast NVMe devices only. A file whose device
    /// refuses goes the ordinary way from its first request on, which [`Stats::fallbacks`] tells.
    pub fn io_poll(mut self, poll: bool) -> Self {
        self.config.wishes.io_poll = poll;
        self
    }

    /// Asks for a kernel thread that takes the submissions (IORING_SETUP_SQPOLL), and that sleeps
    /// after `idle` without any. It takes a processor of its own while it is awake. Without it
    /// where the kernel refuses, which [`Stats::fallbacks`] tells.
    pub fn sq_poll(mut self, idle: Duration) -> Self {
        self.config.wishes.sq_poll = Some(idle);
        self
    }

    /// Asks that waiting for completions does not count as waiting for I/O (IORING_ENTER_NO_IOWAIT,
    /// Linux 6.15): neither the load of the machine nor the choice of its clock frequency is to see
    /// it.
    pub fn no_iowait(mut self, no_iowait: bool) -> Self {
        self.config.wishes.no_iowait = no_iowait;
        self
    }

    /// Whether what the engine allocates lies in huge pages where it can: pools of 2 MiB and more,
    /// and bounce buffers. On unless told. Where the kernel gives none,
    /// [`Stats::fallbacks`] tells. Off, the engine asks for ordinary pages, and does not report
    /// registered memory that lies in such. For single buffers see
    /// [`AlignedBuf::ordinary`](crate::AlignedBuf::ordinary).
    pub fn huge_pages(mut self, huge: bool) -> Self {
        self.config.huge_pages = huge;
        self
    }

    /// Whether huge pages are advised (MADV_HUGEPAGE) for the caller's own memory, where a read is to
    /// fill absent memory of 2 MiB and more: once for each request, for the whole 2 MiB inside each
    /// segment of which no page is there, before its first fault-in. Worker threads make
    /// none, and no advice. Off unless told: the advice
    /// stays with the addresses when the caller's allocator uses them again, and it is a call of
    /// some microseconds on the submitting thread. For one buffer see
    /// [`memory::advise_huge`](crate::memory::advise_huge).
    pub fn advise_huge(mut self, advise: bool) -> Self {
        self.config.advise_huge = advise;
        self
    }

    /// How long dropping the engine waits for requests that can't be cancelled; one second unless
    /// told. See [`Engine`].
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Builds the engine on this thread.
    ///
    /// # Errors
    ///
    /// With [`Backend::Uring`](crate::Backend): what io_uring_setup(2) answers, with words on what
    /// to do. Otherwise only where no eventfd(2) can be had.
    pub fn build(self) -> io::Result<Engine> {
        left_behind::visit();
        let driver = Driver::new(&self.config)?;
        let wake = driver.wake_fd();
        let inner = Inner {
            driver: RefCell::new(Some(driver)),
            wake,
            drain: self.drain,
            huge_pages: self.config.huge_pages,
            spare: Cell::default(),
        };
        Ok(Engine {
            inner: Rc::new(inner),
        })
    }
}
