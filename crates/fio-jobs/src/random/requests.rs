//! One request after the other, over all files of a worker.

use std::fmt;

use super::offsets::Offsets;
use super::rng::{Rng, Stream, mix};
use super::sizes::BlockSizes;
use crate::{FileRegion, Options, Sequencer};

/// A request to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Which of the worker's files, from 0.
    pub file: usize,
    /// Whether it writes.
    pub write: bool,
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// How many bytes; never 0, never more than [`Options::max_block`].
    pub bytes: u64,
}

/// Why there can be no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestsError {
    /// A region has no room for one block.
    #[allow(missing_docs)]
    TooSmall { bytes: u64, block: u64 },
    /// The job covers its region once with requests of several sizes, and the map of blocks that
    /// this needs would be too large.
    #[allow(missing_docs)]
    TooManyBlocks { blocks: u64, most: u64 },
}

impl fmt::Display for RequestsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestsError::TooSmall { bytes, block } => write!(
                out,
                "a region of {bytes} bytes has no room for a block of {block}"
            ),
            RequestsError::TooManyBlocks { blocks, most } => write!(
                out,
                "the region has {blocks} blocks, more than the {most} that can be kept apart when requests have several sizes: \
                 use one block size, or norandommap"
            ),
        }
    }
}

impl std::error::Error for RequestsError {}

/// The requests of one worker. As an iterator it ends when a pass is over: no file has a block that
/// was not read or written, or as many bytes were moved as the regions have.
/// [`next_pass`](Requests::next_pass) begins another one.
///
/// A file is over when there is no room for the next block: what is left behind the last whole
/// block is neither read nor written. Only where the file itself goes on behind its region the last
/// block of a sequential job may reach beyond the region's end.
///
/// How often a job does all of this is what a [`Course`](super::Course) knows; the runtime is the
/// caller's business. A clone makes the same requests again: so what was written can be verified.
#[derive(Clone, Debug)]
pub struct Requests {
    files: Vec<Source>,
    turn: usize,
    reads: bool,
    writes: bool,
    read_percent: u64,
    directions: Rng,
    read_sizes: BlockSizes,
    write_sizes: BlockSizes,
    /// Of so many requests one gets a new random offset, and the others follow it.
    follow: Option<(u64, Sequencer)>,
    until_fresh: u64,
    /// The bytes of this pass so far, and of a whole one.
    moved: u64,
    pass_bytes: u64,
}

#[derive(Clone, Debug)]
struct Source {
    offsets: Offsets,
    over: bool,
}

impl Requests {
    /// The requests that `options` ask for in these regions, one for each file; the files take
    /// turns. See [`Job::regions`](crate::Job::regions) and
    /// [`Job::seed`](crate::Job::seed).
    ///
    /// # Errors
    ///
    /// See [`RequestsError`].
    pub fn new(
        options: &Options,
        regions: &[FileRegion],
        seed: u64,
    ) -> Result<Requests, RequestsError> {
        let wraps = options.time_based && regions.len() == 1;
        let source = |(region, file): (&FileRegion, u64)| {
            let offsets = Offsets::new(options, *region, seed ^ mix(file), wraps)?;
            Ok(Source {
                offsets,
                over: false,
            })
        };
        let sizes = |block: &crate::BlockSize, stream| {
            BlockSizes::new(block.clone(), options.block_unaligned, seed, stream)
        };
        let follow = (options.mode.is_random() && options.modifier > 1)
            .then_some((options.modifier, options.sequencer));
        Ok(Requests {
            files: regions
                .iter()
                .zip(0..)
                .map(source)
                .collect::<Result<_, _>>()?,
            turn: 0,
            reads: options.mode.reads(),
            writes: options.mode.writes(),
            read_percent: u64::from(options.read_percent),
            directions: Rng::new(seed, Stream::Directions),
            read_sizes: sizes(&options.block.read, Stream::ReadSizes),
            write_sizes: sizes(&options.block.write, Stream::WriteSizes),
            follow,
            until_fresh: options.modifier,
            moved: 0,
            pass_bytes: regions
                .iter()
                .fold(0, |total: u64, region| total.saturating_add(region.bytes)),
        })
    }

    /// Whether the next request is to be a write, as the job mixes them. For
    /// [`next_of`](Requests::next_of): a caller with a rate for each direction may take the other
    /// one instead.
    pub fn direction(&mut self) -> bool {
        if self.reads && self.writes {
            self.directions.below(100) >= self.read_percent
        } else {
            self.writes
        }
    }

    /// The next request of this direction. None if the pass is over, or the job has no such
    /// requests.
    pub fn next_of(&mut self, write: bool) -> Option<Request> {
        let used = if write { self.writes } else { self.reads };
        if !used || self.is_pass_over() {
            return None;
        }
        for _ in 0..self.files.len() {
            let file = self.turn;
            self.turn = (file + 1) % self.files.len();
            if self.files[file].over {
                continue;
            }
            if let Some((write, (offset, bytes))) = self.of_file(file, write) {
                self.moved += bytes;
                return Some(Request {
                    file,
                    write,
                    offset,
                    bytes,
                });
            }
            self.files[file].over = true;
        }
        None
    }

    /// Direction, offset and size of the next request to one file.
    fn of_file(&mut self, file: usize, write: bool) -> Option<(bool, (u64, u64))> {
        let offsets = &mut self.files[file].offsets;
        let sizes = if write {
            &mut self.write_sizes
        } else {
            &mut self.read_sizes
        };
        if let Some((every, sequencer)) = self.follow {
            self.until_fresh -= 1;
            if self.until_fresh == 0 {
                self.until_fresh = every;
            } else if let Some(followed) = offsets.follow(write, sequencer, sizes) {
                return Some((write, followed));
            }
        }
        if let Some(fresh) = offsets.next(write, sizes) {
            return Some((write, fresh));
        }
        // Of two block sizes the smaller one has room left when the larger one has none.
        let (reads, writes) = (self.reads, self.writes);
        if !(reads && writes && offsets.directions_differ()) {
            return None;
        }
        let sizes = if write {
            &mut self.read_sizes
        } else {
            &mut self.write_sizes
        };
        Some((!write, offsets.next(!write, sizes)?))
    }

    /// Starts over. Random requests come in another order than before.
    pub fn next_pass(&mut self) {
        self.turn = 0;
        self.moved = 0;
        if let Some((every, _)) = self.follow {
            self.until_fresh = every;
        }
        for source in &mut self.files {
            source.over = false;
            source.offsets.next_pass();
        }
    }

    /// Whether it is known already that this pass has no further request.
    pub(super) fn is_pass_over(&self) -> bool {
        self.moved >= self.pass_bytes || self.files_are_over()
    }

    /// Whether this pass has no further request, because no file has one.
    pub(super) fn files_are_over(&self) -> bool {
        self.files.iter().all(|source| source.over)
    }

    /// A pass has as many bytes as this, whatever the regions have; as long as a file has a
    /// further request.
    pub(super) fn set_pass_bytes(&mut self, bytes: u64) {
        self.pass_bytes = bytes;
    }
}

impl Iterator for Requests {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let write = self.direction();
        self.next_of(write)
    }
}

#[cfg(test)]
mod tests;
