//! Latency by percentile, as curves are drawn: denser towards the end, where it matters.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::figures::median::median;

/// Points for each nine: from one to the next the share that is slower falls to a tenth.
const STEPS: usize = 10;
/// Nines at most: 99.999%.
const NINES_MAX: usize = 5;

/// How a share of the requests stands on the axis: 90% is 1, 99% is 2, 99.9% is 3.
pub(crate) fn nines(share: f64) -> f64 {
    -(1.0 - share).max(f64::MIN_POSITIVE).log10()
}

/// The latencies of one round: one for each step, as far as a single request still counts for
/// something.
pub(crate) fn of(latency_ns: &Histogram<u64>) -> Vec<Duration> {
    let count = latency_ns.len() as f64;
    let shares = (0..=NINES_MAX * STEPS).map(share);
    // A little room, for 1 - 0.999 is not quite 0.001.
    let seen = shares.take_while(|share| (1.0 - share) * count >= 1.0 - 1e-6);
    seen.map(|share| Duration::from_nanos(latency_ns.value_at_quantile(share)))
        .collect()
}

fn share(step: usize) -> f64 {
    1.0 - 10f64.powf(-(step as f64) / STEPS as f64)
}

/// The medians over rounds: nines, and microseconds. As far as every round has them; of a single
/// round its own.
pub(crate) fn medians<'a>(rounds: impl Iterator<Item = &'a [Duration]> + Clone) -> Vec<(f64, f64)> {
    let steps = rounds.clone().map(<[_]>::len).min().unwrap_or(0);
    let at = |step: usize| {
        Some((
            step as f64 / STEPS as f64,
            median(rounds.clone().map(|round| round[step].as_secs_f64() * 1e6))?,
        ))
    };
    // Half of the requests is where it begins: what is quicker than that is of no interest, and the
    // fastest one is an accident.
    (0..steps)
        .filter(|&step| share(step) >= 0.495)
        .filter_map(at)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_no_request_is_left_to_tell_of() {
        let mut histogram = Histogram::new(3).expect("a histogram");
        (1..=1000u64).for_each(|us| histogram.record(us * 1000).expect("recorded"));
        let round = of(&histogram);
        let curve = medians([&round[..]].into_iter());
        let (first, last) = (curve[0], *curve.last().expect("points"));
        assert!(
            (first.0 - 0.3).abs() < 1e-9 && (first.1 / 500.0 - 1.0).abs() < 0.01,
            "{first:?}"
        );
        assert!(
            (last.0 - 3.0).abs() < 1e-9 && (last.1 / 999.0 - 1.0).abs() < 0.01,
            "{last:?}"
        );
        assert!(curve.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn of_several_rounds_it_is_the_median_as_far_as_all_go() {
        let flat = |ms: u64, steps| vec![Duration::from_millis(ms); steps];
        let rounds = [flat(1, 20), flat(9, 30), flat(2, 40)];
        let curve = medians(rounds.iter().map(Vec::as_slice));
        assert_eq!(curve.last().map(|point| point.1), Some(2000.0));
        assert_eq!(curve.len(), 20 - 3);
        assert!(medians([].into_iter()).is_empty());
        assert!(of(&Histogram::new(3).expect("a histogram")).is_empty());
    }

    #[test]
    fn nines_are_counted() {
        for (share, expected) in [(0.9, 1.0), (0.99, 2.0), (0.5, std::f64::consts::LOG10_2)] {
            assert!((nines(share) - expected).abs() < 1e-5);
        }
    }
}
