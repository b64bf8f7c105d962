//! A comparison as JSON.

use serde_json::{Map, Value, json};

use super::statistics::{Change, Unit, Verdict};
use super::{Comparison, OnlyWhat, Source};

/// The whole document.
pub(super) fn document(comparison: &Comparison) -> Value {
    let entries = comparison
        .entries
        .iter()
        .map(|entry| json!({ "job": entry.job, "column": entry.column, "figures": entry.changes.iter().map(change).collect::<Vec<_>>() }));
    let only = comparison.only.iter().map(|only| {
        let what = match only.what {
            OnlyWhat::Before => "only before",
            OnlyWhat::After => "only after",
            OnlyWhat::FailsNow => "fails now",
            OnlyWhat::FailedBefore => "failed before",
        };
        json!({ "job": only.job, "column": only.column, "what": what })
    });
    json!({
        "before": source(&comparison.before),
        "after": source(&comparison.after),
        "threshold_percent": comparison.threshold_percent,
        "worse": comparison.worse(),
        "better": comparison.count(Verdict::Better),
        "entries": entries.collect::<Vec<_>>(),
        "in_one_only": only.collect::<Vec<_>>(),
    })
}

fn source(source: &Source) -> Value {
    let about: Map<String, Value> = source
        .about
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    json!({ "file": source.file, "about": about })
}

fn change(change: &Change) -> Value {
    json!({
        "figure": change.metric.name,
        "unit": match change.metric.unit {
            Unit::PerSecond => "1/s",
            Unit::Microseconds => "us",
        },
        "before": change.before,
        "after": change.after,
        "difference_percent": change.difference_percent,
        "noise_percent": change.noise_percent,
        "verdict": match change.verdict {
            Verdict::Worse => "worse",
            Verdict::Better => "better",
            Verdict::Same => "same",
            Verdict::Noise => "noise",
        },
    })
}
