//! Pages made from the command line's own description: completions for shells, and the manual.

use std::io;
use std::process::ExitCode;

use clap_complete::Shell;
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use crate::report::{Outcome, print};

/// Options of `nofault completions`.
#[derive(clap::Args)]
pub(crate) struct Completions {
    /// The shell that reads them
    shell: Shell,
}

/// Options of `nofault man`.
#[derive(clap::Args)]
pub(crate) struct Man {
    /// The command whose page it is [default: the page of the program]
    command: Option<String>,
}

/// Prints the completions of this command line.
pub(crate) fn completions(arguments: &Completions, mut all: clap::Command) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut all, "nofault", &mut text);
    print(&String::from_utf8_lossy(&text)).map(|()| ExitCode::SUCCESS)
}

/// Prints one page of the manual, as roff(7).
pub(crate) fn man(arguments: &Man, mut all: clap::Command) -> Outcome {
    // Gives the commands their full names.
    all.build();
    let command = match &arguments.command {
        None => &all,
        Some(name) => all
            .find_subcommand(name)
            .ok_or_else(|| format!("there is no command `{name}`; nofault --help lists them"))?,
    };
    let page = page(command).map_err(|e| format!("cannot make the page: {e}"))?;
    print(&String::from_utf8_lossy(&page)).map(|()| ExitCode::SUCCESS)
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let page = Page::new(command.clone());
    let mut out = Vec::new();
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut out)?;
    }
    let mut rest = Roff::new();
    if let Some(statuses) = command.get_after_help() {
        rest.control("SH", ["EXIT STATUS"]);
        // The help's lines: a status, and what it means.
        for line in statuses.to_string().lines().skip(1) {
            let (status, meaning) = line.trim().split_once(' ').unwrap_or((line, ""));
            rest.control("TP", []);
            rest.text([bold(status)]);
            rest.text([roman(meaning.trim())]);
        }
        rest.control("SH", ["SIGNALS"]);
        rest.text([roman(
            "A signal that asks the program to end (SIGHUP, SIGINT, SIGQUIT, SIGTERM and others) \
             ends the run: what was measured until then is shown, files that were made are \
             removed. A reader of standard output that goes away is no error.",
        )]);
        rest.control("SH", ["ENVIRONMENT"]);
        rest.control("TP", []);
        rest.text([bold("NO_COLOR")]);
        rest.text([roman("Tables have no colours, on a terminal either.")]);
    }
    rest.to_writer(&mut out)?;
    if command.has_subcommands() {
        page.render_version_section(&mut out)?;
    }
    Ok(out)
}
