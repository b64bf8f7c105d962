//! tokio-uring as a peer of the stall bench: registered buffers for the warm reads, the caller's
//! memory for the cold ones.

use std::io;
use std::path::Path;

use tokio_uring::Runtime;
use tokio_uring::buf::fixed::{FixedBuf, FixedBufRegistry};
use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::fs::File;

use crate::rig::futures::drive;
use crate::rig::place::open_direct;
use crate::rig::stream::{ColdRequest, Stream};
use crate::rig::{BLOCK, DEPTH, Peer, warm_memory};

/// Memory that is mapped for ever.
struct Foreign {
    address: *mut u8,
    len: usize,
}

// SAFETY: the memory never moves and is never unmapped, and only the request that owns this value
// uses it until it has ended. What was never written reads as zeros, so all of it counts as
// initialised.
unsafe impl IoBuf for Foreign {
    fn stable_ptr(&self) -> *const u8 {
        self.address
    }

    fn bytes_init(&self) -> usize {
        self.len
    }

    fn bytes_total(&self) -> usize {
        self.len
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Foreign {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.address
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

/// A runtime and what it needs for a round.
pub(crate) struct TokioUring {
    buffers: [Option<FixedBuf>; DEPTH],
    // Closed by requests to the runtime, so before it.
    warm: File,
    cold: File,
    runtime: Runtime,
}

impl TokioUring {
    pub(crate) fn new(warm: &Path, cold: &Path) -> io::Result<TokioUring> {
        let memory = warm_memory()?;
        let foreign = (0..DEPTH).map(|place| Foreign {
            address: std::ptr::with_exposed_provenance_mut(
                memory.piece(place * BLOCK..(place + 1) * BLOCK).addr,
            ),
            len: BLOCK,
        });
        let registry = FixedBufRegistry::new(foreign);
        let runtime = Runtime::new(&tokio_uring::builder())?;
        let buffers = runtime.block_on(async {
            registry.register()?;
            io::Result::Ok(std::array::from_fn(|place| registry.check_out(place)))
        })?;
        Ok(TokioUring {
            buffers,
            warm: File::from_std(open_direct(warm)?),
            cold: File::from_std(open_direct(cold)?),
            runtime,
        })
    }
}

impl Peer for TokioUring {
    fn round(&mut self, stream: &mut Stream<'_>) -> io::Result<()> {
        let (warm, cold) = (&self.warm, &self.cold);
        let read_cold = async |request: ColdRequest| {
            let memory = Foreign {
                address: request.address,
                len: request.len,
            };
            cold.read_at(memory, request.offset).await.0
        };
        self.runtime.block_on(drive(
            stream,
            &mut self.buffers,
            |buffer, offset| warm.read_fixed_at(buffer, offset),
            read_cold,
        ))
    }
}
