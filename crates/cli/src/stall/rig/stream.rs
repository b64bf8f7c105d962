//! One round: which reads there are and when, and what was seen of them. No I/O.
//!
//! Every peer takes its requests from the same [`Stream`] and reports to it in the same way:
//! [`Stream::turn`] as soon as the thread has completions in hand, then `ended` and `next` for each
//! of them with the time of that turn, then [`Stream::next_cold`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cold::ColdMemory;
use super::figures::Round;
use super::{BLOCK, DEPTH};
use crate::faults::pattern::Random;

/// Cold requests are made at multiples of this from the beginning of the round, one at a time:
/// where one is still under way, at the next.
const PERIOD: Duration = Duration::from_millis(5);

/// Reads of a round at most.
const READS_MAX: usize = 1 << 20;

/// What rounds use again and again.
pub(crate) struct Desk {
    random: Random,
    samples: Vec<Duration>,
    cold_samples: Vec<Duration>,
    warm_blocks: usize,
    cold_file: usize,
}

impl Desk {
    /// For files of this many bytes.
    pub(crate) fn new(warm_file: usize, cold_file: usize) -> Desk {
        let mut samples = vec![Duration::MAX; READS_MAX];
        // All its pages are there from now on.
        samples.clear();
        Desk {
            random: Random::new(7),
            samples,
            cold_samples: Vec::new(),
            warm_blocks: (warm_file / BLOCK).max(1),
            cold_file,
        }
    }
}

/// When a round ends.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) time: Duration,
    /// Not 0 once everything shall end.
    pub(crate) stop: &'a AtomicUsize,
}

/// A cold request that is to be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColdRequest {
    pub(crate) address: *mut u8,
    pub(crate) len: usize,
    pub(crate) offset: u64,
}

/// The requests of one round and their times.
pub(crate) struct Stream<'a> {
    desk: &'a mut Desk,
    cold: Option<&'a mut ColdMemory>,
    limits: Limits<'a>,
    begun: Instant,
    last_turn: Instant,
    longest_turn: Duration,
    due: [Instant; DEPTH],
    /// Reads that are still not to be counted, nor the turns until then: the first ones start all
    /// at once.
    skipped: usize,
    cold_since: Option<Instant>,
    cold_due: Instant,
    cold_spent: bool,
}

impl<'a> Stream<'a> {
    /// The cold memory, if there is to be any, is cold.
    pub(crate) fn new(
        desk: &'a mut Desk,
        cold: Option<&'a mut ColdMemory>,
        limits: Limits<'a>,
    ) -> Stream<'a> {
        desk.samples.clear();
        desk.cold_samples.clear();
        let now = Instant::now();
        Stream {
            desk,
            cold,
            limits,
            begun: now,
            last_turn: now,
            longest_turn: Duration::ZERO,
            due: [now; DEPTH],
            skipped: DEPTH,
            cold_since: None,
            cold_due: now + PERIOD,
            cold_spent: false,
        }
    }

    /// The peer is ready: the round begins.
    pub(crate) fn begin(&mut self) -> Instant {
        let now = Instant::now();
        self.begun = now;
        self.last_turn = now;
        self.cold_due = now + PERIOD;
        now
    }

    /// The thread is back from waiting. Gives the time.
    pub(crate) fn turn(&mut self) -> Instant {
        self.turn_at(Instant::now())
    }

    fn turn_at(&mut self, now: Instant) -> Instant {
        if self.skipped == 0 {
            self.longest_turn = self
                .longest_turn
                .max(now.saturating_duration_since(self.last_turn));
        }
        self.last_turn = now;
        now
    }

    /// Whether nothing new is to be begun, but for warm reads beside a cold one that is under way.
    fn over(&self, now: Instant) -> bool {
        let stopped = self.limits.stop.load(Ordering::Relaxed) != 0;
        // A round without a single read, or without a cold request where there should be some,
        // would be no measurement.
        let something = !self.desk.samples.is_empty()
            && (self.cold.is_none() || !self.desk.cold_samples.is_empty());
        let enough =
            now.saturating_duration_since(self.begun) >= self.limits.time || self.cold_spent;
        stopped || self.desk.samples.len() >= READS_MAX || (something && enough)
    }

    /// The offset of the next warm read of this place, or none when the round is over. The read is
    /// due now, whenever the peer submits it.
    pub(crate) fn next_warm(&mut self, place: usize, now: Instant) -> Option<u64> {
        if self.cold_since.is_none() && self.over(now) {
            return None;
        }
        self.due[place] = now;
        Some((self.desk.random.below(self.desk.warm_blocks) * BLOCK) as u64)
    }

    /// The warm read of this place has ended.
    pub(crate) fn warm_ended(&mut self, place: usize, now: Instant) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else if self.desk.samples.len() < READS_MAX {
            self.desk
                .samples
                .push(now.saturating_duration_since(self.due[place]));
        }
    }

    /// A cold request, if one is due. Once a turn, after the warm reads.
    pub(crate) fn next_cold(&mut self, now: Instant) -> Option<ColdRequest> {
        if self.cold_since.is_some() || now < self.cold_due || self.over(now) {
            return None;
        }
        let Some((address, len)) = self.cold.as_mut()?.next() else {
            self.cold_spent = true;
            return None;
        };
        self.cold_since = Some(now);
        let offset = self.desk.random.below((self.desk.cold_file / len).max(1)) * len;
        Some(ColdRequest {
            address,
            len,
            offset: offset as u64,
        })
    }

    /// The cold request has ended.
    pub(crate) fn cold_ended(&mut self, now: Instant) {
        let Some(since) = self.cold_since.take() else {
            return;
        };
        self.desk
            .cold_samples
            .push(now.saturating_duration_since(since));
        let periods = now.saturating_duration_since(self.begun).as_nanos() / PERIOD.as_nanos();
        self.cold_due = self.begun + PERIOD * (u32::try_from(periods).unwrap_or(u32::MAX - 1) + 1);
    }

    /// What the round has shown; none if no read was counted.
    pub(crate) fn round(self) -> Option<Round> {
        Round::of(
            &mut self.desk.samples,
            &mut self.desk.cold_samples,
            self.longest_turn,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn limits(stop: &AtomicUsize) -> Limits<'_> {
        Limits {
            time: ms(100),
            stop,
        }
    }

    #[test]
    fn a_stalled_thread_shows_in_every_read_in_flight_and_in_the_turn() {
        let stop = AtomicUsize::new(0);
        let mut desk = Desk::new(1 << 20, 1 << 20);
        let mut stream = Stream::new(&mut desk, None, limits(&stop));
        let begun = stream.begin();
        // The burst at the beginning, which is not counted; then a turn that lasts 20 ms; then one
        // of 1 ms.
        for after in [0, 1, 21, 22] {
            let now = stream.turn_at(begun + ms(after));
            for place in 0..DEPTH {
                if after > 0 {
                    stream.warm_ended(place, now);
                }
                assert!(
                    stream
                        .next_warm(place, now)
                        .is_some_and(|offset| offset < 1 << 20 && offset % BLOCK as u64 == 0)
                );
            }
        }
        let round = stream.round().expect("reads were counted");
        assert_eq!((round.reads, round.cold_requests), (2 * DEPTH, 0));
        assert_eq!(
            (
                round.latency_us_p50,
                round.latency_us_max,
                round.turn_us_longest
            ),
            (1e3, 20e3, 20e3)
        );
    }

    #[test]
    fn cold_requests_come_one_at_a_time_at_the_next_period_and_keep_the_round_going() {
        let stop = AtomicUsize::new(0);
        let mut desk = Desk::new(1 << 20, 64 << 10);
        let mut memory = ColdMemory::small().expect("memory");
        memory.make_cold().expect("cold");
        let mut stream = Stream::new(&mut desk, Some(&mut memory), limits(&stop));
        let begun = stream.begin();
        let at = |t: u64| begun + ms(t);
        assert_eq!(stream.next_cold(at(4)), None);
        let first = stream.next_cold(at(6)).expect("the first period is over");
        assert!(first.offset + first.len as u64 <= 64 << 10);
        assert_eq!(stream.next_cold(at(12)), None);
        stream.cold_ended(at(13));
        assert_eq!(stream.next_cold(at(14)), None);
        let second = stream.next_cold(at(15)).expect("the next period has begun");
        assert_ne!(first.address, second.address);
        for _ in 0..=DEPTH {
            stream.warm_ended(0, at(16));
        }
        // The time is over, but the second cold request is not.
        assert!(stream.next_warm(0, at(200)).is_some());
        stream.cold_ended(at(201));
        assert_eq!(
            (stream.next_warm(0, at(201)), stream.next_cold(at(206))),
            (None, None)
        );
        assert_eq!(stream.round().map(|round| round.cold_requests), Some(2));
    }

    #[test]
    fn a_round_goes_on_until_it_has_seen_something_unless_it_is_told_to_stop() {
        let stop = AtomicUsize::new(0);
        let mut desk = Desk::new(1 << 20, 1 << 20);
        let mut stream = Stream::new(&mut desk, None, limits(&stop));
        let late = stream.begin() + ms(500);
        assert!(stream.next_warm(0, late).is_some());
        stop.store(2, Ordering::Relaxed);
        assert_eq!(stream.next_warm(1, late), None);
        assert!(stream.round().is_none());
    }
}
