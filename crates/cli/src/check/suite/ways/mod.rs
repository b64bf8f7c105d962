//! The ways of doing I/O behind [`Io`](super::io::Io).

mod engine;
mod posix;
mod ring;

use nofault::Backend;

use super::Column;
use super::io::Io;
use super::stop::Stop;

/// What requests of plain direct I/O are made a multiple of where the filesystem does not say, in
/// bytes.
const UNIT: usize = 4096;

/// One for the calling thread.
pub(crate) fn make(column: Column, backend: Backend) -> Result<Box<dyn Io>, Stop> {
    Ok(match column {
        Column::Nofault => Box::new(engine::Nofault::new(backend)?),
        Column::Ring => Box::new(ring::Ring::new()?),
        Column::Direct => Box::new(posix::Posix::new(true)),
        Column::Buffered => Box::new(posix::Posix::new(false)),
    })
}
