//! The rule of the house: a request on a direct file ends as the buffered path would end it.
//!
//! Each case builds two files alike and two buffers alike, gives the one to nofault and the other
//! to `pread`/`pwrite` (`v`) on a buffered descriptor, and compares: the count or the errno, the
//! buffer's bytes, the file's bytes and size.
//!
//! `NOFAULT_CASES` says how many (300), `NOFAULT_DIR` where, `NOFAULT_BACKEND` with which back end,
//! `NOFAULT_SEED` with which random numbers: a failure prints the seed and the smallest case that
//! was found.

mod common;

#[path = "parity/case.rs"]
mod case;
#[path = "parity/compare.rs"]
mod compare;
#[path = "parity/ground.rs"]
mod ground;
#[path = "parity/known.rs"]
mod known;
#[path = "parity/requests.rs"]
mod requests;
#[path = "parity/watch.rs"]
mod watch;

use common::{files, setup, skip};
use ground::Ground;
use nofault::Backend;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::path::Path;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text}"))
    })
}

/// What the cases run on.
#[derive(Clone, Copy)]
enum Place {
    /// Files where `NOFAULT_DIR` says.
    Folder,
    /// Files of a tmpfs.
    Tmpfs,
    /// Loop devices with sectors of so many bytes, over images where `NOFAULT_DIR` says.
    Devices(u32),
}

fn compare_with_the_buffered_path(name: &'static str, backend: Backend, place: Place) {
    if !setup::backends().contains(&backend) {
        skip!(name, "NOFAULT_BACKEND asks for another back end");
    }
    let folder = match place {
        Place::Folder | Place::Devices(_) => files::folder(),
        Place::Tmpfs if std::env::var_os("NOFAULT_DIR").is_some() => {
            skip!(name, "NOFAULT_DIR asks for another place")
        }
        Place::Tmpfs => match files::folder_in(Path::new("/dev/shm")) {
            Ok(folder) => folder,
            Err(error) => skip!(name, "/dev/shm: {error}"),
        },
    };
    let mut ground = Ground::new(backend, folder.path());
    if let Place::Devices(sector) = place {
        match ground::devices(folder.path(), sector) {
            Ok(devices) => ground = ground.on_devices(devices),
            Err(reason) => skip!(name, "{reason}"),
        }
    }
    let cases = number("NOFAULT_CASES", 300);
    let seed = number("NOFAULT_SEED", fresh_seed());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: cases as u32,
        failure_persistence: None,
        max_shrink_iters: 3000,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));

    let watch = watch::Watch::start(name);
    let ground = RefCell::new(ground);
    for case in known::cases() {
        let _watched = watch.during(&case);
        if let Err(difference) = ground.borrow_mut().run(&case) {
            panic!("{name}: {difference}\nin a case that failed before: {case:#?}");
        }
    }
    let result = runner.run(&case::cases(), |case| {
        let _watched = watch.during(&case);
        ground
            .borrow_mut()
            .run(&case)
            .map_err(|difference| TestCaseError::fail(difference.to_string()))
    });
    println!("{name}: {}", ground.borrow().summary());
    match result {
        Ok(()) => (),
        Err(TestError::Fail(reason, case)) => {
            panic!(
                "{name}: {reason}\nthe smallest case found: {case:#?}\nagain with NOFAULT_SEED={seed} NOFAULT_CASES={cases}"
            )
        }
        Err(TestError::Abort(reason)) => panic!("{name}: {reason}, NOFAULT_SEED={seed}"),
    }
}

fn fresh_seed() -> u64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .map_or(1, |since| since.as_nanos() as u64)
}

#[test]
fn every_request_ends_as_on_the_buffered_path() {
    compare_with_the_buffered_path(
        "every_request_ends_as_on_the_buffered_path",
        Backend::Uring,
        Place::Folder,
    );
}

#[test]
fn every_request_ends_as_on_the_buffered_path_with_threads() {
    compare_with_the_buffered_path(
        "every_request_ends_as_on_the_buffered_path_with_threads",
        Backend::Threads,
        Place::Folder,
    );
}

#[test]
fn every_request_ends_as_on_the_buffered_path_on_tmpfs() {
    compare_with_the_buffered_path(
        "every_request_ends_as_on_the_buffered_path_on_tmpfs",
        Backend::Uring,
        Place::Tmpfs,
    );
}

#[test]
fn every_request_ends_as_on_the_buffered_path_on_tmpfs_with_threads() {
    compare_with_the_buffered_path(
        "every_request_ends_as_on_the_buffered_path_on_tmpfs_with_threads",
        Backend::Threads,
        Place::Tmpfs,
    );
}

#[test]
fn every_request_ends_as_on_the_buffered_path_on_a_device() {
    compare_with_the_buffered_path(
        "every_request_ends_as_on_the_buffered_path_on_a_device",
        Backend::Uring,
        Place::Devices(512),
    );
}

#[test]
fn every_request_ends_as_on_the_buffered_path_on_a_device_with_threads() {
    compare_with_the_buffered_path(
        "every_request_ends_as_on_the_buffered_path_on_a_device_with_threads",
        Backend::Threads,
        Place::Devices(512),
    );
}

#[test]
fn every_request_ends_as_on_the_buffered_path_on_a_device_of_large_sectors() {
    compare_with_the_buffered_path(
        "every_request_ends_as_on_the_buffered_path_on_a_device_of_large_sectors",
        Backend::Uring,
        Place::Devices(4096),
    );
}

#[test]
fn every_request_ends_as_on_the_buffered_path_on_a_device_of_large_sectors_with_threads() {
    compare_with_the_buffered_path(
        "every_request_ends_as_on_the_buffered_path_on_a_device_of_large_sectors_with_threads",
        Backend::Threads,
        Place::Devices(4096),
    );
}
