//! A ring by hand, with the io-uring crate: what everything else is measured against.
//!
//! SINGLE_ISSUER and DEFER_TASKRUN, one io_uring_enter for all that has ended since the last,
//! nothing allocated on the way.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types};

use super::{Entry, Kind, Peer};
use crate::buffer::Buffer;
use crate::job::{Access, Job, Lane};

pub(super) const PLAIN: Entry = Entry {
    name: "bare-plain",
    kind: Kind::Bare,
    about: "io-uring crate, one loop, READ and WRITE",
    start: |job| Ok(Box::new(Bare::new(job, false)?)),
};

pub(super) const REGISTERED: Entry = Entry {
    name: "bare-registered",
    kind: Kind::Bare,
    about: "io-uring crate, one loop, READ_FIXED and WRITE_FIXED on a registered file",
    start: |job| Ok(Box::new(Bare::new(job, true)?)),
};

struct Bare {
    // The ring is dropped before the memory and the file.
    ring: IoUring,
    /// `block` bytes for each lane.
    memory: Buffer,
    file: File,
    registered: bool,
    access: Access,
    block: usize,
}

impl Bare {
    fn new(job: &Job, registered: bool) -> io::Result<Bare> {
        let ring = ring(job.depth as u32)?;
        let mut memory = Buffer::new(job.depth * job.block)?;
        job.mark(&mut memory);
        let file = job.open()?;
        if registered {
            let all = libc::iovec {
                iov_base: memory.as_mut_ptr().cast(),
                iov_len: memory.len(),
            };
            // SAFETY: the memory stays where it is until the ring is gone.
            unsafe { ring.submitter().register_buffers(&[all]) }.map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("the buffers cannot be registered: {error} (see ulimit -l)"),
                )
            })?;
            ring.submitter().register_files(&[file.as_raw_fd()])?;
        }
        Ok(Bare {
            ring,
            memory,
            file,
            registered,
            access: job.access,
            block: job.block,
        })
    }

    fn entry(&self, index: usize, offset: u64) -> squeue::Entry {
        // SAFETY: the memory has `block` bytes for each lane.
        let memory = unsafe { self.memory.as_ptr().cast_mut().add(index * self.block) };
        let (file, slot, len) = (
            types::Fd(self.file.as_raw_fd()),
            types::Fixed(0),
            self.block as u32,
        );
        let entry = match (self.access, self.registered) {
            (Access::Read, false) => opcode::Read::new(file, memory, len).offset(offset).build(),
            (Access::Read, true) => opcode::ReadFixed::new(slot, memory, len, 0)
                .offset(offset)
                .build(),
            (Access::Write, false) => opcode::Write::new(file, memory, len).offset(offset).build(),
            (Access::Write, true) => opcode::WriteFixed::new(slot, memory, len, 0)
                .offset(offset)
                .build(),
        };
        entry.user_data(index as u64)
    }
}

impl Peer for Bare {
    fn run(&mut self, mut lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let mut entries: Vec<_> = Vec::with_capacity(lanes.len());
        let mut in_flight = 0;
        for (index, lane) in lanes.iter_mut().enumerate() {
            entries.extend(lane.next().map(|offset| self.entry(index, offset)));
        }
        let mut ended = Vec::with_capacity(lanes.len());
        while in_flight > 0 || !entries.is_empty() {
            // SAFETY: a lane's part of the memory is its own until its request has ended; memory
            // and file outlive the ring.
            unsafe { self.ring.submission().push_multiple(&entries) }.map_err(io::Error::other)?;
            in_flight += entries.len();
            entries.clear();
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            ended.extend(
                self.ring
                    .completion()
                    .map(|done| (done.result(), done.user_data() as usize)),
            );
            in_flight -= ended.len();
            for (result, index) in ended.drain(..) {
                let result =
                    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
                let lane = &mut lanes[index];
                lane.done(result, &self.memory[index * self.block..][..self.block])?;
                entries.extend(lane.next().map(|offset| self.entry(index, offset)));
            }
        }
        Ok(lanes)
    }
}

/// The best ring that the kernel has. DEFER_TASKRUN needs Linux 6.1.
fn ring(entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_submit_all();
    match builder
        .clone()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(entries)
    {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::new(entries),
        other => other,
    }
}
