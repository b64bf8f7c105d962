//! SIGINT and SIGTERM: the first one asks the run to end, so that it can show what it has; the
//! second one ends it at once. SIGXFSZ, which comes with a write beyond RLIMIT_FSIZE, is caught so
//! that the error of the write is what ends the run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

/// Installs the handlers. The number given back is 0 until a signal came, then that signal.
///
/// `at_once` allows the second signal to end the program without any cleaning up: only where
/// nothing has to be cleaned up.
pub(crate) fn watch(at_once: bool) -> io::Result<Arc<AtomicUsize>> {
    let (seen, which) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    for signal in [SIGINT, SIGTERM] {
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
