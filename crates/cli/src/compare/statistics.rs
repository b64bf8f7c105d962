//! When a difference is a change. Pure.
//!
//! Rounds are few and their outliers are far off, so nothing here assumes a distribution. The noise
//! of a median is how far the rounds go to either side of it: from the least to the most where they
//! are few, and where there are nine or more as far as the order statistics that hold the true
//! median with 95% confidence. A difference beyond the sum of both files' noise is more than
//! chance: among 6000 pairs of files that were drawn from one distribution, with five rounds each,
//! less than two in a thousand differed by more. Three or four rounds show too little of their
//! spread, so theirs counts for more; of one or two nothing is known.

use crate::figures::median::median;

/// One figure of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// More is better.
    PerSecond,
    /// Less is better.
    Microseconds,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Worse,
    Better,
    /// Not beyond the threshold.
    Same,
    /// Beyond the threshold, but not beyond the noise.
    Noise,
}

/// One figure before and after.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) metric: Metric,
    /// Medians.
    pub(super) before: f64,
    pub(super) after: f64,
    /// Of `before`; None where that is 0 and `after` is not.
    pub(super) difference_percent: Option<f64>,
    /// The noise of both, of `before`; None where there are not enough rounds to know it.
    pub(super) noise_percent: Option<f64>,
    pub(super) verdict: Verdict,
}

/// Compares the rounds of one figure; None without a round on either side.
pub(super) fn compare(
    metric: Metric,
    before: &[f64],
    after: &[f64],
    threshold_percent: f64,
) -> Option<Change> {
    let (old, new) = (
        median(before.iter().copied())?,
        median(after.iter().copied())?,
    );
    let percent = |value: f64| (old != 0.0).then(|| value / old.abs() * 100.0);
    let difference = if old == new {
        Some(0.0)
    } else {
        percent(new - old)
    };
    let noise = if old == 0.0 {
        None
    } else {
        noise(before)
            .zip(noise(after))
            .and_then(|(a, b)| percent(a + b))
    };
    let beyond = |limit: f64| difference.is_none_or(|difference| difference.abs() > limit);
    let verdict = match () {
        () if !beyond(threshold_percent) => Verdict::Same,
        () if noise.is_some_and(|noise| !beyond(noise)) => Verdict::Noise,
        () if (new > old) == (metric.unit == Unit::PerSecond) => Verdict::Better,
        () => Verdict::Worse,
    };
    Some(Change {
        metric,
        before: old,
        after: new,
        difference_percent: difference,
        noise_percent: noise,
        verdict,
    })
}

/// How far the median may be from the true one, in the unit of the rounds; None of fewer than
/// three.
fn noise(rounds: &[f64]) -> Option<f64> {
    // So that of equal files with three or four rounds no more than one in two hundred differs by
    // more.
    let too_few = match rounds.len() {
        0..=2 => return None,
        3 => 2.0,
        4 => 1.5,
        _ => 1.0,
    };
    let middle = median(rounds.iter().copied())?;
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let out = left_out(sorted.len());
    let (least, most) = (sorted[out], sorted[sorted.len() - 1 - out]);
    Some((middle - least).max(most - middle) * too_few)
}

/// How many rounds at either end the interval of the median leaves out: the most with which the
/// true one lies in it in 95% of all cases. Each round lies above it or below it like a coin.
fn left_out(count: usize) -> usize {
    let mut ways = 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut below, mut out) = (0.0, 0);
    for number in 0..count / 2 {
        below += ways;
        if below > 0.025 {
            break;
        }
        out = number;
        ways *= (count - number) as f64 / (number + 1) as f64;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(unit: Unit, before: &[f64], after: &[f64]) -> Change {
        compare(
            Metric {
                name: "x".into(),
                unit,
            },
            before,
            after,
            5.0,
        )
        .expect("rounds")
    }

    #[test]
    fn a_lower_rate_is_worse_and_a_lower_latency_better() {
        let (high, low) = (
            [100.0, 101.0, 99.0, 100.5, 98.0],
            [80.0, 81.0, 79.5, 80.5, 78.0],
        );
        assert_eq!(change(Unit::PerSecond, &high, &low).verdict, Verdict::Worse);
        assert_eq!(
            change(Unit::PerSecond, &low, &high).verdict,
            Verdict::Better
        );
        assert_eq!(
            change(Unit::Microseconds, &high, &low).verdict,
            Verdict::Better
        );
        let worse = change(Unit::Microseconds, &low, &high);
        assert_eq!(
            (worse.verdict, worse.difference_percent),
            (Verdict::Worse, Some(25.0))
        );
        assert_eq!(worse.noise_percent, Some(5.0), "2 of each, of 80");
    }

    #[test]
    fn a_difference_within_the_spread_of_the_rounds_is_noise() {
        let noisy = change(
            Unit::PerSecond,
            &[100.0, 130.0, 75.0, 110.0, 90.0],
            &[80.0, 120.0, 60.0, 95.0, 70.0],
        );
        assert_eq!(
            (noisy.verdict, noisy.difference_percent),
            (Verdict::Noise, Some(-20.0))
        );
        // The same medians from steady rounds are a change.
        assert_eq!(
            change(Unit::PerSecond, &[100.0; 5], &[80.0; 5]).verdict,
            Verdict::Worse
        );
    }

    #[test]
    fn a_difference_below_the_threshold_is_none_however_steady() {
        assert_eq!(
            change(Unit::PerSecond, &[100.0; 20], &[95.0; 20]).verdict,
            Verdict::Same
        );
        assert_eq!(
            change(Unit::PerSecond, &[100.0; 20], &[94.9; 20]).verdict,
            Verdict::Worse
        );
    }

    #[test]
    fn of_fewer_than_three_rounds_the_noise_is_unknown_and_the_threshold_alone_decides() {
        for rounds in [1, 2] {
            let found = change(Unit::PerSecond, &vec![100.0; rounds], &[90.0; 9]);
            assert_eq!((found.verdict, found.noise_percent), (Verdict::Worse, None));
        }
        assert!(
            compare(
                Metric {
                    name: "x".into(),
                    unit: Unit::PerSecond
                },
                &[],
                &[1.0],
                5.0
            )
            .is_none()
        );
    }

    #[test]
    fn three_rounds_have_to_lie_further_apart_than_five() {
        let (before, after) = ([100.0, 98.0, 102.0], [92.0, 90.0, 94.0]);
        assert_eq!(
            change(Unit::PerSecond, &before, &after).noise_percent,
            Some(8.0)
        );
        assert_eq!(
            change(Unit::PerSecond, &before, &after).verdict,
            Verdict::Noise
        );
        let (before, after) = (
            [100.0, 98.0, 102.0, 100.0, 100.0],
            [92.0, 90.0, 94.0, 92.0, 92.0],
        );
        assert_eq!(
            change(Unit::PerSecond, &before, &after).verdict,
            Verdict::Worse
        );
    }

    #[test]
    fn one_outlier_of_many_rounds_is_no_noise() {
        let mut rounds = vec![100.0, 101.0, 99.0, 100.0, 100.5, 99.5, 100.0, 100.2, 99.8];
        let steady = noise(&rounds).expect("known");
        rounds[3] = 1000.0;
        assert!(noise(&rounds).expect("known") <= steady + 0.5);
        // The intervals of the tables.
        assert_eq!(
            [5, 6, 8, 9, 10, 12, 15, 20, 25].map(left_out),
            [0, 0, 0, 1, 1, 2, 3, 5, 7]
        );
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let from_none = change(Unit::PerSecond, &[0.0; 5], &[10.0; 5]);
        assert_eq!(
            (
                from_none.verdict,
                from_none.difference_percent,
                from_none.noise_percent
            ),
            (Verdict::Better, None, None)
        );
        assert_eq!(
            change(Unit::Microseconds, &[0.0; 5], &[0.0; 5]).verdict,
            Verdict::Same
        );
    }
}
