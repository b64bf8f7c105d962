//! What users of an engine hold: files, how they are opened, and sets of requests on them.
//!
//! May know: the engine and its futures, the open file. Must not know: the driver's slots, windows
//! and operations.

mod handle;
mod open;
mod queue;

pub(crate) use handle::to_the_end;
pub use handle::{File, Policy};
pub use open::OpenOptions;
pub use queue::{Done, Queue};
