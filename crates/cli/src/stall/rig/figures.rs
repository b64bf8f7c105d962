//! What a round has shown, and what becomes of several rounds. Units stand last in the names.

use std::time::Duration;

use crate::figures::median::median;

/// What one round has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Round {
    /// Warm reads that were counted.
    pub(crate) reads: usize,
    pub(crate) latency_us_p50: f64,
    pub(crate) latency_us_p99: f64,
    pub(crate) latency_us_p999: f64,
    pub(crate) latency_us_max: f64,
    /// The same quantile with the reads that a steady stream would have had in the time of a stall:
    /// see [`steady`].
    pub(crate) steady_us_p999: f64,
    /// The longest time from one turn of the loop to the next.
    pub(crate) turn_us_longest: f64,
    pub(crate) cold_requests: usize,
    /// The median time of a cold request.
    pub(crate) cold_us_p50: Option<f64>,
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The smallest value that at least this share of them does not exceed. Of nothing zero.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// The reads that were not made because the loop waited: a read that took longer than `interval` is
/// taken for one of a stream that has a read due every `interval`, and those due while it lasted
/// count too, with what was left of it. (Without that, a stall is seen by the few reads in flight
/// only, however long it is: coordinated omission.)
fn steady(samples: &[Duration], interval: Duration) -> Vec<Duration> {
    let mut all = samples.to_vec();
    if interval.is_zero() {
        return all;
    }
    for &sample in samples {
        let mut left = sample.saturating_sub(interval);
        while left >= interval {
            all.push(left);
            left -= interval;
        }
    }
    all.sort_unstable();
    all
}

impl Round {
    /// Sorts what it is given. None without a read.
    pub(crate) fn of(
        samples: &mut [Duration],
        cold: &mut [Duration],
        longest_turn: Duration,
    ) -> Option<Round> {
        samples.sort_unstable();
        cold.sort_unstable();
        let middle = quantile(samples, 0.5);
        Some(Round {
            reads: samples.len(),
            latency_us_p50: us(middle),
            latency_us_p99: us(quantile(samples, 0.99)),
            latency_us_p999: us(quantile(samples, 0.999)),
            latency_us_max: us(*samples.last()?),
            steady_us_p999: us(quantile(&steady(samples, middle), 0.999)),
            turn_us_longest: us(longest_turn),
            cold_requests: cold.len(),
            cold_us_p50: if cold.is_empty() {
                None
            } else {
                Some(us(quantile(cold, 0.5)))
            },
        })
    }
}

/// Medians over the rounds of a cell.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Figures {
    pub(crate) rounds: usize,
    /// Over all rounds.
    pub(crate) reads: usize,
    pub(crate) latency_us_p50: f64,
    pub(crate) latency_us_p99: f64,
    pub(crate) latency_us_p999: f64,
    pub(crate) latency_us_max: f64,
    pub(crate) steady_us_p999: f64,
    pub(crate) turn_us_longest: f64,
    /// Over all rounds.
    pub(crate) cold_requests: usize,
    pub(crate) cold_us_p50: Option<f64>,
    /// `latency_us_p999` over that of the same column without cold requests.
    pub(crate) p999_ratio_to_alone: Option<f64>,
    /// The same of `steady_us_p999`.
    pub(crate) steady_ratio_to_alone: Option<f64>,
}

impl Figures {
    /// None without a round.
    pub(crate) fn of(rounds: &[Round]) -> Option<Figures> {
        let all = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
        Some(Figures {
            rounds: rounds.len(),
            reads: rounds.iter().map(|round| round.reads).sum(),
            latency_us_p50: all(|round| round.latency_us_p50)?,
            latency_us_p99: all(|round| round.latency_us_p99)?,
            latency_us_p999: all(|round| round.latency_us_p999)?,
            latency_us_max: all(|round| round.latency_us_max)?,
            steady_us_p999: all(|round| round.steady_us_p999)?,
            turn_us_longest: all(|round| round.turn_us_longest)?,
            cold_requests: rounds.iter().map(|round| round.cold_requests).sum(),
            cold_us_p50: median(rounds.iter().filter_map(|round| round.cold_us_p50)),
            p999_ratio_to_alone: None,
            steady_ratio_to_alone: None,
        })
    }

    /// Sets the ratios.
    pub(crate) fn compare(&mut self, alone: &Figures) {
        let ratio = |beside: f64, alone: f64| (alone > 0.0).then_some(beside / alone);
        self.p999_ratio_to_alone = ratio(self.latency_us_p999, alone.latency_us_p999);
        self.steady_ratio_to_alone = ratio(self.steady_us_p999, alone.steady_us_p999);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(us: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        us.into_iter().map(Duration::from_micros).collect()
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let sorted = times(1..=1000);
        for (share, seen) in [(0.0, 1), (0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            assert_eq!(
                quantile(&sorted, share),
                Duration::from_micros(seen),
                "{share}"
            );
        }
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
        assert_eq!(quantile(&times([3]), 0.999), Duration::from_micros(3));
    }

    #[test]
    fn a_stall_counts_as_all_the_reads_that_were_due_in_it() {
        // A thousand reads of 10 us, and one that waited for a millisecond: 99 more were due
        // meanwhile.
        let mut samples = times((0..1000).map(|_| 10).chain([1000]));
        assert_eq!(steady(&samples, Duration::from_micros(10)).len(), 1001 + 99);
        let round = Round::of(&mut samples, &mut [], Duration::from_micros(1000)).expect("reads");
        assert_eq!(
            (round.latency_us_p999, round.latency_us_max),
            (10.0, 1000.0)
        );
        assert_eq!(round.steady_us_p999, 990.0);
        assert_eq!(steady(&samples, Duration::ZERO).len(), 1001);
    }

    #[test]
    fn figures_are_medians_and_ratios_are_of_medians() {
        let round = |us: u64| {
            Round::of(&mut times([us]), &mut times([us]), Duration::ZERO).expect("a read")
        };
        let alone = Figures::of(&[round(10), round(10), round(9000)]).expect("rounds");
        let mut beside = Figures::of(&[round(15), round(1), round(70)]).expect("rounds");
        beside.compare(&alone);
        assert_eq!(
            (alone.latency_us_p999, beside.p999_ratio_to_alone),
            (10.0, Some(1.5))
        );
        assert_eq!(
            (beside.rounds, beside.reads, beside.cold_requests),
            (3, 3, 3)
        );
        assert!(Figures::of(&[]).is_none());
    }
}
