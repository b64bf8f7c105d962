//! The `nofault` program: what direct I/O costs here, and what is possible here.
//!
//! This file knows the command line and the exit status: 0 done, 1 failed, 2 wrong usage, 128 +
//! signal when interrupted. Each subcommand is a module of its own; none of them knows another's
//! options.

mod bench;
mod check;
mod check_command;
mod engine;
mod facts;
mod median;
mod probe;
mod text;
mod units;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Direct I/O on io_uring whose submission never takes a page fault.
#[derive(Parser)]
#[command(
    name = "nofault",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure nofault, a bare io_uring loop and the buffered path side by side, on a file made for
    /// it
    Bench(bench::Arguments),
    /// Say what direct I/O and io_uring can do for a file or a directory
    Probe(probe::Arguments),
    /// See which ways of doing I/O survive in a directory: the aio and page-fault regressions
    Check(check_command::Arguments),
}

/// Which back end the engine is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendChoice {
    /// io_uring where it is allowed, threads elsewhere
    Auto,
    /// io_uring or nothing
    Uring,
    /// Worker threads with pread and pwrite
    Threads,
}

/// What a subcommand ends with: the exit status, or one line that says what went wrong and what to
/// do.
pub(crate) type Outcome = Result<ExitCode, String>;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Check(arguments) => check_command::run(&arguments),
    };
    match outcome {
        Ok(status) => status,
        Err(line) => {
            // Nobody is left to tell when stderr itself is gone.
            let _ = writeln!(io::stderr(), "nofault: {line}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output; a reader that went away (`| head`) is no failure and no panic.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
