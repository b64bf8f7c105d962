//! The lanes: how many operations that may fault are in flight, and which slots wait for a place.
//!
//! May know: slot indices, time. Must not know: operations, and how they are started.
//!
//! There are two. The *suspect* lane takes what may be stuck in a fault that nobody resolves: fault-
//! ins, and copies from and to memory that is not there. The *plain* lane takes what can't be stuck,
//! as far as can be known: the memory was there at a look a moment ago, or is private anonymous
//! memory that no userfaultfd watches. What is plain never queues behind what is suspect, and both
//! lanes together are narrower than the back end has workers.
//!
//! To tell plain memory that is not there from suspect memory costs a walk through all mappings. So
//! that is asked only where the suspect lane is full and no place has become free for
//! [`SlowLane::STUCK`]: the lane counts as stuck, and what waits in it and is plain changes lanes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slot::SlotIndex;

/// Places in the two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneLimits {
    pub(crate) suspect: usize,
    pub(crate) plain: usize,
}

impl LaneLimits {
    /// The lanes over so many workers. A quarter of the workers is for plain memory, an eighth for
    /// requests that the kernel itself gives to a worker; at least one each.
    pub(crate) fn of(workers: usize) -> LaneLimits {
        let (plain, rest) = ((workers / 4).max(1), (workers / 8).max(1));
        LaneLimits {
            suspect: workers.saturating_sub(plain + rest).clamp(1, 64),
            plain: plain.min(64),
        }
    }
}

/// Which lane an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneKind {
    Suspect,
    Plain,
}

/// Both lanes.
pub(super) struct Lanes {
    suspect: SlowLane,
    plain: SlowLane,
}

impl Lanes {
    pub(super) fn new(limits: LaneLimits) -> Lanes {
        Lanes {
            suspect: SlowLane::new(limits.suspect),
            plain: SlowLane::new(limits.plain),
        }
    }

    #[inline]
    pub(super) fn get(&mut self, kind: LaneKind) -> &mut SlowLane {
        match kind {
            LaneKind::Suspect => &mut self.suspect,
            LaneKind::Plain => &mut self.plain,
        }
    }

    /// The slot waits no more.
    pub(super) fn forget(&mut self, index: SlotIndex) {
        self.suspect.forget(index);
        self.plain.forget(index);
    }

    /// When the suspect lane counts as stuck, if nothing leaves it until then.
    #[inline]
    pub(super) fn stuck_at(&self) -> Option<Instant> {
        self.suspect.stuck_at
    }

    /// The slots that wait in the suspect lane, if it is stuck. The next time to ask is put off.
    pub(super) fn take_stuck(&mut self, now: Instant) -> Vec<SlotIndex> {
        let lane = &mut self.suspect;
        if lane.stuck_at.is_none_or(|stuck_at| now < stuck_at) {
            return Vec::new();
        }
        lane.pause = (lane.pause * 2).min(SlowLane::LONGEST_PAUSE);
        lane.stuck_at = now.checked_add(lane.pause);
        lane.queue.iter().copied().collect()
    }
}

/// Places for operations that may fault, and the slots that wait for one, in order.
pub(super) struct SlowLane {
    active: usize,
    limit: usize,
    queue: VecDeque<SlotIndex>,
    /// When the lane counts as stuck; `None` while no slot waits.
    stuck_at: Option<Instant>,
    /// The time until it does, longer each time that it did.
    pause: Duration,
}

impl SlowLane {
    /// A full lane that no operation has left for so long counts as stuck. Far above what a fault-in
    /// of a window takes (1 MiB of swapped-out memory on a slow disk: some 10 ms), far below what a
    /// person notices.
    const STUCK: Duration = Duration::from_millis(20);
    /// The longest time between two questions about a lane that stays stuck.
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    /// A lane with `limit` places, at least one.
    fn new(limit: usize) -> SlowLane {
        SlowLane {
            active: 0,
            limit: limit.max(1),
            queue: VecDeque::new(),
            stuck_at: None,
            pause: SlowLane::STUCK,
        }
    }

    /// Takes a place if one is free.
    pub(super) fn enter(&mut self) -> bool {
        let free = self.has_room();
        self.active += usize::from(free);
        free
    }

    /// Whether a place is free.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.active < self.limit
    }

    /// The slot waits for a place.
    pub(super) fn wait(&mut self, index: SlotIndex) {
        self.queue.push_back(index);
        if self.queue.len() == 1 {
            self.restart_the_clock();
        }
    }

    /// Gives back a place, and names the slot that waits for one.
    pub(super) fn leave(&mut self) -> Option<SlotIndex> {
        debug_assert!(self.active > 0, "a place is given back once");
        self.active = self.active.saturating_sub(1);
        let next = self.queue.pop_front();
        self.restart_the_clock();
        next
    }

    /// The slot waits no more.
    pub(super) fn forget(&mut self, index: SlotIndex) {
        self.queue.retain(|waiting| *waiting != index);
        if self.queue.is_empty() {
            self.stuck_at = None;
        }
    }

    fn restart_the_clock(&mut self) {
        self.pause = SlowLane::STUCK;
        self.stuck_at = if self.queue.is_empty() {
            None
        } else {
            Instant::now().checked_add(self.pause)
        };
    }
}
