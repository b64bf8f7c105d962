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
use std::time::{Duration, SystemTime};

use self::columns::Columns;
use self::figures::Report;
use self::memory::Memory;
use self::meter::Meter;
use self::runner::Column;
use self::session::Session;
use self::workload::{LARGE, Offsets, Place};
use crate::figures::units;
use crate::ground::engine::BackendChoice;
use crate::ground::interrupt;
use crate::ground::scratch::Scratch;
use crate::report::setting::Setting;
use crate::report::{self, Outcome, html, print, progress};

/// Options of `nofault bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) profile: crate::run::Options,
    /// Directory to make the file in; the filesystem there is what is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Size of the file, rounded up to whole MiB [default: 256M, or what a PROFILE says]
    #[arg(long, value_name = "SIZE", value_parser = file_size)]
    pub(crate) size: Option<u64>,
    /// Time for each row in each column
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = units::parse_seconds)]
    pub(crate) seconds: Duration,
    /// Rounds that this time is divided into, or that a PROFILE is run for; figures are medians
    /// over them [default: 5, or 1 of a PROFILE]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: Option<u32>,
    /// Only the rows with this in their name; may be given again
    #[arg(long, value_name = "ROW", value_parser = row_name)]
    pub(crate) only: Vec<String>,
    /// List the rows and end
    #[arg(long)]
    pub(crate) list: bool,
    /// Measure instead what cold requests do to warm ones beside them
    #[arg(long, conflicts_with_all = ["only", "list"])]
    pub(crate) stall: bool,
    /// Directory for the file that the cold requests read, on another disk [default: a loop device
    /// over memory, if there can be one]
    #[arg(long, value_name = "DIR", requires = "stall")]
    pub(crate) cold_dir: Option<PathBuf>,
    /// Back end of the nofault column
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: BackendChoice,
    /// Print the figures as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the figures with charts to FILE as well, as one page of HTML; another page that is
    /// there is replaced
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "stall"])]
    pub(crate) html: Option<PathBuf>,
    /// Compare two files of --json, or of real fio, and measure nothing: the exit status is 0 if
    /// nothing is worse, 1 if something is, 2 if a file can't be used
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"],
        conflicts_with_all = ["profiles", "only", "list", "stall", "html", "size", "rounds", "seconds", "dir", "backend", "verbose"])]
    pub(crate) compare: Vec<PathBuf>,
    /// With --compare: differences up to so many percent do not count, however steady the rounds
    /// are
    #[arg(long, value_name = "PERCENT", default_value = "5", requires = "compare", value_parser = percent)]
    pub(crate) threshold: f64,
    /// Say on standard error which row is being measured
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

fn file_size(text: &str) -> Result<u64, String> {
    let bytes = units::parse_size(text)?;
    if bytes == 0 {
        return Err("the file has to hold something, 1M at least".into());
    }
    bytes
        .checked_next_multiple_of(LARGE as u64)
        .filter(|&b| b <= i64::MAX as u64)
        .ok_or_else(|| format!("`{text}` is more than a file can hold"))
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text
        .trim()
        .trim_end_matches('%')
        .parse()
        .ok()
        .filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
    number.ok_or_else(|| format!("`{text}` is not a number of percent, 0 or more"))
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

impl Arguments {
    /// The size of the file that is made where no profile says so.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.size.unwrap_or(256 << 20)
    }

    /// The rounds where no profile is run.
    pub(crate) fn row_rounds(&self) -> u32 {
        self.rounds.unwrap_or(5)
    }
}

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if !arguments.compare.is_empty() {
        return crate::compare::run(&arguments.compare, arguments.threshold, arguments.json);
    }
    if !arguments.profile.profiles.is_empty() {
        return crate::run::run(arguments);
    }
    if arguments.stall {
        crate::stall::run(arguments)
    } else {
        run_rows(arguments)
    }
}

fn run_rows(arguments: &Arguments) -> Outcome {
    let mut rows = workload::rows(arguments.file_bytes());
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
    let target = arguments
        .html
        .as_deref()
        .map(html::Target::new)
        .transpose()?;
    let begun = SystemTime::now();
    let scratch = Scratch::new(&arguments.dir, arguments.file_bytes())?;
    let stop = interrupt::watch(!scratch.has_name())
        .map_err(|e| format!("cannot watch for signals: {e}"))?;
    scratch.reserve(&arguments.dir)?;
    let largest = rows.iter().map(|row| row.request).max().unwrap_or(0);
    let memory = Memory::new(COLD_BYTES.max(largest)).map_err(|e| {
        format!(
            "no {} of memory for the buffers: {e}",
            units::size(COLD_BYTES as u64)
        )
    })?;

    let bar = progress::progress_bar();
    let filled = progress::fill(&scratch, &stop, &bar)?;
    let mut columns = Columns::new(&scratch, &memory, arguments.backend)?;
    let setting = Setting::new(
        &arguments.dir,
        &scratch,
        (columns.nofault().file(), columns.nofault().ring()),
        arguments.row_rounds(),
        arguments.seconds,
    );
    let mut report = Report {
        setting,
        rows: Vec::new(),
        notes: Vec::new(),
        interrupted: false,
    };
    if filled {
        let rounds =
            rows.len() as u64 * u64::from(arguments.row_rounds()) * 2 * Column::ALL.len() as u64;
        progress::begin_rounds(&bar, rounds);
        let offsets = Offsets::new(arguments.file_bytes(), 0x6e66);
        let place = Place {
            file: arguments.file_bytes(),
            offsets: &offsets,
            memory: &memory,
            stop: &stop,
        };
        let mut session = Session {
            rounds: arguments.row_rounds(),
            time: arguments.seconds,
            verbose: arguments.verbose,
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
    let status = finish(arguments, &report, stop.load(Ordering::Relaxed))?;
    if let Some(target) = target {
        target.write(&html::render(&page::page(&report, &arguments.dir, begun)))?;
    }
    Ok(status)
}

/// Prints the report; gives the exit status.
fn finish(arguments: &Arguments, report: &Report, signal: usize) -> Outcome {
    report::show(arguments.json, report, |paint| table::render(report, paint))?;
    let failed = report
        .rows
        .iter()
        .flat_map(|row| &row.columns)
        .any(|c| c.column == Column::Nofault.title() && c.unavailable.is_some());
    Ok(report::status(signal, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_requests_and_never_nothing() {
        assert_eq!(file_size("1"), Ok(1 << 20));
        assert_eq!(file_size("256M"), Ok(256 << 20));
        assert!(file_size("0").is_err());
        assert!(file_size("9223372036854775807").is_err());
    }

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
