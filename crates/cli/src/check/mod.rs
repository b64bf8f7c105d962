//! `nofault check DIR`: the command line, the order of the cells, and the exit status.
//!
//! Knows the command line and the shared [`suite`] of scenarios. Each cell gets a directory
//! of its own inside one private directory in DIR; both are removed, also after a signal.

mod columns;
mod json;
mod place;
pub(crate) mod suite;
mod table;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::suite::cell::Cell;
use self::suite::watch::{self, Report};
use self::suite::{Column, Scenario, Verdict, column, scenarios};
use crate::ground::interrupt;
use crate::report::{Outcome, print};
use place::Place;
use table::Table;

/// What `nofault check` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to check: any directory that can be written, on the filesystem in question
    #[arg(required_unless_present_any = ["list", "cell"])]
    dir: Option<PathBuf>,
    /// Run only scenarios whose name or number contains this; may be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// List the scenarios and what they do
    #[arg(long)]
    list: bool,
    /// Repeat the randomised scenarios with changing seeds for this long
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// The seed of the randomised scenarios, or the first one of a soak
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What carries out the requests of the nofault column
    #[arg(long, value_name = "auto|uring|threads", default_value = "auto", value_parser = columns::backend)]
    backend: nofault::Backend,
    /// The columns to run: all, or with --soak only nofault, unless told
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = columns::column)]
    columns: Vec<Column>,
    /// How much disk space one scenario may use, at least 4M
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = columns::size)]
    size: u64,
    /// After how long a cell is taken for hung
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..86400))]
    timeout: u64,
    /// Run one cell in the current directory; how the program starts itself
    #[arg(long, hide = true, value_name = "CELL", value_parser = columns::cell)]
    cell: Option<Cell>,
}

/// A cell and what became of it.
struct Done {
    scenario: &'static Scenario,
    column: Column,
    seed: u64,
    verdict: Verdict,
    took: Duration,
}

/// Runs the subcommand. The error is a line for the user.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if let Some(cell) = &arguments.cell {
        cell.run_here();
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.list {
        return print(&table::list()).map(|()| ExitCode::SUCCESS);
    }
    let selected = select(arguments);
    let Some(dir) = &arguments.dir else {
        return Err("name a directory".into());
    };
    if selected.is_empty() {
        return Err(
            "no scenario has such a name or number; nofault check --list shows them".into(),
        );
    }
    let signal = interrupt::watch(false).map_err(|e| format!("cannot watch for signals: {e}"))?;
    let mut place = Place::new(dir)?;
    place.has_room(arguments.size)?;
    let columns = match &arguments.columns[..] {
        [] if arguments.soak.is_some() => vec![Column::Nofault],
        [] => Column::ALL.to_vec(),
        some => Column::ALL
            .into_iter()
            .filter(|column| some.contains(column))
            .collect(),
    };
    let mut session = Session {
        arguments,
        columns,
        place: &mut place,
        signal: &signal,
        done: Vec::new(),
    };
    let mut table = Table::new(
        &session.columns,
        arguments.json,
        selected.len() * session.columns.len(),
    );
    table.head(&header(arguments, session.place))?;
    match arguments.soak {
        None => session.once(&selected, &mut table)?,
        Some(seconds) => session.soak(&selected, Duration::from_secs(seconds), &mut table)?,
    }
    let done = session.done;
    let interrupted = signal.load(Ordering::Relaxed);
    table.end(&done, interrupted != 0)?;
    if arguments.json {
        print(&json::document(arguments, &place, &done, interrupted != 0))?;
    }
    place.remove();
    if interrupted != 0 {
        return Ok(ExitCode::from(128 + u8::try_from(interrupted).unwrap_or(0)));
    }
    let bad = done
        .iter()
        .any(|cell| cell.column == Column::Nofault && cell.verdict.is_bad());
    Ok(ExitCode::from(u8::from(bad)))
}

fn select(arguments: &Arguments) -> Vec<&'static Scenario> {
    let wanted = |scenario: &&Scenario| {
        let named = |word: &String| {
            scenario.name.contains(word.as_str()) || scenario.number.contains(word.as_str())
        };
        (arguments.only.is_empty() || arguments.only.iter().any(named))
            && (arguments.soak.is_none() || scenario.randomised)
    };
    // Those that test the watchdog run only where their whole name is given.
    let hidden = |name: &String| {
        scenarios::find(name).filter(|found| {
            !scenarios::ALL
                .iter()
                .any(|listed| listed.name == found.name)
        })
    };
    scenarios::ALL
        .iter()
        .filter(wanted)
        .chain(arguments.only.iter().filter_map(hidden))
        .collect()
}

fn header(arguments: &Arguments, place: &Place) -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}: {}, Linux {}, back end {}, {} MiB",
        place.dir.display(),
        place.filesystem,
        release.trim(),
        column::backend_name(arguments.backend),
        arguments.size >> 20
    )
}

/// The program starts itself for each cell.
fn launch(cell: &Cell) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["check", "--cell", &cell.to_word()]);
    Ok(command)
}

struct Session<'a> {
    arguments: &'a Arguments,
    columns: Vec<Column>,
    place: &'a mut Place,
    signal: &'a AtomicUsize,
    done: Vec<Done>,
}

impl Session<'_> {
    /// Every scenario in every column.
    fn once(&mut self, selected: &[&'static Scenario], table: &mut Table) -> Result<(), String> {
        for scenario in selected {
            let first = self.done.len();
            for column in self.columns.clone() {
                table.about_to(scenario, column);
                if !self.cell(scenario, column, self.arguments.seed)? {
                    return table.row(scenario, &self.done[first..]);
                }
            }
            table.row(scenario, &self.done[first..])?;
        }
        Ok(())
    }

    /// Rounds over the randomised scenarios until the time is over, each with another seed. Keeps
    /// what is bad, and counts the rest.
    fn soak(
        &mut self,
        selected: &[&'static Scenario],
        time: Duration,
        table: &mut Table,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let mut seed = self.arguments.seed;
        while begun.elapsed() < time {
            for scenario in selected {
                for column in self.columns.clone() {
                    table.about_to(scenario, column);
                    if begun.elapsed() >= time || !self.cell(scenario, column, seed)? {
                        return Ok(());
                    }
                }
            }
            table.round(seed, &self.done)?;
            seed += 1;
        }
        Ok(())
    }

    /// One cell; false when the run is to end.
    fn cell(
        &mut self,
        scenario: &'static Scenario,
        column: Column,
        seed: u64,
    ) -> Result<bool, String> {
        let cell = Cell {
            scenario: scenario.name.to_owned(),
            column,
            backend: self.arguments.backend,
            size_bytes: self.arguments.size,
            seed,
        };
        let dir = self.place.cell()?;
        let stop = || self.signal.load(Ordering::Relaxed) != 0;
        let Report {
            verdict,
            took,
            left_behind,
            not_started,
        } = watch::run(
            &launch,
            &cell,
            &dir,
            Duration::from_secs(self.arguments.timeout),
            &stop,
        );
        self.place.cell_ended(&dir, left_behind);
        if let Some(reason) = not_started {
            return Err(format!("{reason}; {} done before", self.done.len()));
        }
        let Some(verdict) = verdict else {
            return Ok(false);
        };
        if verdict.is_bad() {
            // On a full disk a scenario says nothing of the I/O.
            self.place.has_room(self.arguments.size)?;
        }
        self.done.push(Done {
            scenario,
            column,
            seed,
            verdict,
            took,
        });
        Ok(true)
    }
}
