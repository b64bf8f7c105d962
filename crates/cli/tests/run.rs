//! `nofault run JOBFILE...` from outside: what it prints, what it refuses, and what it leaves
//! behind.

#[path = "../../fio-jobs/tests/fio_common/mod.rs"]
mod fio_common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fio_common::{real_fio, run as fio_run};
use serde_json::Value;

fn bench(dir: &Path, profile: &str, more: &[&str]) -> Command {
    let place = tempfile::Builder::new()
        .suffix(".fio")
        .tempfile()
        .expect("a file")
        .into_temp_path();
    let place = place.keep().expect("kept");
    fs::write(&place, profile).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nofault"));
    command
        .arg("run")
        .arg(&place)
        .arg("--dir")
        .arg(dir)
        .args(more);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(dir: &Path, profile: &str, more: &[&str]) -> Output {
    let mut command = bench(dir, profile, more);
    let output = command.output().expect("the program starts");
    let place = command.get_args().nth(1).expect("the profile").to_owned();
    fs::remove_file(place).expect("the profile is still there");
    output
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

fn names_in(dir: &Path) -> Vec<String> {
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
}

/// The document of a run that has to succeed and leave nothing.
fn document(profile: &str, more: &[&str]) -> Value {
    let dir = tempfile::tempdir().expect("a directory");
    let output = run(dir.path(), profile, &[more, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert_eq!(names_in(dir.path()), [""; 0]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The entries of a job in the three columns; a column may be missing only where there is no
/// io_uring or no O_DIRECT.
fn columns(document: &Value, job: &str) -> Vec<Value> {
    let jobs = document["jobs"].as_array().expect("jobs").iter();
    let mine: Vec<Value> = jobs
        .filter(|entry| entry["nofault"]["job"] == job)
        .cloned()
        .collect();
    assert_eq!(mine.len(), 3, "{document:#}");
    assert!(
        mine.iter()
            .all(|entry| entry["error"] == 0 || entry["nofault"]["column"] == "bare io_uring"),
        "{document:#}"
    );
    mine.into_iter()
        .filter(|entry| entry["error"] == 0)
        .collect()
}

#[test]
fn every_column_does_what_the_job_says_and_no_more() {
    let document = document(
        "[global]\nsize=1m\n[a]\nrw=randread\nbs=4k\niodepth=8\n[b]\nstonewall\nrw=write\nbs=64k\nio_size=512k\nloops=2\n",
        &[],
    );
    for entry in columns(&document, "a") {
        assert_eq!(
            (
                entry["read"]["total_ios"].as_u64(),
                entry["read"]["io_bytes"].as_u64()
            ),
            (Some(256), Some(1 << 20)),
            "{entry:#}"
        );
        assert_eq!(entry["write"]["total_ios"], 0);
        assert_eq!(entry["groupid"], 0);
    }
    for entry in columns(&document, "b") {
        assert_eq!(
            (
                entry["write"]["total_ios"].as_u64(),
                entry["write"]["io_bytes"].as_u64()
            ),
            (Some(16), Some(1 << 20)),
            "{entry:#}"
        );
        assert_eq!(entry["groupid"], 1);
    }
}

#[test]
fn the_json_has_the_fields_that_scripts_for_fio_read() {
    let document = document(
        "[j]\nsize=1m\nrw=randrw\nrwmixread=50\nbs=4k\niodepth=4\nfsync=32\nend_fsync=1\n",
        &["--rounds", "2"],
    );
    assert!(
        document["fio version"].is_string()
            && document["timestamp"].is_u64()
            && document["disk_util"].is_array()
    );
    for entry in columns(&document, "j") {
        assert!(
            entry["jobname"]
                .as_str()
                .is_some_and(|name| name.starts_with("j ("))
        );
        assert_eq!(entry["job options"]["rw"], "randrw");
        let mut requests = 0;
        for side in ["read", "write"] {
            let side = &entry[side];
            requests += side["total_ios"].as_u64().expect("a count");
            for field in [
                "io_bytes",
                "bw",
                "bw_bytes",
                "iops",
                "runtime",
                "iops_mean",
                "bw_dev",
            ] {
                assert!(side[field].is_number(), "{field}: {side:#}");
            }
            for times in ["slat_ns", "clat_ns", "lat_ns"] {
                for field in ["min", "max", "mean", "stddev", "N"] {
                    assert!(side[times][field].is_number(), "{times} {field}: {side:#}");
                }
            }
            let percentile = &side["clat_ns"]["percentile"];
            assert!(
                percentile["50.000000"].as_u64() <= percentile["99.990000"].as_u64()
                    && percentile["99.000000"].is_u64(),
                "{side:#}"
            );
            assert!(
                percentile["99.990000"].as_u64()
                    <= side["clat_ns"]["max"].as_u64().map(|ns| ns + 1),
                "{side:#}"
            );
        }
        // Both rounds.
        assert_eq!(requests, 512);
        assert!(entry["sync"]["total_ios"].as_u64() > Some(2), "{entry:#}");
        for field in ["usr_cpu", "sys_cpu", "ctx", "job_runtime"] {
            assert!(entry[field].is_number(), "{field}");
        }
        assert_eq!(entry["nofault"]["rounds"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn workers_pauses_and_odd_sizes_are_carried_out() {
    let text = "[global]\nsize=256k\n[many]\nnumjobs=3\nrw=randwrite\nbsrange=4k-16k\niodepth=4\n\
                [slow]\nrw=read\nbs=32k\nrate_iops=200\nthinktime=100\nthinktime_blocks=2\n\
                [later]\nwait_for=many\nrw=randread\nbssplit=4k/50:8k/50\nrandom_distribution=zipf:1.1\niomem=mmap:buffers.tmp\n";
    let document = document(text, &[]);
    for entry in columns(&document, "many") {
        // A request of several sizes may leave a part of a block out.
        assert!(
            entry["write"]["io_bytes"].as_u64() >= Some(3 * (240 << 10)),
            "{entry:#}"
        );
    }
    for entry in columns(&document, "slow") {
        assert_eq!(entry["read"]["total_ios"], 8);
    }
    for entry in columns(&document, "later") {
        assert!(
            entry["read"]["io_bytes"].as_u64() >= Some(256 << 10),
            "{entry:#}"
        );
    }
}

#[test]
fn the_command_line_overrides_size_and_runtime() {
    let document = document(
        "[j]\nsize=100g\nruntime=500\nramp_time=100\ntime_based\nrw=randread\n",
        &["--size", "1M", "--runtime", "0.1"],
    );
    for entry in columns(&document, "j") {
        assert!(entry["read"]["total_ios"].as_u64() > Some(0));
        assert!(
            entry["read"]["runtime"].as_u64() < Some(50_000),
            "{entry:#}"
        );
    }
}

#[test]
fn the_table_has_a_line_for_each_column_and_is_not_too_wide() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = run(dir.path(), "[j]\nsize=1m\nrw=randread\n", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    for word in [
        "j: randread, 4 KiB, depth 1",
        "nofault direct",
        "nofault buffered",
        "bare io_uring",
        "p99.99",
        "CPU per",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn an_unknown_option_is_an_error_with_file_line_and_the_nearest_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = run(dir.path(), "[j]\nsize=1m\niodepht=4\n", &[]);
    assert_eq!(output.status.code(), Some(2));
    let line = stderr(&output);
    assert!(
        line.contains(".fio:3") && line.contains("iodepht") && line.contains("iodepth?"),
        "{line}"
    );
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn what_is_not_carried_out_is_said_with_file_and_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = run(
        dir.path(),
        "[global]\nsize=1m\n[j]\nrw=write\nbs=32\nverify=crc32c\n",
        &[],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains(".fio:3: [j]: verify"),
        "{}",
        stderr(&output)
    );
    let output = run(
        dir.path(),
        "[global]\nsize=1m\n[j]\niodepth=8\niodepth_low=2\nioengine=io_uring\n",
        &[],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(".fio:3: [j]: warning: iodepth_low"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_was_written_is_verified_apart_from_the_writes() {
    let text = "[global]\nsize=1m\niodepth=8\n\
                [once]\nrw=randwrite\nverify=crc32c\nloops=2\n\
                [again]\nstonewall\nrw=randwrite\nnorandommap\nbsrange=4k-16k\nblockalign=4k\nio_size=4m\nverify=crc32\n\
                [mixed]\nstonewall\nrw=randrw\nverify=crc32c\nverify_fatal=1\nsync=dsync\n\
                [pattern]\nstonewall\nrw=write\nbs=64k\nverify=pattern\nverify_pattern=0xdead%o\nend_fsync=1\nsync=1\n\
                [unverified]\nstonewall\nrw=write\nverify=crc32c\ndo_verify=0\n";
    let document = document(text, &[]);
    let count = |value: &Value| value.as_u64().expect("a count");
    for entry in columns(&document, "once") {
        let verify = &entry["nofault"]["verify"];
        assert_eq!(
            (
                count(&entry["write"]["total_ios"]),
                count(&entry["read"]["total_ios"])
            ),
            (512, 512),
            "{entry:#}"
        );
        assert_eq!(
            (
                count(&verify["blocks"]),
                count(&verify["differ"]),
                count(&verify["not_verified"])
            ),
            (512, 0, 0),
            "{entry:#}"
        );
        assert_eq!(entry["write"]["clat_ns"]["N"], 512);
        // The figures of the job are of its writes.
        let (rate, writes) = (
            &entry["nofault"]["rounds"][0]["iops"],
            &entry["write"]["iops"],
        );
        assert!(
            (rate.as_f64().expect("a rate") / writes.as_f64().expect("a rate") - 1.0).abs() < 0.01,
            "{entry:#}"
        );
    }
    for entry in columns(&document, "again") {
        let blocks = count(&entry["nofault"]["verify"]["blocks"]);
        // Many were overwritten, in whole or in part.
        assert!(
            blocks > 32 && blocks < count(&entry["write"]["total_ios"]) && blocks <= 256,
            "{entry:#}"
        );
    }
    for entry in columns(&document, "mixed") {
        let verified = count(&entry["nofault"]["verify"]["blocks"]);
        assert_eq!(verified, count(&entry["write"]["total_ios"]));
        assert_eq!(
            count(&entry["read"]["total_ios"]),
            256,
            "what was read first, and what verifies: {entry:#}"
        );
    }
    for entry in columns(&document, "pattern") {
        assert_eq!(entry["nofault"]["verify"]["blocks"], 16);
    }
    for entry in columns(&document, "unverified") {
        assert_eq!(
            (
                &entry["nofault"]["verify"]["blocks"],
                &entry["read"]["total_ios"]
            ),
            (&Value::from(0), &Value::from(0))
        );
    }
}

/// Written well, then a block in the middle is overwritten by another job: whoever reads it finds
/// that.
#[test]
fn a_block_that_was_damaged_is_named_and_the_run_fails() {
    let write = "[global]\nsize=1m\nfilename=f\niodepth=4\n[write]\nrw=randwrite\nverify=crc32c\n";
    let damage = "[damage]\nstonewall\nrw=write\noffset=64k\nsize=8k\n";
    let read = "[read]\nstonewall\nrw=read\nverify=crc32c\n";
    let good = document(&format!("{write}{read}"), &[]);
    for entry in columns(&good, "read") {
        assert_eq!(entry["nofault"]["verify"]["blocks"], 256);
    }
    for (more, differ) in [("", 2), ("verify_fatal=1\n", 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let output = run(
            dir.path(),
            &format!("{write}{damage}{read}iodepth=1\n{more}"),
            &["--json"],
        );
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_eq!(names_in(dir.path()), [""; 0]);
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let entries: Vec<&Value> = document["jobs"]
            .as_array()
            .expect("jobs")
            .iter()
            .filter(|entry| entry["nofault"]["job"] == "read")
            .collect();
        assert_eq!(entries.len(), 3);
        for entry in entries {
            if entry["nofault"]["column"] == "bare io_uring" && entry["error"] == 1 {
                // No io_uring here, or no O_DIRECT.
                continue;
            }
            let failed = entry["nofault"]["failed"].as_str().expect("a reason");
            assert_eq!(
                (
                    entry["error"].as_i64(),
                    entry["nofault"]["verify"]["differ"].as_u64()
                ),
                (Some(84), Some(differ)),
                "{failed}"
            );
            assert!(
                failed.contains("/f: the block of 4096 bytes at 65536: ")
                    && failed.contains("0xacca"),
                "{failed}"
            );
        }
    }
}

#[test]
fn workers_that_disturb_a_verification_are_warned_of() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "[global]\nsize=64k\nverify=crc32c\ndo_verify=0\n[a]\nfilename=f\nrw=write\n[b]\nfilename=f\nrw=write\noffset=32k\n\
                [c]\nfilename=g\nrw=write\n[d]\nfilename=g\nwait_for=c\nrw=write\n[e]\nfilename=f\nstonewall\nrw=write\n";
    let output = run(dir.path(), text, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let warned: Vec<&str> = stderr(&output)
        .lines()
        .filter(|line| line.contains("another worker writes"))
        .collect();
    assert!(
        matches!(warned[..], [a, b] if a.contains("[a]") && b.contains("[b]")),
        "{warned:?}"
    );
}

#[test]
fn what_the_runtime_leaves_no_time_for_is_said_to_be_not_verified() {
    let document = document(
        "[j]\nsize=1m\nrw=randwrite\nverify=crc32c\nruntime=100ms\ntime_based\n",
        &[],
    );
    for entry in columns(&document, "j") {
        let verify = &entry["nofault"]["verify"];
        assert!(
            verify["blocks"] == 0 && verify["not_verified"].as_u64() > Some(0),
            "{entry:#}"
        );
    }
}

/// The headers and checksums are the same, so each verifies what the other has written.
#[test]
fn fio_verifies_what_we_write_and_we_what_fio_writes() {
    let Some(fio) = real_fio("fio_verifies_what_we_write_and_we_what_fio_writes") else {
        return;
    };
    for (kind, more) in [
        ("crc32c", "bs=4k\n"),
        ("crc32", "bs=16k\noffset=8k\nverify_pattern=0x12%o\n"),
        ("pattern", "bs=8k\nverify_pattern=0xff%o\"abcd\"-12\n"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let job = |rw: &str| {
            format!(
                "[j]\nfilename=f\nsize=256k\nrw={rw}\nverify={kind}\nverify_state_save=0\nfallocate=none\n{more}"
            )
        };
        let fios = |rw: &str| {
            fs::write(dir.path().join("job.fio"), job(rw)).expect("written");
            let output = fio_run(&fio, dir.path(), &["job.fio"]);
            assert!(output.status.success(), "{kind} {more}: {output:?}");
        };
        // A file that is there before is neither made nor removed.
        fs::write(dir.path().join("f"), vec![0; 264 << 10]).expect("written");
        fios("write");
        let ours = run(dir.path(), &job("read"), &["--json"]);
        assert!(ours.status.success(), "{kind} {more}: {}", stdout(&ours));
        let ours = run(dir.path(), &job("write"), &["--overwrite"]);
        assert!(
            ours.status.success(),
            "{kind} {more}: {}{}",
            stdout(&ours),
            stderr(&ours)
        );
        fios("read");
    }
}

#[test]
fn a_file_that_is_there_is_not_written_to_without_leave() {
    let dir = tempfile::tempdir().expect("a directory");
    let (precious, short) = (dir.path().join("precious"), dir.path().join("short"));
    fs::write(&precious, vec![7; 1 << 20]).expect("written");
    fs::write(&short, "x").expect("written");
    let write = "[j]\nfilename=precious\nsize=1m\nrw=randwrite\n";
    for (profile, path) in [
        (write, &precious),
        ("[j]\nfilename=short\nsize=1m\nrw=read\n", &short),
    ] {
        let before = fs::read(path).expect("read");
        let output = run(dir.path(), profile, &[]);
        assert_eq!(output.status.code(), Some(2));
        let line = stderr(&output);
        assert!(
            line.contains(path.to_str().expect("a plain name"))
                && line.contains("--overwrite")
                && line.contains("[j]"),
            "{line}"
        );
        assert!(fs::read(path).expect("read") == before);
    }
    // Reading is no harm, and with leave it is written; neither removes it.
    let read = run(dir.path(), "[j]\nfilename=precious\nrw=read\n", &[]);
    assert!(read.status.success(), "{}", stderr(&read));
    assert!(fs::read(&precious).expect("read") == vec![7; 1 << 20]);
    let written = run(dir.path(), write, &["--overwrite"]);
    assert!(written.status.success(), "{}", stderr(&written));
    assert!(fs::read(&precious).expect("read") != vec![7; 1 << 20]);
    assert_eq!(names_in(dir.path()).len(), 2);
}

#[test]
fn an_interrupted_run_shows_what_it_has_and_leaves_no_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "[short]\nsize=1m\nrw=randwrite\n[long]\nstonewall\nsize=1m\nruntime=600\ntime_based\nrw=randread\n";
    let mut command = bench(dir.path(), text, &["--verbose"]);
    let place = command.get_args().nth(1).expect("the profile").to_owned();
    let mut child = command.spawn().expect("the program starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("long") {
        line.clear();
        assert!(
            said.read_line(&mut line).expect("read") > 0,
            "it ended too early"
        );
    }
    assert!(!names_in(dir.path()).is_empty());
    // SAFETY: a signal to our own child, which is not yet waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let output = child.wait_with_output().expect("it ends");
    fs::remove_file(place).expect("the profile");
    assert_eq!(output.status.code(), Some(130));
    assert!(
        stdout(&output).contains("Interrupted") && stdout(&output).contains("short: randwrite"),
        "{}",
        stdout(&output)
    );
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_nofault"))
        .args(["run", "/nowhere/x.fio"])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("/nowhere/x.fio"),
        "{}",
        stderr(&output)
    );
}
