//! Every scenario of `nofault check` on both back ends, and that what watches over them does.
//!
//! Runs in a temporary directory; NOFAULT_DIR names another, on the filesystem in question.

// The program uses what these tests do not.
#[allow(dead_code, unused_imports)]
#[path = "../src/faults/mod.rs"]
mod faults;
#[allow(dead_code, unused_imports)]
#[path = "../src/check/suite/mod.rs"]
mod suite;

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use nofault::Backend;
use suite::cell::Cell;
use suite::watch::{self, Report};
use suite::{Column, Verdict, scenarios};

const CELL: &str = "NOFAULT_CHECK_CELL";
const LIMIT: Duration = Duration::from_secs(120);

/// Where the tests below start themselves again; nothing when run as a test.
#[test]
fn cell() {
    if let Ok(word) = std::env::var(CELL) {
        Cell::from_word(&word).expect("a cell").run_here();
    }
}

fn launch(cell: &Cell) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", "cell", "--nocapture", "--test-threads=1"])
        .env(CELL, cell.to_word());
    Ok(command)
}

fn directory() -> tempfile::TempDir {
    match std::env::var_os("NOFAULT_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .expect("a directory to test in")
}

fn report(scenario: &str, column: Column, backend: Backend, limit: Duration) -> Report {
    let dir = directory();
    let cell = Cell {
        scenario: scenario.to_owned(),
        column,
        backend,
        size_bytes: 32 << 20,
        seed: 1,
    };
    watch::run(&launch, &cell, dir.path(), limit, &|| false)
}

fn every_scenario_passes(backend: Backend) {
    let mut bad = Vec::new();
    for scenario in scenarios::ALL {
        let report = report(scenario.name, Column::Nofault, backend, LIMIT);
        let verdict = report.verdict.expect("nobody stops it");
        println!(
            "{} {} {} ({} ms)",
            verdict.word(),
            scenario.name,
            verdict.what(),
            report.took.as_millis()
        );
        if verdict.is_bad() {
            bad.push(format!(
                "{}: {} {}",
                scenario.name,
                verdict.word(),
                verdict.what()
            ));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn every_scenario_passes_on_io_uring() {
    every_scenario_passes(Backend::Uring);
}

#[test]
fn every_scenario_passes_on_worker_threads() {
    every_scenario_passes(Backend::Threads);
}

fn verdict(scenario: &str) -> Verdict {
    report(scenario, Column::Buffered, Backend::Auto, LIMIT)
        .verdict
        .expect("nobody stops it")
}

#[test]
fn what_a_cell_says_arrives_as_it_was_said() {
    assert_eq!(verdict("selftest-pass"), Verdict::Pass);
    assert_eq!(
        verdict("selftest-fail"),
        Verdict::Fail("as asked; for".to_owned())
    );
    assert_eq!(
        verdict("selftest-skip"),
        Verdict::Skip("as asked for".to_owned())
    );
    assert!(verdict("no-such-scenario").is_bad());
}

#[test]
fn a_cell_that_dies_has_failed_and_its_last_words_are_kept() {
    let Verdict::Fail(what) = verdict("selftest-panic") else {
        panic!("not a failure")
    };
    assert!(what.contains("as asked for"), "{what}");
    let Verdict::Fail(what) = verdict("selftest-crash") else {
        panic!("not a failure")
    };
    assert!(what.contains("signal 6"), "{what}");
}

#[test]
fn a_cell_that_never_ends_is_ended_and_where_it_waited_is_told() {
    let report = report(
        "selftest-hang",
        Column::Buffered,
        Backend::Auto,
        Duration::from_secs(2),
    );
    let Some(Verdict::Hang(what)) = report.verdict else {
        panic!("not a hang")
    };
    assert!(what.contains("cell [S]"), "{what}");
    assert!(!report.left_behind);
}

#[test]
fn a_run_that_is_stopped_stops_its_cell() {
    let dir = directory();
    let cell = Cell {
        scenario: "selftest-hang".to_owned(),
        column: Column::Buffered,
        backend: Backend::Auto,
        size_bytes: 4 << 20,
        seed: 1,
    };
    let begun = Instant::now();
    // Stopped as soon as the cell has shown that it runs.
    let report = watch::run(&launch, &cell, dir.path(), LIMIT, &|| {
        dir.path().join("left").exists()
    });
    assert_eq!(report.verdict, None);
    assert!(begun.elapsed() < LIMIT);
}

#[test]
fn a_cell_survives_being_written_as_a_word() {
    let cell = Cell {
        scenario: "a-name".to_owned(),
        column: Column::Ring,
        backend: Backend::Threads,
        size_bytes: 5,
        seed: u64::MAX,
    };
    assert_eq!(
        Cell::from_word(&cell.to_word()).map(|again| again.to_word()),
        Some(cell.to_word())
    );
    assert!(Cell::from_word("a-name/io_uring/threads/5").is_none());
}

#[test]
fn scenarios_have_names_of_their_own_and_a_story() {
    for (index, scenario) in scenarios::ALL.iter().enumerate() {
        assert!(
            scenarios::ALL[..index]
                .iter()
                .all(|other| other.name != scenario.name),
            "{}",
            scenario.name
        );
        assert!(
            !scenario.story.is_empty() && !scenario.name.contains('/'),
            "{}",
            scenario.name
        );
    }
}
