//! The `nofault` program: what direct I/O costs here, and what is possible here.
//!
//! This file knows the command line and the exit status: 0 done, 1 failed, 2 wrong usage, 128 +
//! signal when interrupted. Each subcommand is a module of its own; none of them knows another's
//! options.

mod bench;
mod check;
mod compare;
mod faults;
mod figures;
mod ground;
mod probe;
mod report;
mod run;
mod stall;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Check(check::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
