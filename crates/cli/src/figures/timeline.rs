//! How much was done when: requests and bytes by time, in a bounded number of buckets that grow
//! wider as a run grows longer.
//!
//! Every column reports to it with a clock reading that it has anyway, so that it costs a shift and
//! two additions for a request. Knows nothing of how it is shown.

use std::time::{Duration, Instant};

/// What was done in one span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

impl Bucket {
    fn add(&mut self, other: Bucket) {
        self.requests += other.requests;
        self.bytes += other.bytes;
    }
}

/// The buckets of one round, in order; those at the end in which nothing was done are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    begun: Option<Instant>,
    /// A bucket is `FINEST_NS << shift` wide.
    shift: u32,
    buckets: Vec<Bucket>,
}

impl Timeline {
    /// The width of a bucket at first, in nanoseconds as a power of two: 8.4 ms, so that a round of
    /// a tenth of a second has a course as well.
    const FINEST_NS_LOG2: u32 = 23;
    /// Buckets at most: two seconds at their finest, a minute in buckets of a quarter of a second.
    pub(crate) const BUCKETS_MAX: usize = 256;

    /// From here on it counts.
    pub(crate) fn begin(&mut self, now: Instant) {
        *self = Timeline {
            begun: Some(now),
            ..Timeline::default()
        };
    }

    /// A request has ended. Before `begin` it is not counted.
    #[inline]
    pub(crate) fn ended(&mut self, bytes: u64, now: Instant) {
        let Some(begun) = self.begun else { return };
        self.put(
            now.saturating_duration_since(begun),
            Bucket { requests: 1, bytes },
        );
    }

    fn put(&mut self, after: Duration, what: Bucket) {
        let ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        while ns >> (Self::FINEST_NS_LOG2 + self.shift) >= Self::BUCKETS_MAX as u64 {
            self.widen();
        }
        let at = (ns >> (Self::FINEST_NS_LOG2 + self.shift)) as usize;
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, Bucket::default());
        }
        self.buckets[at].add(what);
    }

    /// Puts two buckets each into one.
    fn widen(&mut self) {
        self.shift += 1;
        let together = |pair: &[Bucket]| {
            pair.iter().fold(Bucket::default(), |mut sum, bucket| {
                sum.add(*bucket);
                sum
            })
        };
        self.buckets = self.buckets.chunks(2).map(together).collect();
    }

    /// Takes in what another did at the same time: each bucket with the one that its middle falls
    /// into.
    pub(crate) fn add_beside(&mut self, other: &Timeline) {
        let (Some(begun), Some(others)) = (self.begun, other.begun) else {
            if self.begun.is_none() {
                self.clone_from(other);
            }
            return;
        };
        if others < begun {
            let later = std::mem::replace(self, other.clone());
            return self.add_beside(&later);
        }
        while self.shift < other.shift {
            self.widen();
        }
        let late = others.saturating_duration_since(begun);
        for (middle, bucket) in other.middles() {
            self.put(late + middle, bucket);
        }
    }

    /// The width of a bucket.
    pub(crate) fn width(&self) -> Duration {
        Duration::from_nanos(1 << (Self::FINEST_NS_LOG2 + self.shift))
    }

    pub(crate) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    fn middles(&self) -> impl Iterator<Item = (Duration, Bucket)> {
        let width = self.width();
        self.buckets
            .iter()
            .enumerate()
            .map(move |(at, bucket)| (width * at as u32 + width / 2, *bucket))
    }

    /// The same in buckets of at least this width.
    pub(crate) fn coarser(&self, width: Duration) -> Timeline {
        let mut coarse = self.clone();
        while coarse.width() < width {
            coarse.widen();
        }
        coarse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(timeline: &Timeline) -> Bucket {
        timeline
            .buckets()
            .iter()
            .fold(Bucket::default(), |mut sum, bucket| {
                sum.add(*bucket);
                sum
            })
    }

    fn steady(begun: Instant, ms: u64) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.begin(begun);
        (0..ms).for_each(|at| timeline.ended(4096, begun + Duration::from_millis(at)));
        timeline
    }

    #[test]
    fn nothing_is_lost_however_long_it_takes_and_there_are_never_too_many_buckets() {
        let begun = Instant::now();
        for ms in [1, 100, 2_140, 2_150, 5_000, 100_000] {
            let timeline = steady(begun, ms);
            assert_eq!(
                total(&timeline),
                Bucket {
                    requests: ms,
                    bytes: ms * 4096
                },
                "{ms}"
            );
            assert!(timeline.buckets().len() <= Timeline::BUCKETS_MAX, "{ms}");
            assert_eq!(
                timeline.buckets().len() as u128,
                (ms as u128 - 1) * 1_000_000 / timeline.width().as_nanos() + 1,
                "{ms}"
            );
        }
        // A clock that jumps by a century.
        let mut timeline = steady(begun, 10);
        timeline.put(
            Duration::from_secs(3_000_000_000),
            Bucket {
                requests: 1,
                bytes: 1,
            },
        );
        assert_eq!(total(&timeline).requests, 11);
    }

    #[test]
    fn a_request_stands_in_the_bucket_of_its_time() {
        let begun = Instant::now();
        let mut timeline = Timeline::default();
        timeline.ended(1, begun);
        assert_eq!(timeline.buckets(), []);
        timeline.begin(begun);
        timeline.ended(7, begun + timeline.width() * 3);
        assert_eq!(
            timeline.buckets()[3],
            Bucket {
                requests: 1,
                bytes: 7
            }
        );
        assert_eq!(timeline.buckets().len(), 4);
        assert_eq!(
            timeline.coarser(timeline.width() * 2).buckets()[1],
            Bucket {
                requests: 1,
                bytes: 7
            }
        );
    }

    #[test]
    fn workers_add_up_by_time_whichever_began_first() {
        let begun = Instant::now();
        let (long, late) = (
            steady(begun, 9_000),
            steady(begun + Duration::from_secs(4), 1_000),
        );
        for (first, second) in [(&long, &late), (&late, &long)] {
            let mut all = first.clone();
            all.add_beside(second);
            assert_eq!(total(&all).requests, 10_000);
            let at = |seconds: f64| {
                all.buckets()[(seconds / all.width().as_secs_f64()) as usize].requests
            };
            assert!(
                at(4.5) >= 2 * at(2.0) - 2 && at(4.5) > at(6.0) * 3 / 2,
                "{} {} {}",
                at(2.0),
                at(4.5),
                at(6.0)
            );
        }
        let mut none = Timeline::default();
        none.add_beside(&late);
        assert_eq!(total(&none).requests, 1_000);
    }
}
