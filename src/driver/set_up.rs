//! How a driver is set up: which back end, which abilities.
//!
//! May know: every part of the driver. Must not know: requests.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Driver;
use super::backend::{Backend, BackendKind};
use super::bounce::{self, Bounce};
use super::clock::Clock;
use super::deadlines::Deadlines;
use super::fallback::{Fallback, errno_of};
use super::foreign::Foreign;
use super::lane::Lanes;
use super::lists::Lists;
use super::looks::Looks;
use super::registered::{Registered, new_id};
use super::stats::Stats;
use super::table::Table;
use super::threads::Threads;
use super::turn::Early;
use super::uring::{Timing, Uring, Wishes};
use super::waiters::Waiters;
use crate::memory::plain::PlainMemory;
use crate::memory::residency::Residency;
use crate::sys::{self, address_space};
use crate::transfer::Geometry;

/// What carries the operations out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackendChoice {
    /// io_uring, or worker threads where the kernel refuses it.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// Worker threads.
    Threads,
}

/// How a driver is set up.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) depth: u32,
    pub(crate) backend: BackendChoice,
    pub(crate) timing: Timing,
    pub(crate) wishes: Wishes,
    /// Whether bounce buffers lie in huge pages where they can.
    pub(crate) huge_pages: bool,
    /// Whether huge pages are advised for absent memory of the callers that reads fill.
    pub(crate) advise_huge: bool,
}

impl Driver {
    pub(crate) fn new(config: &Config) -> io::Result<Driver> {
        let depth = config.depth.clamp(1, 1 << 15);
        let mut stats = Stats::default();
        // Each request has at most a main operation and a fault-in ahead with the kernel.
        let uring =
            |stats: &mut Stats| match Uring::new(2 * depth, config.timing, config.wishes, stats) {
                Ok(uring) => Ok(Backend::Uring(Box::new(uring))),
                Err(error) => {
                    let lost = Fallback::no_uring(&error);
                    let why = lost.to_string();
                    stats.fallback(lost);
                    Err((error, why))
                }
            };
        let (backend, reason) = match config.backend {
            BackendChoice::Threads => (
                Backend::Threads(Box::new(Threads::new(&mut stats)?)),
                Some("worker threads were asked for".to_owned()),
            ),
            BackendChoice::Uring => match uring(&mut stats) {
                Ok(backend) => (backend, None),
                Err((error, why)) => return Err(io::Error::new(error.kind(), why)),
            },
            BackendChoice::Auto => match uring(&mut stats) {
                Ok(backend) => (backend, None),
                Err((_, why)) => (
                    Backend::Threads(Box::new(Threads::new(&mut stats)?)),
                    Some(why),
                ),
            },
        };
        let residency = Residency::new()
            .inspect_err(|error| {
                let errno = errno_of(error);
                stats.fallback(Fallback::NoLook { errno });
            })
            .ok();
        let bounce = Bounce::new(config.huge_pages)
            .inspect_err(|error| {
                let errno = errno_of(error);
                stats.fallback(Fallback::NoBounceBuffers { errno });
            })
            .ok();
        let lane_limits = backend.lane_limits();
        let bounce_bytes = bounce.as_ref().map_or(0, |_| bounce::SIZE);
        Ok(Driver {
            table: Table::new(depth),
            lists: Lists::default(),
            backend,
            id: new_id(),
            timed: config.timing.mask().unwrap_or(u64::MAX),
            early: Early::default(),
            stats,
            completions: Vec::new(),
            foreign: Foreign::default(),
            starter: None,
            looks: Looks::new(residency),
            waiters: Waiters::default(),
            unclaimed: HashMap::new(),
            unclaimed_slots: 0,
            deadlines: Deadlines::default(),
            clock: Clock::new(),
            made_in: address_space::generation(),
            refusals: 0,
            reason,
            lanes: Lanes::new(lane_limits),
            advise_huge: config.advise_huge,
            plain_memory: PlainMemory::default(),
            bounce,
            base: Geometry::base(sys::page_size(), bounce_bytes),
            registered: Registered::default(),
        })
    }

    pub(crate) fn backend_kind(&self) -> BackendKind {
        self.backend.kind()
    }

    pub(crate) fn backend_flags(&self) -> Vec<&'static str> {
        self.backend.flags()
    }

    /// Why the first choice of back end was not taken.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(crate) fn wake_fd(&self) -> Arc<OwnedFd> {
        self.backend.wake_fd()
    }

    /// The sizes that hold for every file.
    pub(crate) fn geometry(&self) -> Geometry {
        self.base
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.table.in_use()
    }

    pub(crate) fn stats(&self) -> Stats {
        let look_calls = self
            .looks
            .residency
            .as_ref()
            .map_or(0, Residency::system_calls);
        Stats {
            in_flight: self.in_flight() as u64,
            look_calls,
            ..self.stats.clone()
        }
    }
}
