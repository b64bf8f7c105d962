//! Each system call that the library makes fails in turn: no request hangs, nothing panics, and no
//! byte is wrong. A lost ability costs no request; a request that fails has a clear error.
//!
//! `NOFAULT_INJECT=all` fails every call of every kind with every errno, by both back ends and by a
//! handle, which takes long; `NOFAULT_INJECT=some` a sample of them. Without it, the calls that make
//! and drive a ring fail, in some seconds.

mod common;

#[path = "injected_faults/work.rs"]
mod work;

use std::io;
use std::time::Duration;

use common::child::{end_now, watched};
use common::inject::{Ended, Fault, run};
use common::skip;
use work::{Notes, Stage, Work};

/// What may come of a failing call of some kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The engine uses the call for an ability: without it requests go another way. Engine and file
    /// may be refused.
    Ability,
    /// The call carries a request out, and its errno is that request's answer.
    Request,
}

struct Call {
    name: &'static str,
    number: libc::c_long,
    kind: Kind,
    errnos: &'static [i32],
}

const fn call(
    name: &'static str,
    number: libc::c_long,
    kind: Kind,
    errnos: &'static [i32],
) -> Call {
    Call {
        name,
        number,
        kind,
        errnos,
    }
}

/// The calls that the workloads make after their start, and errnos that their man pages name, or
/// that a sandbox gives. The first errno of each is the sample's.
const CALLS: [Call; 36] = {
    use Kind::{Ability, Request};
    use libc::*;
    [
        call(
            "io_uring_setup",
            SYS_io_uring_setup,
            Ability,
            &[EPERM, ENOMEM, EMFILE, ENOSYS, EINVAL],
        ),
        call(
            "io_uring_register",
            SYS_io_uring_register,
            Ability,
            &[EPERM, ENOMEM, EINVAL, EBUSY, ENOSYS],
        ),
        call(
            "io_uring_enter",
            SYS_io_uring_enter,
            Ability,
            &[EINTR, EPERM, EAGAIN, EBUSY, ENOMEM, ENOSYS, EINVAL, EBADF],
        ),
        call("eventfd2", SYS_eventfd2, Ability, &[EMFILE, ENOMEM, EPERM]),
        call(
            "memfd_create",
            SYS_memfd_create,
            Ability,
            &[ENOSYS, EMFILE, EPERM],
        ),
        call(
            "ftruncate",
            SYS_ftruncate,
            Request,
            &[EINTR, EIO, EPERM, EFBIG],
        ),
        call("mmap", SYS_mmap, Ability, &[ENOMEM, EPERM]),
        call("munmap", SYS_munmap, Ability, &[ENOMEM, EINVAL]),
        call("mprotect", SYS_mprotect, Ability, &[ENOMEM]),
        call(
            "madvise",
            SYS_madvise,
            Ability,
            &[EINVAL, ENOMEM, EAGAIN, EPERM, EINTR],
        ),
        call(
            "openat",
            SYS_openat,
            Ability,
            &[ENOENT, EMFILE, EACCES, EINTR, EPERM],
        ),
        call("statx", SYS_statx, Ability, &[ENOSYS, EPERM, ENOMEM]),
        call("fstat", SYS_fstat, Ability, &[EIO, EPERM]),
        call("newfstatat", SYS_newfstatat, Request, &[ENOENT, EPERM]),
        call(
            "fstatfs",
            SYS_fstatfs,
            Ability,
            &[ENOSYS, EINTR, EIO, EPERM],
        ),
        call("statfs", SYS_statfs, Ability, &[ENOSYS, EPERM]),
        call("fcntl", SYS_fcntl, Ability, &[EINVAL, EPERM]),
        call("ioctl", SYS_ioctl, Ability, &[ENOTTY, EPERM, EINTR, ENOMEM]),
        call(
            "pread64",
            SYS_pread64,
            Request,
            &[EINTR, EAGAIN, EIO, ENOMEM, EPERM, EINVAL],
        ),
        call(
            "pwrite64",
            SYS_pwrite64,
            Request,
            &[EINTR, EAGAIN, EIO, ENOSPC, EPERM, EINVAL],
        ),
        call("preadv", SYS_preadv, Request, &[EINTR, EAGAIN, EIO]),
        call("pwritev", SYS_pwritev, Request, &[EINTR, EAGAIN, EIO]),
        call(
            "preadv2",
            SYS_preadv2,
            Ability,
            &[EOPNOTSUPP, EAGAIN, ENOSYS],
        ),
        call("fsync", SYS_fsync, Request, &[EINTR, EIO]),
        call("fdatasync", SYS_fdatasync, Request, &[EINTR, EIO]),
        call(
            "fallocate",
            SYS_fallocate,
            Request,
            &[EINTR, ENOSPC, EOPNOTSUPP],
        ),
        call("poll", SYS_poll, Ability, &[EINTR, ENOMEM, EPERM]),
        call("read", SYS_read, Ability, &[EINTR, EIO, EPERM]),
        call("write", SYS_write, Ability, &[EINTR, EIO, EPERM]),
        call("clone3", SYS_clone3, Ability, &[EAGAIN, ENOSYS, EPERM]),
        call("close", SYS_close, Ability, &[EINTR, EIO]),
        call("prlimit64", SYS_prlimit64, Ability, &[EPERM]),
        call(
            "sched_getaffinity",
            SYS_sched_getaffinity,
            Ability,
            &[EPERM],
        ),
        call("sigprocmask", SYS_rt_sigprocmask, Ability, &[EINVAL]),
        call("prctl", SYS_prctl, Ability, &[EINVAL]),
        call("ioprio_set", SYS_ioprio_set, Ability, &[EPERM, EINVAL]),
    ]
};

/// A hang is a failure; far above what a case takes on a slow machine.
const DEADLINE: Duration = Duration::from_secs(40);

/// The kinds of calls that fail where nothing was asked for.
const QUICK: [&str; 6] = [
    "io_uring_setup",
    "io_uring_register",
    "io_uring_enter",
    "eventfd2",
    "memfd_create",
    "openat",
];

fn asked() -> bool {
    std::env::var_os("NOFAULT_INJECT").is_some()
}

fn whole() -> bool {
    std::env::var("NOFAULT_INJECT").is_ok_and(|asked| asked == "all")
}

/// Runs one case, and says what is wrong with its end.
fn case(work: Work, fault: Fault, judge: fn(&Notes)) -> (Ended, Option<String>) {
    let dir = common::files::folder();
    let path = dir.path().join("file");
    work::make(&path);
    let for_body = path.clone();
    let ended = run(
        fault,
        DEADLINE,
        move || work.run(&for_body),
        move |notes| {
            notes.check_file(&path);
            notes.say();
            judge(&notes);
        },
    );
    let wrong = match &ended {
        Ended { hung: true, .. } => Some("it hangs".to_owned()),
        Ended { well: false, .. } => Some(format!("wait status {:#x}", ended.status)),
        _ => None,
    };
    (ended, wrong)
}

/// The runtime's own: it ends the process where a thread can't be made as it must.
fn is_the_runtimes(words: &str) -> bool {
    ["memory allocation of", "alternative stack"]
        .iter()
        .any(|own| words.contains(own))
}

fn every_request_is_right(notes: &Notes) {
    assert!(notes.wrong.is_empty(), "{:#?}", notes.wrong);
    if notes.stage == Stage::Through {
        assert!(notes.errors.is_empty(), "{:#?}", notes.errors);
    }
}

fn all_is_right(notes: &Notes) {
    every_request_is_right(notes);
    assert_eq!(notes.stage, Stage::Through, "{:#?}", notes.errors);
}

fn nothing_is_wrong(notes: &Notes) {
    assert!(notes.wrong.is_empty(), "{:#?}", notes.wrong);
}

/// What must hold for a call that fails so.
fn property(call: &Call, fault: &Fault) -> fn(&Notes) {
    let transient = !fault.lasting && [libc::EINTR, libc::EAGAIN].contains(&fault.errno);
    match call.kind {
        _ if transient => all_is_right,
        Kind::Ability => every_request_is_right,
        Kind::Request => nothing_is_wrong,
    }
}

/// The calls to fail, of so many: all, or the first ones and some others.
fn numbers(calls: u64) -> Vec<u64> {
    if whole() {
        return (1..=calls).collect();
    }
    let mut some: Vec<u64> = [1, 2, calls / 2, calls]
        .into_iter()
        .filter(|n| (1..=calls).contains(n))
        .collect();
    some.dedup();
    some
}

fn sweep(work: Work) {
    let only = std::env::var("NOFAULT_INJECT_CALL").ok();
    let (mut cases, mut skipped, mut bad) = (0, 0, Vec::new());
    for call in &CALLS {
        let left_out = only.as_ref().is_some_and(|only| only != call.name);
        if left_out || !asked() && !QUICK.contains(&call.name) {
            continue;
        }
        let none = Fault {
            call: call.number,
            errno: 0,
            first: 0,
            lasting: false,
        };
        let (ended, wrong) = case(work, none, all_is_right);
        assert_eq!(wrong, None, "{work:?} without a fault: {ended:?}");
        let errnos = if whole() {
            call.errnos
        } else {
            &call.errnos[..1]
        };
        for &errno in errnos {
            for number in numbers(ended.calls) {
                for lasting in [false, true] {
                    if lasting && errno == libc::EINTR && call.number == libc::SYS_io_uring_enter {
                        // A wait that is interrupted for ever: nothing was refused, and the engine
                        // goes on waiting, as with a program's signals.
                        continue;
                    }
                    let fault = Fault {
                        errno,
                        first: number,
                        lasting,
                        ..none
                    };
                    cases += 1;
                    let (ended, wrong) = case(work, fault, property(call, &fault));
                    let Some(wrong) = wrong else { continue };
                    if is_the_runtimes(&ended.words) {
                        skipped += 1;
                        continue;
                    }
                    let text = format!(
                        "{work:?}, {} number {number}{}: {}: {wrong}\n{}",
                        call.name,
                        if lasting { " and later" } else { "" },
                        io::Error::from_raw_os_error(errno),
                        ended.words
                    );
                    common::sys::say(&format!("FAULT {text}\n"));
                    bad.push(text);
                }
            }
        }
        common::sys::say(&format!("{work:?} {}: {} calls\n", call.name, ended.calls));
    }
    common::sys::say(&format!(
        "{work:?}: {cases} cases, {} bad, {skipped} ended by the runtime itself\n",
        bad.len()
    ));
    assert!(
        bad.is_empty(),
        "{} of {cases} cases:\n{}",
        bad.len(),
        bad.join("\n")
    );
}

/// Runs a sweep in a process whose other threads wait.
fn watched_sweep(name: &str, work: Work) {
    if work != Work::Ring && !asked() {
        common::sys::say(&format!("{name}: only with NOFAULT_INJECT=some or all\n"));
        return;
    }
    if let Err(errno) = common::inject::available() {
        let why = io::Error::from_raw_os_error(errno);
        skip!(name, "no supervisor of system calls: {why}");
    }
    let time = if whole() { 36_000 } else { 600 };
    watched(name, Duration::from_secs(time), || {
        sweep(work);
        end_now();
    });
}

#[test]
fn an_engine_over_a_ring_survives_each_failing_call() {
    watched_sweep(
        "an_engine_over_a_ring_survives_each_failing_call",
        Work::Ring,
    );
}

#[test]
fn an_engine_over_threads_survives_each_failing_call() {
    watched_sweep(
        "an_engine_over_threads_survives_each_failing_call",
        Work::Threads,
    );
}

#[test]
fn a_handle_survives_each_failing_call() {
    watched_sweep("a_handle_survives_each_failing_call", Work::Handle);
}
