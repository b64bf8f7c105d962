//! A report as text of at most 100 columns. Pure: gets everything it shows, and whether it may
//! colour it.

use std::fmt::Write;

use super::figures::{Cell, Figures, Report};
use crate::figures::units;
use crate::report::table::{Paint, WIDTH, notes, ratio, setting};

/// The figures of a line: in one name, and in the two lines of a narrow head.
pub(crate) const FIGURES: [(&str, &str, &str); 8] = [
    ("requests/s", "requests", "/s"),
    ("throughput", "throughput", ""),
    ("p50 latency", "p50", "latency"),
    ("p99 latency", "p99", "latency"),
    ("p99.9 latency", "p99.9", "latency"),
    ("longest submit", "longest", "submit"),
    ("CPU per request", "CPU per", "request"),
    ("against buffered", "against", "buffered"),
];

/// The whole table with its head and its notes.
pub(crate) fn render(report: &Report, paint: Paint) -> String {
    let mut out = setting(&report.setting);
    out.push_str(&head(paint));
    for row in &report.rows {
        let _ = writeln!(out, "\n{}", paint.bold(&row.title));
        for cell in &row.columns {
            out.push_str(&line(cell, paint));
            out.push('\n');
        }
    }
    out.push('\n');
    out + &notes(&report.notes, report.interrupted, paint)
}

fn head(paint: Paint) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\n{}",
        paint.bold(&columns("", FIGURES.map(|figure| figure.1)))
    );
    let _ = writeln!(
        out,
        "{}",
        paint.bold(&columns("", FIGURES.map(|figure| figure.2)))
    );
    out
}

fn columns(name: &str, cells: [&str; 8]) -> String {
    let [rate, bytes, p50, p99, p999, longest, cpu, ratio] = cells;
    format!(
        "  {name:<14}{rate:>9}{bytes:>12}{p50:>10}{p99:>10}{p999:>10}{longest:>10}{cpu:>10}{ratio:>10}"
    )
}

fn line(cell: &Cell, paint: Paint) -> String {
    match (&cell.figures, &cell.unavailable) {
        (Some(figures), _) => figures_line(cell.column, figures, paint),
        (None, Some(reason)) => cut(&format!("  {:<15}not available: {reason}", cell.column)),
        (None, None) => format!("  {:<15}not measured", cell.column),
    }
}

/// The figures as text, in the order of [`FIGURES`].
pub(crate) fn figures(f: &Figures) -> [String; 8] {
    [
        units::rate(f.requests_per_second),
        units::byte_rate(f.bytes_per_second),
        units::time_us(f.latency_us_p50),
        units::time_us(f.latency_us_p99),
        units::time_us(f.latency_us_p999),
        f.submit_us_longest
            .map_or_else(|| "-".into(), units::time_us),
        units::time_us(f.cpu_us_per_request),
        ratio(f.ratio_to_buffered),
    ]
}

fn figures_line(name: &str, f: &Figures, paint: Paint) -> String {
    let cells = figures(f);
    let text = columns(name, cells.each_ref().map(String::as_str));
    match (text.strip_suffix(&cells[7]), f.ratio_to_buffered) {
        (Some(before), Some(value)) if name != "buffered" => {
            format!("{before}{}", paint.ratio(&cells[7], value))
        }
        _ => text,
    }
}

/// The text in one line of the table's width; the notes have what is cut off.
fn cut(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        text.to_owned()
    } else {
        text.chars().take(WIDTH - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::RowReport;
    use super::super::runner::Column;
    use super::super::workload;
    use super::*;
    use crate::ground::engine::{Alignment, FileFacts, RingFacts};
    use crate::report::setting::Setting;

    fn report(scale: f64) -> Report {
        let figures = Figures {
            rounds: 5,
            requests: 12,
            requests_per_second: 45_123.0 * scale,
            bytes_per_second: 184e6 * scale,
            latency_us_p50: 999.4 * scale,
            latency_us_p99: 99_949.0 * scale,
            latency_us_p999: 999_499.0 * scale,
            submit_us_longest: Some(12.3 * scale),
            cpu_us_per_request: 3.21 * scale,
            ratio_to_buffered: Some(12.34 * scale),
        };
        let rows = workload::rows(64 << 20)
            .iter()
            .map(|row| {
                let mut report = RowReport::new(row);
                report.columns = vec![
                    Cell {
                        column: Column::Nofault.title(),
                        figures: Some(figures),
                        unavailable: None,
                        rounds: Vec::new(),
                    },
                    Cell {
                        column: Column::Bare.title(),
                        figures: None,
                        unavailable: Some("EPERM: ".to_owned() + &"why ".repeat(50)),
                        rounds: Vec::new(),
                    },
                    Cell {
                        column: Column::Buffered.title(),
                        figures: None,
                        unavailable: None,
                        rounds: Vec::new(),
                    },
                ];
                report
            })
            .collect();
        let setting = Setting {
            version: "0.1.0",
            kernel: "6.18.44-with-a-long-name".into(),
            dir: "/a/rather/long/directory/name/that/goes/on".into(),
            filesystem: "ext4".into(),
            file_bytes: 256 << 20,
            file: FileFacts {
                path: "direct".into(),
                direct: true,
                alignment_bytes: Alignment {
                    memory: 4,
                    offset: 512,
                    read_offset: 512,
                },
                alignment_source: Some("statx".into()),
            },
            engine: RingFacts {
                backend: "uring".into(),
                reason: Some("of this".into()),
                flags: vec!["SINGLE_ISSUER".into(), "DEFER_TASKRUN".into()],
            },
            rounds: 5,
            seconds_per_cell: 1.0,
        };
        Report {
            setting,
            rows,
            notes: vec!["word ".repeat(60)],
            interrupted: true,
        }
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_columns_whatever_the_figures() {
        for scale in [0.0, 0.001, 1.0, 100.0, 1000.0] {
            for line in render(&report(scale), Paint(false)).lines() {
                assert!(
                    line.chars().count() <= WIDTH,
                    "{} columns: {line}",
                    line.chars().count()
                );
            }
        }
    }

    #[test]
    fn columns_stand_apart_whatever_the_figures() {
        for scale in [0.001, 1.0, 100.0] {
            let report = report(scale);
            let Some(figures) = &report.rows[0].columns[0].figures else {
                panic!("figures")
            };
            let line = figures_line("bare io_uring", figures, Paint(false));
            // Name of two words, rate, ratio, and six figures with their unit.
            assert_eq!(line.split_whitespace().count(), 2 + 1 + 1 + 6 * 2, "{line}");
        }
    }

    #[test]
    fn escape_codes_come_only_where_they_are_asked_for() {
        let report = report(1.0);
        let (plain, painted) = (render(&report, Paint(false)), render(&report, Paint(true)));
        assert!(!plain.contains('\x1b'));
        assert!(painted.contains('\x1b'));
        let mut stripped = painted;
        for code in ["1", "2", "31", "32", "0"] {
            stripped = stripped.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(stripped, plain);
    }

    #[test]
    fn what_is_missing_says_so() {
        let text = render(&report(1.0), Paint(false));
        assert!(text.contains("not available: EPERM"));
        assert!(text.contains("not measured"));
        assert!(text.contains("Interrupted"));
    }
}
