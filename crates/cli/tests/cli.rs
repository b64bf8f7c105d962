//! The `nofault` program from outside: exit status, messages, what it prints, and what it leaves
//! behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn nofault(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nofault"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    nofault(arguments).output().expect("the program starts")
}

fn tiny_bench(dir: &Path, more: &[&str]) -> Output {
    let dir = dir.to_str().expect("a plain name");
    run(&[
        &[
            "bench",
            "--dir",
            dir,
            "--size",
            "2M",
            "--seconds",
            "0.02",
            "--rounds",
            "1",
        ],
        more,
    ]
    .concat())
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

/// The program in a process that gets EPERM from io_uring_setup, as in a container.
fn without_io_uring(arguments: &[&str]) -> Output {
    const SETUP: u32 = 425;
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let program = [
        step((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0),
        step(
            (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            SETUP,
            0,
            1,
        ),
        step(
            (libc::BPF_RET | libc::BPF_K) as u16,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            0,
            0,
        ),
        step(
            (libc::BPF_RET | libc::BPF_K) as u16,
            libc::SECCOMP_RET_ALLOW,
            0,
            0,
        ),
    ];
    let mut command = nofault(arguments);
    let forbid = move || {
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies the program, which outlives both calls; they concern this
        // process alone.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const filter,
                ) == 0
        };
        if done {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec there are two system calls, no allocation and no lock.
    unsafe { command.pre_exec(forbid) };
    command.output().expect("the program starts")
}

#[test]
fn where_io_uring_is_forbidden_the_bench_goes_on_with_threads_and_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().to_str().expect("a plain name");
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
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("--backend threads") && stderr(&refused).lines().count() == 1,
        "{}",
        stderr(&refused)
    );
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
    let mut command = nofault(&[
        "bench",
        "--dir",
        dir.path().to_str().expect("a plain name"),
        "--size",
        "2M",
    ]);
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
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("ulimit -f"), "{}", stderr(&output));
}

#[test]
fn a_bench_ends_well_fills_every_cell_and_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = tiny_bench(dir.path(), &["--json"]);
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
    let output = tiny_bench(dir.path(), &["--only", "random-read", "--only", "large"]);
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
    let output = tiny_bench(
        dir.path(),
        &["--only", "read", "--backend", "threads", "--json"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["engine"]["backend"], "threads");
}

#[test]
fn an_interrupted_bench_prints_what_it_has_and_leaves_no_file() {
    for (signal, status) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().to_str().expect("a plain name");
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
        let pid = libc::pid_t::try_from(child.id()).expect("a pid");
        // SAFETY: only sends a signal, to a child that was not waited for yet, so that the number
        // is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
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
fn the_stall_bench_has_a_ratio_or_a_reason_in_every_cell_and_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().to_str().expect("a plain name");
    let output = tiny_bench(dir.path(), &["--stall", "--cold-dir", place, "--json"]);
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
fn where_io_uring_is_forbidden_the_stall_bench_has_the_threads_alone_and_fits_a_hundred_columns() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().to_str().expect("a plain name");
    let arguments = [
        "bench",
        "--stall",
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
fn an_interrupted_stall_bench_prints_what_it_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().to_str().expect("a plain name");
    let long = [
        "bench",
        "--stall",
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
    let pid = libc::pid_t::try_from(child.id()).expect("a pid");
    // SAFETY: only sends a signal, to a child that was not waited for yet, so that the number is
    // still its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(names_in(dir.path()), [""; 0]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["interrupted"], &report["rows"][0]["name"]),
        (&Value::from(true), &Value::from("alone"))
    );
}

#[test]
fn wrong_usage_is_status_2_and_names_what_is_wrong() {
    let cases: [(&[&str], &str); 10] = [
        (&[], "Usage"),
        (&["bench", "--sideways"], "--sideways"),
        (&["bench", "--size", "12Q"], "12Q"),
        (&["bench", "--size", "0"], "1M at least"),
        (&["bench", "--seconds", "0"], "seconds"),
        (&["bench", "--rounds", "0"], "1..=1000"),
        (&["bench", "--only", "sideways"], "random-read-warm"),
        (&["bench", "--backend", "sideways"], "threads"),
        (&["bench", "--stall", "--only", "large"], "--only"),
        (&["bench", "--cold-dir", "."], "--stall"),
    ];
    for (arguments, part) in cases {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(part),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_bad_place_is_status_1_and_one_line_that_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("written");
    let cases = [
        ("/nowhere/at/all", "--dir"),
        (file.to_str().expect("a plain name"), "--dir"),
        ("/proc", "--dir"),
    ];
    for (place, part) in cases {
        let output = run(&["bench", "--dir", place, "--size", "1M"]);
        assert_eq!(output.status.code(), Some(1), "{place}");
        let said = stderr(&output);
        assert!(
            said.lines().count() == 1 && said.contains(place) && said.contains(part),
            "{place}: {said}"
        );
    }
    let output = run(&[
        "bench",
        "--dir",
        dir.path().to_str().expect("a plain name"),
        "--size",
        "1000000T",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("not enough space"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names_in(dir.path()), ["file"]);
}

#[test]
fn the_list_names_every_row() {
    let output = run(&["bench", "--list"]);
    assert!(output.status.success());
    assert_eq!(stdout(&output).lines().count(), 9);
    assert!(stdout(&output).contains("sequential-write-cold"));
}

#[test]
fn a_probe_says_the_same_of_a_file_and_of_its_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, vec![7; 8192]).expect("written");
    let answers = [dir.path(), &file].map(|path| {
        let output = run(&["probe", "--json", path.to_str().expect("a plain name")]);
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
        assert_eq!(output.status.code(), Some(1), "{place}");
        assert!(
            stderr(&output).lines().count() == 1 && stderr(&output).contains(place),
            "{}",
            stderr(&output)
        );
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
