//! A comparison as text of at most 100 columns. Pure.

use std::fmt::Write;

use super::statistics::{Change, Unit, Verdict};
use super::{Comparison, OnlyWhat, Source};
use crate::figures::text::wrap;
use crate::figures::units;
use crate::report::table::{Paint, WIDTH};

/// The whole table.
pub(super) fn render(comparison: &Comparison, paint: Paint) -> String {
    let mut out = format!(
        "before: {}\nafter:  {}\n",
        source(&comparison.before),
        source(&comparison.after)
    );
    let _ = writeln!(
        out,
        "\n{}",
        paint.bold(&columns("", ["before", "after", "difference", "noise", ""]))
    );
    let mut job = "";
    for entry in &comparison.entries {
        if job != entry.job {
            job = &entry.job;
            let _ = writeln!(out, "\n{}", paint.bold(&cut(job)));
        }
        if !entry.column.is_empty() {
            let _ = writeln!(out, "{}", cut(&format!("  {}", entry.column)));
        }
        for change in &entry.changes {
            let _ = writeln!(out, "{}", line(change, paint));
        }
    }
    if !comparison.only.is_empty() {
        out.push('\n');
    }
    for only in &comparison.only {
        let name = if only.column.is_empty() {
            only.job.clone()
        } else {
            format!("{}, {}", only.job, only.column)
        };
        let what = match only.what {
            OnlyWhat::Before => "only before",
            OnlyWhat::After => "only after",
            OnlyWhat::FailsNow => "WORSE: has no figures any more",
            OnlyWhat::FailedBefore => "had no figures before",
        };
        for text in wrap(&format!("{name}: {what}"), WIDTH) {
            let _ = writeln!(out, "{}", cut(&text));
        }
    }
    out.push('\n');
    for text in notes(comparison).iter().flat_map(|note| wrap(note, WIDTH)) {
        let _ = writeln!(out, "{}", cut(&text));
    }
    let last = last(comparison);
    let _ = writeln!(out, "{}", paint.bold(&last));
    out
}

fn source(source: &Source) -> String {
    let about: Vec<String> = source
        .about
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let text = format!("{}: {}", source.file, about.join(", "));
    wrap(&text, WIDTH - 8)
        .iter()
        .map(|line| cut_to(line, WIDTH - 8))
        .collect::<Vec<_>>()
        .join("\n        ")
}

fn columns(name: &str, cells: [&str; 5]) -> String {
    let [before, after, difference, noise, verdict] = cells;
    format!("    {name:<22}{before:>12}{after:>12}{difference:>13}{noise:>11}  {verdict}")
        .trim_end()
        .to_owned()
}

fn line(change: &Change, paint: Paint) -> String {
    let shown = |value| match change.metric.unit {
        Unit::PerSecond => units::rate(value),
        Unit::Microseconds => units::time_us(value),
    };
    let verdict = match change.verdict {
        Verdict::Worse => "WORSE",
        Verdict::Better => "better",
        Verdict::Noise => "noise",
        Verdict::Same => "",
    };
    let text = columns(
        &change.metric.name,
        [
            &shown(change.before),
            &shown(change.after),
            &change
                .difference_percent
                .map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1}%")),
            &change
                .noise_percent
                .map_or_else(|| "unknown".to_owned(), |percent| format!("±{percent:.1}%")),
            verdict,
        ],
    );
    match (change.verdict, text.strip_suffix(verdict)) {
        (Verdict::Worse, Some(before)) => format!("{before}{}", paint.ratio(verdict, 0.0)),
        (Verdict::Better, Some(before)) => format!("{before}{}", paint.ratio(verdict, 2.0)),
        _ => text,
    }
}

fn notes(comparison: &Comparison) -> Vec<String> {
    let mut notes = vec![format!(
        "Medians over rounds. Noise: how far the rounds of both files go to either side of their medians (of nine or more, the 95% interval \
         of the median); what the machine does otherwise from one day to another it does not show. A change is beyond the noise and beyond \
         {}% (--threshold).",
        comparison.threshold_percent
    )];
    if comparison.noise_is_unknown() {
        notes.push(
            "Noise unknown: fewer than three rounds, so that the threshold alone decides; measure with --rounds 5 or more.".to_owned(),
        );
    }
    let interrupted = [&comparison.before, &comparison.after]
        .into_iter()
        .filter(|source| source.about.iter().any(|fact| fact.0 == "interrupted"));
    notes.extend(interrupted.map(|source| format!("The run of {} was interrupted.", source.file)));
    notes
}

fn last(comparison: &Comparison) -> String {
    let (worse, better) = (comparison.worse(), comparison.count(Verdict::Better));
    let all: usize = comparison
        .entries
        .iter()
        .map(|entry| entry.changes.len())
        .sum();
    let found = format!(
        "{worse} worse, {better} better, {} as before",
        all.saturating_sub(comparison.count(Verdict::Worse) + better)
    );
    if worse > 0 {
        format!("{found}: exit status 1, something is worse")
    } else {
        format!("{found}: exit status 0, nothing is worse")
    }
}

fn cut(text: &str) -> String {
    cut_to(text, WIDTH)
}

fn cut_to(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        text.to_owned()
    } else {
        text.chars().take(width - 1).chain(['…']).collect()
    }
}
