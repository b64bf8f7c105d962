//! What a file must hold after the operations done so far: the bytes in memory that the file is
//! compared with.

use std::ops::Range;
use std::path::PathBuf;

use super::io::{FileId, Io};
use super::memory::Map;
use super::pattern::{Random, bytes, difference};
use super::stop::{Stop, ensure};
use super::{Context, Outcome};

/// Ranges that are in flight together are this far apart: direct and buffered writes of one page at
/// the same time have no order.
pub(crate) const APART: usize = 4096;

/// A file and what it must hold.
pub(crate) struct Model {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    /// The file never gets longer.
    pub(crate) most: usize,
    /// What offsets and lengths are multiples of, in bytes.
    pub(crate) unit: usize,
}

impl Model {
    /// For a file that is empty now.
    pub(crate) fn new(path: PathBuf, most: usize, unit: usize) -> Model {
        Model {
            path,
            bytes: Vec::new(),
            most,
            unit,
        }
    }

    /// Somewhere in the first `end` bytes, at most `longest` bytes, at least one unit.
    pub(crate) fn somewhere(
        &self,
        random: &mut Random,
        end: usize,
        longest: usize,
    ) -> Range<usize> {
        let start = random.below((end / self.unit).max(1)) * self.unit;
        // Small ones as often as large ones.
        let longest = (longest >> random.below(longest.ilog2() as usize)).max(self.unit);
        let len = (1 + random.below(longest / self.unit)) * self.unit;
        start
            ..(start + len)
                .min(end / self.unit * self.unit)
                .max(start + self.unit)
    }

    /// At most `count` ranges that share no page.
    pub(crate) fn apart(
        &self,
        random: &mut Random,
        count: usize,
        longest: usize,
    ) -> Vec<Range<usize>> {
        let pages = |range: &Range<usize>| range.start / APART..range.end.div_ceil(APART);
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for _ in 0..count {
            let new = self.somewhere(random, self.most, longest);
            let clear = |old: &Range<usize>| {
                pages(old).end <= pages(&new).start || pages(&new).end <= pages(old).start
            };
            if new.end <= self.most && ranges.iter().all(clear) {
                ranges.push(new);
            }
        }
        ranges
    }

    /// The file was written there with the pattern.
    pub(crate) fn written(&mut self, seed: u64, range: Range<usize>) {
        self.bytes.resize(self.bytes.len().max(range.end), 0);
        self.bytes[range.clone()].copy_from_slice(&bytes(seed, range.start, range.len()));
    }

    /// Reads a range into `map` at `at`, and compares the count and the bytes.
    pub(crate) fn read(
        &self,
        io: &mut dyn Io,
        file: FileId,
        map: &Map,
        at: usize,
        range: Range<usize>,
    ) -> Outcome {
        let count = io.read(file, map.piece(at..at + range.len()), range.start)?;
        self.compare(&map.get(at..at + count), &range)
    }

    /// What a read of the range gave.
    pub(crate) fn compare(&self, seen: &[u8], range: &Range<usize>) -> Outcome {
        let end = range.end.min(self.bytes.len());
        let wanted = &self.bytes[range.start.min(end)..end];
        let Range { start, end } = range;
        ensure!(
            seen.len() == wanted.len(),
            "a read of {start}..{end} gave {} instead of {}",
            seen.len(),
            wanted.len()
        );
        match difference(seen, wanted, *start) {
            Some(words) => Err(Stop::Fail(format!("a read of {start}..{end}: {words}"))),
            None => Ok(()),
        }
    }

    /// The whole file through the page cache, as it is there and then as it is on the disk.
    pub(crate) fn check(&self, cx: &Context) -> Outcome {
        for place in ["in the page cache", "on the disk"] {
            let wrong = difference(&cx.contents(&self.path)?, &self.bytes, 0);
            ensure!(wrong.is_none(), "{place} {}", wrong.unwrap_or_default());
            cx.cool(&self.path)?;
        }
        Ok(())
    }
}
