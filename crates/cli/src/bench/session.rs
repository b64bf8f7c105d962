//! The rounds of a row: which column, which pass, for how long.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::columns::Columns;
use super::figures::{Cell, Figures, RowReport};
use super::meter::{Meter, Pass, Round};
use super::runner::Column;
use super::workload::{Access, Feed, Place, Row};
use crate::ground::scratch::Scratch;
use crate::report::progress;

/// Of a cell's time, the part that goes to the joined rounds, which most figures come from.
const JOINED_SHARE: f64 = 0.7;

/// Requests of a buffered writing round where no direct column shows how many the device takes in
/// that time.
const BUFFERED_WRITES: u64 = 2048;

/// What the rounds need all the time.
pub(super) struct Session<'a> {
    pub(super) rounds: u32,
    /// For one row in one column, over all rounds.
    pub(super) time: Duration,
    pub(super) verbose: bool,
    pub(super) scratch: &'a Scratch,
    pub(super) place: Place<'a>,
    pub(super) bar: &'a ProgressBar,
    pub(super) meter: Meter,
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
    pub(super) fn row(
        &mut self,
        row: &Row,
        columns: &mut Columns<'_>,
    ) -> Result<RowReport, String> {
        progress::say(self.verbose, self.bar, row.name)?;
        let mut cells: [Rounds; Column::ALL.len()] = Default::default();
        'rounds: for number in 0..self.rounds {
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
        let time = self.time.mul_f64(share / f64::from(self.rounds));
        let most = if column == Column::Buffered && row.access == Access::Write {
            buffered_writes(cells)
        } else {
            u64::MAX
        };
        // Rounds walk through the file; the columns of one round walk through the same part.
        let start = u64::from(number)
            .wrapping_mul(self.place.file / row.request as u64 / u64::from(self.rounds));
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

#[cfg(test)]
mod tests {
    use super::*;

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
