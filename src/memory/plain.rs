//! Memory whose faults the kernel resolves by itself, so that no operation on it can be stuck.
//!
//! May know: the list of mappings. Must not know: requests, lanes.

use std::time::{Duration, Instant};

use crate::sys::smaps;

/// How long an answer of the kernel is believed.
const FRESH: Duration = Duration::from_millis(100);

/// What was last known of the mappings.
#[derive(Default)]
pub(crate) struct PlainMemory {
    ranges: Vec<std::ops::Range<usize>>,
    asked: Option<Instant>,
}

impl PlainMemory {
    /// Whether all of a range is private anonymous memory that no userfaultfd watches. Asks the
    /// kernel if the last answer is old; see [`smaps`] for what that costs.
    pub(crate) fn holds(&mut self, addr: usize, len: usize) -> bool {
        if self.asked.is_none_or(|asked| asked.elapsed() > FRESH) {
            self.ranges = smaps::plain_anonymous().unwrap_or_default();
            self.asked = Some(Instant::now());
        }
        let Some(end) = addr.checked_add(len) else {
            return false;
        };
        let after = self.ranges.partition_point(|range| range.start <= addr);
        after > 0 && end <= self.ranges[after - 1].end
    }
}
