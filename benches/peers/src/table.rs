//! What is printed.

use std::fmt::Write;

use crate::ratios::Ratio;
use crate::rounds::{Cell, Figures, Outcome};

const NAME: usize = 26;

pub(crate) fn head() -> String {
    let line = |words: [&str; 6]| {
        let [ops, cpu, p50, p99, p999, peak] = words;
        format!(
            "{:NAME$}{ops:>10}{cpu:>12}{p50:>11}{p99:>11}{p999:>11}{peak:>11}\n",
            ""
        )
    };
    line(["requests", "CPU per", "p50", "p99", "p99.9", "peak"])
        + &line(["/s", "request", "latency", "latency", "latency", "memory"])
}

/// A note is written out below the first cell that has it, and is a number from then on: `notes`
/// has those that were.
pub(crate) fn cell(
    cell: &Cell,
    outcomes: &[(&'static str, Outcome)],
    notes: &mut Vec<String>,
) -> String {
    let mut text = format!("\n{}\n", title(cell));
    let known = notes.len();
    for (name, outcome) in outcomes {
        let name = format!("  {name}");
        // Writing to a String can't fail.
        let _ = match outcome {
            Outcome::Measured(figures) => writeln!(
                text,
                "{}{}",
                row(&name, figures),
                mark(figures.note.as_deref(), notes)
            ),
            Outcome::Skip(reason) => writeln!(text, "{name:NAME$}      SKIP: {reason}"),
            Outcome::Failed(reason) => writeln!(text, "{name:NAME$}    FAILED: {reason}"),
        };
    }
    for (index, note) in notes.iter().enumerate().skip(known) {
        let _ = writeln!(text, "  [{}] {note}", index + 1);
    }
    text
}

fn mark(note: Option<&str>, notes: &mut Vec<String>) -> String {
    let Some(note) = note else {
        return String::new();
    };
    let index = notes
        .iter()
        .position(|known| known == note)
        .unwrap_or_else(|| {
            notes.push(note.to_owned());
            notes.len() - 1
        });
    format!(" [{}]", index + 1)
}

fn title(cell: &Cell) -> String {
    format!(
        "{}, {} random {}, depth {}",
        cell.place,
        size(cell.block),
        cell.access.name(),
        cell.depth
    )
}

fn row(name: &str, figures: &Figures) -> String {
    let latency = figures.latency;
    let times = [
        figures.cpu_us_per_op,
        latency.p50_us,
        latency.p99_us,
        latency.p999_us,
    ]
    .map(time);
    let [cpu, p50, p99, p999] = times;
    let peak = figures.peak_kib as f64 / 1024.0;
    format!(
        "{name:NAME$}{:>10}{cpu:>12}{p50:>11}{p99:>11}{p999:>11}{peak:>7.1} MiB",
        rate(figures.ops_per_second)
    )
}

pub(crate) fn ratios(ratios: &[Ratio], quick: bool) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    let mut text = "\nCPU per request, one divided by the other\n".to_owned();
    if quick {
        text.push_str("(so few requests that this says nothing)\n");
    }
    let mut before = None;
    for Ratio {
        cell,
        of,
        against,
        ratio,
        to_reach,
        reached,
    } in ratios
    {
        if before != Some(cell) {
            let _ = writeln!(text, "\n{}", title(cell));
            before = Some(cell);
        }
        let word = if *reached { "reached" } else { "NOT REACHED" };
        let _ = writeln!(
            text,
            "  {:50}{ratio:>7.3}   {to_reach}: {word}",
            format!("{of} / {against}")
        );
    }
    text
}

fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        large if large >= 1e5 => format!("{:.0}k", large / 1e3),
        middle if middle >= 1e3 => format!("{:.1}k", middle / 1e3),
        small => format!("{small:.0}"),
    }
}

fn time(us: f64) -> String {
    match us {
        us if us < 10.0 => format!("{us:.2} µs"),
        us if us < 100.0 => format!("{us:.1} µs"),
        us if us < 1000.0 => format!("{us:.0} µs"),
        us => format!("{:.2} ms", us / 1000.0),
    }
}
