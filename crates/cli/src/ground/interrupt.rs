//! Signals that end a program: the first one asks the run to end, so that it shows what it has and
//! removes what it made; the second one ends it at once. SIGXFSZ, which comes with a write beyond
//! RLIMIT_FSIZE, is caught so that the error of the write is what ends the run.
//!
//! A signal that the program was started with as ignored stays ignored: SIGHUP under nohup(1).
//! Rust's runtime ignores SIGPIPE, so that a reader that goes away is an error of the write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
use signal_hook::flag;

/// The signals whose default is to end the program, but for those that tell of a fault in it and
/// SIGKILL, which can't be caught. SIGPWR and SIGSTKFLT are Linux's own.
const ENDING: [i32; 13] = [
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGTERM,
    SIGALRM,
    SIGUSR1,
    SIGUSR2,
    SIGVTALRM,
    SIGPROF,
    SIGXCPU,
    SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];

/// Installs the handlers. The number given back is 0 until a signal came, then that signal.
///
/// `at_once` allows the second signal to end the program without any cleaning up: only where
/// nothing has to be cleaned up.
pub(crate) fn watch(at_once: bool) -> io::Result<Arc<AtomicUsize>> {
    let (seen, which) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    for signal in ENDING.into_iter().chain(real_time) {
        if is_ignored(signal) {
            continue;
        }
        // In this order: handlers run in the order in which they are registered, and the first
        // signal must not find `seen` set already.
        if at_once {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
        }
        flag::register(signal, Arc::clone(&seen))?;
        flag::register_usize(signal, Arc::clone(&which), signal as usize)?;
    }
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(which)
}

/// Whether the program was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only; the kernel fills the structure, which lives until after the call, and
    // zeroes are a valid sigaction.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), found.as_mut_ptr()) == 0
            && found.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
