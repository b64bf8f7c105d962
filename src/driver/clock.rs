//! The time of a turn, read at most once a turn.

use std::time::Instant;

/// Nanoseconds since the driver was set up.
pub(super) struct Clock {
    epoch: Instant,
    now_ns: u64,
    stale: bool,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            epoch: Instant::now(),
            now_ns: 0,
            stale: true,
        }
    }

    /// The time, as it was read first since [`Clock::passes`].
    pub(super) fn now_ns(&mut self) -> u64 {
        if std::mem::take(&mut self.stale) {
            self.now_ns = self.epoch.elapsed().as_nanos() as u64;
        }
        self.now_ns
    }

    /// Time may have passed: the next question reads the clock.
    pub(super) fn passes(&mut self) {
        self.stale = true;
    }
}
