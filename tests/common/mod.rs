//! What the integration tests share: memory of every kind, files of every kind, a watchdog process,
//! userfaultfd by hand.
//!
//! It may know the kernel's interfaces and the crate's public face; it must not know how the engine
//! works inside.

// Each test program compiles this module for itself and uses only a part of it.
#![allow(dead_code, unused_imports, unused_macros)]

pub(crate) mod child;
pub(crate) mod device;
pub(crate) mod files;
pub(crate) mod futures;
pub(crate) mod inject;
pub(crate) mod mapping;
pub(crate) mod setup;
pub(crate) mod sys;
pub(crate) mod uffd;
pub(crate) mod zoo;

use std::sync::atomic::{AtomicUsize, Ordering};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Prints why something is not tested here, and counts it.
pub(crate) fn note_skip(what: &str, reason: &str) {
    let skipped = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // Straight to the descriptor: libtest keeps what `eprintln!` says of a test that passes to
    // itself.
    sys::say(&format!(
        "SKIP {what}: {reason} (skip {skipped} of this program)\n"
    ));
}

/// Ends the test with a printed reason.
macro_rules! skip {
    ($name:expr, $($reason:tt)*) => {{
        crate::common::note_skip($name, &format!($($reason)*));
        return;
    }};
}
pub(crate) use skip;
