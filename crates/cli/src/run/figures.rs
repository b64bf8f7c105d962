//! The figures of a whole run, as the table and the JSON take them.

use std::path::Path;

use fio_jobs::{BlockSize, Job};

use super::fio;
use super::group::Column;
use super::plan::Planned;
use super::record::Record;
use crate::figures::median::median;
use crate::figures::units;

/// Everything that a run found out.
pub(super) struct Report {
    pub(super) kernel: String,
    pub(super) dir: String,
    pub(super) rounds: u32,
    /// The fio whose columns there are.
    pub(super) fio: Option<fio::Facts>,
    pub(super) jobs: Vec<JobReport>,
    /// What has to be known to read the figures.
    pub(super) notes: Vec<String>,
    pub(super) interrupted: bool,
}

/// One job in all columns.
pub(super) struct JobReport {
    pub(super) job: Job,
    pub(super) profile: String,
    pub(super) place: String,
    pub(super) cells: Vec<Cell>,
}

/// One job in one column: its rounds, or why it failed.
pub(super) struct Cell {
    pub(super) column: Column,
    pub(super) rounds: Vec<Record>,
    pub(super) failed: Option<String>,
    /// It failed because what was read is not what was written.
    pub(super) differs: bool,
}

/// Medians over the rounds of a cell; of a single round that round's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) iops: f64,
    pub(super) bytes_per_second: f64,
    pub(super) latency_us: [f64; 4],
    /// What 99 of a hundred calls that submit take at most; None where none was timed.
    pub(super) submit_us_p99: Option<f64>,
    pub(super) cpu_us_per_request: f64,
}

/// The percentiles of the table.
const PERCENTILES: [f64; 4] = [0.5, 0.99, 0.999, 0.9999];

impl Report {
    pub(super) fn new(dir: &Path, rounds: u32, fio: Option<fio::Facts>) -> Report {
        let dir = std::fs::canonicalize(dir)
            .unwrap_or_else(|_| dir.to_owned())
            .display()
            .to_string();
        Report {
            kernel: super::kernel(),
            dir,
            rounds,
            fio,
            jobs: Vec::new(),
            notes: Vec::new(),
            interrupted: false,
        }
    }

    pub(super) fn add(&mut self, jobs: Vec<JobReport>, notes: Vec<String>) {
        self.jobs.extend(jobs);
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

impl JobReport {
    pub(super) fn new(planned: &Planned, columns: &[Column]) -> JobReport {
        let cells = columns
            .iter()
            .map(|&column| Cell {
                column,
                rounds: Vec::new(),
                failed: None,
                differs: false,
            })
            .collect();
        JobReport {
            job: planned.job.clone(),
            profile: planned.profile.clone(),
            place: planned.place.clone(),
            cells,
        }
    }

    /// The cell of a column, if the run has it.
    pub(super) fn cell(&self, column: Column) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.column == column)
    }

    /// What it does, in one line: `direct: randread, 4 KiB, depth 32, direct`.
    pub(super) fn title(&self) -> String {
        let options = &self.job.options;
        let block = |block: &BlockSize| match block {
            BlockSize::Fixed(bytes) => units::size(*bytes),
            other => format!(
                "{} to {}",
                units::size(other.min()),
                units::size(other.max())
            ),
        };
        let (read, write) = (block(&options.block.read), block(&options.block.write));
        let sizes = match (options.mode.reads(), options.mode.writes()) {
            (true, true) if read != write => format!("{read} and {write}"),
            (false, _) => write,
            _ => read,
        };
        let workers = if options.numjobs > 1 {
            format!(", {} workers", options.numjobs)
        } else {
            String::new()
        };
        let direct = if options.direct {
            "direct=1"
        } else {
            "direct=0"
        };
        format!(
            "{}: {}, {sizes}, depth {}{workers}, {direct}",
            self.job.name, options.mode, options.depth
        )
    }

    /// Requests a second of this column against those of nofault through the page cache.
    pub(super) fn ratio(&self, column: Column) -> Option<f64> {
        let buffered = self.cell(Column::Buffered)?.figures()?.iops;
        let own = self.cell(column)?.figures()?.iops;
        (buffered > 0.0).then(|| own / buffered)
    }
}

impl Cell {
    pub(super) fn add(&mut self, result: Result<Record, String>) {
        if let Ok(record) = &result
            && let Some(differences) = record.verified.differences()
        {
            (self.failed, self.differs) = (Some(differences), true);
        }
        match result {
            // What was ended in its ramp has measured nothing.
            Ok(record) if record.requests() > 0 && !record.elapsed.is_zero() => {
                self.rounds.push(record)
            }
            Ok(_) => {}
            Err(error) => self.failed = Some(error),
        }
    }

    /// The figures, if a round gave any.
    pub(super) fn figures(&self) -> Option<Figures> {
        if self.failed.is_some() {
            return None;
        }
        let all = |figure: &dyn Fn(&Record) -> f64| median(self.rounds.iter().map(figure));
        let latencies: Vec<_> = self.rounds.iter().map(Record::latency_ns).collect();
        let latency = |quantile| {
            median(
                latencies
                    .iter()
                    .map(|h| h.value_at_quantile(quantile) as f64 / 1e3),
            )
        };
        let mut latency_us = [0.0; 4];
        for (us, quantile) in latency_us.iter_mut().zip(PERCENTILES) {
            *us = latency(quantile)?;
        }
        let submit = self
            .rounds
            .iter()
            .filter(|r| !r.submit_ns.is_empty())
            .map(|r| r.submit_ns.value_at_quantile(0.99) as f64 / 1e3);
        Some(Figures {
            iops: all(&iops)?,
            bytes_per_second: all(&|r| r.bytes() as f64 / r.elapsed.as_secs_f64())?,
            latency_us,
            submit_us_p99: median(submit),
            cpu_us_per_request: all(&cpu_us)?,
        })
    }

    /// All rounds in one.
    pub(super) fn all(&self) -> Option<Record> {
        let (first, rest) = self.rounds.split_first()?;
        let mut all = first.clone();
        rest.iter().for_each(|round| all.add(round, false));
        Some(all)
    }
}

/// CPU time of one round for each request, in microseconds.
pub(super) fn cpu_us(record: &Record) -> f64 {
    (record.usage.user + record.usage.system + record.workers_cpu).as_secs_f64() * 1e6
        / record.requests().max(1) as f64
}

/// Requests a second of one round.
pub(super) fn iops(record: &Record) -> f64 {
    record.requests() as f64 / record.elapsed.as_secs_f64().max(1e-9)
}
