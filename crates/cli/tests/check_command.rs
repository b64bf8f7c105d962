//! `nofault check` from outside: its status, its output, and that nothing of it stays in the
//! directory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn nofault(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nofault"));
    command
        .arg("check")
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    nofault(dir, arguments).output().expect("the program runs")
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_empty(dir: &Path) {
    assert_eq!(
        std::fs::read_dir(dir).expect("listed").count(),
        0,
        "something was left in {}",
        dir.display()
    );
}

#[test]
fn a_passing_column_is_status_0_and_plain_in_a_pipe() {
    let dir = directory();
    let output = run(
        dir.path(),
        &["--only", "last-block", "--columns", "nofault,buffered"],
    );
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(
        table.contains("last-block (210)") && table.contains("PASS") && !table.contains('\x1b'),
        "{table}"
    );
    assert_eq!(text(&output.stderr), "");
    assert_empty(dir.path());
}

#[test]
fn a_failing_nofault_column_is_status_1_and_says_what_was_seen() {
    let dir = directory();
    let output = run(
        dir.path(),
        &["--only", "selftest-fail", "--columns", "nofault"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("as asked; for"),
        "{}",
        text(&output.stdout)
    );
    assert_empty(dir.path());
}

#[test]
fn a_hang_is_status_1_but_only_in_the_nofault_column() {
    let dir = directory();
    for (column, status) in [("nofault", 1), ("buffered", 0)] {
        let output = run(
            dir.path(),
            &[
                "--only",
                "selftest-hang",
                "--timeout",
                "1",
                "--columns",
                column,
            ],
        );
        assert_eq!(output.status.code(), Some(status));
        assert!(
            text(&output.stdout).contains("HANG"),
            "{}",
            text(&output.stdout)
        );
        assert_empty(dir.path());
    }
}

#[test]
fn the_result_is_one_json_document() {
    let dir = directory();
    let output = run(
        dir.path(),
        &[
            "--only",
            "selftest-skip",
            "--json",
            "--columns",
            "nofault",
            "--backend",
            "threads",
        ],
    );
    assert_eq!(output.status.code(), Some(0));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["backend"], "threads");
    let cell = &document["cells"][0];
    assert_eq!(
        (cell["verdict"].as_str(), cell["what"].as_str()),
        (Some("SKIP"), Some("as asked for"))
    );
}

#[test]
fn a_soak_repeats_with_other_seeds_and_tells_the_seed_of_a_failure() {
    let dir = directory();
    let output = run(
        dir.path(),
        &[
            "--only",
            "selftest-fail",
            "--soak",
            "1",
            "--seed",
            "40",
            "--json",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let seeds: Vec<u64> = document["cells"]
        .as_array()
        .expect("cells")
        .iter()
        .filter_map(|cell| cell["seed"].as_u64())
        .collect();
    assert!(
        !seeds.is_empty()
            && seeds
                .iter()
                .enumerate()
                .all(|(n, &seed)| seed == 40 + n as u64),
        "{seeds:?}"
    );
    assert_empty(dir.path());
}

#[test]
fn wrong_usage_is_status_2_and_says_why() {
    let dir = directory();
    let missing = dir.path().join("nowhere");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    let cases: [(&Path, &[&str], &str); 6] = [
        (&missing, &[], "nowhere"),
        (&file, &[], "not a directory"),
        (dir.path(), &["--only", "no-such-scenario"], "--list"),
        (dir.path(), &["--columns", "pwrite"], "buffered"),
        (dir.path(), &["--size", "1"], "4M"),
        (dir.path(), &["--backend", "aio"], "threads"),
    ];
    for (dir, arguments, words) in cases {
        let output = run(dir, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(words),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    let without = Command::new(env!("CARGO_BIN_EXE_nofault"))
        .arg("check")
        .output()
        .expect("the program runs");
    assert_eq!(without.status.code(), Some(2));
}

/// What must be one line and status 2, with nothing checked and nothing left.
fn is_no_verdict(output: &Output, word: &str) {
    let line = text(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(2),
        "{}{line}",
        text(&output.stdout)
    );
    assert!(line.lines().count() == 1 && line.contains(word), "{line}");
    assert!(!text(&output.stdout).contains("FAIL"));
}

#[test]
fn a_full_disk_is_no_failure_of_the_io() {
    let dir = directory();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8M", "nofault-test"])
        .arg(dir.path())
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("SKIP a_full_disk: a small tmpfs takes root");
        return;
    }
    let output = run(dir.path(), &["--columns", "nofault"]);
    let small = [
        "--size",
        "4M",
        "--only",
        "last-block",
        "--columns",
        "nofault",
    ];
    let fits = run(dir.path(), &small);
    let left = std::fs::read_dir(dir.path()).expect("listed").count();
    let unmounted = Command::new("umount").arg(dir.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    is_no_verdict(&output, "not enough space");
    assert_eq!(left, 0);
    assert_eq!(fits.status.code(), Some(0), "{}", text(&fits.stdout));
}

#[test]
fn no_room_for_a_process_is_no_failure_of_the_io() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let dir = directory();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("set");
    let mut command = nofault(
        dir.path(),
        &["--only", "last-block", "--columns", "nofault"],
    );
    // SAFETY: no pointers.
    if unsafe { libc::geteuid() } == 0 {
        // The limit does not hold for root.
        command.uid(NOBODY).gid(NOBODY);
    }
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: one system call between fork and exec, which reads the struct.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NPROC, &none) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    match command.output() {
        Ok(output) => is_no_verdict(&output, "cannot be started"),
        Err(error) => println!("SKIP no_room_for_a_process: nobody can't start it: {error}"),
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let output = run(Path::new("/proc"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("cannot be written"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_interrupted_run_shows_what_it_has_and_leaves_nothing() {
    for (signal, status) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let dir = directory();
        // Rows are printed as they are done, so the second one hangs when the first one is there to
        // read.
        let mut child = nofault(
            dir.path(),
            &[
                "--only",
                "last-block",
                "--only",
                "selftest-hang",
                "--columns",
                "nofault",
            ],
        )
        .spawn()
        .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"))
            .lines()
            .map_while(Result::ok);
        assert!(lines.any(|line| line.contains("last-block")));
        // SAFETY: no pointers; the child was not waited for, so its number is its own.
        unsafe { libc::kill(child.id() as i32, signal) };
        let rest: Vec<String> = lines.collect();
        assert!(
            rest.iter().any(|line| line.starts_with("interrupted")),
            "{rest:?}"
        );
        assert_eq!(child.wait().expect("ended").code(), Some(status));
        assert_empty(dir.path());
    }
}

#[test]
fn the_list_has_a_story_for_each_scenario() {
    let output = Command::new(env!("CARGO_BIN_EXE_nofault"))
        .args(["check", "--list"])
        .output()
        .expect("the program runs");
    let list = text(&output.stdout);
    assert!(
        output.status.success()
            && list.contains("half-bad-buffers\n    ")
            && !list.contains("selftest"),
        "{list}"
    );
}
