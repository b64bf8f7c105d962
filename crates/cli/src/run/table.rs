//! A report as text of at most 100 columns. Pure: gets everything it shows, and whether it may
//! colour it.

use std::fmt::Write;

use super::figures::{Cell, Figures, JobReport, Report};
use super::group::Column;
use crate::figures::text::wrap;
use crate::figures::units;
use crate::report::table::{self, Paint, WIDTH, notes};

/// The figures of a line: in one name, and in the two lines of a narrow head.
pub(super) const FIGURES: [(&str, &str, &str); 9] = [
    ("requests/s", "requests", "/s"),
    ("throughput", "throughput", ""),
    ("p50 latency", "p50", "latency"),
    ("p99 latency", "p99", "latency"),
    ("p99.9 latency", "p99.9", "latency"),
    ("p99.99 latency", "p99.99", "latency"),
    ("p99 submit", "submit", "p99"),
    ("CPU per request", "CPU per", "request"),
    ("against buffered", "against", "buffered"),
];

/// The whole table with its head and its notes.
pub(super) fn render(report: &Report, paint: Paint) -> String {
    let fio = report
        .fio
        .as_ref()
        .map(|fio| format!(", beside {} ({})", fio.version, fio.program))
        .unwrap_or_default();
    let head = format!(
        "nofault {} on Linux {}{fio}: job files in {}",
        env!("CARGO_PKG_VERSION"),
        report.kernel,
        report.dir
    );
    let mut out = wrap(&head, WIDTH).join("\n") + "\n";
    let (names, under) = (
        FIGURES.map(|figure| figure.1),
        FIGURES.map(|figure| figure.2),
    );
    let _ = writeln!(
        out,
        "\n{}\n{}",
        paint.bold(&columns("", names)),
        paint.bold(&columns("", under))
    );
    let mut profile = "";
    for job in &report.jobs {
        if profile != job.profile {
            profile = &job.profile;
            let _ = writeln!(out, "\n{}", paint.bold(profile));
        }
        let _ = writeln!(out, "\n{}", paint.bold(&job.title()));
        for cell in &job.cells {
            let _ = writeln!(out, "{}", line(job, cell, paint));
        }
    }
    out.push('\n');
    out + &notes(&said(report), report.interrupted, paint)
}

fn columns(name: &str, cells: [&str; 9]) -> String {
    let [rate, bytes, p50, p99, p999, p9999, submit, cpu, ratio] = cells;
    // A long name takes of the room before the rate.
    let room = 25usize.saturating_sub(name.chars().count());
    format!(
        "  {name}{rate:>room$}{bytes:>11}{p50:>9}{p99:>9}{p999:>9}{p9999:>9}{submit:>8}{cpu:>9}{ratio:>9}"
    )
}

fn line(job: &JobReport, cell: &Cell, paint: Paint) -> String {
    let name = cell.column.title();
    match (cell.figures(), &cell.failed) {
        (Some(figures), _) => figures_line(name, &figures, job.ratio(cell.column), paint),
        (None, Some(reason)) => {
            let what = if cell.differs {
                "failed"
            } else {
                "not available"
            };
            let text = format!("  {name:<19}{what}: {reason}");
            if text.chars().count() <= WIDTH {
                text
            } else {
                text.chars().take(WIDTH - 1).chain(['…']).collect()
            }
        }
        (None, None) => format!("  {name:<19}not measured"),
    }
}

/// The figures as text, in the order of [`FIGURES`].
pub(super) fn figures(figures: &Figures, ratio: Option<f64>) -> [String; 9] {
    let [p50, p99, p999, p9999] = figures.latency_us.map(units::time_us);
    [
        units::rate(figures.iops),
        units::byte_rate(figures.bytes_per_second),
        p50,
        p99,
        p999,
        p9999,
        figures
            .submit_us_p99
            .map_or_else(|| "-".to_owned(), units::time_us),
        units::time_us(figures.cpu_us_per_request),
        table::ratio(ratio),
    ]
}

fn figures_line(name: &str, found: &Figures, ratio: Option<f64>, paint: Paint) -> String {
    let cells = figures(found, ratio);
    let line = columns(name, cells.each_ref().map(String::as_str));
    match (line.strip_suffix(&cells[8]), ratio) {
        (Some(before), Some(value)) if name != Column::Buffered.title() => {
            format!("{before}{}", paint.ratio(&cells[8], value))
        }
        _ => line,
    }
}

/// What was verified, apart from the figures above; None for a job that does not verify.
fn verified(job: &JobReport) -> Option<String> {
    let kind = job.job.options.verify?;
    let cell = |cell: &Cell| {
        let verified = cell.all().filter(|_| !cell.differs)?.verified;
        let mut text = format!("{} {} blocks", cell.column.title(), verified.blocks);
        if !verified.elapsed.is_zero() {
            let rate = verified.reads.bytes as f64 / verified.elapsed.as_secs_f64();
            let _ = write!(text, " at {}", units::byte_rate(rate));
        }
        if verified.left > 0 {
            let _ = write!(text, ", {} written and not verified", verified.left);
        }
        Some(text)
    };
    let cells: Vec<String> = job.cells.iter().filter_map(cell).collect();
    (!cells.is_empty()).then(|| {
        format!(
            "{}: verified ({}): {}.",
            job.place,
            format!("{kind:?}").to_lowercase(),
            cells.join("; ")
        )
    })
}

/// What has to be known to read the figures.
pub(super) fn said(report: &Report) -> Vec<String> {
    let rounds = match report.rounds {
        1 => "One round; --rounds gives medians over several.".to_owned(),
        n => format!("Medians over {n} rounds, which alternate between the columns."),
    };
    let mut notes = vec![
        format!(
            "{rounds} Latency: from making a request to seeing it done. Submit: what 99 of a hundred calls that submit take at most, of one \
             in 64, which are timed apart. CPU: user and system time, io_uring's workers included."
        ),
        "nofault direct is direct and nofault buffered is not, whatever the job says; bare io_uring does as it says. Before each run the \
         files are made alike."
            .to_owned(),
    ];
    notes.extend(report.notes.iter().cloned());
    for job in &report.jobs {
        notes.extend(verified(job));
        for cell in &job.cells {
            notes.extend(
                cell.failed
                    .iter()
                    .map(|reason| format!("{}: {}: {reason}", job.place, cell.column.title())),
            );
        }
    }
    notes
}
