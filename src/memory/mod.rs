//! Buffers, and what can be known of memory without touching it.
//!
//! May know: `sys`. Must not know: requests, files, engines.

mod aligned;
mod buf;
mod fault_in;
pub(crate) mod huge;
pub(crate) mod plain;
pub(crate) mod residency;
mod slice;

#[cfg(test)]
mod test_memory;

pub use aligned::AlignedBuf;
pub use buf::{IoBuf, IoBufMut, Pinned, SharedIoBuf};
pub use fault_in::{fault_in_readable, fault_in_writeable};
pub use huge::{HUGE_PAGE_BYTES, HugePages, Thp, advise_huge, huge_pages};
pub use residency::{Access, resident_prefix};
pub use slice::{IoBufExt, Slice};
