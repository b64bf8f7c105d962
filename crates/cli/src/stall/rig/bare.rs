//! A bare ring, as people write it: pinned buffers and registered files for the warm reads, a plain
//! READ for the cold ones.
//!
//! Knows the io-uring crate and nothing of the engine. One io_uring_enter submits all that a turn
//! has to submit and waits.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::types::Fixed;
use io_uring::{IoUring, opcode, squeue};

use super::stream::Stream;
use super::{BLOCK, DEPTH, Peer, whole};
use crate::faults::memory::Map;

const WARM: Fixed = Fixed(0);
const COLD: Fixed = Fixed(1);
/// The cold request's place; those of the warm ones are below.
const COLD_PLACE: u64 = DEPTH as u64;

/// Entries that the ring needs.
pub(crate) const ENTRIES: u32 = 2 * DEPTH as u32;

/// One ring with its files and its warm memory.
pub(crate) struct Bare {
    ring: IoUring,
    memory: &'static Map,
    fixed: bool,
    flags: squeue::Flags,
    /// A wait failed while requests were in flight: their completions would be taken for those of
    /// the next round.
    lost: bool,
}

impl Bare {
    /// The files stay open through the ring. `flags` are set on every request.
    pub(crate) fn new(
        ring: IoUring,
        warm: &File,
        cold: &File,
        flags: squeue::Flags,
    ) -> io::Result<Bare> {
        ring.submitter()
            .register_files(&[warm.as_raw_fd(), cold.as_raw_fd()])?;
        let memory = super::warm_memory()?;
        let buffers: Vec<libc::iovec> = (0..DEPTH)
            .map(|place| libc::iovec {
                iov_base: address(memory, place).cast(),
                iov_len: BLOCK,
            })
            .collect();
        // SAFETY: the memory is never unmapped.
        let fixed = unsafe { ring.submitter().register_buffers(&buffers) }.is_ok();
        Ok(Bare {
            ring,
            memory,
            fixed,
            flags,
            lost: false,
        })
    }

    /// Whether the warm buffers are pinned. A small RLIMIT_MEMLOCK forbids it.
    pub(crate) fn is_pinned(&self) -> bool {
        self.fixed
    }

    fn push(&mut self, entry: squeue::Entry, place: u64) -> io::Result<()> {
        let entry = entry.flags(self.flags).user_data(place);
        // SAFETY: all memory that requests name here is never unmapped, and until its completion
        // only this request uses its part of it.
        unsafe { self.ring.submission().push(&entry) }
            .map_err(|_| io::Error::other("the submission queue is full"))
    }

    fn push_warm(&mut self, place: usize, offset: u64) -> io::Result<()> {
        let to = address(self.memory, place);
        let entry = if self.fixed {
            opcode::ReadFixed::new(WARM, to, BLOCK as u32, place as u16)
                .offset(offset)
                .build()
        } else {
            opcode::Read::new(WARM, to, BLOCK as u32)
                .offset(offset)
                .build()
        };
        self.push(entry, place as u64)
    }

    /// One round, and how its requests ended. The error is the ring's: then some may still be in
    /// flight.
    fn run(&mut self, stream: &mut Stream<'_>) -> io::Result<io::Result<()>> {
        let mut flying = 0;
        let mut failed = Ok(());
        let mut cold_len = 0;
        let now = stream.begin();
        for place in 0..DEPTH {
            let Some(offset) = stream.next_warm(place, now) else {
                break;
            };
            self.push_warm(place, offset)?;
            flying += 1;
        }
        while flying > 0 {
            match self.ring.submit_and_wait(1) {
                // Interrupted, or short of memory for now.
                Err(error)
                    if !matches!(
                        error.raw_os_error(),
                        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
                    ) =>
                {
                    return Err(error);
                }
                _ => {}
            }
            let now = stream.turn();
            while let Some(done) = self.next_completion() {
                flying -= 1;
                if done.0 == COLD_PLACE {
                    failed = failed.and(whole(done.1, cold_len));
                    stream.cold_ended(now);
                    continue;
                }
                let place = done.0 as usize;
                failed = failed.and(whole(done.1, BLOCK));
                stream.warm_ended(place, now);
                if failed.is_ok()
                    && let Some(offset) = stream.next_warm(place, now)
                {
                    self.push_warm(place, offset)?;
                    flying += 1;
                }
            }
            if failed.is_ok()
                && let Some(request) = stream.next_cold(now)
            {
                cold_len = request.len;
                self.push(
                    opcode::Read::new(COLD, request.address, request.len as u32)
                        .offset(request.offset)
                        .build(),
                    COLD_PLACE,
                )?;
                flying += 1;
            }
        }
        Ok(failed)
    }

    /// The place and the result of a request that has ended.
    fn next_completion(&mut self) -> Option<(u64, io::Result<usize>)> {
        let done = self.ring.completion().next()?;
        Some((
            done.user_data(),
            usize::try_from(done.result())
                .map_err(|_| io::Error::from_raw_os_error(-done.result())),
        ))
    }
}

impl Peer for Bare {
    fn round(&mut self, stream: &mut Stream<'_>) -> io::Result<()> {
        if self.lost {
            return Err(io::Error::other("an earlier wait on this ring failed"));
        }
        self.run(stream).inspect_err(|_| self.lost = true)?
    }
}

fn address(memory: &Map, place: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(memory.piece(place * BLOCK..(place + 1) * BLOCK).addr)
}
