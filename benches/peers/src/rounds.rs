//! One cell of the table, by all peers: their processes live side by side, and take turns so that
//! what else the machine does meets them alike. Only one works at a time.

use serde::Serialize;

use crate::child::{Answer, Ask, Latency, Start};
use crate::job::{Access, Job};
use crate::options::Options;
use crate::peers::Entry;
use crate::place::Place;
use crate::worker::{Signals, Trouble, Worker};

/// What is asked of all peers alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Cell {
    pub(crate) place: &'static str,
    pub(crate) access: Access,
    pub(crate) block: usize,
    pub(crate) depth: usize,
}

/// The medians of one peer in one cell.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) ops_per_second: f64,
    pub(crate) cpu_us_per_op: f64,
    #[serde(flatten)]
    pub(crate) latency: Latency,
    pub(crate) peak_kib: u64,
    /// Requests in each turn.
    pub(crate) ops_per_turn: u64,
    /// The CPU figure of each turn, in the order in which they were run.
    pub(crate) cpu_us_turns: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// What became of one peer in one cell.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Measured(Figures),
    Skip(String),
    Failed(String),
}

/// A peer that is being measured.
struct Runner {
    worker: Worker,
    count: u64,
    note: Option<String>,
    /// Seconds a request, CPU seconds a request.
    turns: Vec<(f64, f64)>,
    latencies: Vec<Latency>,
    peak_kib: u64,
}

/// A signal came.
pub(crate) struct Interrupted;

/// Runs all rounds of one cell, which is the `number`th of the run. The outcomes are in the order
/// of the entries.
pub(crate) fn run(
    number: usize,
    cell: &Cell,
    place: &Place,
    entries: &[&'static Entry],
    options: &Options,
    signals: &Signals,
) -> Result<Vec<Outcome>, Interrupted> {
    let mut runners = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let job = Job {
            path: place.path.clone(),
            file_bytes: options.size,
            access: cell.access,
            block: cell.block,
            depth: cell.depth,
            // Nobody shall find in a cache below what the one before has just read, nor in the file
            // what an earlier cell has written.
            seed: (number * entries.len() + index) as u64,
        };
        let warm_up_seconds = if options.ops.is_some() {
            0.0
        } else {
            options.seconds
        };
        let start = Start {
            peer: entry.name.to_owned(),
            job,
            warm_up_seconds,
        };
        runners.push(begin(&start, options, signals)?);
    }
    for latency in [false, true] {
        for round in 0..options.rounds {
            for turn in 0..runners.len() {
                // Who comes first in a round, and after whom, changes.
                let index = if round % 2 == 0 {
                    turn
                } else {
                    runners.len() - 1 - turn
                };
                let Ok(runner) = &mut runners[index] else {
                    continue;
                };
                match turn_of(runner, latency, signals) {
                    Ok(()) => {}
                    Err(Trouble::Interrupted) => return Err(Interrupted),
                    Err(Trouble::Lost(reason)) => runners[index] = Err(Outcome::Failed(reason)),
                }
            }
        }
    }
    Ok(runners
        .into_iter()
        .map(|runner| {
            runner.map_or_else(
                |outcome| outcome,
                |runner| Outcome::Measured(runner.figures()),
            )
        })
        .collect())
}

/// Starts a process and waits until it is ready, or not.
fn begin(
    start: &Start,
    options: &Options,
    signals: &Signals,
) -> Result<Result<Runner, Outcome>, Interrupted> {
    let mut worker = match Worker::start(start) {
        Ok(worker) => worker,
        Err(error) => {
            return Ok(Err(Outcome::Failed(format!(
                "the process does not start: {error}"
            ))));
        }
    };
    Ok(match worker.answer(signals) {
        Ok(Answer::Ready {
            ops_per_second,
            note,
        }) => {
            let count = options.ops.unwrap_or_else(|| {
                let least = (8 * start.job.depth as u64).max(1000);
                ((ops_per_second * options.seconds) as u64).clamp(least, 10_000_000)
            });
            Ok(Runner {
                worker,
                count,
                note,
                turns: Vec::new(),
                latencies: Vec::new(),
                peak_kib: 0,
            })
        }
        Ok(Answer::Skip(reason)) => Err(Outcome::Skip(reason)),
        Ok(Answer::Failed(reason)) => Err(Outcome::Failed(reason)),
        Ok(Answer::Plain { .. } | Answer::Latency(_)) => {
            Err(Outcome::Failed("an answer before the question".to_owned()))
        }
        Err(Trouble::Interrupted) => return Err(Interrupted),
        Err(Trouble::Lost(reason)) => Err(Outcome::Failed(reason)),
    })
}

fn turn_of(runner: &mut Runner, latency: bool, signals: &Signals) -> Result<(), Trouble> {
    let count = runner.count;
    match runner.worker.ask(
        if latency {
            Ask::Latency(count)
        } else {
            Ask::Plain(count)
        },
        signals,
    )? {
        Answer::Plain {
            seconds,
            cpu_seconds,
            peak_kib,
        } => {
            runner
                .turns
                .push((seconds / count as f64, cpu_seconds / count as f64));
            runner.peak_kib = peak_kib;
        }
        Answer::Latency(latency) => runner.latencies.push(latency),
        Answer::Failed(reason) | Answer::Skip(reason) => return Err(Trouble::Lost(reason)),
        Answer::Ready { .. } => return Err(Trouble::Lost("it was ready already".to_owned())),
    }
    Ok(())
}

impl Runner {
    fn figures(self) -> Figures {
        let latency = |of: fn(&Latency) -> f64| median(self.latencies.iter().map(of));
        Figures {
            ops_per_second: 1.0 / median(self.turns.iter().map(|turn| turn.0)),
            cpu_us_per_op: median(self.turns.iter().map(|turn| turn.1)) * 1e6,
            latency: Latency {
                p50_us: latency(|latency| latency.p50_us),
                p99_us: latency(|latency| latency.p99_us),
                p999_us: latency(|latency| latency.p999_us),
            },
            peak_kib: self.peak_kib,
            ops_per_turn: self.count,
            cpu_us_turns: self.turns.iter().map(|turn| turn.1 * 1e6).collect(),
            note: self.note,
        }
    }
}

/// The middle one.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }
}
