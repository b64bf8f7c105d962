//! The same reads and writes by nofault, by bare io_uring, by other runtimes and by threads, side
//! by side.
//!
//! Each peer runs each cell of the table (place, access, block size, depth) in a process of its
//! own, started from this same program: its peak memory is then its own, and its CPU time is all
//! that it used, io_uring's workers and other threads included. The processes of a cell live at the
//! same time and take turns, in alternating order. Each checks first that it reads and writes what
//! it should. First come turns without a clock in the loop, for requests a second and CPU, then
//! turns with two looks at the clock a request, for latencies. What is printed is the median of the
//! turns.

mod buffer;
mod child;
mod job;
mod options;
mod peers;
mod place;
mod ratios;
mod rounds;
mod table;
mod usage;
mod worker;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use options::Options;
use peers::Entry;
use place::Place;
use rounds::{Cell, Outcome};
use worker::Signals;

/// A cell and what became of each peer in it.
type Results = Vec<(Cell, Vec<(&'static str, Outcome)>)>;

fn main() -> ExitCode {
    let mut options = Options::parse();
    if let Some(start) = &options.child {
        return match child::run(start) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string(), 1),
        };
    }
    if options.list {
        let lines = peers::ALL
            .iter()
            .map(|entry| format!("{:26}{}\n", entry.name, entry.about));
        return say(&lines.collect::<String>())
            .map_or_else(|error| fail(&error.to_string(), 1), |()| ExitCode::SUCCESS);
    }
    let entries = match options.settle().and_then(|()| options.entries()) {
        Ok(entries) => entries,
        Err(line) => return fail(&line, 2),
    };
    match measure(&options, &entries) {
        Ok(code) => code,
        Err(error) => fail(&error.to_string(), 1),
    }
}

fn fail(line: &str, code: u8) -> ExitCode {
    eprintln!("peers: {line}");
    ExitCode::from(code)
}

fn measure(options: &Options, entries: &[&'static Entry]) -> io::Result<ExitCode> {
    let signals = Signals::watch()?;
    let machine = machine();
    say(&format!(
        "{machine}; {} MiB a file; medians of {} turns of {}\n",
        options.size >> 20,
        options.rounds,
        options.ops.map_or_else(
            || format!("about {} s", options.seconds),
            |ops| format!("{ops} requests")
        ),
    ))?;
    let mut results = Results::new();
    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    let mut headed = false;
    'places: for &name in &options.place {
        let place = match Place::new(name, &options.dir, options.size) {
            Ok(place) => place,
            Err(error) => {
                let name = if name == options::PlaceName::Disk {
                    "disk"
                } else {
                    "loop"
                };
                say(&format!("SKIP {name}: {error}\n"))?;
                missing.push(json!({ "place": name, "reason": error.to_string() }));
                continue;
            }
        };
        say(&format!("{}: {}\n", place.name, place.about))?;
        if !std::mem::replace(&mut headed, true) {
            say(&format!("\n{}", table::head()))?;
        }
        for cell in cells(options, &place) {
            let Ok(outcomes) =
                rounds::run(results.len(), &cell, &place, entries, options, &signals)
            else {
                break 'places;
            };
            let outcomes: Vec<_> = entries
                .iter()
                .map(|entry| entry.name)
                .zip(outcomes)
                .collect();
            say(&table::cell(&cell, &outcomes, &mut notes))?;
            results.push((cell, outcomes));
        }
        say("\n")?;
    }
    let ratios = ratios::of(&results);
    say(&table::ratios(&ratios, options.quick))?;
    let count = |is: fn(&Outcome) -> bool| {
        results
            .iter()
            .flat_map(|(_, outcomes)| outcomes)
            .filter(|(_, outcome)| is(outcome))
            .count()
    };
    let measured = count(|outcome| matches!(outcome, Outcome::Measured(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skip(_)));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    say(&format!(
        "\n{measured} measured, {skipped} skipped, {failed} failed\n"
    ))?;
    if let Some(file) = &options.json {
        let cells: Vec<_> = results
            .iter()
            .flat_map(|(cell, outcomes)| {
                outcomes.iter().map(move |(peer, outcome)| json!({ "cell": cell, "peer": peer, "outcome": outcome }))
            })
            .collect();
        let document = json!({
            "machine": machine,
            "rounds": options.rounds,
            "quick": options.quick,
            "interrupted": signals.seen().is_some(),
            "missing_places": missing,
            "results": cells,
            "ratios": ratios,
        });
        std::fs::write(file, format!("{document:#}\n")).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?;
    }
    Ok(match signals.seen() {
        Some(signal) => fail(&format!("ended by signal {signal}"), 128 + signal as u8),
        None if failed > 0 => ExitCode::FAILURE,
        None if measured == 0 => fail("nothing could be measured", 1),
        None => ExitCode::SUCCESS,
    })
}

/// The cells of one place. Reads come first: the checks need the file as it was made.
fn cells(options: &Options, place: &Place) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &access in &options.rw {
        for &block in &options.block {
            for &depth in &options.depth {
                cells.push(Cell {
                    place: place.name,
                    access,
                    block,
                    depth: depth as usize,
                });
            }
        }
    }
    cells
}

fn machine() -> String {
    let system = rustix::system::uname();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {processors} processors",
        system.release().to_string_lossy()
    )
}

/// Prints at once. A reader that went away ends the run, and with it everything that is to be taken
/// away.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
