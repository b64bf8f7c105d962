//! `nofault run JOBFILE...`: fio's job files, carried out by nofault and by a bare ring, and if
//! asked for by fio itself, side by side.
//!
//! This file knows the options and the order in which things happen: all is read and looked at
//! before anything is written; then group after group, each in rounds that alternate between the
//! columns; files are removed as soon as no later group uses them.

mod engine_lane;
mod figures;
mod files;
mod fio;
mod group;
mod guard;
mod history;
mod json;
mod lane;
mod left_over;
mod memory;
mod page;
mod plan;
mod record;
mod ring_lane;
mod script;
mod table;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use indicatif::ProgressBar;

use self::figures::{Cell, JobReport, Report};
use self::files::Files;
use self::fio::Fio;
use self::group::{Column, RUN_TICKS, Watch};
use self::plan::{Changes, Group, Plan};
use crate::figures::units;
use crate::ground::engine::BackendChoice;
use crate::ground::facts;
use crate::ground::interrupt;
use crate::ground::options::{file_size, rounds};
use crate::report::progress::{self, progress_bar, style};
use crate::report::{self, Outcome, html};

/// Options of `nofault run`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// fio job files to carry out; files of theirs are made in --dir and removed at the end
    #[arg(value_name = "JOBFILE", required = true)]
    files: Vec<PathBuf>,
    /// Directory for the files that the jobs name
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Size of each file, whatever the job files say, rounded up to whole MiB
    #[arg(long, value_name = "SIZE", value_parser = file_size)]
    size: Option<u64>,
    /// Run each job so long, whatever the job files say
    #[arg(long, value_name = "SECONDS", value_parser = units::parse_seconds)]
    runtime: Option<Duration>,
    /// Run the job files so many times; figures are medians over the rounds
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = rounds())]
    rounds: u32,
    /// Let the jobs write to files and block devices that are there already
    #[arg(long)]
    overwrite: bool,
    /// Let real fio run the same jobs in the same rounds: the one in the PATH, or PROGRAM. Its
    /// columns are io_uring, libaio, and psync through the page cache. One that it does not offer,
    /// that the system refuses it, or that takes too long is not available; the command fails if a
    /// request of fio's did
    #[arg(
        long,
        value_name = "PROGRAM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "fio"
    )]
    fio: Option<PathBuf>,
    /// End a run of fio that takes longer [default: what its job may take on a slow disk, and a
    /// minute]
    #[arg(long, value_name = "SECONDS", requires = "fio", value_parser = units::parse_seconds)]
    fio_timeout: Option<Duration>,
    /// Back end of the nofault columns
    #[arg(long, value_enum, default_value = "auto")]
    backend: BackendChoice,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Write the figures with charts to FILE as well, as one page of HTML; `-` is standard output.
    /// A page of ours that is there is replaced, any other file is left alone
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Say on standard error which job is being measured
    #[arg(short, long)]
    verbose: bool,
}

/// Runs the job files.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let changes = Changes {
        dir: &arguments.dir,
        size: arguments.size,
        runtime: arguments.runtime,
    };
    let mut plan = Plan::read(&arguments.files, &changes)?;
    for warning in &plan.warnings {
        // Nobody is left to tell when stderr itself is gone.
        let _ = writeln!(io::stderr(), "nofault: {warning}");
    }
    plan.files.check(arguments.overwrite)?;
    let target = report::page_target(arguments.html.as_deref(), arguments.json)?;
    let begun = SystemTime::now();
    // The second signal does not end it at once: there are files to be removed.
    let stop = interrupt::watch(false).map_err(|e| format!("cannot watch for signals: {e}"))?;
    let fio = arguments
        .fio
        .as_ref()
        .map(|program| Fio::find(program, arguments.fio_timeout, &stop))
        .transpose()?;
    let bar = progress_bar();
    let rounds = arguments.rounds;
    let columns = Column::all(fio.is_some());
    let mut report = Report::new(&arguments.dir, rounds, fio.as_ref().map(Fio::facts));
    report
        .notes
        .extend(fio.iter().flat_map(|fio| fio.notes(&plan.groups)));
    let runs: u64 = plan.groups.len() as u64 * u64::from(rounds) * columns.len() as u64;
    let mut session = Session {
        arguments,
        rounds,
        columns,
        fio,
        stop: &stop,
        bar: &bar,
        position: 0,
        request_failed: false,
    };
    for at in 0..plan.groups.len() {
        let (jobs, notes) = session.group(&mut plan, at, runs)?;
        report.add(jobs, notes);
        for file in plan.groups[at].last_use.clone() {
            plan.files.remove(file);
        }
        if stop.load(Ordering::Relaxed) != 0 {
            break;
        }
    }
    bar.finish_and_clear();
    let request_failed = session.request_failed;
    // Before anything is printed: whoever reads the end of it finds the directory as it was.
    drop(plan);
    report.interrupted = stop.load(Ordering::Relaxed) != 0;
    let ours = |cell: &&Cell| matches!(cell.column, Column::Direct | Column::Buffered);
    let mut cells = report.jobs.iter().flat_map(|job| &job.cells);
    let failed =
        request_failed || cells.any(|cell| cell.differs || ours(&cell) && cell.failed.is_some());
    if !target
        .as_ref()
        .is_some_and(html::Target::is_standard_output)
    {
        report::show(arguments.json, &json::document(&report), |paint| {
            table::render(&report, paint)
        })?;
    }
    if let Some(target) = target {
        target.write(&html::render(&page::page(&report, &arguments.dir, begun)))?;
    }
    Ok(report::status(stop.load(Ordering::Relaxed), failed))
}

struct Session<'a> {
    arguments: &'a Arguments,
    rounds: u32,
    columns: Vec<Column>,
    fio: Option<Fio>,
    stop: &'a AtomicUsize,
    bar: &'a ProgressBar,
    position: u64,
    /// A request of fio's has failed.
    request_failed: bool,
}

impl Session<'_> {
    /// All rounds of one group in all columns.
    fn group(
        &mut self,
        plan: &mut Plan,
        at: usize,
        runs: u64,
    ) -> Result<(Vec<JobReport>, Vec<String>), String> {
        let mut jobs: Vec<JobReport> = plan.groups[at]
            .jobs
            .iter()
            .map(|job| JobReport::new(job, &self.columns))
            .collect();
        let mut notes: Vec<String> = Vec::new();
        if !self.lay_out(plan, at)? {
            return Ok((jobs, notes));
        }
        let (group, files) = (&plan.groups[at], &mut plan.files);
        self.bar
            .set_style(style("{bar:20} {percent:>3}%  {wide_msg}  {eta} left"));
        self.bar.set_length(runs * RUN_TICKS);
        let title = title(group);
        for round in 0..self.rounds as usize {
            for turn in 0..self.columns.len() {
                // Each round begins with another column, so that it is not always the same one that
                // gains from what another leaves behind.
                let at = (round + turn) % self.columns.len();
                let column = self.columns[at];
                self.bar.set_position(self.position);
                if jobs.iter().all(|job| job.cells[at].failed.is_none()) {
                    if self.arguments.verbose {
                        progress::say(
                            self.arguments.verbose,
                            self.bar,
                            &format!("{title}, {}", column.title()),
                        )?;
                    }
                    group
                        .files()
                        .into_iter()
                        .try_for_each(|file| files.reset(file))?;
                    let outcome = self.run(group, column, files, &title)?;
                    self.request_failed |= outcome.request_failed;
                    jobs.iter_mut()
                        .zip(outcome.jobs)
                        .for_each(|(job, result)| job.cells[at].add(result));
                    notes.extend(outcome.notes);
                }
                self.position += RUN_TICKS;
                if self.stop.load(Ordering::Relaxed) != 0 {
                    return Ok((jobs, notes));
                }
            }
        }
        Ok((jobs, notes))
    }

    /// One run of a group in one column.
    fn run(
        &self,
        group: &Group,
        column: Column,
        files: &mut Files,
        title: &str,
    ) -> Result<group::Outcome, String> {
        let watch = Watch {
            signal: self.stop,
            backend: self.arguments.backend,
            bar: self.bar,
            from: self.position,
            title,
        };
        match (column, &self.fio) {
            (Column::Fio(engine), Some(fio)) => {
                group
                    .files()
                    .into_iter()
                    .try_for_each(|file| files.hand_out(file))?;
                let outcome = fio.run(group, engine, &self.arguments.dir, &watch);
                group
                    .files()
                    .into_iter()
                    .try_for_each(|file| files.take_back(file))?;
                Ok(outcome)
            }
            _ => Ok(group::run(group, column, files, &watch)),
        }
    }

    /// Makes the files of a group. False if there was a reason to stop.
    fn lay_out(&mut self, plan: &mut Plan, at: usize) -> Result<bool, String> {
        let files = plan.groups[at].files();
        let total: u64 = files.iter().map(|&file| plan.files.missing(file)).sum();
        self.bar.set_style(style("{bar:20} {percent:>3}%  laying out {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"));
        self.bar.set_length(total.max(1));
        let mut before = 0;
        for file in files {
            let missing = plan.files.missing(file);
            if !plan.files.lay_out(file, self.stop, |written| {
                self.bar.set_position(before + written)
            })? {
                return Ok(false);
            }
            before += missing;
        }
        Ok(self.stop.load(Ordering::Relaxed) == 0)
    }
}

fn title(group: &Group) -> String {
    group
        .jobs
        .iter()
        .map(|job| job.job.name.as_str())
        .collect::<Vec<_>>()
        .join("+")
}

/// The kernel's release, for the head of reports.
fn kernel() -> String {
    facts::kernel_release()
}
