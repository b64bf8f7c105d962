//! How large the next request is.

use super::rng::{Rng, Stream};
use crate::BlockSize;

/// A source of request sizes for one direction.
#[derive(Clone, Debug)]
pub struct BlockSizes {
    sizes: BlockSize,
    unaligned: bool,
    rng: Rng,
}

impl BlockSizes {
    /// Sizes as `sizes` says; with `unaligned` a range has every size, not only multiples of its
    /// smallest.
    pub fn new(sizes: BlockSize, unaligned: bool, seed: u64, stream: Stream) -> BlockSizes {
        BlockSizes {
            sizes,
            unaligned,
            rng: Rng::new(seed, stream),
        }
    }

    /// The next size in bytes.
    pub fn next_bytes(&mut self) -> u64 {
        match &self.sizes {
            BlockSize::Fixed(bytes) => *bytes,
            BlockSize::Range { min, max } if self.unaligned => {
                min + self.rng.below(max.saturating_sub(*min) + 1)
            }
            BlockSize::Range { min, max } => min * (1 + self.rng.below(max / min.max(&1))),
            BlockSize::Split(parts) => {
                let mut drawn = self.rng.below(100);
                for part in parts {
                    match drawn.checked_sub(u64::from(part.percent)) {
                        Some(left) => drawn = left,
                        None => return part.bytes,
                    }
                }
                // Only if the percentages don't add up to 100.
                self.sizes.max()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::SplitPart;

    fn counts(sizes: BlockSize, unaligned: bool) -> BTreeMap<u64, u32> {
        let mut sizes = BlockSizes::new(sizes, unaligned, 1, Stream::ReadSizes);
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            *counts.entry(sizes.next_bytes()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn ranges_have_multiples_of_the_smallest_equally_often() {
        let counts = counts(
            BlockSize::Range {
                min: 4096,
                max: 16384,
            },
            false,
        );
        assert_eq!(
            counts.keys().copied().collect::<Vec<_>>(),
            [4096, 8192, 12288, 16384]
        );
        assert!(
            counts.values().all(|count| (2300..2700).contains(count)),
            "{counts:?}"
        );
        // The largest need not be a multiple.
        assert_eq!(
            self::counts(BlockSize::Range { min: 4, max: 11 }, false)
                .into_keys()
                .collect::<Vec<_>>(),
            [4, 8]
        );
        assert_eq!(
            self::counts(BlockSize::Range { min: 4, max: 11 }, true).len(),
            8
        );
    }

    #[test]
    fn splits_have_each_size_as_often_as_it_says() {
        let part = |bytes, percent| SplitPart { bytes, percent };
        let counts = counts(
            BlockSize::Split(vec![part(4096, 10), part(65536, 50), part(32768, 40)]),
            false,
        );
        for (bytes, expected) in [(4096, 1000), (65536, 5000), (32768, 4000)] {
            assert!(counts[&bytes].abs_diff(expected) < 200, "{counts:?}");
        }
    }
}
