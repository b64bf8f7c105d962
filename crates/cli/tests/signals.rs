//! Every signal that ends a program leaves nothing behind; what SIGKILL leaves is known as ours.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output};

use common::{is_refused, names_in, nofault, plain, signal, stderr};

/// A job that lasts until it is ended.
const LONG: &str = "[j]\nsize=1m\nruntime=600\ntime_based\nrw=randread\n";

/// A run with such a job in `dir`, whose file is laid out.
fn long_run(dir: &Path, aside: &Path) -> Child {
    let job = aside.join("long.fio");
    fs::write(&job, LONG).expect("written");
    let words = ["run", plain(&job), "--dir", plain(dir), "--verbose"];
    let mut command = nofault(&words);
    // Whoever runs the tests may ignore signals, as nohup(1) does: the program would, too.
    // SAFETY: system calls only between fork and exec.
    unsafe {
        command.pre_exec(|| {
            (1..=libc::SIGRTMAX()).for_each(|number| {
                // Those that can't be set (SIGKILL, SIGSTOP) answer an error.
                libc::signal(number, libc::SIG_DFL);
            });
            Ok(())
        })
    };
    begun(command, "measuring")
}

/// Starts it and waits until it says this.
fn begun(mut command: Command, word: &str) -> Child {
    let mut child = command.spawn().expect("the program starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert!(said.read_line(&mut line).expect("read") > 0, "it ended");
    }
    // Nobody reads the rest, of which there is little.
    child.stderr = Some(said.into_inner());
    child
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("it ends")
}

#[test]
fn every_signal_that_ends_a_program_removes_what_was_made() {
    let aside = tempfile::tempdir().expect("a directory");
    for number in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGXCPU,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGSTKFLT,
        libc::SIGRTMIN(),
        libc::SIGRTMAX(),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let child = long_run(dir.path(), aside.path());
        assert_eq!(names_in(dir.path()).len(), 1);
        signal(&child, number);
        let output = ended(child);
        assert_eq!(output.status.code(), Some(128 + number), "{output:?}");
        assert_eq!(names_in(dir.path()), [""; 0], "signal {number}");
    }
}

#[test]
fn a_signal_that_was_ignored_from_the_start_stays_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = plain(dir.path());
    let start = ["bench", "--dir", place, "--size", "1M", "--seconds", "600"];
    let mut command = nofault(&[&start[..], &["--verbose"]].concat());
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(())
        })
    };
    let child = begun(command, "measuring");
    signal(&child, libc::SIGHUP);
    signal(&child, libc::SIGTERM);
    assert_eq!(ended(child).status.code(), Some(143));
}

#[test]
fn what_a_killed_run_left_is_made_anew_and_what_a_living_one_uses_is_not_touched() {
    let dir = tempfile::tempdir().expect("a directory");
    let aside = tempfile::tempdir().expect("a directory");
    let child = long_run(dir.path(), aside.path());
    let made = names_in(dir.path());
    let writer = aside.path().join("write.fio");
    fs::write(&writer, "[j]\nsize=1m\nrw=write\n").expect("written");
    let again = || common::run(&["run", plain(&writer), "--dir", plain(dir.path())]);
    let beside = again();
    let line = is_refused(&beside).to_owned();
    signal(&child, libc::SIGKILL);
    ended(child);
    assert_eq!(names_in(dir.path()), made);
    if !line.contains("another run") {
        println!("SKIP: no extended attributes or times of birth here");
        return;
    }
    let output = again();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names_in(dir.path()), [""; 0]);
    // A file of the same name that is somebody's own is not ours.
    fs::write(dir.path().join(&made[0]), "precious").expect("written");
    assert!(is_refused(&again()).contains("--overwrite"));
}

#[test]
fn a_check_removes_what_a_killed_one_left_and_nothing_of_a_living_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let words = ["--only", "selftest-hang", "--columns", "nofault"];
    let hang = || {
        let all = [&["check", plain(dir.path())], &words[..]].concat();
        let child = nofault(&all).spawn().expect("the program starts");
        // Until its cell has shown that it runs.
        while !names_in(dir.path()).iter().any(|name| {
            let own = dir.path().join(name);
            !name.is_empty() && own.join("1/left").exists()
        }) {
            std::thread::yield_now();
        }
        child
    };
    let pass = || {
        common::run(&[
            "check",
            plain(dir.path()),
            "--only",
            "selftest-pass",
            "--columns",
            "nofault",
        ])
    };
    let child = hang();
    assert!(pass().status.success());
    assert_eq!(names_in(dir.path()).len(), 1, "the living one's");
    signal(&child, libc::SIGKILL);
    ended(child);
    assert_eq!(names_in(dir.path()).len(), 1);
    assert!(pass().status.success());
    assert_eq!(names_in(dir.path()), [""; 0]);
}
