//! The `nofault` program: what direct I/O costs here, and what is possible here.
//!
//! This file knows the commands and the exit status: 0 done, 1 what was measured or checked failed,
//! 2 wrong usage or set-up, 128 + signal when ended by a signal. Each command is a module of its
//! own; none of them names another.

mod bench;
mod check;
mod compare;
mod faults;
mod figures;
mod ground;
mod pages;
mod probe;
mod report;
mod run;
mod spelling;
mod stall;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// The end of a command's help: what its status 1 means, and what the others mean for all.
macro_rules! exit_status {
    ($failed:literal) => {
        concat!(
            "Exit status:\n  0      done\n  1      ",
            $failed,
            "\n  2      wrong usage, or the set-up failed; one line says what to do\n  128+N  ended \
             by signal N"
        )
    };
}

/// Direct I/O on io_uring whose submission never takes a page fault.
#[derive(Parser)]
#[command(
    name = "nofault",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = exit_status!("what was measured or checked failed, see the command's help")
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure nofault, a bare io_uring loop and the buffered path side by side, on a file made for
    /// it
    #[command(after_help = exit_status!("a request of nofault's failed"))]
    Bench(bench::Arguments),
    /// Carry out fio's job files by nofault and by a bare io_uring loop, side by side
    #[command(after_help = exit_status!("a request failed, or what was read is not what was written"))]
    Run(run::Arguments),
    /// Measure what cold requests do to warm ones beside them
    #[command(after_help = exit_status!("a request of nofault's failed"))]
    Stall(stall::Arguments),
    /// Compare the figures of two result files, and measure nothing
    #[command(after_help = exit_status!("something is worse, or fails now"))]
    Compare(compare::Arguments),
    /// See which ways of doing I/O survive in a directory: the aio and page-fault regressions
    #[command(after_help = exit_status!("a scenario failed or hung in the nofault column"))]
    Check(check::Arguments),
    /// Say what direct I/O and io_uring can do for a file or a directory
    #[command(after_help = exit_status!("which way requests go there could not be found out"))]
    Probe(probe::Arguments),
    /// Print a shell's completions
    Completions(pages::Completions),
    /// Print a page of the manual
    Man(pages::Man),
}

fn main() -> ExitCode {
    let arguments = match Arguments::command().try_get_matches() {
        Ok(matches) => Arguments::from_arg_matches(&matches),
        Err(error) => Err(error),
    };
    let outcome = match arguments {
        Ok(arguments) => match &arguments.command {
            Command::Bench(arguments) => bench::run(arguments),
            Command::Run(arguments) => run::run(arguments),
            Command::Stall(arguments) => stall::run(arguments),
            Command::Compare(arguments) => compare::run(arguments),
            Command::Check(arguments) => check::run(arguments),
            Command::Probe(arguments) => probe::run(arguments),
            Command::Completions(arguments) => pages::completions(arguments, Arguments::command()),
            Command::Man(arguments) => pages::man(arguments, Arguments::command()),
        },
        Err(error) => match spelling::of_old(std::env::args().skip(1), &error) {
            Some(line) => Err(line),
            None => error.exit(),
        },
    };
    match outcome {
        Ok(status) => status,
        Err(line) => {
            // Nobody is left to tell when stderr itself is gone.
            let _ = writeln!(io::stderr(), "nofault: {line}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_its_exit_status_means() {
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let measures = !["completions", "man"].contains(&name);
            assert_eq!(command.get_after_help().is_some(), measures, "{name}");
        }
    }
}
