//! A histogram of durations: fixed memory, one addition to record.
//!
//! Sixteen buckets for each power of two of nanoseconds, so a quantile is at most 6.25 % too high.
//! Kept here, and not taken from a library, because it stands on the hot path of every request.

use std::fmt;
use std::time::Duration;

const SUB_BITS: u32 = 4;
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) << SUB_BITS;

/// Durations in nanoseconds, counted in logarithmic buckets.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: Box::new([0; BUCKETS]),
            total: 0,
            sum_ns: 0,
            max_ns: 0,
        }
    }
}

fn bucket(ns: u64) -> usize {
    if ns < 1 << SUB_BITS {
        return ns as usize;
    }
    let shift = ns.ilog2() - SUB_BITS;
    ((shift as usize + 1) << SUB_BITS) + ((ns >> shift) as usize & ((1 << SUB_BITS) - 1))
}

/// The largest value that falls into the bucket.
fn upper(bucket: usize) -> u64 {
    let (group, low) = (bucket >> SUB_BITS, (bucket & ((1 << SUB_BITS) - 1)) as u64);
    if group == 0 {
        return low;
    }
    let shift = group as u32 - 1;
    let base = ((1u64 << SUB_BITS) + low) << shift;
    base + ((1u64 << shift) - 1)
}

impl Histogram {
    pub(crate) fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Takes in what another one has recorded.
    pub(crate) fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.total += other.total;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many durations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The longest duration, exact.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The mean, exact; zero if nothing was recorded.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum_ns.checked_div(self.total).unwrap_or(0))
    }

    /// The duration that `quantile` (0 to 1) of all recorded ones do not exceed, at most 6.25 % too
    /// high; zero if nothing was recorded.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((quantile.clamp(0.0, 1.0) * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper(bucket).min(self.max_ns));
            }
        }
        Duration::ZERO
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.total)
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish()
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.1?}, p99 {:.1?}, max {:.1?} ({})",
            self.quantile(0.5),
            self.quantile(0.99),
            self.max(),
            self.total
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_whose_upper_end_is_near() {
        for shift in 0..64 {
            for near in [0u64, 1, 2] {
                let value = (1u64 << shift).saturating_sub(1).saturating_add(near);
                let upper = upper(bucket(value));
                assert!(
                    upper >= value && upper - value <= value / 16,
                    "{value} {upper}"
                );
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn a_sum_is_as_if_all_had_been_recorded_in_one() {
        let (mut one, mut other, mut both) = (
            Histogram::default(),
            Histogram::default(),
            Histogram::default(),
        );
        for ns in 1..1000u64 {
            if ns % 3 == 0 {
                one.record(ns * 7)
            } else {
                other.record(ns * 7)
            }
            both.record(ns * 7);
        }
        one.add(&other);
        assert_eq!(
            (one.count(), one.max(), one.mean()),
            (both.count(), both.max(), both.mean())
        );
        assert_eq!(one.counts, both.counts);
    }

    #[test]
    fn quantiles_stand_in_order() {
        let mut hist = Histogram::default();
        assert_eq!(hist.quantile(0.5), Duration::ZERO);
        (1..=1000).for_each(|ns| hist.record(ns * 1000));
        let p50 = hist.quantile(0.5).as_nanos() as f64;
        assert!((500_000.0..=532_000.0).contains(&p50), "{p50}");
        assert_eq!(hist.quantile(1.0), Duration::from_nanos(1_000_000));
        assert_eq!(hist.max(), Duration::from_nanos(1_000_000));
    }
}
