//! `nofault probe` from outside.

mod common;

use std::fs;

use common::{is_refused, names_in, nofault, plain, run, stderr, stdout, without_io_uring};
use serde_json::Value;

#[test]
fn a_probe_says_the_same_of_a_file_and_of_its_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, vec![7; 8192]).expect("written");
    let answers = [dir.path(), &file].map(|path| {
        let output = run(&["probe", "--json", plain(path)]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    });
    assert_eq!(
        (answers[0]["kind"].as_str(), answers[1]["kind"].as_str()),
        (Some("directory"), Some("file"))
    );
    for same in ["filesystem", "file", "engine", "memlock_bytes"] {
        assert_eq!(answers[0][same], answers[1][same], "{same}");
    }
    assert!(answers[0]["file"]["direct"].is_boolean());
    assert_eq!(names_in(dir.path()), ["file"]);
}

#[test]
fn a_probe_of_what_is_no_file_fails_with_one_line() {
    for place in ["/nowhere/at/all", "/dev/null"] {
        let output = run(&["probe", place]);
        assert!(is_refused(&output).contains(place));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = nofault(&["probe", "/tmp"])
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_probe_whose_main_question_stays_open_says_so_with_its_status() {
    // A directory in which no file can be made, whoever asks.
    let output = run(&["probe", "/proc"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("unknown: cannot make a file"));
}

#[test]
fn a_probe_knows_who_forbids_io_uring() {
    let output = without_io_uring(&["probe", "/tmp"]);
    let text = stdout(&output);
    assert!(text.contains("seccomp filter"), "{text}");
    assert!(!text.contains("or by sysctl"), "{text}");
}
