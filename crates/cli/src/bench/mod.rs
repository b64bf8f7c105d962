//! `nofault bench`: nofault, a bare io_uring loop and the buffered path side by side, on a file
//! made for it.
//!
//! This file knows the options and the order in which things happen. Rounds alternate between the
//! columns, so that a noisy machine is noisy for all of them, and every figure is a median over the
//! rounds.

mod buffered;
mod columns;
mod figures;
mod memory;
mod meter;
mod nofault;
mod notes;
mod page;
mod ring;
mod runner;
mod session;
mod table;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use self::columns::Columns;
use self::figures::Report;
use self::memory::Memory;
use self::meter::Meter;
use self::runner::Column;
use self::session::Session;
use self::workload::{Offsets, Place};
use crate::figures::units;
use crate::ground::interrupt;
use crate::ground::options::Measure;
use crate::ground::scratch::Scratch;
use crate::report::setting::Setting;
use crate::report::{self, Outcome, html, print, progress};

/// Options of `nofault bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    measure: Measure,
    /// Only the rows with this in their name; may be given again
    #[arg(long, value_name = "ROW", value_parser = row_name)]
    only: Vec<String>,
    /// List the rows and end
    #[arg(long)]
    list: bool,
    /// Write the figures with charts to FILE as well, as one page of HTML; `-` is standard output.
    /// A page of ours that is there is replaced, any other file is left alone
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    html: Option<PathBuf>,
}

fn row_name(text: &str) -> Result<String, String> {
    let rows = workload::rows(u64::MAX);
    if !text.is_empty() && rows.iter().any(|row| row.name.contains(text)) {
        return Ok(text.to_owned());
    }
    let names: Vec<_> = rows.iter().map(|row| row.name).collect();
    Err(format!(
        "no row has that in its name; the rows are {}",
        names.join(", ")
    ))
}

/// Untouched memory for the cold rows: what a round may use up.
const COLD_BYTES: usize = 128 << 20;

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let measure = &arguments.measure;
    let mut rows = workload::rows(measure.size);
    if arguments.list {
        let list: String = rows
            .iter()
            .map(|row| format!("{:<22}{}\n", row.name, row.title()))
            .collect();
        return print(&list).map(|()| ExitCode::SUCCESS);
    }
    if !arguments.only.is_empty() {
        rows.retain(|row| arguments.only.iter().any(|part| row.name.contains(part)));
    }
    let target = report::page_target(arguments.html.as_deref(), arguments.measure.json)?;
    let begun = SystemTime::now();
    let scratch = Scratch::new(&measure.dir, measure.size)?;
    let stop = interrupt::watch(!scratch.has_name())
        .map_err(|e| format!("cannot watch for signals: {e}"))?;
    scratch.reserve(&measure.dir)?;
    let largest = rows.iter().map(|row| row.request).max().unwrap_or(0);
    let memory = Memory::new(COLD_BYTES.max(largest)).map_err(|e| {
        format!(
            "no {} of memory for the buffers: {e}",
            units::size(COLD_BYTES as u64)
        )
    })?;

    let bar = progress::progress_bar();
    let filled = progress::fill(&scratch, &stop, &bar)?;
    let mut columns = Columns::new(&scratch, &memory, measure.backend)?;
    let setting = Setting::new(
        &measure.dir,
        &scratch,
        (columns.nofault().file(), columns.nofault().ring()),
        measure.rounds,
        measure.seconds,
    );
    let mut report = Report {
        setting,
        rows: Vec::new(),
        notes: Vec::new(),
        interrupted: false,
    };
    if filled {
        let rounds = rows.len() as u64 * u64::from(measure.rounds) * 2 * Column::ALL.len() as u64;
        progress::begin_rounds(&bar, rounds);
        let offsets = Offsets::new(measure.size, 0x6e66);
        let place = Place {
            file: measure.size,
            offsets: &offsets,
            memory: &memory,
            stop: &stop,
        };
        let mut session = Session {
            rounds: measure.rounds,
            time: measure.seconds,
            verbose: measure.verbose,
            scratch: &scratch,
            place,
            bar: &bar,
            meter: Meter::new()?,
        };
        for row in &rows {
            report.rows.push(session.row(row, &mut columns)?);
            if stop.load(Ordering::Relaxed) != 0 {
                break;
            }
        }
    }
    bar.finish_and_clear();
    report.interrupted = stop.load(Ordering::Relaxed) != 0;
    report.notes = notes::notes(&report, &columns);
    if !target
        .as_ref()
        .is_some_and(html::Target::is_standard_output)
    {
        report::show(measure.json, &report, |paint| table::render(&report, paint))?;
    }
    let status = status(&report, stop.load(Ordering::Relaxed));
    if let Some(target) = target {
        target.write(&html::render(&page::page(&report, &measure.dir, begun)))?;
    }
    Ok(status)
}

/// The exit status.
fn status(report: &Report, signal: usize) -> ExitCode {
    let mut cells = report.rows.iter().flat_map(|row| &row.columns);
    let failed = cells.any(|c| c.column == Column::Nofault.title() && c.unavailable.is_some());
    report::status(signal, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_name_chooses_rows_and_a_wrong_one_lists_them() {
        assert!(row_name("cold").is_ok() && row_name("random-read-warm").is_ok());
        assert!(
            row_name("sideways")
                .expect_err("no such row")
                .contains("large-read-cold")
        );
        assert!(row_name("").is_err());
    }
}
