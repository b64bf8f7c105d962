//! The engine: buffers of its pool for the warm reads, the caller's memory for the cold ones.

use std::array;
use std::io;
use std::path::Path;

use nofault::{Engine, File, Policy, PoolBuf};

use super::futures::drive;
use super::stream::Stream;
use super::{BLOCK, DEPTH, Peer};

/// An engine and what it needs for a round.
pub(crate) struct Nofault {
    // Before the engine, so that they are given back to one that is still there.
    buffers: [Option<PoolBuf>; DEPTH],
    warm: File,
    cold: File,
    engine: Engine,
}

/// Requests in flight at most: more than there are here, as in a program.
pub(crate) const ENGINE_DEPTH: u32 = 32;

impl Nofault {
    pub(crate) fn new(engine: Engine, warm: &Path, cold: &Path) -> io::Result<Nofault> {
        let pool = engine.pool(DEPTH, BLOCK)?;
        let buffers = array::from_fn(|_| pool.get());
        Ok(Nofault {
            buffers,
            warm: File::open(&engine, warm)?,
            cold: File::open(&engine, cold)?,
            engine,
        })
    }

    /// The file of the warm reads.
    pub(crate) fn warm(&self) -> &File {
        &self.warm
    }

    /// The file of the cold reads.
    pub(crate) fn cold(&self) -> &File {
        &self.cold
    }
}

impl Peer for Nofault {
    fn round(&mut self, stream: &mut Stream<'_>) -> io::Result<()> {
        let (warm, cold) = (&self.warm, &self.cold);
        self.engine.block_on(drive(
            stream,
            &mut self.buffers,
            |buffer, offset| warm.read_at(buffer, offset),
            // SAFETY: cold memory is never unmapped, and only this request uses its part of it
            // until it has ended.
            |request| unsafe {
                cold.read_raw_at(request.address, request.len, request.offset, Policy::Look)
            },
        ))
    }
}
