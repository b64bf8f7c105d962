//! All numbers below a bound, each once, in random order, without a list of them: a Feistel network
//! over the next power of two, whose results outside of the bound are put through it again.

use super::rng::mix;

const ROUNDS: usize = 6;

/// A random order of the numbers from 0 to less than a bound, without a list of them.
#[derive(Clone, Debug)]
pub struct Permutation {
    bound: u64,
    /// The bits of the two halves.
    left: u32,
    right: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The order of `0..bound` that belongs to `key`.
    pub fn new(bound: u64, key: u64) -> Permutation {
        // At least two bits, so that both halves have one. The largest number has fewer than `bits`
        // bits set free, so less than half of the domain lies outside of the bound, and two passes
        // are enough on average.
        let bits = (u64::BITS - bound.saturating_sub(1).leading_zeros()).max(2);
        let mut keys = [0; ROUNDS];
        for (round, slot) in keys.iter_mut().enumerate() {
            *slot = mix(mix(key) ^ mix(round as u64 + 1));
        }
        Permutation {
            bound,
            left: bits / 2,
            right: bits - bits / 2,
            keys,
        }
    }

    /// How many numbers there are.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// The number at `position`.
    ///
    /// # Panics
    ///
    /// If `position` is not below the bound.
    pub fn at(&self, position: u64) -> u64 {
        assert!(
            position < self.bound,
            "there is no position {position} among {}",
            self.bound
        );
        let mut value = self.scramble(position);
        // Ends: `scramble` is a permutation, so from a number inside of the bound its cycle leads
        // inside again.
        while value >= self.bound {
            value = self.scramble(value);
        }
        value
    }

    fn scramble(&self, value: u64) -> u64 {
        let (mut left_bits, mut right_bits) = (self.left, self.right);
        let mut left = value >> right_bits;
        let mut right = value & low(right_bits);
        for key in self.keys {
            // The halves change places, and with them their widths; after an even number of rounds
            // they are where they were.
            (left, right) = (
                right,
                left ^ (mix(right.wrapping_add(key)) & low(left_bits)),
            );
            (left_bits, right_bits) = (right_bits, left_bits);
        }
        (left << right_bits) | right
    }
}

fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        for bound in (1..300).chain([1023, 1024, 1025, 4095, 65536, 100_000]) {
            let order = Permutation::new(bound, bound ^ 5);
            let mut seen = vec![false; bound as usize];
            for position in 0..bound {
                let value = order.at(position) as usize;
                assert!(
                    !std::mem::replace(&mut seen[value], true),
                    "{value} of {bound} twice"
                );
            }
        }
    }

    #[test]
    fn the_largest_bounds_work() {
        for bound in [1 << 32, (1 << 40) + 1, 1 << 63, u64::MAX] {
            let order = Permutation::new(bound, 3);
            let mut values: Vec<u64> = (0..1000)
                .chain(bound - 1000..bound)
                .map(|position| order.at(position))
                .collect();
            assert!(values.iter().all(|&value| value < bound));
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len(), 2000);
            // Spread over the whole: all sixteen parts are met.
            let mut parts: Vec<u64> = values
                .iter()
                .map(|value| value / (bound / 16 + 1))
                .collect();
            parts.dedup();
            assert_eq!(parts.len(), 16);
        }
    }

    #[test]
    fn it_looks_random() {
        // Where the number 0 lands, and how far neighbours are apart, over many keys: as for
        // independent numbers.
        let (bound, keys) = (1000, 4000);
        let (mut first, mut near) = ([0u32; 10], 0);
        for key in 0..keys {
            let order = Permutation::new(bound, key);
            first[(order.at(0) / 100) as usize] += 1;
            near += u32::from(order.at(500).abs_diff(order.at(501)) < 100);
        }
        assert!(
            first.iter().all(|count| (300..500).contains(count)),
            "{first:?}"
        );
        // 19 % of independent pairs are nearer than a tenth of the range.
        assert!((600..920).contains(&near), "{near}");
    }

    #[test]
    #[should_panic(expected = "no position 5 among 5")]
    fn there_is_nothing_beyond_the_bound() {
        Permutation::new(5, 1).at(5);
    }
}
