//! What one round measures, and how: the clocks, the histogram, the course of it.
//!
//! Every column reports to the same meter in the same way: one reading of the clock for each turn,
//! handed in by the caller.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::ClockId;

use super::workload::DEPTH_MAX;
use crate::figures::curve;
use crate::figures::timeline::Timeline;

/// Two kinds of round, because one ring cannot show both at their best: to time the submission
/// alone it takes a system call of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Submission and wait in one system call: throughput, latency, CPU.
    Joined,
    /// Submission and wait in two system calls: the longest submission.
    Split,
}

/// What one round gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// User and system time of the whole process, the kernel's own io_uring workers for it
    /// included.
    pub(crate) cpu: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
    pub(crate) submit_longest: Duration,
    /// Latencies by percentile, see [`curve::of`].
    pub(crate) curve: Vec<Duration>,
    pub(crate) timeline: Timeline,
}

/// Collects one round.
pub(crate) struct Meter {
    latency_ns: Histogram<u64>,
    started: [Instant; DEPTH_MAX],
    begun: Instant,
    cpu_begun: Duration,
    round: Round,
}

impl Meter {
    /// Latencies above a minute count as a minute.
    const LATENCY_NS_MAX: u64 = 60_000_000_000;

    pub(crate) fn new() -> Result<Meter, String> {
        let latency_ns = Histogram::new_with_bounds(1, Self::LATENCY_NS_MAX, 3)
            .map_err(|e| format!("no histogram: {e}"))?;
        let now = Instant::now();
        Ok(Meter {
            latency_ns,
            started: [now; DEPTH_MAX],
            begun: now,
            cpu_begun: Duration::ZERO,
            round: Round::default(),
        })
    }

    /// The round begins; gives the time.
    pub(crate) fn begin(&mut self) -> Instant {
        self.latency_ns.reset();
        self.round = Round::default();
        self.cpu_begun = cpu();
        self.begun = Instant::now();
        self.round.timeline.begin(self.begun);
        self.begun
    }

    /// A request of this slot is made.
    pub(crate) fn started(&mut self, slot: usize, now: Instant) {
        self.started[slot] = now;
    }

    /// The request of this slot moved `bytes` bytes.
    pub(crate) fn ended(&mut self, slot: usize, bytes: usize, now: Instant) {
        self.round.requests += 1;
        self.round.bytes += bytes as u64;
        self.round.timeline.ended(bytes as u64, now);
        let ns = now.saturating_duration_since(self.started[slot]).as_nanos();
        self.latency_ns
            .saturating_record(u64::try_from(ns).unwrap_or(u64::MAX).max(1));
    }

    /// A submission took this long.
    pub(crate) fn submitted(&mut self, took: Duration) {
        self.round.submit_longest = self.round.submit_longest.max(took);
    }

    /// The round is over: for writes after the sync.
    pub(crate) fn end(&mut self) {
        self.round.elapsed = self.begun.elapsed();
        self.round.cpu = cpu().saturating_sub(self.cpu_begun);
    }

    /// The round, once it has ended.
    pub(crate) fn round(&self) -> Round {
        let at = |quantile| Duration::from_nanos(self.latency_ns.value_at_quantile(quantile));
        Round {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            curve: curve::of(&self.latency_ns),
            ..self.round.clone()
        }
    }
}

/// The CPU time of this process so far: what getrusage(RUSAGE_SELF) adds up as user and system,
/// without its rounding to microseconds.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_what_ended_and_forgets_the_round_before() {
        let mut meter = Meter::new().expect("a meter");
        for _ in 0..2 {
            let begun = meter.begin();
            for slot in 0..4 {
                meter.started(slot, begun);
                meter.ended(
                    slot,
                    4096,
                    begun + Duration::from_micros(100 * (slot as u64 + 1)),
                );
            }
            meter.submitted(Duration::from_micros(9));
            meter.submitted(Duration::from_micros(5));
            meter.end();
            let round = meter.round();
            assert_eq!((round.requests, round.bytes), (4, 16384));
            assert_eq!(round.p50.as_micros(), 200);
            assert_eq!(round.p999.as_micros(), 400);
            assert_eq!(round.submit_longest.as_micros(), 9);
            assert_eq!(
                round
                    .timeline
                    .buckets()
                    .iter()
                    .map(|bucket| bucket.bytes)
                    .sum::<u64>(),
                16384
            );
            assert!(!round.curve.is_empty());
        }
    }

    #[test]
    fn a_latency_beyond_the_scale_is_kept_at_its_end() {
        let mut meter = Meter::new().expect("a meter");
        let begun = meter.begin();
        meter.started(0, begun);
        meter.ended(0, 1, begun + Duration::from_secs(3600));
        assert!(meter.round().p50 >= Duration::from_secs(59));
    }
}
