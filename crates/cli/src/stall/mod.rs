//! `nofault stall`: what cold requests do to the warm ones beside them. See `rig` for
//! what is measured, and how.
//!
//! This file knows the options, the peers that the program has, and what there is to say about the
//! place.

pub(crate) mod rig;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use io_uring::squeue::Flags;
use nofault::{IoPath, Timing};
use serde::Serialize;

use self::rig::bare::{self, Bare};
use self::rig::cold::Scale;
use self::rig::nofault::{ENGINE_DEPTH, Nofault};
use self::rig::place::{ColdFile, open_direct};
use self::rig::stream::Limits;
use self::rig::{Bench, Column, Row, table};
use crate::figures::text::wrap;
use crate::ground::engine::{self, FileFacts, RingFacts};
use crate::ground::facts;
use crate::ground::options::Measure;
use crate::ground::scratch::Scratch;
use crate::ground::{interrupt, ring};
use crate::report::Outcome;
use crate::report::progress::{begin_rounds, fill, progress_bar, say};
use crate::report::setting::Setting;
use crate::report::table::{self as frame, Paint, WIDTH};
use crate::report::{show, status};

/// Options of `nofault stall`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    measure: Measure,
    /// Directory for the file that the cold requests read, on another disk [default: a loop device
    /// over memory, if there can be one]
    #[arg(long, value_name = "DIR")]
    cold_dir: Option<PathBuf>,
}

/// Everything that a run found out.
#[derive(Serialize)]
struct StallReport {
    #[serde(flatten)]
    setting: Setting,
    /// Where the cold requests read.
    cold_place: String,
    rows: Vec<Row>,
    notes: Vec<String>,
    interrupted: bool,
}

const NOFAULT: &str = "nofault";

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let measure = &arguments.measure;
    let scratch = Scratch::new(&measure.dir, measure.size)?;
    let stop = interrupt::watch(!scratch.has_name())
        .map_err(|e| format!("cannot watch for signals: {e}"))?;
    scratch.reserve(&measure.dir)?;
    let bar = progress_bar();
    let filled = fill(&scratch, &stop, &bar)?;
    scratch
        .cool()
        .map_err(|e| format!("cannot take the file out of the page cache: {e}"))?;
    let cold = ColdFile::new(
        arguments.cold_dir.as_deref(),
        &measure.dir,
        Scale::Full.largest(),
    )?;

    let engine = engine::build(measure.backend, ENGINE_DEPTH, Timing::Off)?;
    let facts = RingFacts::of(&engine);
    let nofault = Nofault::new(engine, scratch.path(), cold.path())
        .map_err(|e| format!("cannot open the files: {e}"))?;
    let setting = Setting::new(
        &measure.dir,
        &scratch,
        (FileFacts::of(nofault.warm()), facts),
        measure.rounds,
        measure.seconds,
    );
    let mut notes = notes(&setting, &nofault, &cold);
    let mut columns = vec![Column {
        name: NOFAULT,
        peer: Ok(Box::new(nofault)),
    }];
    for (name, flags) in [
        ("bare io_uring", Flags::empty()),
        ("bare, all ASYNC", Flags::ASYNC),
    ] {
        let bare = bare(&scratch, &cold, flags);
        if bare.as_ref().is_ok_and(|bare| !bare.is_pinned()) {
            notes.push(format!(
                "{name} has no registered buffers here: RLIMIT_MEMLOCK is too small (ulimit -l)."
            ));
        }
        columns.push(Column {
            name,
            peer: bare.map(|bare| Box::new(bare) as Box<_>),
        });
    }

    let size = usize::try_from(scratch.bytes).unwrap_or(usize::MAX);
    let mut bench = Bench::new(columns, size, cold.bytes, Scale::Full)?;
    let time = measure.seconds.div_f64(measure.rounds.into());
    let mut said = Ok(());
    let mut told = Vec::new();
    let mut rows = Vec::new();
    if filled {
        begin_rounds(&bar, bench.cells() as u64 * u64::from(measure.rounds));
        rows = bench.run(
            measure.rounds as usize,
            Limits { time, stop: &stop },
            |kind, column| {
                bar.set_message(format!("{}, {column}", kind.title(Scale::Full)));
                bar.inc(1);
                if !told.contains(&kind) && said.is_ok() {
                    told.push(kind);
                    said = say(measure.verbose, &bar, kind.name());
                }
            },
        );
    }
    bar.finish_and_clear();
    said?;
    let signal = stop.load(Ordering::Relaxed);
    let failed = rows
        .iter()
        .flat_map(|row| &row.columns)
        .any(|cell| cell.column == NOFAULT && cell.unavailable.is_some());
    notes.extend(bench.cautions().chain(reasons(&rows)));
    let report = StallReport {
        setting,
        cold_place: cold.place.clone(),
        rows,
        notes,
        interrupted: signal != 0,
    };
    show(measure.json, &report, |paint| render(&report, paint))?;
    Ok(status(signal, failed))
}

fn bare(scratch: &Scratch, cold: &ColdFile, flags: Flags) -> Result<Bare, String> {
    let ring = ring::negotiate(bare::ENTRIES).map_err(|e| facts::explain_ring_error(&e))?;
    let files = open_direct(scratch.path()).and_then(|warm| Ok((warm, cold.open()?)));
    let (warm, cold) = files.map_err(|e| format!("cannot open the files: {e}"))?;
    Bare::new(ring, &warm, &cold, flags).map_err(|e| facts::explain_ring_error(&e))
}

/// What has to be known to read the figures.
fn notes(setting: &Setting, nofault: &Nofault, cold: &ColdFile) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Medians over {} rounds, which alternate between the columns. One thread keeps 4 reads in flight. Latency: from the moment at \
             which the read before it in the same place was taken in (it is due then) until the thread has its completion in hand; what \
             keeps the thread from submitting counts.",
            setting.rounds
        ),
        "While it stalls, a closed loop makes no reads that could be late. p99.9 steady: with those that a steady stream would have had. \
         Longest turn: the longest time from one look at the completions to the next."
            .into(),
        format!(
            "Cold requests read from {} ({}): one at a time, at the next multiple of 5 ms. A round ends early when its cold memory is used \
             up. / alone: p99.9 over that of the same column alone.",
            cold.place,
            nofault.cold().path()
        ),
        "tokio-uring is a peer in `cargo bench --bench stall` only.".into(),
    ];
    if !matches!(nofault.warm().path(), IoPath::Direct) {
        notes.push(format!(
            "The warm reads are not direct here: {}.",
            nofault.warm().path()
        ));
    }
    if let Ok(swaps) = std::fs::read_to_string("/proc/swaps") {
        let names: Vec<&str> = swaps
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        if !names.is_empty() {
            notes.push(format!(
                "Swapped out to {}; what is on the disk of the warm file shares its queue.",
                names.join(", ")
            ));
        }
    }
    notes.extend(cold.caution.clone());
    notes
}

/// Why something has no figures: the lines of the table may be too short for it.
fn reasons(rows: &[Row]) -> Vec<String> {
    let skipped = rows
        .iter()
        .filter_map(|row| Some(format!("{}: skipped: {}", row.name, row.skipped.as_ref()?)));
    let cells = rows.iter().flat_map(|row| &row.columns);
    let mut reasons: Vec<String> =
        skipped
            .chain(cells.filter_map(|cell| {
                Some(format!("{}: {}", cell.column, cell.unavailable.as_ref()?))
            }))
            .collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

fn render(report: &StallReport, paint: Paint) -> String {
    let mut out = frame::setting(&report.setting);
    let mut add = |line: &str| out.push_str(&format!("{line}\n"));
    add("");
    table::head().iter().for_each(|line| add(&paint.bold(line)));
    for row in &report.rows {
        add("");
        add(&paint.bold(&table::title(row)));
        table::lines(row, WIDTH).iter().for_each(|line| add(line));
    }
    add("");
    table::verdict(&report.rows)
        .iter()
        .flat_map(|line| wrap(line, WIDTH))
        .for_each(|line| add(&line));
    add("");
    out + &frame::notes(&report.notes, report.interrupted, paint)
}
