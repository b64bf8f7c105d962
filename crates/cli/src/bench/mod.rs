//! `nofault bench`: nofault, a bare io_uring loop and the buffered path side by side, on a file
//! made for it.
//!
//! This file knows the options and the order in which things happen. Rounds alternate between the
//! columns, so that a noisy machine is noisy for all of them, and every figure is a median over the
//! rounds.

mod buffered;
mod columns;
mod compare;
mod curve;
mod html;
mod interrupt;
mod machine;
mod memory;
mod meter;
mod nofault;
mod profile;
mod report;
mod ring;
mod rows_page;
mod runner;
mod scratch;
mod stall;
mod stall_command;
mod table;
mod timeline;
mod workload;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use self::columns::Columns;
use self::memory::Memory;
use self::meter::{Meter, Pass, Round};
use self::report::{Cell, Figures, Report, RowReport, Setting};
use self::runner::Column;
use self::scratch::Scratch;
use self::table::Paint;
use self::workload::{Access, Feed, LARGE, Offsets, Place, Row};
use crate::engine::{FileFacts, RingFacts};
use crate::{BackendChoice, Outcome, facts, print, units};

/// Options of `nofault bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    profile: profile::Options,
    /// Directory to make the file in; the filesystem there is what is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Size of the file, rounded up to whole MiB [default: 256M, or what a PROFILE says]
    #[arg(long, value_name = "SIZE", value_parser = file_size)]
    size: Option<u64>,
    /// Time for each row in each column
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = units::parse_seconds)]
    seconds: Duration,
    /// Rounds that this time is divided into, or that a PROFILE is run for; figures are medians
    /// over them [default: 5, or 1 of a PROFILE]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Only the rows with this in their name; may be given again
    #[arg(long, value_name = "ROW", value_parser = row_name)]
    only: Vec<String>,
    /// List the rows and end
    #[arg(long)]
    list: bool,
    /// Measure instead what cold requests do to warm ones beside them
    #[arg(long, conflicts_with_all = ["only", "list"])]
    stall: bool,
    /// Directory for the file that the cold requests read, on another disk [default: a loop device
    /// over memory, if there can be one]
    #[arg(long, value_name = "DIR", requires = "stall")]
    cold_dir: Option<PathBuf>,
    /// Back end of the nofault column
    #[arg(long, value_enum, default_value = "auto")]
    backend: BackendChoice,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Write the figures with charts to FILE as well, as one page of HTML; another page that is
    /// there is replaced
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "stall"])]
    html: Option<PathBuf>,
    /// Compare two files of --json, or of real fio, and measure nothing: the exit status is 0 if
    /// nothing is worse, 1 if something is, 2 if a file can't be used
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"],
        conflicts_with_all = ["profiles", "only", "list", "stall", "html", "size", "rounds", "seconds", "dir", "backend", "verbose"])]
    compare: Vec<PathBuf>,
    /// With --compare: differences up to so many percent do not count, however steady the rounds
    /// are
    #[arg(long, value_name = "PERCENT", default_value = "5", requires = "compare", value_parser = percent)]
    threshold: f64,
    /// Say on standard error which row is being measured
    #[arg(short, long)]
    verbose: bool,
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

/// Of a cell's time, the part that goes to the joined rounds, which most figures come from.
const JOINED_SHARE: f64 = 0.7;

/// Requests of a buffered writing round where no direct column shows how many the device takes in
/// that time.
const BUFFERED_WRITES: u64 = 2048;

impl Arguments {
    /// The size of the file that is made where no profile says so.
    fn file_bytes(&self) -> u64 {
        self.size.unwrap_or(256 << 20)
    }

    /// The rounds where no profile is run.
    fn row_rounds(&self) -> u32 {
        self.rounds.unwrap_or(5)
    }
}

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if !arguments.compare.is_empty() {
        return compare::run(&arguments.compare, arguments.threshold, arguments.json);
    }
    if !arguments.profile.profiles.is_empty() {
        return profile::run(arguments);
    }
    if arguments.stall {
        stall_command::run(arguments)
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

    let bar = progress_bar();
    let filled = fill(&scratch, &stop, &bar)?;
    let mut columns = Columns::new(&scratch, &memory, arguments.backend)?;
    let setting = setting(
        arguments,
        &scratch,
        columns.nofault().file(),
        columns.nofault().ring(),
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
        begin_rounds(&bar, rounds);
        let offsets = Offsets::new(arguments.file_bytes(), 0x6e66);
        let place = Place {
            file: arguments.file_bytes(),
            offsets: &offsets,
            memory: &memory,
            stop: &stop,
        };
        let mut session = Session {
            arguments,
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
    report.notes = notes(&report, &columns);
    let status = finish(arguments, &report, stop.load(Ordering::Relaxed))?;
    if let Some(target) = target {
        target.write(&html::render(&rows_page::page(
            &report,
            &arguments.dir,
            begun,
        )))?;
    }
    Ok(status)
}

/// Prints the report; gives the exit status.
fn finish(arguments: &Arguments, report: &Report, signal: usize) -> Outcome {
    show(arguments, report, |paint| table::render(report, paint))?;
    let failed = report
        .rows
        .iter()
        .flat_map(|row| &row.columns)
        .any(|c| c.column == Column::Nofault.title() && c.unavailable.is_some());
    Ok(status(signal, failed))
}

/// Prints what was found out, as the user wants it.
fn show(
    arguments: &Arguments,
    report: &impl Serialize,
    render: impl FnOnce(Paint) -> String,
) -> Result<(), String> {
    if arguments.json {
        let text =
            serde_json::to_string_pretty(report).map_err(|e| format!("cannot write JSON: {e}"))?;
        return print(&(text + "\n"));
    }
    let colour =
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    print(&render(Paint(colour)))
}

/// The exit status of a run that was ended by this signal, or by none (0).
fn status(signal: usize, failed: bool) -> ExitCode {
    match u8::try_from(signal) {
        Ok(signal @ 1..) => ExitCode::from(128 + signal),
        _ if failed => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// What the rounds need all the time.
struct Session<'a> {
    arguments: &'a Arguments,
    scratch: &'a Scratch,
    place: Place<'a>,
    bar: &'a ProgressBar,
    meter: Meter,
}

/// The rounds of one row in one column so far.
#[derive(Default)]
struct Rounds {
    joined: Vec<Round>,
    split: Vec<Round>,
    failed: Option<String>,
}

impl Session<'_> {
    /// All rounds of one row, alternating between the columns.
    fn row(&mut self, row: &Row, columns: &mut Columns<'_>) -> Result<RowReport, String> {
        say(self.arguments, self.bar, row.name)?;
        let mut cells: [Rounds; Column::ALL.len()] = Default::default();
        'rounds: for number in 0..self.arguments.row_rounds() {
            for pass in [Pass::Joined, Pass::Split] {
                for turn in 0..Column::ALL.len() {
                    // Each round begins with another column: whatever one leaves behind in the
                    // device, it is not always the same one's gain.
                    let column = Column::ALL[(number as usize + turn) % Column::ALL.len()];
                    self.bar
                        .set_message(format!("{}, {}", row.title(), column.title()));
                    self.bar.inc(1);
                    if columns.unavailable(column).is_none()
                        && cells[column as usize].failed.is_none()
                    {
                        self.round(row, number, pass, column, columns, &mut cells)?;
                    }
                    if self.place.stop.load(Ordering::Relaxed) != 0 {
                        break 'rounds;
                    }
                }
            }
        }
        let mut report = RowReport::new(row);
        for (column, rounds) in Column::ALL.into_iter().zip(cells) {
            let unavailable = rounds
                .failed
                .or_else(|| columns.unavailable(column).map(str::to_owned));
            let figures = if unavailable.is_none() {
                Figures::of(&rounds.joined, &rounds.split)
            } else {
                None
            };
            report.columns.push(Cell {
                column: column.title(),
                figures,
                unavailable,
                rounds: rounds.joined,
            });
        }
        report.compare();
        Ok(report)
    }

    fn round(
        &mut self,
        row: &Row,
        number: u32,
        pass: Pass,
        column: Column,
        columns: &mut Columns<'_>,
        cells: &mut [Rounds; 3],
    ) -> Result<(), String> {
        self.scratch
            .cool()
            .and_then(|()| self.place.memory.cool())
            .map_err(|e| format!("cannot make ready for a round: {e}"))?;
        let share = if pass == Pass::Joined {
            JOINED_SHARE
        } else {
            1.0 - JOINED_SHARE
        };
        let time = self
            .arguments
            .seconds
            .mul_f64(share / f64::from(self.arguments.row_rounds()));
        let most = if column == Column::Buffered && row.access == Access::Write {
            buffered_writes(cells)
        } else {
            u64::MAX
        };
        // Rounds walk through the file; the columns of one round walk through the same part.
        let start = u64::from(number).wrapping_mul(
            self.arguments.file_bytes()
                / row.request as u64
                / u64::from(self.arguments.row_rounds()),
        );
        let runner = columns.runner(column, pass);
        let deadline = Instant::now() + time;
        let mut feed = Feed::new(*row, self.place, deadline, most, start);
        let cell = &mut cells[column as usize];
        match runner.and_then(|runner| runner.round(&mut feed, pass, &mut self.meter)) {
            Ok(()) if pass == Pass::Joined => cell.joined.push(self.meter.round()),
            Ok(()) => cell.split.push(self.meter.round()),
            Err(error) => cell.failed = Some(format!("a request failed: {error}")),
        }
        Ok(())
    }
}

/// Says which row is being measured, to who wants to know.
fn say(arguments: &Arguments, bar: &ProgressBar, name: &str) -> Result<(), String> {
    if !arguments.verbose {
        return Ok(());
    }
    bar.suspend(|| writeln!(io::stderr(), "measuring {name}"))
        .map_err(|e| format!("cannot write to standard error: {e}"))
}

/// How many requests a buffered writing round may make: as many as a direct one did in its time.
/// The page cache would take many more, and the sync after them would have no bound.
fn buffered_writes(cells: &[Rounds; 3]) -> u64 {
    let direct = [Column::Nofault, Column::Bare]
        .map(|c| cells[c as usize].joined.iter().map(|r| r.requests).max());
    direct
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(BUFFERED_WRITES)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// On standard error, and only if that is a terminal.
fn progress_bar() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

fn fill(scratch: &Scratch, stop: &AtomicUsize, bar: &ProgressBar) -> Result<bool, String> {
    bar.set_style(style(
        "{bar:40} {percent:>3}%  filling {binary_total_bytes}, {binary_bytes_per_sec}",
    ));
    bar.set_length(scratch.bytes);
    scratch.fill(stop, |written| bar.set_position(written))
}

fn begin_rounds(bar: &ProgressBar, rounds: u64) {
    bar.set_style(style("{bar:30} {percent:>3}%  {wide_msg}"));
    bar.set_length(rounds);
    bar.set_position(0);
}

fn setting(
    arguments: &Arguments,
    scratch: &Scratch,
    file: FileFacts,
    engine: RingFacts,
) -> Setting {
    Setting {
        version: env!("CARGO_PKG_VERSION"),
        kernel: facts::kernel_release(),
        dir: std::fs::canonicalize(&arguments.dir)
            .unwrap_or_else(|_| arguments.dir.clone())
            .display()
            .to_string(),
        filesystem: scratch.filesystem.clone(),
        file_bytes: scratch.bytes,
        file,
        engine,
        rounds: arguments.row_rounds(),
        seconds_per_cell: arguments.seconds.as_secs_f64(),
    }
}

/// What has to be known to read the figures; only what the rows shown need.
fn notes(report: &Report, columns: &Columns<'_>) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Medians over {} rounds, which alternate between the columns. Latency: from making a request to seeing it done. CPU: user and \
             system time of this process, io_uring's workers included, writeback by the kernel's own threads not.",
            report.setting.rounds
        ),
        "Longest submit: the longest time for which one submission held the thread in a round; measured in rounds of their own, in which \
         submitting and waiting are two system calls. Where buffered has one request at a time, it is the whole pread or pwrite."
            .into(),
        "Cold buffers: every request has anonymous memory that was never touched, in 4 KiB pages. Warm: touched before; 4 KiB ones are \
         registered for nofault and bare io_uring."
            .into(),
        "Buffered: nothing of the file is in the page cache when a round begins. 4 KiB rows go through io_uring on a buffered descriptor \
         at the same depth, the others through pread and pwrite in one thread."
            .into(),
    ];
    if matches!(report.setting.filesystem.as_str(), "tmpfs" | "ramfs") {
        notes.push(format!(
            "On {} the file itself is the page cache: it stays there, and no column waits for a device.",
            report.setting.filesystem
        ));
    }
    if report.rows.iter().any(|row| row.access == "write") {
        notes.push(
            "Writes: every round ends with one fdatasync, and its time counts; buffered rounds write no more than the direct ones.".into(),
        );
    }
    notes.extend(columns.notes());
    let mut failures: Vec<String> = report
        .rows
        .iter()
        .flat_map(|row| {
            row.columns.iter().filter_map(|cell| {
                cell.unavailable
                    .as_ref()
                    .map(|reason| format!("{}: {reason}", cell.column))
            })
        })
        .collect();
    failures.dedup();
    failures.sort();
    failures.dedup();
    notes.extend(failures);
    notes
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

    #[test]
    fn buffered_rounds_write_what_the_faster_direct_column_wrote() {
        let round = |requests| Rounds {
            joined: vec![Round {
                requests,
                ..Round::default()
            }],
            ..Rounds::default()
        };
        assert_eq!(
            buffered_writes(&[round(10), round(30), Rounds::default()]),
            30
        );
        assert_eq!(buffered_writes(&Default::default()), BUFFERED_WRITES);
    }
}
