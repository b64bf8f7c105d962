//! What a page shows, whichever kind of bench it comes from. Plain data.

use std::time::Duration;

use crate::figures::timeline::Timeline;

/// The whole page.
pub(crate) struct Page {
    /// What was run.
    pub(crate) subject: String,
    /// How and where: name and value.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The columns in their order: name, and what it is.
    pub(crate) columns: Vec<(String, String)>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) pairs: Vec<Pair>,
    /// What has to be known to read the figures.
    pub(crate) notes: Vec<String>,
    /// The run was ended by a signal.
    pub(crate) interrupted: bool,
}

/// One job, or one row of the plain bench.
pub(crate) struct Job {
    /// Where it comes from; empty where there is only one such place.
    pub(crate) group: String,
    pub(crate) name: String,
    /// What it does.
    pub(crate) title: String,
    pub(crate) cells: Vec<Cell>,
}

/// One job in one column.
pub(crate) struct Cell {
    pub(crate) column: String,
    /// Or why there are no figures.
    pub(crate) measured: Result<Measured, String>,
}

/// What was measured of one job in one column.
pub(crate) struct Measured {
    /// As the table on the terminal has them: name and value.
    pub(crate) figures: Vec<(&'static str, String)>,
    pub(crate) requests_per_second: f64,
    pub(crate) ratio_to_buffered: Option<f64>,
    /// Latency by percentile: nines, and microseconds.
    pub(crate) latency: Vec<(f64, f64)>,
    pub(crate) rounds: Vec<Round>,
}

/// The course of one round.
pub(crate) struct Round {
    pub(crate) elapsed: Duration,
    /// Empty where only the sum is known.
    pub(crate) timeline: Timeline,
}

/// Two jobs that differ in their buffers alone; by their place among the jobs.
pub(crate) struct Pair {
    pub(crate) title: String,
    pub(crate) warm: usize,
    pub(crate) cold: usize,
}

impl Page {
    /// Which look a column has.
    pub(super) fn look(&self, column: &str) -> usize {
        self.columns
            .iter()
            .position(|(name, _)| name == column)
            .unwrap_or(self.columns.len())
    }
}

impl Job {
    pub(super) fn measured(&self) -> impl Iterator<Item = (&Cell, &Measured)> {
        self.cells
            .iter()
            .filter_map(|cell| Some((cell, cell.measured.as_ref().ok()?)))
    }
}

impl Pair {
    /// What of the rate with warm buffers is left with cold ones, in one column.
    pub(super) fn ratio(&self, jobs: &[Job], column: &str) -> Option<(f64, f64, f64)> {
        let rate = |job: usize| {
            let found = jobs
                .get(job)?
                .measured()
                .find(|(cell, _)| cell.column == column)?;
            Some(found.1.requests_per_second).filter(|rate| *rate > 0.0)
        };
        let (warm, cold) = (rate(self.warm)?, rate(self.cold)?);
        Some((warm, cold, cold / warm))
    }
}
