//! How likely each block is, where not all are the same: ranks, 0 for the likeliest.
//!
//! The shapes are fio's, whose Zipf is the approximation of Gray and others ("Quickly Generating
//! Billion-Record Synthetic Databases", 1994). A rank says nothing about where its block is: the
//! ranks are scattered over the region, each block having one.

use super::rng::Rng;
use crate::Distribution;

/// A source of ranks below a bound.
#[derive(Clone, Debug)]
pub struct Ranks {
    bound: u64,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Uniform,
    Zipf {
        zeta: f64,
        second: f64,
        eta: f64,
        alpha: f64,
    },
    Pareto {
        power: f64,
    },
    Normal {
        jitter: f64,
    },
}

impl Ranks {
    /// Ranks from 0 to less than `bound`, as likely as `distribution` says.
    pub fn new(bound: u64, distribution: Distribution) -> Ranks {
        let n = bound as f64;
        let shape = match distribution {
            Distribution::Random => Shape::Uniform,
            Distribution::Zipf { theta, .. } => {
                let zeta = zeta(bound, theta);
                let second = 1.0 + 0.5f64.powf(theta);
                Shape::Zipf {
                    zeta,
                    second,
                    eta: (1.0 - (2.0 / n).powf(1.0 - theta)) / (1.0 - second / zeta),
                    alpha: 1.0 / (1.0 - theta),
                }
            }
            Distribution::Pareto { power, .. } => Shape::Pareto {
                power: power.ln() / (-power).ln_1p(),
            },
            Distribution::Normal { deviation, .. } => Shape::Normal {
                jitter: (n * deviation / 100.0).min(n / 2.0),
            },
        };
        Ranks { bound, shape }
    }

    /// The next rank; 0 if the bound is 0.
    pub fn next(&self, rng: &mut Rng) -> u64 {
        let n = self.bound as f64;
        let rank = match self.shape {
            Shape::Uniform => return rng.below(self.bound),
            Shape::Zipf {
                zeta,
                second,
                eta,
                alpha,
            } => {
                let uniform = rng.fraction();
                match uniform * zeta {
                    scaled if scaled < 1.0 => 0.0,
                    scaled if scaled < second => 1.0,
                    _ => n * (eta * uniform - eta + 1.0).powf(alpha),
                }
            }
            Shape::Pareto { power } => (n - 1.0) * rng.fraction().powf(power),
            Shape::Normal { jitter } => {
                let mean = (0..12).map(|_| rng.fraction()).sum::<f64>() / 12.0;
                n * mean + jitter * (rng.fraction() - 0.5)
            }
        };
        // What is below 0 or not a number becomes 0.
        (rank as u64).min(self.bound.saturating_sub(1))
    }
}

/// The sum of 1/k^theta for k up to n: the first terms one by one, the rest by the Euler-Maclaurin
/// formula, whose error is then far below that of the additions.
fn zeta(n: u64, theta: f64) -> f64 {
    const SINGLE: u64 = 1000;
    let single: f64 = (1..=n.min(SINGLE))
        .rev()
        .map(|k| (k as f64).powf(-theta))
        .sum();
    if n <= SINGLE {
        return single;
    }
    let (a, b) = (SINGLE as f64, n as f64);
    let integral = (b.powf(1.0 - theta) - a.powf(1.0 - theta)) / (1.0 - theta);
    single
        + integral
        + (b.powf(-theta) - a.powf(-theta)) / 2.0
        + theta / 12.0 * (a.powf(-theta - 1.0) - b.powf(-theta - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn ranks(bound: u64, distribution: Distribution, count: usize) -> Vec<u64> {
        let (ranks, mut rng) = (
            Ranks::new(bound, distribution),
            Rng::new(1, Stream::Offsets),
        );
        (0..count).map(|_| ranks.next(&mut rng)).collect()
    }

    /// The share of the requests that the likeliest tenth of the blocks that are met at all gets,
    /// in hundredths.
    fn top_tenth(distribution: Distribution) -> f64 {
        const BLOCKS: usize = 1 << 18;
        let mut counts = vec![0u32; BLOCKS];
        for rank in ranks(BLOCKS as u64, distribution, BLOCKS) {
            counts[rank as usize] += 1;
        }
        counts.retain(|&count| count > 0);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        f64::from(counts.iter().take(counts.len() / 10).sum::<u32>()) * 100.0 / BLOCKS as f64
    }

    /// The figures are those that `fio-genzipf -b 4096 -g 1` of fio 3.33 prints for the first of
    /// ten rows.
    #[test]
    fn the_shapes_are_fios() {
        for (distribution, expected) in [
            (
                Distribution::Zipf {
                    theta: 0.8,
                    center: None,
                },
                51.54,
            ),
            (
                Distribution::Zipf {
                    theta: 1.1,
                    center: None,
                },
                81.97,
            ),
            (
                Distribution::Zipf {
                    theta: 1.2,
                    center: None,
                },
                88.76,
            ),
            (
                Distribution::Pareto {
                    power: 0.2,
                    center: None,
                },
                63.55,
            ),
            (
                Distribution::Normal {
                    deviation: 2.0,
                    center: None,
                },
                23.84,
            ),
            (
                Distribution::Normal {
                    deviation: 50.0,
                    center: None,
                },
                22.83,
            ),
        ] {
            let share = top_tenth(distribution);
            assert!(
                (share - expected).abs() < 1.0,
                "{distribution:?}: {share:.2} instead of {expected}"
            );
        }
    }

    #[test]
    fn pareto_gives_the_share_that_its_power_names() {
        let ranks = ranks(
            100_000,
            Distribution::Pareto {
                power: 0.2,
                center: None,
            },
            100_000,
        );
        let share = ranks.iter().filter(|&&rank| rank < 20_000).count();
        assert!((79_000..81_000).contains(&share), "{share}");
    }

    #[test]
    fn zeta_is_the_sum() {
        for theta in [0.0, 0.5, 0.99, 1.01, 1.5, 3.0] {
            let sum: f64 = (1..=100_000).rev().map(|k| f64::from(k).powf(-theta)).sum();
            assert!((zeta(100_000, theta) / sum - 1.0).abs() < 1e-12, "{theta}");
        }
    }

    #[test]
    fn ranks_stay_below_any_bound() {
        for bound in [0, 1, 2, 3, 1000, 1 << 40, u64::MAX] {
            for distribution in [
                Distribution::Random,
                Distribution::Zipf {
                    theta: 0.0,
                    center: None,
                },
                Distribution::Zipf {
                    theta: 0.9,
                    center: None,
                },
                Distribution::Zipf {
                    theta: 40.0,
                    center: None,
                },
                Distribution::Pareto {
                    power: 0.999,
                    center: None,
                },
                Distribution::Normal {
                    deviation: 99.0,
                    center: None,
                },
            ] {
                for rank in ranks(bound, distribution, 1000) {
                    assert!(rank < bound.max(1), "{rank} of {bound}, {distribution:?}");
                }
            }
        }
    }
}
