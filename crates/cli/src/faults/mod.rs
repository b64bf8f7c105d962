//! Memory that is cold, slow, bad or provided by this process, and patterns to know its bytes by.
//! `check` and `stall` share it, and so do `tests/check.rs` and `benches/stall.rs`.
//!
//! May know: libc, rustix. Must not know: nofault, any command, the command line.

pub(crate) mod memory;
pub(crate) mod pattern;
pub(crate) mod stop;
pub(crate) mod userfault;
