//! What a run tells of itself while it goes on, on standard error.

use std::io::{self, Write};
use std::sync::atomic::AtomicUsize;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::ground::scratch::Scratch;

/// A style of the bar.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// On standard error, and only if that is a terminal.
pub(crate) fn progress_bar() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

/// Fills the file that is measured on. False if there was a reason to stop.
pub(crate) fn fill(
    scratch: &Scratch,
    stop: &AtomicUsize,
    bar: &ProgressBar,
) -> Result<bool, String> {
    bar.set_style(style(
        "{bar:40} {percent:>3}%  filling {binary_total_bytes}, {binary_bytes_per_sec}",
    ));
    bar.set_length(scratch.bytes);
    scratch.fill(stop, |written| bar.set_position(written))
}

/// So many rounds are to come.
pub(crate) fn begin_rounds(bar: &ProgressBar, rounds: u64) {
    bar.set_style(style("{bar:30} {percent:>3}%  {wide_msg}"));
    bar.set_length(rounds);
    bar.set_position(0);
}

/// Says which row is being measured.
pub(crate) fn say(verbose: bool, bar: &ProgressBar, name: &str) -> Result<(), String> {
    if !verbose {
        return Ok(());
    }
    bar.suspend(|| writeln!(io::stderr(), "measuring {name}"))
        .map_err(|e| format!("cannot write to standard error: {e}"))
}
