//! What every peer has to do, and the part of the measuring that runs inside its loop.
//!
//! A [`Job`] is one cell of the table: this file, this access, this block size, this many requests
//! in flight. A turn hands the peer one [`Lane`] for each request in flight. A lane says where the
//! next request goes and is told what became of it, so that offsets, checks and the clock cost the
//! same in every peer's loop.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::buffer::Buffer;

/// What offsets are a multiple of, and what the content of the file can be told by.
pub(crate) const PAGE: usize = 4096;

/// Reads or writes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    Read,
    Write,
}

impl Access {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
        }
    }
}

/// One cell of the table, for one peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Where the peer opens the file; filled with [`content`] if it is to be read.
    pub(crate) path: PathBuf,
    pub(crate) file_bytes: u64,
    pub(crate) access: Access,
    /// Bytes a request.
    pub(crate) block: usize,
    /// Requests in flight.
    pub(crate) depth: usize,
    /// Where the offsets start, and what is written.
    pub(crate) seed: u64,
}

impl Job {
    /// The file, with O_DIRECT.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::options()
            .read(true)
            .write(self.access == Access::Write)
            .custom_flags(libc::O_DIRECT)
            .open(&self.path)
    }

    /// One buffer for each request in flight, all pages there, filled with what is to be written.
    pub(crate) fn buffers(&self) -> io::Result<Vec<Buffer>> {
        let buffer = |_| {
            let mut buffer = Buffer::new(self.block)?;
            self.mark(&mut buffer);
            Ok(buffer)
        };
        (0..self.depth).map(buffer).collect()
    }

    /// Fills a buffer with what is to be written. Every page is alike, since writes may overlap by
    /// whole pages.
    pub(crate) fn mark(&self, buffer: &mut [u8]) {
        for page in buffer.chunks_mut(PAGE) {
            for (index, word) in page.chunks_exact_mut(8).enumerate() {
                word.copy_from_slice(&mix(self.seed ^ index as u64).to_ne_bytes());
            }
        }
    }

    /// One lane for each request in flight, together good for `count` requests.
    pub(crate) fn lanes(&self, turn: u64, count: u64, mode: Mode) -> Vec<Lane> {
        let left = Arc::new(AtomicU64::new(count));
        let places = (self.file_bytes - self.block as u64) / PAGE as u64 + 1;
        let lane = |index: usize| Lane {
            left: left.clone(),
            random: mix(mix(self.seed.wrapping_add(turn)) ^ index as u64) | 1,
            places,
            block: self.block,
            mode,
            access: self.access,
            offset: 0,
            began: None,
            ended: 0,
            samples: match mode {
                // A lane may get more than its share.
                Mode::Latency => Vec::with_capacity(2 * (count as usize / self.depth + 64)),
                _ => Vec::new(),
            },
            offsets: Vec::new(),
        };
        (0..self.depth).map(lane).collect()
    }

    /// Reads back what the lanes of a [`Mode::Verify`] turn have written.
    pub(crate) fn verify_written(&self, lanes: &[Lane]) -> io::Result<()> {
        if self.access == Access::Read {
            return Ok(());
        }
        let file = self.open()?;
        let (mut expected, mut found) = (Buffer::new(self.block)?, Buffer::new(self.block)?);
        self.mark(&mut expected);
        for &offset in lanes.iter().flat_map(|lane| &lane.offsets) {
            file.read_exact_at(&mut found, offset)?;
            if found[..] != expected[..] {
                return Err(io::Error::other(format!(
                    "the write at {offset} is not in the file"
                )));
            }
        }
        Ok(())
    }
}

/// What the lanes do beside handing out offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing: for operations per second and CPU.
    Plain,
    /// Two looks at the clock a request.
    Latency,
    /// What was read is compared; what was written is noted for [`Job::verify_written`].
    Verify,
}

/// One of the requests in flight, again and again.
pub(crate) struct Lane {
    left: Arc<AtomicU64>,
    random: u64,
    places: u64,
    block: usize,
    mode: Mode,
    access: Access,
    offset: u64,
    began: Option<Instant>,
    ended: u64,
    samples: Vec<u32>,
    offsets: Vec<u64>,
}

impl Lane {
    /// Where the next request goes; `None` when all lanes together have had enough. Only for peers
    /// whose lanes are all on one thread.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<u64> {
        // Not atomic as a whole, which costs nothing and is enough on one thread.
        let left = self.left.load(Ordering::Relaxed).checked_sub(1)?;
        self.left.store(left, Ordering::Relaxed);
        Some(self.begin())
    }

    /// The same, for peers whose lanes are on several threads.
    #[inline]
    pub(crate) fn next_of_many_threads(&mut self) -> Option<u64> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .ok()?;
        Some(self.begin())
    }

    #[inline]
    fn begin(&mut self) -> u64 {
        // xorshift64; the upper bits choose the place.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let place = (u128::from(self.random) * u128::from(self.places)) >> 64;
        self.offset = place as u64 * PAGE as u64;
        if self.mode == Mode::Latency {
            self.began = Some(Instant::now());
        }
        self.offset
    }

    /// The request has ended, with this result and this in its buffer. Anything but a whole block
    /// is an error.
    #[inline]
    pub(crate) fn done(&mut self, result: io::Result<usize>, buffer: &[u8]) -> io::Result<()> {
        if result? != self.block {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("a request at {} fell short", self.offset),
            ));
        }
        self.ended += 1;
        match self.mode {
            Mode::Plain => Ok(()),
            Mode::Latency => {
                let took = self.began.map_or(0, |began| began.elapsed().as_nanos());
                self.samples.push(took.try_into().unwrap_or(u32::MAX));
                Ok(())
            }
            Mode::Verify => self.verify(buffer),
        }
    }

    #[cold]
    fn verify(&mut self, buffer: &[u8]) -> io::Result<()> {
        if self.access == Access::Write {
            self.offsets.push(self.offset);
            return Ok(());
        }
        let words = buffer.chunks_exact(8).zip((self.offset..).step_by(8));
        for (word, offset) in words {
            if word != content(offset).to_ne_bytes() {
                return Err(io::Error::other(format!(
                    "the read at {} gave other bytes than the file has",
                    self.offset
                )));
            }
        }
        Ok(())
    }

    /// How many requests have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// How long each request took, in nanoseconds, at most 4.2 s.
    pub(crate) fn samples(&self) -> &[u32] {
        &self.samples
    }
}

/// What the 8 bytes at this offset of the file are. No two are alike, lest a device makes one of
/// two blocks.
pub(crate) fn content(offset: u64) -> u64 {
    mix(offset)
}

/// splitmix64: every number has another answer.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(access: Access, block: usize) -> Job {
        Job {
            path: PathBuf::new(),
            file_bytes: 1 << 20,
            access,
            block,
            depth: 4,
            seed: 7,
        }
    }

    #[test]
    fn offsets_are_pages_of_the_file_and_the_block_fits() {
        let job = job(Access::Read, 128 << 10);
        let mut lanes = job.lanes(3, 1000, Mode::Plain);
        for index in 0..1000 {
            let offset = lanes[index % 4].next().expect("one of a thousand");
            assert!(
                offset.is_multiple_of(PAGE as u64) && offset + job.block as u64 <= job.file_bytes,
                "{offset}"
            );
        }
        assert!(lanes[0].next().is_none());
    }

    #[test]
    fn wrong_bytes_and_short_requests_are_errors() {
        let mut lanes = job(Access::Read, PAGE).lanes(0, 3, Mode::Verify);
        let lane = &mut lanes[0];
        let offset = lane.next().expect("the first");
        let good: Vec<u8> = (offset..)
            .step_by(8)
            .take(PAGE / 8)
            .flat_map(|at| content(at).to_ne_bytes())
            .collect();
        assert!(lane.done(Ok(PAGE), &good).is_ok());
        lane.next().expect("the second");
        assert!(lane.done(Ok(PAGE), &[0; PAGE]).is_err());
        lane.next().expect("the third");
        assert!(lane.done(Ok(PAGE - 512), &good).is_err());
    }
}
