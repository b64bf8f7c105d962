//! The `nofault` program.
//!
//! This file knows the command line and the exit status.

mod check;
mod check_command;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Direct I/O on io_uring whose submission never takes a page fault.
#[derive(Parser)]
#[command(name = "nofault", version, about, subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// See which ways of doing I/O survive in a directory: the aio and page-fault regressions
    Check(check_command::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
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
