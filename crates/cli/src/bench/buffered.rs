//! The `buffered` column: the page cache, as a program would use it that knows nothing of direct
//! I/O.
//!
//! One thread with pread and pwrite where requests come one after the other; where the row wants
//! many in flight, a plain ring on a buffered descriptor, which is the only way to have as many.
//! Nothing of the file is cached when a round begins.

use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use super::memory::Memory;
use super::meter::{Meter, Pass};
use super::ring::Ring;
use super::runner::Runner;
use super::workload::{Access, Feed, Order};
use crate::ground::scratch::Scratch;

/// The buffered path.
pub(crate) struct Buffered<'a> {
    scratch: &'a Scratch,
    /// None where io_uring is not to be had: then everything goes one after the other.
    ring: Option<Ring>,
}

impl<'a> Buffered<'a> {
    pub(crate) fn new(scratch: &'a Scratch, memory: &Memory) -> Buffered<'a> {
        Buffered {
            scratch,
            ring: Ring::new(scratch.file(), memory).ok(),
        }
    }

    /// Whether the deep rows go one request after the other, too.
    pub(crate) fn is_shallow(&self) -> bool {
        self.ring.is_none()
    }
}

impl Runner for Buffered<'_> {
    fn round(&mut self, feed: &mut Feed<'_>, pass: Pass, meter: &mut Meter) -> io::Result<()> {
        let row = *feed.row();
        if let (Order::Random, Some(ring)) = (row.order, &mut self.ring) {
            return ring.round(feed, pass, meter);
        }
        let file = self.scratch.file();
        let mut now = meter.begin();
        while let Some(request) = feed.next(0, now) {
            // SAFETY: the memory is mapped for ever, holds zeroes or what was written to it, and no
            // other reference to it exists now.
            let memory = unsafe { std::slice::from_raw_parts_mut(request.address, request.len) };
            meter.started(0, now);
            let begun = now;
            let moved = match row.access {
                Access::Read => file.read_at(memory, request.offset),
                Access::Write => file.write_at(memory, request.offset),
            };
            now = Instant::now();
            match moved {
                Ok(bytes) => meter.ended(0, bytes, now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            // Whoever calls pread is held up until it returns: the call is the submission.
            meter.submitted(now.saturating_duration_since(begun));
        }
        if row.access == Access::Write && pass == Pass::Joined {
            file.sync_data()?;
        }
        meter.end();
        Ok(())
    }
}
