//! Axes: where a value stands, and which values have a mark. Pure arithmetic.

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    Even,
    /// By their logarithm; only values above 0 have a place.
    Log,
}

/// Values from `low` to `high` on a line of pixels; `first` is where `low` stands and may be more
/// than `last`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) spread: Spread,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) first: f64,
    pub(super) last: f64,
}

impl Axis {
    /// Where a value stands; what is off the axis or no number at all stands at an end of it.
    pub(super) fn at(&self, value: f64) -> f64 {
        let part = match self.spread {
            Spread::Even => (value - self.low) / (self.high - self.low),
            Spread::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        let part = if part.is_nan() {
            0.0
        } else {
            part.clamp(0.0, 1.0)
        };
        self.first + part * (self.last - self.first)
    }
}

/// Marks from 0 to the first round number that is not below `most`: steps of 1, 2 or 5 times a
/// power of ten, `count` of them at most.
pub(super) fn even_marks(most: f64, count: usize) -> Vec<f64> {
    let most = if most.is_finite() && most > 0.0 {
        most
    } else {
        1.0
    };
    let rough = most / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    // Each power is tried with the next one's 1, for rounding.
    let step = [1.0, 2.0, 5.0, 10.0, 20.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| step * count as f64 >= most * (1.0 - 1e-9));
    let step = step.unwrap_or(most);
    let marks = (most / step * (1.0 - 1e-9)).ceil().max(1.0) as usize;
    (0..=marks).map(|number| number as f64 * step).collect()
}

/// Marks around `least` to `most`, on a logarithmic axis: 1, 2 and 5 of each power of ten, or if
/// these are more than `count` then 1 and 3, or the powers alone, or some of them. Two at least.
pub(super) fn log_marks(least: f64, most: f64, count: usize) -> Vec<f64> {
    let least = if least.is_finite() && least > 0.0 {
        least
    } else {
        1.0
    };
    let most = if most.is_finite() && most > least {
        most
    } else {
        least * 1.001
    };
    let (from, to) = (
        least.log10().floor() as i32 - 1,
        most.log10().ceil() as i32 + 1,
    );
    let with = |times: &[f64], every: i32| -> Vec<f64> {
        let powers = (from..=to).filter(|power| power.rem_euclid(every) == 0);
        let all: Vec<f64> = powers
            .flat_map(|power| times.iter().map(move |times| times * 10f64.powi(power)))
            .collect();
        let first = all
            .iter()
            .rposition(|&mark| mark <= least * (1.0 + 1e-9))
            .unwrap_or(0);
        let last = all
            .iter()
            .position(|&mark| mark >= most * (1.0 - 1e-9))
            .unwrap_or(all.len().saturating_sub(1));
        all[first..=last.max(first)].to_vec()
    };
    let choices = [
        with(&[1.0, 2.0, 5.0], 1),
        with(&[1.0, 3.0], 1),
        with(&[1.0], 1),
        with(&[1.0], 2),
    ];
    let fits = |marks: &&Vec<f64>| marks.len() <= count && marks.len() > 1;
    choices
        .iter()
        .find(fits)
        .cloned()
        .unwrap_or_else(|| vec![10f64.powi(from), 10f64.powi(to)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_order_and_never_off_the_axis() {
        for spread in [Spread::Even, Spread::Log] {
            let axis = Axis {
                spread,
                low: 10.0,
                high: 1000.0,
                first: 200.0,
                last: 0.0,
            };
            assert_eq!([axis.at(10.0), axis.at(1000.0)], [200.0, 0.0]);
            assert_eq!(
                [
                    axis.at(-5.0),
                    axis.at(0.0),
                    axis.at(1e9),
                    axis.at(f64::INFINITY)
                ],
                [200.0, 200.0, 0.0, 0.0]
            );
            assert!(axis.at(f64::NAN).is_finite());
            let places: Vec<f64> = (1..=100)
                .map(|number| axis.at(f64::from(number) * 10.0))
                .collect();
            assert!(places.windows(2).all(|pair| pair[1] < pair[0]));
        }
        let log = Axis {
            spread: Spread::Log,
            low: 10.0,
            high: 1000.0,
            first: 0.0,
            last: 200.0,
        };
        assert!((log.at(100.0) - 100.0).abs() < 1e-9);
        let none = Axis {
            spread: Spread::Even,
            low: 1.0,
            high: 1.0,
            first: 0.0,
            last: 200.0,
        };
        assert!(none.at(1.0).is_finite());
    }

    #[test]
    fn even_marks_are_round_begin_at_nothing_and_hold_the_most() {
        assert_eq!(even_marks(9.7, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(even_marks(100.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(even_marks(0.0, 5).len(), 6);
        for most in [
            1e-9,
            0.3,
            1.0,
            1.01,
            7.0,
            99_999.0,
            123_456_789.0,
            f64::NAN,
            f64::INFINITY,
        ] {
            for count in 1..=8 {
                let marks = even_marks(most, count);
                assert!(
                    marks.len() <= count + 1 && marks.len() >= 2 && marks[0] == 0.0,
                    "{most} {count}: {marks:?}"
                );
                assert!(
                    !most.is_finite() || *marks.last().expect("marks") >= most * (1.0 - 1e-6),
                    "{most} {count}: {marks:?}"
                );
            }
        }
    }

    #[test]
    fn log_marks_hold_all_values_and_are_as_dense_as_there_is_room() {
        assert_eq!(log_marks(120.0, 450.0, 7), [100.0, 200.0, 500.0]);
        assert_eq!(
            log_marks(100.0, 9000.0, 7),
            [100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0]
        );
        assert_eq!(
            log_marks(50.0, 90_000.0, 7),
            [10.0, 100.0, 1000.0, 10_000.0, 100_000.0]
        );
        for (least, most) in [
            (1.0, 1.0),
            (0.02, 6e7),
            (3.0, 3.1),
            (999.9, 1000.1),
            (0.0, 0.0),
            (f64::NAN, f64::NAN),
            (5.0, f64::INFINITY),
        ] {
            let marks = log_marks(least, most, 7);
            assert!(
                marks.len() >= 2 && marks.len() <= 7,
                "{least} {most}: {marks:?}"
            );
            assert!(
                !(least > 0.0 && most.is_finite())
                    || marks[0] <= least * 1.000_001
                        && *marks.last().expect("marks") >= most * 0.999_999,
                "{marks:?}"
            );
        }
    }
}
