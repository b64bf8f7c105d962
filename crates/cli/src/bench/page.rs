//! The rows of the plain bench as a page. Pure but for what `machine` asks.

use std::path::Path;
use std::time::SystemTime;

use super::figures::{self, Report, RowReport};
use super::runner::Column;
use super::table;
use crate::figures::curve;
use crate::figures::units;
use crate::ground::machine;
use crate::report::html::{Cell, Job, Measured, Page, Pair, Round};

/// The page of a run that began then.
pub(crate) fn page(report: &Report, dir: &Path, begun: SystemTime) -> Page {
    let setting = &report.setting;
    let mut facts = machine::facts(dir, begun);
    let because = setting
        .engine
        .reason
        .as_ref()
        .map(|reason| format!(", because {reason}"))
        .unwrap_or_default();
    facts.push((
        "File",
        format!("{}, {}", units::size(setting.file_bytes), setting.file.path),
    ));
    let flags = if setting.engine.flags.is_empty() {
        String::new()
    } else {
        format!(" ({})", setting.engine.flags.join(", "))
    };
    facts.push((
        "Back end",
        format!("{}{flags}{because}", setting.engine.backend),
    ));
    facts.push((
        "Measured",
        format!(
            "{} rounds of each row in each column, {} s in all",
            setting.rounds, setting.seconds_per_cell
        ),
    ));
    let columns = Column::ALL.map(|column| {
        let what = match column {
            Column::Nofault => "this library, direct",
            Column::Bare => "a plain io_uring loop, direct",
            Column::Buffered => "the page cache: 4 KiB rows by io_uring, the others by pread and pwrite in one thread",
        };
        (column.title().to_owned(), what.to_owned())
    });
    Page {
        subject: "direct I/O beside the page cache".into(),
        facts,
        columns: columns.into(),
        jobs: report.rows.iter().map(job).collect(),
        pairs: pairs(&report.rows),
        notes: report.notes.clone(),
        interrupted: report.interrupted,
    }
}

fn job(row: &RowReport) -> Job {
    Job {
        group: String::new(),
        name: row.name.to_owned(),
        title: row.title.clone(),
        cells: row.columns.iter().map(cell).collect(),
    }
}

fn cell(cell: &figures::Cell) -> Cell {
    let measured = match (&cell.figures, &cell.unavailable) {
        (Some(found), _) => Ok(Measured {
            figures: table::FIGURES
                .map(|figure| figure.0)
                .into_iter()
                .zip(table::figures(found))
                .collect(),
            requests_per_second: found.requests_per_second,
            ratio_to_buffered: found.ratio_to_buffered,
            latency: curve::medians(cell.rounds.iter().map(|round| &round.curve[..])),
            rounds: cell
                .rounds
                .iter()
                .map(|round| Round {
                    elapsed: round.elapsed,
                    timeline: round.timeline.clone(),
                })
                .collect(),
        }),
        (None, Some(reason)) => Err(format!("not available: {reason}")),
        (None, None) => Err("not measured".to_owned()),
    };
    Cell {
        column: cell.column.to_owned(),
        measured,
    }
}

/// Rows that are alike but for their buffers.
fn pairs(rows: &[RowReport]) -> Vec<Pair> {
    let alike = |a: &RowReport, b: &RowReport| {
        (a.access, a.order, a.request_bytes, a.depth, "warm", "cold")
            == (
                b.access,
                b.order,
                b.request_bytes,
                b.depth,
                a.buffers,
                b.buffers,
            )
    };
    let of = |(warm, row): (usize, &RowReport)| {
        let cold = rows.iter().position(|other| alike(row, other))?;
        let name = row
            .name
            .strip_suffix("-warm")
            .unwrap_or(row.name)
            .replace('-', " ");
        Some(Pair {
            title: name,
            warm,
            cold,
        })
    };
    rows.iter().enumerate().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::workload;
    use super::*;

    #[test]
    fn every_warm_row_has_its_cold_one() {
        let rows: Vec<RowReport> = workload::rows(64 << 20)
            .iter()
            .map(RowReport::new)
            .collect();
        let found = pairs(&rows);
        assert_eq!(
            found.len(),
            rows.iter().filter(|row| row.buffers == "warm").count()
        );
        for pair in &found {
            assert_eq!(
                rows[pair.warm].name.replace("warm", "cold"),
                rows[pair.cold].name
            );
        }
        assert_eq!(found[0].title, "random read");
    }
}
