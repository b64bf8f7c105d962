//! What users of an engine hold: files, how they are opened, and sets of requests on them; and what
//! the files of a handle have in common with them.
//!
//! - `face` says once what can be done with a file, `start` how that becomes a request, `whole` how
//!   a request goes on until all of its buffer was moved.
//! - `handle` is the file of an engine, `open` how it is opened, `queue` many requests of one task.
//!
//! May know: the engine and its futures, the open file. Must not know: the driver's slots, windows
//! and operations.

mod face;
mod handle;
mod open;
mod policy;
mod queue;
mod start;
mod whole;

pub(crate) use face::file_face;
pub use handle::{File, IoAll};
pub use open::OpenOptions;
pub use policy::Policy;
pub use queue::{Done, Queue};
pub(crate) use start::{Start, until};
pub(crate) use whole::Whole;
