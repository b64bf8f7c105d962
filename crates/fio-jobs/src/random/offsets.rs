//! Where the next request of one file goes.
//!
//! May know: one region, block sizes, random numbers. Must not know: other files, which direction
//! comes next.

use super::blocks::BlockMap;
use super::distribution::Ranks;
use super::permutation::Permutation;
use super::requests::RequestsError;
use super::rng::{Rng, Stream, mix};
use super::sizes::BlockSizes;
use crate::{BlockSize, Distribution, FileRegion, Options, Sequencer};

/// The blocks that a map of single blocks may have: 64 MiB of memory.
const MAX_MAPPED: u64 = 1 << 29;

/// The source of the offsets of one file.
#[derive(Clone, Debug)]
pub(super) struct Offsets {
    region: FileRegion,
    way: Way,
    /// Where the last request of each direction started and ended, from the region's start.
    last: [Last; 2],
    seed: u64,
    passes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    start: u64,
    end: u64,
}

#[derive(Clone, Debug)]
enum Way {
    /// From the start to the end, each direction by itself; a gap after each request. A direction
    /// that `wraps` goes on at the start.
    Sequential { gap: u64, wraps: bool },
    /// Every block once; all have the same size.
    Once {
        order: Permutation,
        at: u64,
        block: u64,
    },
    /// Every block once, though requests have several sizes: any free block, and as much behind it
    /// as is free.
    Spread {
        taken: BlockMap,
        block: u64,
        rng: Rng,
    },
    /// The same where reads and writes have different smallest sizes.
    Mixed(Mixed),
    /// Any block at any time.
    Free { directions: [Free; 2], rng: Rng },
}

/// Blocks that may come again, of one direction.
#[derive(Clone, Debug)]
struct Free {
    ranks: Ranks,
    scatter: Permutation,
    /// Added to the scattered block, so that the likeliest one is where it is wanted.
    shift: u64,
    /// Starts are multiples of this.
    align: u64,
}

impl Offsets {
    /// `wraps`: a sequential direction that has come to the end of the region starts over.
    pub(super) fn new(
        options: &Options,
        region: FileRegion,
        seed: u64,
        wraps: bool,
    ) -> Result<Offsets, RequestsError> {
        let used = [options.mode.reads(), options.mode.writes()];
        let blocks = [&options.block.read, &options.block.write];
        let least = blocks.map(|block| block.min().max(1));
        let smallest = options.min_block().max(1);
        let largest_least = (0..2)
            .filter(|&direction| used[direction])
            .map(|direction| least[direction])
            .max()
            .unwrap_or(smallest);
        if region.bytes < largest_least {
            return Err(RequestsError::TooSmall {
                bytes: region.bytes,
                block: largest_least,
            });
        }
        let mut offsets = Offsets {
            region,
            way: Way::Sequential {
                gap: options.modifier,
                wraps,
            },
            last: [Last::default(); 2],
            seed,
            passes: 0,
        };
        if !options.mode.is_random() {
            return Ok(offsets);
        }
        let key = offsets.key();
        offsets.way = if !options.covers() {
            offsets.free(options, least)
        } else if same_size(blocks, used) {
            Way::Once {
                order: Permutation::new(region.bytes / smallest, key),
                at: 0,
                block: smallest,
            }
        } else if largest_least == smallest {
            Way::Spread {
                taken: BlockMap::new(mapped(region.bytes / smallest)?),
                block: smallest,
                rng: Rng::new(key, Stream::Offsets),
            }
        } else {
            Way::Mixed(Mixed::new(region.bytes, least, key)?)
        };
        Ok(offsets)
    }

    fn free(&self, options: &Options, least: [u64; 2]) -> Way {
        let scatter = Rng::new(self.seed, Stream::Scatter).next_u64();
        let center = match options.distribution {
            Distribution::Zipf { center, .. } | Distribution::Pareto { center, .. } => center,
            Distribution::Random | Distribution::Normal { .. } => None,
        };
        let direction = |write: bool| {
            let least = least[usize::from(write)];
            let align = options.block_align.get(write).unwrap_or(least).max(1);
            let last = self.region.bytes.saturating_sub(least.max(align));
            let starts = last / align + 1;
            let scatter = Permutation::new(starts, scatter);
            let wanted = center.map(|center| ((starts as f64 * center) as u64).min(starts - 1));
            let shift = wanted.map_or(0, |wanted| (wanted + starts - scatter.at(0)) % starts);
            Free {
                ranks: Ranks::new(starts, options.distribution),
                scatter,
                shift,
                align,
            }
        };
        Way::Free {
            directions: [direction(false), direction(true)],
            rng: Rng::new(self.seed, Stream::Offsets),
        }
    }

    /// The key of this pass: each has an order of its own.
    fn key(&self) -> u64 {
        mix(Rng::new(self.seed, Stream::Offsets).next_u64() ^ mix(self.passes))
    }

    /// Starts over, in another order.
    pub(super) fn next_pass(&mut self) {
        self.passes += 1;
        self.last = [Last::default(); 2];
        let key = self.key();
        match &mut self.way {
            Way::Once { order, at, .. } => {
                (*order, *at) = (Permutation::new(order.bound(), key), 0);
            }
            Way::Spread { taken, rng, .. } => {
                taken.clear();
                *rng = Rng::new(key, Stream::Offsets);
            }
            Way::Mixed(mixed) => mixed.restart(key),
            Way::Sequential { .. } | Way::Free { .. } => {}
        }
    }

    /// Whether a direction that finds nothing may leave something for the other one.
    pub(super) fn directions_differ(&self) -> bool {
        matches!(self.way, Way::Mixed(_))
    }

    /// Offset and size of the next request. None if the file has none any more in this pass.
    pub(super) fn next(&mut self, write: bool, sizes: &mut BlockSizes) -> Option<(u64, u64)> {
        let direction = usize::from(write);
        let (end, room) = (self.region.bytes, self.room());
        let last = self.last[direction];
        let (start, bytes) = match &mut self.way {
            Way::Sequential { gap, wraps } => {
                let mut start = last.end;
                if *wraps && start >= end {
                    start = 0;
                }
                if *gap > 0 && start > 0 && start < room {
                    start = start.saturating_add(*gap);
                    if start >= self.region.file_bytes {
                        // fio compares what counts from the region's start with what counts from
                        // the file's, and takes the one for the other.
                        start = self.region.offset;
                    }
                }
                (start < end).then_some(())?;
                (start, sizes.next_bytes(end - start)?)
            }
            Way::Once { order, at, block } => {
                (*at < order.bound()).then_some(())?;
                let start = order.at(*at) * *block;
                *at += 1;
                (start, *block)
            }
            Way::Spread { taken, block, rng } => {
                let first = taken.next_free(rng.below(taken.bound()))?;
                let start = first * *block;
                let bytes = sizes.next_bytes(end - start)?;
                let free = taken.take(first, bytes.div_ceil(*block));
                (start, bytes.min(free * *block))
            }
            Way::Mixed(mixed) => mixed.next(direction, end, sizes)?,
            Way::Free { directions, rng } => {
                let Free {
                    ranks,
                    scatter,
                    shift,
                    align,
                } = &directions[direction];
                let block = (u128::from(scatter.at(ranks.next(rng))) + u128::from(*shift))
                    % u128::from(scatter.bound());
                let start = block as u64 * align;
                (start, sizes.next_bytes(end - start)?)
            }
        };
        self.made(direction, start, bytes)
    }

    /// The request that follows the last one of this direction. None if there is no room for it.
    pub(super) fn follow(
        &mut self,
        write: bool,
        sequencer: Sequencer,
        sizes: &mut BlockSizes,
    ) -> Option<(u64, u64)> {
        let direction = usize::from(write);
        let start = match sequencer {
            Sequencer::Sequential => self.last[direction].end,
            Sequencer::Identical => self.last[direction].start,
        };
        let room = self
            .region
            .bytes
            .checked_sub(start)
            .filter(|&room| room > 0)?;
        let bytes = sizes.next_bytes(room)?;
        self.made(direction, start, bytes)
    }

    fn made(&mut self, direction: usize, start: u64, bytes: u64) -> Option<(u64, u64)> {
        let end = start.checked_add(bytes).filter(|&end| end <= self.room())?;
        debug_assert!(bytes > 0);
        self.last[direction] = Last { start, end };
        Some((self.region.offset + start, bytes))
    }

    /// The bytes of the file from the region's start on: the last block may reach beyond the
    /// region's end where the file goes on, as in fio.
    fn room(&self) -> u64 {
        self.region.file_bytes.saturating_sub(self.region.offset)
    }
}

fn same_size(blocks: [&BlockSize; 2], used: [bool; 2]) -> bool {
    let mut sizes = (0..2)
        .filter(|&direction| used[direction])
        .map(|direction| blocks[direction]);
    let Some(BlockSize::Fixed(first)) = sizes.next() else {
        return false;
    };
    sizes.all(|size| *size == BlockSize::Fixed(*first))
}

fn mapped(blocks: u64) -> Result<u64, RequestsError> {
    if blocks > MAX_MAPPED {
        return Err(RequestsError::TooManyBlocks {
            blocks,
            most: MAX_MAPPED,
        });
    }
    Ok(blocks)
}

/// Reads and writes whose smallest sizes differ, over one map. Each direction goes through its own
/// blocks in random order, and leaves out what is taken, so a pass costs two looks at each block at
/// most.
///
/// fio counts in reads' blocks and in writes' blocks on the same map there, so that requests
/// overlap and blocks are left out. Here each block comes once.
#[derive(Clone, Debug)]
struct Mixed {
    unit: u64,
    taken: BlockMap,
    directions: [Direction; 2],
}

#[derive(Clone, Debug)]
struct Direction {
    /// A block in units.
    width: u64,
    order: Permutation,
    at: u64,
}

impl Mixed {
    fn new(bytes: u64, least: [u64; 2], key: u64) -> Result<Mixed, RequestsError> {
        let unit = common(least[0], least[1]);
        let direction = |direction: usize| Direction {
            width: least[direction] / unit,
            order: Permutation::new(bytes / least[direction], mix(key ^ direction as u64)),
            at: 0,
        };
        Ok(Mixed {
            unit,
            taken: BlockMap::new(mapped(bytes / unit)?),
            directions: [direction(0), direction(1)],
        })
    }

    fn restart(&mut self, key: u64) {
        self.taken.clear();
        for (number, direction) in self.directions.iter_mut().enumerate() {
            direction.order = Permutation::new(direction.order.bound(), mix(key ^ number as u64));
            direction.at = 0;
        }
    }

    fn next(&mut self, direction: usize, end: u64, sizes: &mut BlockSizes) -> Option<(u64, u64)> {
        let Direction { width, order, at } = &mut self.directions[direction];
        loop {
            (*at < order.bound()).then_some(())?;
            let first = order.at(*at) * *width;
            *at += 1;
            if self.taken.is_taken(first) {
                continue;
            }
            let start = first * self.unit;
            let bytes = sizes.next_bytes(end - start)?;
            let free = self.taken.take(first, bytes.div_ceil(self.unit));
            return Some((start, bytes.min(free * self.unit)));
        }
    }
}

/// The greatest common divisor.
fn common(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common(b, a % b) }
}
