//! `nofault compare` from outside.

mod common;
mod results;

use std::fs;
use std::process::Output;

use common::plain;
use results::run;
use serde_json::Value;

fn compare(files: &[&str]) -> Output {
    common::run(&[&["compare"], files].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// The document with other rates in one column: those of its rounds lie close together, whatever
/// they were.
fn with_rates(document: &Value, rate: f64) -> Value {
    let mut document = document.clone();
    let set = |rounds: &mut Value, name: &str| {
        let rounds = rounds.as_array_mut().expect("rounds");
        assert!(
            rounds.len() == 3 && rounds.iter().all(|round| round[name].is_number()),
            "{rounds:?}"
        );
        rounds
            .iter_mut()
            .zip([1.0, 0.99, 1.01])
            .for_each(|(round, part)| round[name] = (rate * part).into());
    };
    if let Some(Value::Array(jobs)) = document.get_mut("jobs") {
        let mine = jobs
            .iter_mut()
            .filter(|job| job["nofault"]["column"] == "nofault direct");
        mine.for_each(|job| set(&mut job["nofault"]["rounds"], "iops"));
    } else {
        let rows = document["rows"].as_array_mut().expect("rows").iter_mut();
        rows.for_each(|row| set(&mut row["columns"][0]["rounds"], "requests_per_second"));
    }
    document
}

#[test]
fn comparing_ends_with_0_if_nothing_is_worse_and_with_1_if_something_is() {
    for (profile, count) in [(false, 2), (true, 3)] {
        let dir = tempfile::tempdir().expect("a directory");
        let (_, document) = run(dir.path(), profile);
        let [before, after] = ["before.json", "after.json"].map(|name| dir.path().join(name));
        fs::write(&before, with_rates(&document, 1000.0).to_string()).expect("written");
        fs::write(&after, with_rates(&document, 900.0).to_string()).expect("written");
        let last = |output: &Output| {
            text(&output.stdout)
                .lines()
                .last()
                .expect("a line")
                .to_owned()
        };

        let same = compare(&[plain(&before), plain(&before)]);
        assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));
        assert!(
            last(&same).contains("0 worse, 0 better") && last(&same).contains("exit status 0"),
            "{}",
            last(&same)
        );

        let worse = compare(&[plain(&before), plain(&after)]);
        assert_eq!(worse.status.code(), Some(1), "{}", text(&worse.stdout));
        assert!(
            last(&worse).contains(&format!("{count} worse"))
                && last(&worse).contains("exit status 1"),
            "{}",
            last(&worse)
        );
        assert!(
            text(&worse.stdout)
                .lines()
                .all(|line| line.chars().count() <= 100),
            "{}",
            text(&worse.stdout)
        );
        assert_eq!(
            compare(&[plain(&before), plain(&after), "--threshold", "11"])
                .status
                .code(),
            Some(0)
        );

        let better = compare(&[plain(&after), plain(&before), "--json"]);
        assert_eq!(better.status.code(), Some(0));
        let found: Value = serde_json::from_slice(&better.stdout).expect("JSON");
        assert_eq!(
            (&found["better"], &found["worse"]),
            (&Value::from(count), &Value::from(0))
        );
        let figures = found["entries"]
            .as_array()
            .expect("entries")
            .iter()
            .flat_map(|entry| entry["figures"].as_array().expect("figures"));
        let figures: Vec<&Value> = figures.collect();
        assert!(
            figures
                .iter()
                .all(|figure| figure["before"].is_number() && figure["noise_percent"].is_number()),
            "{found:#}"
        );
        assert!(
            figures
                .iter()
                .any(|figure| figure["figure"] == "CPU per request")
        );
    }
}

/// Results in the layout of real fio.
fn fio(iops: f64) -> String {
    let times = serde_json::json!({ "percentile": { "50.000000": 1000, "99.000000": 2000, "99.900000": 3000 } });
    let read = serde_json::json!({ "total_ios": 1000, "iops": iops, "clat_ns": times });
    serde_json::json!({ "fio version": "fio-3.36", "jobs": [{ "jobname": "j", "error": 0, "read": read, "write": { "total_ios": 0 } }] })
        .to_string()
}

#[test]
fn files_of_real_fio_compare_by_the_threshold() {
    let dir = tempfile::tempdir().expect("a directory");
    let [before, close, worse] = ["before", "close", "worse"].map(|name| dir.path().join(name));
    for (path, iops) in [(&before, 1000.0), (&close, 960.0), (&worse, 800.0)] {
        fs::write(path, fio(iops)).expect("written");
    }
    let status = |more: &[&str]| compare(&[&[plain(&before)], more].concat()).status.code();
    assert_eq!(status(&[plain(&close)]), Some(0));
    assert_eq!(status(&[plain(&close), "--threshold", "3"]), Some(1));
    assert_eq!(status(&[plain(&worse)]), Some(1));
    assert_eq!(status(&[plain(&worse), "--threshold", "25"]), Some(0));
    let shown = compare(&[plain(&before), plain(&worse)]);
    let line = text(&shown.stdout)
        .lines()
        .find(|line| line.contains("requests/s"))
        .expect("a line");
    for word in ["1.00k", "800", "-20.0%", "unknown", "WORSE"] {
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn a_file_that_can_not_be_used_is_named_and_the_status_is_2() {
    let dir = tempfile::tempdir().expect("a directory");
    let [good, alien, broken, other] =
        ["good", "alien", "broken", "other"].map(|name| dir.path().join(name));
    fs::write(&good, fio(1.0)).expect("written");
    fs::write(&alien, "{\"a\": 1}").expect("written");
    fs::write(&broken, "{\"jobs\": [").expect("written");
    fs::write(&other, fio(1.0).replace("\"j\"", "\"k\"")).expect("written");
    for (bad, word) in [
        (dir.path().join("none"), "cannot read"),
        (alien, "\"jobs\""),
        (broken, "JSON"),
        (other, "in common"),
    ] {
        let output = compare(&[plain(&good), plain(&bad)]);
        assert_eq!(output.status.code(), Some(2), "{}", bad.display());
        let line = text(&output.stderr);
        assert!(
            line.contains(plain(&bad)) && line.contains(word) && line.lines().count() == 1,
            "{line}"
        );
    }
}
