//! Where the next request of one file goes.
//!
//! May know: one region, block sizes, random numbers. Must not know: other files, which direction
//! comes next.

use super::distribution::Ranks;
use super::permutation::Permutation;
use super::requests::RequestsError;
use super::rng::{Rng, Stream, mix};
use crate::{BlockSize, Distribution, FileRegion, Options, Sequencer};

/// The blocks that a map of single blocks may have: 64 MiB of memory.
const MAX_MAPPED: u64 = 1 << 29;

/// The source of the offsets of one file.
#[derive(Clone, Debug)]
pub(super) struct Offsets {
    region: FileRegion,
    /// The smallest request of each direction.
    least: [u64; 2],
    way: Way,
    /// After a new random offset, how many requests follow it, and how.
    follow: Option<(u64, Sequencer)>,
    follow_state: [Follow; 2],
    /// The bytes of this pass so far, and of a whole one.
    done: u64,
    pass_bytes: u64,
    seed: u64,
    passes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Follow {
    left: u64,
    start: u64,
    end: u64,
}

#[derive(Clone, Debug)]
enum Way {
    /// From the start to the end, each direction by itself; a gap after each request.
    Sequential { next: [u64; 2], gap: u64 },
    /// Every block once; all have the same size.
    Once { order: Permutation, at: u64 },
    /// Every block once, though requests have several sizes.
    OnceMapped(Mapped),
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
    pub(super) fn new(
        options: &Options,
        region: FileRegion,
        seed: u64,
    ) -> Result<Offsets, RequestsError> {
        let used = [options.mode.reads(), options.mode.writes()];
        let blocks = [&options.block.read, &options.block.write];
        let least = blocks.map(|block| block.min().max(1));
        let smallest = options.min_block().max(1);
        let pass_bytes = region.bytes - region.bytes % smallest;
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
            least,
            way: Way::Sequential {
                next: [0; 2],
                gap: 0,
            },
            follow: (options.mode.is_random() && options.modifier > 1)
                .then(|| (options.modifier - 1, options.sequencer)),
            follow_state: [Follow::default(); 2],
            done: 0,
            pass_bytes,
            seed,
            passes: 0,
        };
        if !options.mode.is_random() {
            offsets.way = Way::Sequential {
                next: [0; 2],
                gap: options.modifier,
            };
        } else if !options.covers() {
            offsets.way = offsets.free(options);
        } else if same_size(blocks, used) {
            offsets.way = Way::Once {
                order: Permutation::new(region.bytes / smallest, offsets.key()),
                at: 0,
            };
        } else {
            offsets.way = Way::OnceMapped(Mapped::new(region.bytes, least, used, offsets.key())?);
        }
        Ok(offsets)
    }

    fn free(&self, options: &Options) -> Way {
        let scatter = Rng::new(self.seed, Stream::Scatter).next_u64();
        let center = match options.distribution {
            Distribution::Zipf { center, .. } | Distribution::Pareto { center, .. } => center,
            Distribution::Random | Distribution::Normal { .. } => None,
        };
        let direction = |write: bool| {
            let least = self.least[usize::from(write)];
            let align = options.block_align.get(write).unwrap_or(least).max(1);
            let starts = self.region.bytes.saturating_sub(least) / align + 1;
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
        self.done = 0;
        self.follow_state = [Follow::default(); 2];
        let key = self.key();
        match &mut self.way {
            Way::Sequential { next, .. } => *next = [0; 2],
            Way::Once { order, at } => (*order, *at) = (Permutation::new(order.bound(), key), 0),
            Way::OnceMapped(mapped) => mapped.restart(key),
            Way::Free { .. } => {}
        }
    }

    /// Offset and size of the next request, which is to have `wanted` bytes and has fewer where
    /// there is no room. None if the pass is over.
    pub(super) fn next(&mut self, write: bool, wanted: u64) -> Option<(u64, u64)> {
        if self.done >= self.pass_bytes {
            return None;
        }
        let direction = usize::from(write);
        let (start, bytes) = match self.followed(direction, wanted) {
            Some(request) => request,
            None => self.fresh(direction, wanted)?,
        };
        self.follow_state[direction].start = start;
        self.follow_state[direction].end = start + bytes;
        self.done += bytes;
        debug_assert!(bytes > 0 && start + bytes <= self.region.bytes);
        Some((self.region.offset + start, bytes))
    }

    fn followed(&mut self, direction: usize, wanted: u64) -> Option<(u64, u64)> {
        let (_, sequencer) = self.follow?;
        let state = &mut self.follow_state[direction];
        state.left = state.left.checked_sub(1)?;
        let start = match sequencer {
            Sequencer::Sequential => state.end,
            Sequencer::Identical => state.start,
        };
        let request = fit(self.region.bytes, start, wanted, self.least[direction]);
        if request.is_none() {
            state.left = 0;
        }
        request
    }

    fn fresh(&mut self, direction: usize, wanted: u64) -> Option<(u64, u64)> {
        if let Some((count, _)) = self.follow {
            self.follow_state[direction].left = count;
        }
        let (bytes, least) = (self.region.bytes, self.least[direction]);
        match &mut self.way {
            Way::Sequential { next, gap } => {
                // Behind the end it goes on at the start: there are gaps, or the other direction
                // has taken less than its share.
                let request = fit(bytes, next[direction], wanted, least)
                    .or_else(|| fit(bytes, 0, wanted, least))?;
                next[direction] = (request.0 + request.1).saturating_add(*gap);
                Some(request)
            }
            Way::Once { order, at } => {
                if *at >= order.bound() {
                    return None;
                }
                let start = order.at(*at) * least;
                *at += 1;
                Some((start, wanted.min(bytes - start)))
            }
            Way::OnceMapped(mapped) => mapped.next(direction, wanted),
            Way::Free { directions, rng } => {
                let Free {
                    ranks,
                    scatter,
                    shift,
                    align,
                } = &directions[direction];
                let block = (u128::from(scatter.at(ranks.next(rng))) + u128::from(*shift))
                    % u128::from(scatter.bound());
                fit(bytes, block as u64 * align, wanted, least)
            }
        }
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

/// As much of `wanted` bytes as there is room for at `start`, if that is not less than `least`;
/// then in multiples of that.
fn fit(region: u64, start: u64, wanted: u64, least: u64) -> Option<(u64, u64)> {
    let room = region.checked_sub(start)?;
    if wanted <= room {
        return Some((start, wanted));
    }
    (room >= least).then(|| (start, room - room % least))
}

/// A bit for each smallest block: whether it was there in this pass. Each direction goes through
/// its own blocks in random order, and leaves out what is taken, so a pass costs two looks at each
/// block at most.
#[derive(Clone, Debug)]
struct Mapped {
    unit: u64,
    taken: Vec<u64>,
    units: u64,
    directions: [Option<Direction>; 2],
}

#[derive(Clone, Debug)]
struct Direction {
    /// A block in units.
    width: u64,
    order: Permutation,
    at: u64,
}

impl Mapped {
    fn new(
        bytes: u64,
        least: [u64; 2],
        used: [bool; 2],
        key: u64,
    ) -> Result<Mapped, RequestsError> {
        let unit = match used {
            [true, true] => common(least[0], least[1]),
            [true, false] => least[0],
            _ => least[1],
        };
        let units = bytes / unit;
        if units > MAX_MAPPED {
            return Err(RequestsError::TooManyBlocks {
                blocks: units,
                most: MAX_MAPPED,
            });
        }
        let direction = |direction: usize| {
            used[direction].then(|| {
                let order = Permutation::new(bytes / least[direction], mix(key ^ direction as u64));
                Direction {
                    width: least[direction] / unit,
                    order,
                    at: 0,
                }
            })
        };
        Ok(Mapped {
            unit,
            taken: vec![0; units.div_ceil(64) as usize],
            units,
            directions: [direction(0), direction(1)],
        })
    }

    fn restart(&mut self, key: u64) {
        self.taken.fill(0);
        for (number, direction) in self.directions.iter_mut().enumerate() {
            if let Some(direction) = direction {
                direction.order =
                    Permutation::new(direction.order.bound(), mix(key ^ number as u64));
                direction.at = 0;
            }
        }
    }

    fn is_taken(&self, unit: u64) -> bool {
        self.taken[(unit / 64) as usize] & (1 << (unit % 64)) != 0
    }

    fn next(&mut self, direction: usize, wanted: u64) -> Option<(u64, u64)> {
        loop {
            let Direction { width, order, at } = self.directions[direction].as_mut()?;
            if *at >= order.bound() {
                return None;
            }
            let first = order.at(*at) * *width;
            *at += 1;
            if self.is_taken(first) {
                continue;
            }
            let end = first
                .saturating_add(wanted.div_ceil(self.unit).max(1))
                .min(self.units);
            let free = (first..end)
                .take_while(|&unit| !self.is_taken(unit))
                .count() as u64;
            for unit in first..first + free {
                self.taken[(unit / 64) as usize] |= 1 << (unit % 64);
            }
            return Some((first * self.unit, wanted.clamp(1, free * self.unit)));
        }
    }
}

/// The greatest common divisor.
fn common(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common(b, a % b) }
}
