//! `nofault run JOBFILE --fio` from outside: fio's columns beside ours, and what happens when fio
//! does not do as it should.

// Only whether there is a fio.
#[allow(dead_code)]
#[path = "../../fio-jobs/tests/fio_common/mod.rs"]
mod fio_common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fio_common::real_fio;
use serde_json::Value;
use tempfile::TempDir;

/// A directory for the files of the jobs, and one for what belongs to the test.
struct Ground {
    jobs: TempDir,
    aside: TempDir,
}

impl Ground {
    fn new() -> Ground {
        let dir = || tempfile::tempdir().expect("a directory");
        Ground {
            jobs: dir(),
            aside: dir(),
        }
    }

    fn bench(&self, profile: &str, more: &[&str]) -> Command {
        let place = self.aside.path().join("profile.fio");
        fs::write(&place, profile).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_nofault"));
        command
            .arg("run")
            .arg(place)
            .arg("--dir")
            .arg(self.jobs.path())
            .args(more)
            .env("TMPDIR", self.aside.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, profile: &str, more: &[&str]) -> Output {
        self.bench(profile, more)
            .output()
            .expect("the program starts")
    }

    /// A program that behaves like fio as far as its version, and then as this says.
    fn fake(&self, then: &str) -> String {
        let path = self.aside.path().join("fake");
        let text = format!(
            "#!/bin/sh\nif [ \"$1\" = --version ]; then echo fio-9.99; exit 0; fi\n{then}\n"
        );
        // A new name each time: a file that is being written can't be run.
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made executable");
        format!("--fio={}", path.display())
    }

    /// Nothing of the jobs is left, and nothing of fio's reports.
    fn is_clean(&self) {
        let names = |dir: &Path| -> Vec<String> {
            fs::read_dir(dir)
                .expect("listed")
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect()
        };
        assert_eq!(names(self.jobs.path()), [""; 0]);
        assert!(
            names(self.aside.path())
                .iter()
                .all(|name| ["profile.fio", "fake", "started"].contains(&name.as_str()))
        );
    }
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

fn named(fio: &Path) -> String {
    format!("--fio={}", fio.display())
}

/// The document of a run that has to succeed and leave nothing.
fn document(fio: &Path, profile: &str, more: &[&str]) -> Value {
    let ground = Ground::new();
    let output = ground.run(profile, &[&[named(fio).as_str(), "--json"], more].concat());
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    ground.is_clean();
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The entries of a job in fio's columns that were measured, of which psync is always one: no other
/// engine needs more than files.
fn columns(document: &Value, job: &str) -> Vec<Value> {
    let jobs = document["jobs"].as_array().expect("jobs").iter();
    let mine: Vec<Value> = jobs
        .filter(|entry| entry["nofault"]["job"] == job)
        .cloned()
        .collect();
    assert_eq!(mine.len(), 6, "{document:#}");
    let of_fio = |entry: &Value| {
        entry["nofault"]["column"]
            .as_str()
            .is_some_and(|column| column.starts_with("fio "))
    };
    let measured: Vec<Value> = mine
        .into_iter()
        .filter(|entry| of_fio(entry) && entry["error"] == 0)
        .collect();
    assert!(
        measured
            .iter()
            .any(|entry| entry["nofault"]["column"] == "fio psync buffered"),
        "{document:#}"
    );
    measured
}

#[test]
fn fio_does_the_same_jobs() {
    let Some(fio) = real_fio("fio_does_the_same_jobs") else {
        return;
    };
    let text = "[global]\nsize=1m\n[a]\nrw=randread\nbs=4k\niodepth=8\nioengine=io_uring\nregisterfiles\nfixedbufs\ndirect=1\n\
                [b]\nstonewall\nrw=write\nbs=64k\nio_size=512k\nloops=2\nunlink=1\n\
                [c]\nstonewall\nrw=randrw\nbs=4k\nnumjobs=3\ngroup_reporting\nfsync=16\niomem=mmap:buffers.tmp\nnrfiles=2\n\
                [d]\nrw=read\nbs=16k\nwait_for=c\nsize=256k\n";
    let document = document(&fio, text, &["--rounds", "2"]);
    assert!(
        document["nofault"]["fio"]["version"]
            .as_str()
            .is_some_and(|version| version.starts_with("fio-")),
        "{document:#}"
    );
    for entry in columns(&document, "a") {
        assert_eq!(
            (
                entry["read"]["total_ios"].as_u64(),
                entry["read"]["io_bytes"].as_u64()
            ),
            (Some(512), Some(2 << 20)),
            "{entry:#}"
        );
        let median = &entry["read"]["lat_ns"];
        assert_eq!(median["N"], 512, "{entry:#}");
        assert!(
            entry["nofault"]["rounds"]
                .as_array()
                .is_some_and(|rounds| rounds.len() == 2),
            "{entry:#}"
        );
    }
    for entry in columns(&document, "b") {
        assert_eq!(
            (
                entry["write"]["total_ios"].as_u64(),
                entry["write"]["io_bytes"].as_u64()
            ),
            (Some(32), Some(2 << 20)),
            "{entry:#}"
        );
    }
    for entry in columns(&document, "c") {
        let requests = entry["read"]["total_ios"]
            .as_u64()
            .zip(entry["write"]["total_ios"].as_u64())
            .map(|(reads, writes)| reads + writes);
        assert_eq!(requests, Some(2 * 3 * 256), "{entry:#}");
        assert!(entry["sync"]["total_ios"].as_u64() > Some(0), "{entry:#}");
    }
    for entry in columns(&document, "d") {
        assert_eq!(entry["read"]["total_ios"], 32, "{entry:#}");
    }
}

#[test]
fn every_column_finds_a_file_that_grows_as_it_was() {
    let Some(fio) = real_fio("every_column_finds_a_file_that_grows_as_it_was") else {
        return;
    };
    // fio makes such a file anew. What comes after it must not work on the one before.
    let text = "[log]\nsize=256k\nbs=4k\nrw=write\nfallocate=none\nfdatasync=4\n[back]\nstonewall\nfilename=log.0.0\nsize=256k\nrw=read\n";
    let document = document(&fio, text, &["--rounds", "2"]);
    for job in ["log", "back"] {
        for entry in document["jobs"]
            .as_array()
            .expect("jobs")
            .iter()
            .filter(|entry| entry["nofault"]["job"] == job && entry["error"] == 0)
        {
            assert_eq!(
                entry["read"]["total_ios"]
                    .as_u64()
                    .max(entry["write"]["total_ios"].as_u64()),
                Some(128),
                "{entry:#}"
            );
        }
    }
}

#[test]
fn parts_of_a_file_are_of_what_was_there_before_all_columns() {
    let Some(fio) = real_fio("parts_of_a_file_are_of_what_was_there_before_all_columns") else {
        return;
    };
    let document = document(
        &fio,
        "[j]\nfilename=f\nsize=64k\noffset=50%\nio_size=50%\nrw=write\n",
        &[],
    );
    for entry in columns(&document, "j") {
        assert_eq!(entry["write"]["io_bytes"], 32 << 10, "{entry:#}");
    }
}

#[test]
fn the_table_names_fio_and_is_not_too_wide() {
    let Some(fio) = real_fio("the_table_names_fio_and_is_not_too_wide") else {
        return;
    };
    let ground = Ground::new();
    let output = ground.run(
        "[j]\nsize=1m\nrw=randread\nioengine=libaio\niodepth_batch=4\niodepth=4\n",
        &[&named(&fio)],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    for word in [
        "fio-",
        "fio io_uring",
        "fio libaio",
        "fio psync buffered",
        "fio heeds iodepth_batch",
    ] {
        assert!(text.replace("\n", " ").contains(word), "{word}: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn a_fio_that_is_not_there_is_an_error_before_anything_is_written() {
    let ground = Ground::new();
    let no_fio = ground.aside.path().join("profile.fio");
    let no_fio = no_fio.to_str().expect("a plain name");
    for program in [
        "--fio=/nowhere/fio",
        "--fio=no-such-program-as-this",
        "--fio=true",
        &format!("--fio={no_fio}"),
    ] {
        let output = ground.run("[j]\nsize=1m\nrw=write\n", &[program, "--verbose"]);
        assert_eq!(output.status.code(), Some(2));
        let line = stderr(&output);
        assert!(
            line.contains("install fio, or name it with --fio=PROGRAM")
                && !line.contains("measuring"),
            "{line}"
        );
        assert!(stdout(&output).is_empty());
        ground.is_clean();
    }
}

#[test]
fn a_profile_after_a_bare_fio_is_a_profile() {
    let ground = Ground::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nofault"));
    // Whether or not there is a fio, the profile is read first.
    let output = command
        .args(["run", "--fio", "/nowhere/x.fio"])
        .output()
        .expect("the program starts");
    assert!(
        stderr(&output).contains("/nowhere/x.fio"),
        "{}",
        stderr(&output)
    );
    let output = Command::new(env!("CARGO_BIN_EXE_nofault"))
        .args(["run", "--fio"])
        .output()
        .expect("the program starts");
    assert_eq!(
        output.status.code(),
        Some(2),
        "fio without a profile: {}",
        stderr(&output)
    );
    ground.is_clean();
}

const READ: &str = "[j]\nsize=1m\nrw=randread\n";

#[test]
fn a_column_that_fio_does_not_offer_is_not_available_and_no_failure() {
    let ground = Ground::new();
    for (then, reason) in [
        (
            "echo 'fio: engine of that name not loadable' >&2; exit 1",
            "engine of that name not loadable",
        ),
        ("exit 7", "exit status: 7"),
        ("exit 0", "it reported nothing"),
        (
            "for a; do case $a in --output=*) echo '{ \"jobs\": [] }' > ${a#--output=};; esac; done",
            "reported 0 workers",
        ),
    ] {
        let output = ground.run(READ, &[&ground.fake(then)]);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let line = text
            .lines()
            .find(|line| line.contains("fio libaio"))
            .expect("the column");
        assert!(
            line.contains("not available: ") && text.replace("\n", " ").contains(reason),
            "{then}: {text}"
        );
        assert!(text.contains("fio-9.99"), "{text}");
        ground.is_clean();
    }
}

#[test]
fn a_request_of_fios_that_failed_fails_the_command() {
    let ground = Ground::new();
    let report = r#"{ "jobs": [ { "jobname": "j", "error": 5, "read": { "total_ios": 3 } } ] }"#;
    let then = format!(
        "for a; do case $a in --output=*) echo '{report}' > ${{a#--output=}};; esac; done; exit 1"
    );
    let output = ground.run(READ, &[&ground.fake(&then)]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(
        stdout(&output).contains("Input/output error"),
        "{}",
        stdout(&output)
    );
    ground.is_clean();
}

#[test]
fn a_fio_that_does_not_end_is_ended() {
    let ground = Ground::new();
    let output = ground.run(
        READ,
        &[&ground.fake("exec sleep 100000"), "--fio-timeout", "0.1"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output)
            .replace("\n", " ")
            .contains("had not ended after 0.1 s"),
        "{}",
        stdout(&output)
    );
    ground.is_clean();
}

#[test]
fn an_interrupted_run_ends_fio_and_shows_what_there_is() {
    let ground = Ground::new();
    let started: PathBuf = ground.aside.path().join("started");
    let fake = ground.fake(&format!(
        "echo $$ > {}; exec sleep 100000",
        started.display()
    ));
    let mut child = ground
        .bench(READ, &[&fake, "--verbose"])
        .spawn()
        .expect("the program starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("fio io_uring") {
        line.clear();
        assert!(
            said.read_line(&mut line).expect("read") > 0,
            "it ended too early"
        );
    }
    // SAFETY: a signal to our own child, which is not yet waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let text = stdout(&output);
    assert!(
        text.contains("Interrupted") && text.contains("fio io_uring"),
        "{text}"
    );
    // The pid of a program that was waited for is free; nobody else gets it so soon.
    if let Ok(pid) = fs::read_to_string(&started) {
        assert!(
            !Path::new("/proc").join(pid.trim()).exists(),
            "fio is still there"
        );
    }
    ground.is_clean();
}
