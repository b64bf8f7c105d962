//! The `bare io_uring` column: a plain loop on a ring, as good as such a loop is.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use fio_jobs::random::Request;
use hdrhistogram::Histogram;
use io_uring::types::{Fixed, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use rustix::fs::Advice;

use super::files::Target;
use super::lane::{Ended, Lane};
use super::memory::{Buffers, Piece};
use super::record;
use crate::ground::facts;
use crate::ground::ring::negotiate;

/// One submission in so many is timed, by a system call of its own; the first one is.
const TIMED: u64 = 64;

/// A ring with its files, which are registered.
pub(super) struct RingLane {
    ring: IoUring,
    /// The buffers of what is in flight.
    pieces: Vec<Option<Piece>>,
    in_flight: usize,
    turns: u64,
    fixed: bool,
    submit_ns: Histogram<u64>,
}

impl RingLane {
    /// `advice` is for the page cache, where there is one.
    pub(super) fn new(
        depth: u32,
        targets: &[Target<'_>],
        direct: bool,
        advice: Option<Advice>,
    ) -> Result<RingLane, String> {
        let files: Vec<File> = targets
            .iter()
            .map(|target| target.open(direct))
            .collect::<Result<_, _>>()?;
        if let Some(advice) = advice.filter(|_| !direct) {
            // What takes no advice goes without.
            for file in &files {
                let _ = rustix::fs::fadvise(file, 0, None, advice);
            }
        }
        let descriptors: Vec<i32> = files.iter().map(|file| file.as_raw_fd()).collect();
        let explain = |error: io::Error| facts::explain_ring_error(&error);
        let ring = negotiate(depth.max(2)).map_err(explain)?;
        ring.submitter()
            .register_files(&descriptors)
            .map_err(explain)?;
        let pieces = (0..depth).map(|_| None).collect();
        let submit_ns = Histogram::new(3).map_err(|e| format!("no histogram: {e}"))?;
        Ok(RingLane {
            ring,
            pieces,
            in_flight: 0,
            turns: 0,
            fixed: false,
            submit_ns,
        })
    }

    /// Registers the buffers, one for each slot.
    pub(super) fn register(&mut self, buffers: &Buffers) -> Result<(), String> {
        let entry = |piece: &Piece| libc::iovec {
            iov_base: piece.address().cast(),
            iov_len: nofault::IoBuf::bytes_init(piece),
        };
        let entries: Vec<libc::iovec> = buffers.pieces(None).iter().flatten().map(entry).collect();
        // SAFETY: the pieces' memory outlives the requests of the ring, see `drop`; the
        // registration itself pins the pages.
        unsafe { self.ring.submitter().register_buffers(&entries) }.map_err(|error| {
            format!(
                "cannot register the buffers: {}",
                facts::explain_ring_error(&error)
            )
        })?;
        self.fixed = true;
        Ok(())
    }

    fn push(&mut self, slot: usize, entry: squeue::Entry) -> io::Result<()> {
        // SAFETY: the buffer is in `pieces` until the completion, and is leaked if that never
        // comes.
        unsafe { self.ring.submission().push(&entry.user_data(slot as u64)) }
            .map_err(|_| io::Error::other("the submission queue is full"))?;
        self.in_flight += 1;
        Ok(())
    }
}

impl Drop for RingLane {
    fn drop(&mut self) {
        if self.in_flight > 0 {
            // A wait has failed: the kernel may still use the memory.
            std::mem::forget(std::mem::take(&mut self.pieces));
        }
    }
}

impl Lane for RingLane {
    fn request(&mut self, slot: usize, request: &Request, piece: Piece) -> io::Result<()> {
        let (address, len, offset) = (piece.address(), request.bytes as u32, request.offset);
        let (file, index) = (Fixed(request.file as u32), slot as u16);
        let entry = match (request.write, self.fixed) {
            (false, false) => opcode::Read::new(file, address, len).offset(offset).build(),
            (false, true) => opcode::ReadFixed::new(file, address, len, index)
                .offset(offset)
                .build(),
            (true, false) => opcode::Write::new(file, address, len)
                .offset(offset)
                .build(),
            (true, true) => opcode::WriteFixed::new(file, address, len, index)
                .offset(offset)
                .build(),
        };
        self.pieces[slot] = Some(piece);
        self.push(slot, entry)
    }

    fn sync(&mut self, slot: usize, file: usize, data_only: bool) -> io::Result<()> {
        let flags = if data_only {
            FsyncFlags::DATASYNC
        } else {
            FsyncFlags::empty()
        };
        self.push(
            slot,
            opcode::Fsync::new(Fixed(file as u32)).flags(flags).build(),
        )
    }

    fn turn(&mut self, most: Option<Duration>, ended: &mut Vec<Ended>) -> io::Result<()> {
        if !self.ring.submission().is_empty() {
            self.turns += 1;
            if self.turns % TIMED == 1 {
                let begun = Instant::now();
                let submitted = self.ring.submit();
                record::record(&mut self.submit_ns, begun.elapsed());
                passing(submitted)?;
            }
        }
        match most {
            None => passing(self.ring.submit_and_wait(1))?,
            Some(most) => {
                let time = Timespec::new()
                    .sec(most.as_secs())
                    .nsec(most.subsec_nanos());
                passing(
                    self.ring
                        .submitter()
                        .submit_with_args(1, &SubmitArgs::new().timespec(&time)),
                )?;
            }
        }
        for done in self.ring.completion() {
            let slot = done.user_data() as usize;
            self.in_flight -= 1;
            let result = usize::try_from(done.result())
                .map_err(|_| io::Error::from_raw_os_error(-done.result()));
            ended.push(Ended {
                slot,
                result,
                piece: self.pieces[slot].take(),
            });
        }
        Ok(())
    }

    fn submit_ns(&mut self, into: &mut Histogram<u64>) {
        record::merge(into, &self.submit_ns);
    }
}

/// Errors of io_uring_enter(2) after which the loop just goes on: interrupted, out of time, or
/// short of memory for now.
fn passing(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error)
            if !matches!(
                error.raw_os_error(),
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME)
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}
