//! A plain io_uring loop, as people write it: the `bare` column on a direct descriptor, and the
//! deep rows of `buffered` on a buffered one.
//!
//! Knows the `io-uring` crate and nothing of the engine: it is what the engine is measured against,
//! so it is kept as good as such a loop is. A short completion counts as what it moved; resuming it
//! is what such loops forget, and on a plain file it does not come.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::types::{Fixed, FsyncFlags};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::memory::Memory;
use super::meter::{Meter, Pass};
use super::runner::Runner;
use super::workload::{Access, DEPTH_MAX, Feed};
use crate::ground::ring::negotiate;

const SMALL: usize = 4096;
const FILE: Fixed = Fixed(0);
const SYNC: u64 = u64::MAX;

/// A ring with one registered file and, where the limits allow it, registered buffers for the small
/// warm requests.
pub(crate) struct Ring {
    ring: IoUring,
    /// Why the buffers are not registered, if they are not.
    pub(crate) unregistered: Option<io::Error>,
    /// A wait failed while requests were in flight: their completions would be taken for those of
    /// the next round.
    lost: bool,
}

impl Ring {
    /// A ring for requests on `file`; the descriptor stays open through the ring.
    pub(crate) fn new(file: &File, memory: &Memory) -> io::Result<Ring> {
        let ring = negotiate(DEPTH_MAX as u32 * 2)?;
        ring.submitter().register_files(&[file.as_raw_fd()])?;
        let buffers: Vec<libc::iovec> = (0..DEPTH_MAX)
            .map(|slot| libc::iovec {
                iov_base: memory.warm(slot * SMALL, SMALL).cast(),
                iov_len: SMALL,
            })
            .collect();
        // SAFETY: the warm memory is never unmapped, so it outlives the ring, and the kernel only
        // touches it for requests of this ring.
        let unregistered = unsafe { ring.submitter().register_buffers(&buffers) }.err();
        Ok(Ring {
            ring,
            unregistered,
            lost: false,
        })
    }

    /// One turn: everything queued is submitted, and one completion waited for.
    fn turn(&mut self, pass: Pass, meter: &mut Meter) -> io::Result<()> {
        if pass == Pass::Split && !self.ring.submission().is_empty() {
            let begun = Instant::now();
            let submitted = self.ring.submit();
            meter.submitted(begun.elapsed());
            passing(submitted)?;
        }
        passing(self.ring.submit_and_wait(1))
    }

    fn sync(&mut self, meter: &mut Meter) -> io::Result<()> {
        let entry = opcode::Fsync::new(FILE)
            .flags(FsyncFlags::DATASYNC)
            .build()
            .user_data(SYNC);
        // SAFETY: a sync names no memory.
        unsafe { self.ring.submission().push(&entry) }
            .map_err(|_| io::Error::other("the submission queue is full"))?;
        loop {
            self.turn(Pass::Joined, meter)
                .inspect_err(|_| self.lost = true)?;
            if let Some(done) = self.ring.completion().next() {
                return moved(&done).map(|_| ());
            }
        }
    }
}

impl Runner for Ring {
    fn round(&mut self, feed: &mut Feed<'_>, pass: Pass, meter: &mut Meter) -> io::Result<()> {
        if self.lost {
            return Err(io::Error::other("an earlier wait on this ring failed"));
        }
        let row = *feed.row();
        let fixed = row.registered() && self.unregistered.is_none();
        let mut in_flight = 0;
        let mut error = None;
        let mut now = meter.begin();
        for slot in 0..row.depth {
            let Some(entry) = entry(feed, meter, fixed, slot, now) else {
                break;
            };
            // SAFETY: the memory is never unmapped (see `Memory`), and until the completion only
            // the kernel uses this part of it.
            unsafe { self.ring.submission().push(&entry) }
                .map_err(|_| io::Error::other("the submission queue is full"))?;
            in_flight += 1;
        }
        while in_flight > 0 {
            self.turn(pass, meter).inspect_err(|_| self.lost = true)?;
            let (_, mut queue, completions) = self.ring.split();
            now = Instant::now();
            for done in completions {
                in_flight -= 1;
                let slot = done.user_data() as usize;
                match moved(&done) {
                    Ok(bytes) => meter.ended(slot, bytes, now),
                    Err(e) => error = error.or(Some(e)),
                }
                if error.is_some() {
                    continue;
                }
                if let Some(entry) = entry(feed, meter, fixed, slot, now) {
                    // SAFETY: as above. The queue has room for twice as many requests as there are
                    // slots.
                    match unsafe { queue.push(&entry) } {
                        Ok(()) => in_flight += 1,
                        Err(_) => error = Some(io::Error::other("the submission queue is full")),
                    }
                }
            }
        }
        if let Some(error) = error {
            return Err(error);
        }
        if row.access == Access::Write && pass == Pass::Joined {
            self.sync(meter)?;
        }
        meter.end();
        Ok(())
    }
}

/// The next request for this slot, as the kernel wants it.
fn entry(
    feed: &mut Feed<'_>,
    meter: &mut Meter,
    fixed: bool,
    slot: usize,
    now: Instant,
) -> Option<squeue::Entry> {
    let request = feed.next(slot, now)?;
    let (address, len, offset) = (request.address, request.len as u32, request.offset);
    let entry = match (feed.row().access, fixed) {
        (Access::Read, true) => opcode::ReadFixed::new(FILE, address, len, slot as u16)
            .offset(offset)
            .build(),
        (Access::Read, false) => opcode::Read::new(FILE, address, len).offset(offset).build(),
        (Access::Write, true) => opcode::WriteFixed::new(FILE, address, len, slot as u16)
            .offset(offset)
            .build(),
        (Access::Write, false) => opcode::Write::new(FILE, address, len)
            .offset(offset)
            .build(),
    };
    meter.started(slot, now);
    Some(entry.user_data(slot as u64))
}

fn moved(done: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(done.result()).map_err(|_| io::Error::from_raw_os_error(-done.result()))
}

/// Errors of io_uring_enter(2) after which the loop just goes on: interrupted, or short of memory
/// for now.
fn passing(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error)
            if !matches!(
                error.raw_os_error(),
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}
