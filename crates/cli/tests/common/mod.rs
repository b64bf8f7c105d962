//! The program from outside, for all tests of it.
#![allow(dead_code)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn nofault(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nofault"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    nofault(arguments).output().expect("the program starts")
}

/// One command on a small file, for a short time.
pub(crate) fn tiny(command: &str, dir: &Path, more: &[&str]) -> Output {
    let start = [command, "--dir", plain(dir), "--size", "2M", "--seconds"];
    run(&[&start[..], &["0.02", "--rounds", "1"], more].concat())
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

pub(crate) fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("an entry");
        entry.file_name().to_string_lossy().into_owned()
    };
    fs::read_dir(dir).expect("listed").map(name).collect()
}

/// Sends a signal to a child that was not waited for yet, so that its number is still its own.
pub(crate) fn signal(child: &Child, signal: i32) {
    let pid = libc::pid_t::try_from(child.id()).expect("a pid");
    // SAFETY: only sends a signal, to our own child.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// The output is one line on standard error and status 2.
pub(crate) fn is_refused(output: &Output) -> &str {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{}{line}", stdout(output));
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("nofault: "), "{line}");
    line
}

/// The program in a process that gets EPERM from io_uring_setup, as in a container.
pub(crate) fn without_io_uring(arguments: &[&str]) -> Output {
    const SETUP: u32 = 425;
    let step = |code: u32, k, jt, jf| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, SETUP, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, eperm, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
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
