//! The result as one JSON document.

use serde_json::{Value, json};

use super::place::Place;
use super::suite::column;
use super::{Arguments, Done};

pub(super) fn document(
    arguments: &Arguments,
    place: &Place,
    done: &[Done],
    interrupted: bool,
) -> String {
    let cell = |cell: &Done| -> Value {
        json!({
            "scenario": cell.scenario.name,
            "number": cell.scenario.number,
            "column": cell.column.name(),
            "verdict": cell.verdict.word(),
            "what": cell.verdict.what(),
            "seed": cell.seed,
            "took_ms": u64::try_from(cell.took.as_millis()).unwrap_or(u64::MAX),
        })
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let document = json!({
        "dir": place.dir.to_string_lossy(),
        "filesystem": place.filesystem,
        "linux": release.trim(),
        "backend": column::backend_name(arguments.backend),
        "size_bytes": arguments.size,
        "interrupted": interrupted,
        "cells": done.iter().map(cell).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}
