//! `nofault stall` from outside.

mod common;

use std::io::{BufRead, BufReader};

use common::plain;
use common::{names_in, nofault, signal, stderr, stdout, tiny, without_io_uring};
use serde_json::Value;

#[test]
fn stall_has_a_ratio_or_a_reason_in_every_cell_and_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = plain(dir.path());
    let output = tiny("stall", dir.path(), &["--cold-dir", place, "--json"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        stderr(&output)
    );
    assert_eq!(names_in(dir.path()), [""; 0]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["interrupted"], &report["cold_place"]),
        (&Value::from(false), &Value::from(place))
    );
    let rows = report["rows"].as_array().expect("rows");
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(names, ["alone", "fresh", "swapped-out", "slow-faults"]);
    for row in rows {
        if let Some(reason) = row["skipped"].as_str() {
            println!("SKIP {}: {reason}", row["name"]);
            assert!(row["name"] != "alone" && row["name"] != "fresh", "{row}");
            continue;
        }
        for cell in row["columns"].as_array().expect("columns") {
            let figures = &cell["figures"];
            if figures.is_null() {
                println!(
                    "SKIP {}, {}: {}",
                    row["name"], cell["column"], cell["unavailable"]
                );
                assert!(
                    cell["column"] != "nofault" || row["name"] == "swapped-out",
                    "{cell}"
                );
                continue;
            }
            let beside = row["name"] != "alone";
            assert!(
                figures["latency_us_p999"]
                    .as_f64()
                    .is_some_and(|us| us > 0.0),
                "{cell}"
            );
            assert_eq!(
                figures["cold_requests"].as_u64().is_some_and(|n| n > 0),
                beside,
                "{cell}"
            );
            assert_eq!(figures["p999_ratio_to_alone"].is_number(), beside, "{cell}");
        }
    }
}

#[test]
fn where_io_uring_is_forbidden_the_stall_has_the_threads_alone_and_fits_a_hundred_columns() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = plain(dir.path());
    let arguments = [
        "stall",
        "--dir",
        place,
        "--cold-dir",
        place,
        "--size",
        "1M",
        "--seconds",
        "0.02",
        "--rounds",
        "1",
    ];
    let output = without_io_uring(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("bare io_uring     not available: EPERM")
            && text.contains("alone, nofault: fresh"),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 100) && !text.contains('\x1b'),
        "{text}"
    );
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn an_interrupted_stall_prints_what_it_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = plain(dir.path());
    let long = [
        "stall",
        "--dir",
        place,
        "--cold-dir",
        place,
        "--size",
        "1M",
        "--seconds",
        "600",
        "--rounds",
        "1",
        "--json",
    ];
    let mut child = nofault(&[&long[..], &["--verbose"]].concat())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
    said.read_line(&mut line).expect("a line");
    assert_eq!(line, "measuring alone\n");
    signal(&child, libc::SIGINT);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(names_in(dir.path()), [""; 0]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["interrupted"], &report["rows"][0]["name"]),
        (&Value::from(true), &Value::from("alone"))
    );
}
