//! `nofault bench` from outside: exit status, messages, what it prints, and what it leaves behind.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;

use common::{
    is_refused, names_in, nofault, plain, run, signal, stderr, stdout, tiny, without_io_uring,
};
use serde_json::Value;

#[test]
fn where_io_uring_is_forbidden_the_bench_goes_on_with_threads_and_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = plain(dir.path());
    let tiny = [
        "bench",
        "--dir",
        place,
        "--size",
        "1M",
        "--seconds",
        "0.02",
        "--rounds",
        "1",
    ];
    let output = without_io_uring(&[&tiny[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["engine"]["backend"], "threads");
    assert!(
        report["engine"]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("EPERM")),
        "{}",
        report["engine"]
    );
    for row in report["rows"].as_array().expect("rows") {
        let [nofault, bare, buffered] = [0, 1, 2].map(|column| &row["columns"][column]);
        assert!(
            nofault["figures"]["requests"].is_u64() && buffered["figures"]["requests"].is_u64(),
            "{row}"
        );
        assert!(
            bare["unavailable"]
                .as_str()
                .is_some_and(|reason| reason.starts_with("EPERM")),
            "{row}"
        );
    }
    let table = without_io_uring(&[&tiny[..], &["--only", "large"]].concat());
    assert!(
        stdout(&table).contains("bare io_uring  not available: EPERM"),
        "{}",
        stdout(&table)
    );
    let refused = without_io_uring(&[&tiny[..], &["--backend", "uring"]].concat());
    assert!(is_refused(&refused).contains("--backend threads"));
    let probe = without_io_uring(&["probe", place]);
    assert!(
        probe.status.success() && stdout(&probe).contains("no ring: EPERM"),
        "{}",
        stdout(&probe)
    );
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn a_file_size_limit_is_an_error_and_no_signal() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = nofault(&["bench", "--dir", plain(dir.path()), "--size", "2M"]);
    let limit = libc::rlimit {
        rlim_cur: 1 << 20,
        rlim_max: 1 << 20,
    };
    let lower = move || {
        // SAFETY: one system call that reads the struct.
        if unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) } == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec there is one system call, no allocation and no lock.
    unsafe { command.pre_exec(lower) };
    let output = command.output().expect("the program starts");
    assert!(is_refused(&output).contains("ulimit -f"));
}

#[test]
fn a_bench_ends_well_fills_every_cell_and_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = tiny("bench", dir.path(), &["--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        output.stderr.is_empty(),
        "progress is only for terminals: {}",
        stderr(&output)
    );
    assert_eq!(names_in(dir.path()), [""; 0]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 9);
    assert_eq!(report["interrupted"], false);
    for row in rows {
        for cell in row["columns"].as_array().expect("columns") {
            if cell["column"] == "bare io_uring" && cell["figures"].is_null() {
                println!(
                    "SKIP {}: no bare ring here: {}",
                    row["name"], cell["unavailable"]
                );
                continue;
            }
            let figures = &cell["figures"];
            for figure in [
                "requests_per_second",
                "bytes_per_second",
                "latency_us_p50",
                "submit_us_longest",
                "cpu_us_per_request",
            ] {
                assert!(
                    figures[figure].as_f64().is_some_and(|v| v > 0.0),
                    "{} {figure}: {cell}",
                    row["name"]
                );
            }
            assert!(figures["ratio_to_buffered"].is_number(), "{cell}");
        }
    }
}

#[test]
fn the_table_fits_a_hundred_columns_and_is_plain_in_a_pipe() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = tiny(
        "bench",
        dir.path(),
        &["--only", "random-read", "--only", "large"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(!text.contains('\x1b'));
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(
        text.contains("4 KiB random read, depth 32, cold buffers")
            && text.contains("one 2 MiB read at a time"),
        "{text}"
    );
    assert!(!text.contains("write, depth"), "{text}");
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn the_thread_back_end_gives_figures_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = tiny(
        "bench",
        dir.path(),
        &["--only", "read", "--backend", "threads", "--json"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["engine"]["backend"], "threads");
}

#[test]
fn an_interrupted_bench_prints_what_it_has_and_leaves_no_file() {
    for (number, status) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let dir = tempfile::tempdir().expect("a directory");
        let place = plain(dir.path());
        // An hour for each cell but the first ones: it ends because of the signal or not at all.
        let arguments = [
            "bench",
            "--dir",
            place,
            "--size",
            "1M",
            "--seconds",
            "600",
            "--rounds",
            "1000",
            "--json",
            "--verbose",
        ];
        let mut child = nofault(&arguments).spawn().expect("the program starts");
        let mut line = String::new();
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        said.read_line(&mut line).expect("a line");
        assert_eq!(line, "measuring random-read-warm\n");
        signal(&child, number);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(names_in(dir.path()), [""; 0]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["interrupted"], true);
        assert_eq!(report["rows"][0]["name"], "random-read-warm");
        assert!(
            report["rows"][0]["columns"][0]["figures"]["requests"]
                .as_u64()
                .is_some_and(|n| n > 0),
            "{report}"
        );
    }
}

#[test]
fn a_bad_place_is_status_2_and_one_line_that_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("written");
    let cases = [
        ("/nowhere/at/all", "--dir"),
        (plain(&file), "--dir"),
        ("/proc", "--dir"),
    ];
    for (place, part) in cases {
        let output = run(&["bench", "--dir", place, "--size", "1M"]);
        let said = is_refused(&output);
        assert!(said.contains(place) && said.contains(part), "{said}");
    }
    let output = run(&["bench", "--dir", plain(dir.path()), "--size", "1000000T"]);
    assert!(is_refused(&output).contains("not enough space"));
    assert_eq!(names_in(dir.path()), ["file"]);
}

#[test]
fn the_list_names_every_row() {
    let output = run(&["bench", "--list"]);
    assert!(output.status.success());
    assert_eq!(stdout(&output).lines().count(), 9);
    assert!(stdout(&output).contains("sequential-write-cold"));
}
