//! Scenarios that direct I/O has to survive, and what runs them: `nofault check` and
//! `tests/check.rs` share this tree.
//!
//! A [`Scenario`] is run in several [`Column`]s, that is, ways of doing I/O. Each such cell runs in
//! a process of its own, see [`watch`], because a way of doing I/O may well never return.
//!
//! May know: nofault's public API, [`faults`](crate::faults), libc, the io-uring crate (for the column that is a plain ring).
//! Must not know: the command line.

pub(crate) mod cell;
pub(crate) mod column;
pub(crate) mod context;
pub(crate) mod fuse;
pub(crate) mod io;
pub(crate) mod model;
pub(crate) mod processes;
pub(crate) mod race;
pub(crate) mod scenarios;
pub(crate) mod stacks;
pub(crate) mod verdict;
pub(crate) mod watch;
mod ways;

pub(crate) use crate::faults::stop::Stop;
pub(crate) use crate::faults::{memory, pattern, stop, userfault};
pub(crate) use column::Column;
pub(crate) use context::Context;
pub(crate) use verdict::{Outcome, Verdict};

/// One story that must end well, whichever way the I/O is done.
pub(crate) struct Scenario {
    /// What it is called on the command line: words with hyphens.
    pub(crate) name: &'static str,
    /// Where the idea comes from, such as `generic/708`; empty for our own.
    pub(crate) number: &'static str,
    /// What it does and what must hold, in one sentence.
    pub(crate) story: &'static str,
    /// Whether another seed makes another run: what `--soak` repeats.
    pub(crate) randomised: bool,
    /// Runs in a process, and an empty directory, of its own.
    pub(crate) run: fn(&Context) -> Outcome,
}
