//! Rows as text of at most 100 columns. Pure.

use super::figures::Figures;
use super::{Cell, Row};
use crate::figures::units;

const NAME: usize = 18;

/// Two lines above the figures.
pub(crate) fn head() -> [String; 2] {
    let names = [
        "p50", "p99", "p99.9", "longest", "p99.9", "longest", "one cold", "p99.9",
    ];
    let under = [
        "latency", "latency", "latency", "latency", "steady", "turn", "request", "/ alone",
    ];
    [columns("", names), columns("", under)]
}

fn columns(name: &str, cells: [&str; 8]) -> String {
    let figures: String = cells.iter().map(|cell| format!("{cell:>10}")).collect();
    format!("  {name:<NAME$}{}", &figures[..])
}

/// What is written above the lines of a row.
pub(crate) fn title(row: &Row) -> String {
    format!("4 KiB random reads at depth 4, {}", row.title)
}

/// The lines of a row. What is longer than `width` characters is cut.
pub(crate) fn lines(row: &Row, width: usize) -> Vec<String> {
    match &row.skipped {
        Some(reason) => vec![cut(format!("  skipped: {reason}"), width)],
        None => row
            .columns
            .iter()
            .map(|cell| cut(line(cell), width))
            .collect(),
    }
}

fn line(cell: &Cell) -> String {
    match (&cell.figures, &cell.unavailable) {
        (Some(figures), None) => figures_line(cell.column, figures),
        (_, Some(reason)) => format!("  {:<NAME$}not available: {reason}", cell.column),
        (None, None) => format!("  {:<NAME$}not measured", cell.column),
    }
}

fn figures_line(name: &str, f: &Figures) -> String {
    let ratio = f.p999_ratio_to_alone.map_or_else(|| "-".to_owned(), ratio);
    let cold = f.cold_us_p50.map_or_else(|| "-".to_owned(), units::time_us);
    let times = [
        f.latency_us_p50,
        f.latency_us_p99,
        f.latency_us_p999,
        f.latency_us_max,
        f.steady_us_p999,
        f.turn_us_longest,
    ]
    .map(units::time_us);
    columns(
        name,
        [
            &times[0], &times[1], &times[2], &times[3], &times[4], &times[5], &cold, &ratio,
        ],
    )
}

fn ratio(value: f64) -> String {
    if value >= 99.95 {
        format!("{value:.0}x")
    } else {
        format!("{value:.2}x")
    }
}

fn cut(text: String, width: usize) -> String {
    if text.chars().count() <= width {
        text
    } else {
        text.chars().take(width - 1).chain(['…']).collect()
    }
}

/// One line for each column: its ratios.
pub(crate) fn verdict(rows: &[Row]) -> Vec<String> {
    let Some(names) = rows
        .first()
        .map(|row| row.columns.iter().map(|cell| cell.column))
    else {
        return Vec::new();
    };
    let said = |name: &str| {
        let ratios: Vec<String> = rows
            .iter()
            .filter_map(|row| {
                let cell = row.columns.iter().find(|cell| cell.column == name)?;
                Some(format!(
                    "{} {}",
                    row.name,
                    ratio(cell.figures?.p999_ratio_to_alone?)
                ))
            })
            .collect();
        (!ratios.is_empty()).then(|| ratios.join(", "))
    };
    names
        .filter_map(|name| {
            let ratios = said(name)?;
            Some(format!(
                "p99.9 beside cold requests / alone, {name}: {ratios}"
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(scale: f64) -> Figures {
        Figures {
            rounds: 5,
            reads: 12,
            latency_us_p50: 99.949 * scale,
            latency_us_p99: 999.4 * scale,
            latency_us_p999: 99_949.0 * scale,
            latency_us_max: 999_499.0 * scale,
            steady_us_p999: 999_499.0 * scale,
            turn_us_longest: 12.3 * scale,
            cold_requests: 7,
            cold_us_p50: Some(32_000.0 * scale),
            p999_ratio_to_alone: Some(12.34 * scale),
            steady_ratio_to_alone: None,
        }
    }

    fn rows(scale: f64) -> Vec<Row> {
        let cell = |column, figures, unavailable| Cell {
            column,
            figures,
            unavailable,
        };
        let cells = vec![
            cell("nofault", Some(figures(scale)), None),
            cell(
                "bare io_uring",
                None,
                Some("EPERM: ".to_owned() + &"why ".repeat(50)),
            ),
            cell("bare, all async", None, None),
        ];
        let row = |skipped, columns| Row {
            name: "fresh",
            title: "beside".to_owned(),
            skipped,
            columns,
        };
        vec![
            row(None, cells),
            row(Some("no swap".to_owned()), Vec::new()),
        ]
    }

    #[test]
    fn lines_are_bounded_and_their_figures_stand_apart() {
        for scale in [0.0, 0.001, 1.0, 100.0, 1000.0] {
            for row in rows(scale) {
                assert!(
                    lines(&row, 100)
                        .iter()
                        .all(|line| line.chars().count() <= 100),
                    "{:?}",
                    lines(&row, 100)
                );
            }
        }
        for scale in [0.001, 1.0, 100.0] {
            let line = &lines(&rows(scale)[0], 100)[0];
            // The name, seven times with their units, a ratio.
            assert_eq!(line.split_whitespace().count(), 1 + 7 * 2 + 1, "{line}");
        }
    }

    #[test]
    fn what_is_missing_says_so() {
        let all: Vec<String> = rows(1.0).iter().flat_map(|row| lines(row, 100)).collect();
        for part in ["not available: EPERM", "not measured", "skipped: no swap"] {
            assert!(
                all.iter().any(|line| line.contains(part)),
                "{part}: {all:?}"
            );
        }
        assert_eq!(
            verdict(&rows(1.0)),
            ["p99.9 beside cold requests / alone, nofault: fresh 12.34x"]
        );
    }
}
