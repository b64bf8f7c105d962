//! How large the next request is.

use super::rng::{Rng, Stream};
use crate::BlockSize;

/// How often a size is drawn again that does not fit, before the smallest one is taken. fio has no
/// such limit. With 1000 draws a size that one draw in a hundred gives is missed once in 20,000
/// times, where nothing else fits.
const MAX_DRAWS: u32 = 1000;

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

    /// The next size in bytes, of which there is room for `room`. None if there is not even room
    /// for the smallest size; a single fixed size is not compared with the room.
    ///
    /// As in fio, a size that does not fit is drawn again, and a split goes on to its next size
    /// that fits. A range has the multiples of its smallest size, and its largest size.
    pub fn next_bytes(&mut self, room: u64) -> Option<u64> {
        match &self.sizes {
            BlockSize::Fixed(bytes) => Some(*bytes),
            BlockSize::Range { min, max } => {
                let (min, max) = ((*min).max(1), *max);
                if room < min {
                    return None;
                }
                for _ in 0..MAX_DRAWS {
                    let mut bytes = min + self.rng.below(max);
                    if !self.unaligned {
                        bytes -= bytes % min;
                    }
                    let bytes = bytes.min(max);
                    if bytes <= room {
                        return Some(bytes);
                    }
                }
                Some(min)
            }
            BlockSize::Split(parts) => {
                let least = self.sizes.min();
                if room < least {
                    return None;
                }
                for _ in 0..MAX_DRAWS {
                    let drawn = self.rng.below(100);
                    let mut percent = 0;
                    let fits = parts.iter().find(|part| {
                        percent += u64::from(part.percent);
                        drawn < percent && part.bytes <= room
                    });
                    if let Some(part) = fits {
                        return Some(part.bytes);
                    }
                }
                Some(least)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::SplitPart;

    fn counts(sizes: BlockSize, unaligned: bool) -> BTreeMap<u64, u32> {
        let mut sizes = BlockSizes::new(sizes, unaligned, 1, Stream::ReadSizes);
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            *counts
                .entry(sizes.next_bytes(1 << 30).expect("room"))
                .or_default() += 1;
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
            [4, 8, 11]
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

    #[test]
    fn sizes_fit_and_there_is_none_where_the_smallest_does_not() {
        let part = |bytes, percent| SplitPart { bytes, percent };
        for (sizes, room, expected) in [
            (BlockSize::Range { min: 4, max: 16 }, 9, &[4, 8][..]),
            (BlockSize::Range { min: 4, max: 16 }, 3, &[]),
            (BlockSize::Split(vec![part(8, 1), part(64, 99)]), 10, &[8]),
            (BlockSize::Split(vec![part(8, 1), part(64, 99)]), 7, &[]),
            (BlockSize::Fixed(8), 7, &[8]),
        ] {
            let mut sizes = BlockSizes::new(sizes, false, 1, Stream::ReadSizes);
            let drawn: BTreeSet<u64> = (0..100).filter_map(|_| sizes.next_bytes(room)).collect();
            assert_eq!(drawn.into_iter().collect::<Vec<_>>(), expected);
        }
    }
}
