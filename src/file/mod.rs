//! Files: how they are opened, which path their bytes take, and at which alignment.

mod align;
mod handle;
mod open;
mod opened;
pub(crate) mod priority;
mod shared;

pub use align::{Alignment, AlignmentSource};
pub(crate) use handle::to_the_end;
pub use handle::{File, Policy};
pub use open::OpenOptions;
pub(crate) use opened::Opened;
pub use priority::Priority;
pub(crate) use shared::{FileShared, Retired};
pub use shared::{IoPath, Reason};
