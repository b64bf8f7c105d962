//! The scenarios, one file each, and the list of them.
//!
//! To add one: a file with its story on top and a `pub(super) const SCENARIO`, and a line each below. It may use the context, the I/O that
//! it is given, std and libc, and nothing of the engine.

mod half_bad_buffers;
mod selftest;

use super::Scenario;

/// All, in the order of the table.
pub(crate) static ALL: &[Scenario] = &[half_bad_buffers::SCENARIO];

/// By name; those that test the watchdog are found but not listed.
pub(crate) fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().chain(selftest::ALL).find(|scenario| scenario.name == name)
}
