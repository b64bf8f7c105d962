//! An open file below any engine: its descriptors, what was found out about them, and what one
//! driver knows them by.
//!
//! May know: open flags, filesystems, alignments, what pread64(2) and pwrite64(2) check, the sizes
//! of a transfer. Must not know: rings and threads, engines, who holds the file.

mod align;
mod facts;
mod halves;
mod opened;
mod path;
mod place;
pub(crate) mod priority;
mod shared;

pub use align::{Alignment, AlignmentSource};
pub(crate) use opened::Opened;
pub use path::{IoPath, Reason};
pub(crate) use place::FileRef;
pub use priority::Priority;
pub(crate) use shared::{FileShared, Retired};
