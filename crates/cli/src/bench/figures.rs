//! The figures of a whole run, as `--json` prints them and as the table takes them. Units stand
//! last in the names.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::meter::Round;
use super::runner::Column;
use super::workload::{Access, Buffers, Order, Row};
use crate::figures::median::median;
use crate::report::setting::Setting;

/// Everything that a run found out.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) setting: Setting,
    pub(crate) rows: Vec<RowReport>,
    /// What has to be known to read the figures.
    pub(crate) notes: Vec<String>,
    /// The run was ended by a signal; what is missing was not measured.
    pub(crate) interrupted: bool,
}

/// One row.
#[derive(Serialize)]
pub(crate) struct RowReport {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) access: &'static str,
    pub(crate) order: &'static str,
    pub(crate) buffers: &'static str,
    pub(crate) request_bytes: usize,
    pub(crate) depth: usize,
    pub(crate) columns: Vec<Cell>,
}

/// One row in one column: figures, or why there are none, or neither where the run ended before.
#[derive(Serialize)]
pub(crate) struct Cell {
    pub(crate) column: &'static str,
    pub(crate) figures: Option<Figures>,
    pub(crate) unavailable: Option<String>,
    /// What the medians are of, in the order in which they were measured.
    #[serde(serialize_with = "each_round")]
    pub(crate) rounds: Vec<Round>,
}

/// One round as `--json` has it, for whoever wants to know how far rounds lie apart.
#[derive(Serialize)]
struct RoundFigures {
    requests_per_second: f64,
    bytes_per_second: f64,
    latency_us_p50: f64,
    latency_us_p99: f64,
    latency_us_p999: f64,
    cpu_us_per_request: f64,
}

impl RoundFigures {
    fn of(round: &Round) -> RoundFigures {
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let seconds = round.elapsed.as_secs_f64().max(1e-9);
        RoundFigures {
            requests_per_second: round.requests as f64 / seconds,
            bytes_per_second: round.bytes as f64 / seconds,
            latency_us_p50: us(round.p50),
            latency_us_p99: us(round.p99),
            latency_us_p999: us(round.p999),
            cpu_us_per_request: us(round.cpu) / round.requests.max(1) as f64,
        }
    }
}

fn each_round<S: Serializer>(rounds: &[Round], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rounds.iter().map(RoundFigures::of))
}

/// Medians over the rounds of a cell.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) rounds: usize,
    /// Over all rounds.
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) bytes_per_second: f64,
    pub(crate) latency_us_p50: f64,
    pub(crate) latency_us_p99: f64,
    pub(crate) latency_us_p999: f64,
    /// The longest submission of a round, None where no round timed it.
    pub(crate) submit_us_longest: Option<f64>,
    pub(crate) cpu_us_per_request: f64,
    /// Requests a second over those of the buffered column.
    pub(crate) ratio_to_buffered: Option<f64>,
}

impl Figures {
    /// From the rounds of both passes; None without a joined one.
    pub(crate) fn of(joined: &[Round], split: &[Round]) -> Option<Figures> {
        let each: Vec<RoundFigures> = joined.iter().map(RoundFigures::of).collect();
        let all = |figure: fn(&RoundFigures) -> f64| median(each.iter().map(figure));
        Some(Figures {
            rounds: joined.len(),
            requests: joined.iter().chain(split).map(|r| r.requests).sum(),
            requests_per_second: all(|r| r.requests_per_second)?,
            bytes_per_second: all(|r| r.bytes_per_second)?,
            latency_us_p50: all(|r| r.latency_us_p50)?,
            latency_us_p99: all(|r| r.latency_us_p99)?,
            latency_us_p999: all(|r| r.latency_us_p999)?,
            // Zero is no time: a back end without submissions (threads) has none to show.
            submit_us_longest: median(split.iter().map(|r| r.submit_longest.as_secs_f64() * 1e6))
                .filter(|&us| us > 0.0),
            cpu_us_per_request: all(|r| r.cpu_us_per_request)?,
            ratio_to_buffered: None,
        })
    }
}

impl RowReport {
    /// The row without figures yet.
    pub(crate) fn new(row: &Row) -> RowReport {
        RowReport {
            name: row.name,
            title: row.title(),
            access: if row.access == Access::Read {
                "read"
            } else {
                "write"
            },
            order: if row.order == Order::Random {
                "random"
            } else {
                "sequential"
            },
            buffers: if row.buffers == Buffers::Warm {
                "warm"
            } else {
                "cold"
            },
            request_bytes: row.request,
            depth: row.depth,
            columns: Vec::new(),
        }
    }

    /// Sets the ratios, once all columns are there.
    pub(crate) fn compare(&mut self) {
        let buffered = self
            .columns
            .iter()
            .find(|c| c.column == Column::Buffered.title())
            .and_then(|c| c.figures);
        let Some(buffered) = buffered.filter(|f| f.requests_per_second > 0.0) else {
            return;
        };
        for figures in self.columns.iter_mut().filter_map(|c| c.figures.as_mut()) {
            figures.ratio_to_buffered =
                Some(figures.requests_per_second / buffered.requests_per_second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(requests: u64, ms: u64, longest_us: u64) -> Round {
        let elapsed = Duration::from_millis(ms);
        Round {
            requests,
            bytes: requests * 4096,
            elapsed,
            cpu: elapsed / 2,
            submit_longest: Duration::from_micros(longest_us),
            ..Round::default()
        }
    }

    #[test]
    fn one_bad_round_of_three_does_not_move_a_figure() {
        let joined = [round(1000, 10, 0), round(1000, 5000, 0), round(1000, 10, 0)];
        let split = [round(10, 1, 7), round(10, 1, 9000), round(10, 1, 6)];
        let figures = Figures::of(&joined, &split).expect("three rounds");
        assert_eq!(figures.requests_per_second.round(), 100_000.0);
        assert_eq!(figures.submit_us_longest.map(f64::round), Some(7.0));
        assert_eq!(figures.cpu_us_per_request.round(), 5.0);
        assert_eq!(figures.requests, 3030);
    }

    #[test]
    fn the_json_of_a_cell_has_every_round() {
        let rounds = vec![round(1000, 10, 0), round(500, 10, 0)];
        let cell = Cell {
            column: "nofault",
            figures: Figures::of(&rounds, &[]),
            unavailable: None,
            rounds,
        };
        let value = serde_json::to_value(&cell).expect("JSON");
        assert_eq!(value["rounds"][1]["requests_per_second"], 50_000.0);
        assert_eq!(value["figures"]["requests_per_second"], 75_000.0);
    }

    #[test]
    fn without_a_round_there_are_no_figures() {
        assert!(Figures::of(&[], &[round(1, 1, 1)]).is_none());
        let only_joined = Figures::of(&[round(1, 1, 1)], &[]).expect("one round");
        assert!(only_joined.submit_us_longest.is_none());
    }

    #[test]
    fn ratios_are_against_the_buffered_column_and_absent_without_it() {
        let row = super::super::workload::rows(1 << 20)[0];
        let cell = |column: Column, requests| Cell {
            column: column.title(),
            figures: Figures::of(&[round(requests, 10, 0)], &[]),
            unavailable: None,
            rounds: Vec::new(),
        };
        let mut report = RowReport::new(&row);
        report.columns = vec![cell(Column::Nofault, 300), cell(Column::Buffered, 100)];
        report.compare();
        assert_eq!(
            report.columns[0]
                .figures
                .and_then(|f| f.ratio_to_buffered)
                .map(f64::round),
            Some(3.0)
        );
        report.columns.pop();
        report.columns[0].figures = Figures::of(&[round(300, 10, 0)], &[]);
        report.compare();
        assert_eq!(
            report.columns[0].figures.and_then(|f| f.ratio_to_buffered),
            None
        );
    }
}
