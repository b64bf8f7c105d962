//! Buffers whose faults this very thread resolves, by userfaultfd: a submission that faults waits
//! for itself, for ever.
//!
//! Each test runs in a process of its own under a watchdog. Needs root, or
//! vm.unprivileged_userfaultfd=1.

mod common;

use common::child::watched;
use common::files;
use common::futures::{join_all, poll_once};
use common::mapping::{Mapping, patterned};
use common::setup::{self, DEADLINE};
use common::sys::{PAGE, fd_of, peek, read_range};
use common::uffd::Uffd;
use nofault::{AlignedBuf, Backend, Engine, File, OpenOptions, Policy};
use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const LEN: usize = 64 << 10;
const FILE_SEED: u64 = 3;
const MEMORY_SEED: u64 = 4;

/// A file of 1 MiB, opened for direct I/O.
struct Stage {
    engine: Engine,
    file: File,
    plain: std::fs::File,
    _folder: tempfile::TempDir,
}

fn stage(backend: Backend) -> Stage {
    let folder = files::folder();
    let path = folder.path().join("file");
    let plain = files::make_patterned(&path, 1 << 20, FILE_SEED);
    let engine = setup::engine(backend);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&engine, &path)
        .unwrap();
    Stage {
        engine,
        file,
        plain,
        _folder: folder,
    }
}

/// Runs the body in a child, for each back end, if userfaultfd can be had.
fn with_uffd(name: &str, body: impl Fn(&Uffd, &Stage)) {
    watched(name, DEADLINE, || {
        for backend in setup::backends() {
            match Uffd::new() {
                Ok(uffd) => body(&uffd, &stage(backend)),
                Err(reason) => common::skip!(name, "{reason}"),
            }
        }
    });
}

/// Drives the engine and resolves faults on this one thread, until the request has ended. Gives its
/// result and the pages that were asked for.
///
/// `patience` is how many turns a fault waits before it is resolved.
fn drive<F: Future>(
    stage: &Stage,
    uffd: &Uffd,
    buffer: &Mapping,
    patience: usize,
    request: F,
) -> (F::Output, HashSet<usize>) {
    let contents = patterned(buffer.len(), MEMORY_SEED);
    let mut request = pin!(request);
    let mut served = HashSet::new();
    let mut turns = 0;
    loop {
        if let Poll::Ready(output) = poll_once(request.as_mut()) {
            return (output, served);
        }
        stage.engine.turn(Some(Duration::ZERO)).expect("turn");
        turns += 1;
        if turns % patience == 0 {
            while let Some((page, write_protected)) = uffd.next_fault() {
                let at = page - buffer.address();
                match write_protected {
                    true => uffd.allow_writes(page),
                    false => uffd.provide(page, &contents[at..at + PAGE]),
                }
                served.insert(page);
            }
        }
        std::thread::yield_now();
    }
}

fn read_into_missing_memory(
    uffd: &Uffd,
    stage: &Stage,
    policy: Policy,
    offset: u64,
    patience: usize,
) {
    let expected = read_range(fd_of(&stage.plain), offset, LEN);
    let buffer = Mapping::anon(LEN);
    uffd.watch_missing(&buffer);
    // SAFETY: the mapping outlives the request, which `drive` runs to its end.
    let request = unsafe {
        stage
            .file
            .read_raw_at(buffer.address() as *mut u8, LEN, offset, policy)
    };
    let (result, served) = drive(stage, uffd, &buffer, patience, request);
    assert_eq!(result.expect("the read"), LEN);
    assert!(
        !served.is_empty(),
        "no fault was ever seen: the test tests nothing"
    );
    uffd.unwatch(&buffer);
    assert!(buffer.bytes() == expected, "the bytes read");
}

fn write_from_missing_memory(
    uffd: &Uffd,
    stage: &Stage,
    policy: Policy,
    offset: u64,
    patience: usize,
) {
    use std::os::unix::fs::FileExt;
    let buffer = Mapping::anon(LEN);
    uffd.watch_missing(&buffer);
    // SAFETY: as above.
    let request = unsafe {
        stage
            .file
            .write_raw_at(buffer.address() as *const u8, LEN, offset, policy)
    };
    let (result, served) = drive(stage, uffd, &buffer, patience, request);
    assert_eq!(result.expect("the write"), LEN);
    assert_eq!(served.len(), LEN / PAGE, "each page was asked for");
    uffd.unwatch(&buffer);
    let mut written = vec![0; LEN];
    stage.plain.read_exact_at(&mut written, offset).unwrap();
    assert!(written == patterned(LEN, MEMORY_SEED), "the bytes written");
}

#[test]
fn a_read_ends_when_the_submitting_thread_resolves_the_faults() {
    with_uffd(
        "a_read_ends_when_the_submitting_thread_resolves_the_faults",
        |uffd, stage| {
            for policy in [Policy::Look, Policy::Offload] {
                read_into_missing_memory(uffd, stage, policy, 8192, 1);
            }
        },
    );
}

#[test]
fn a_write_ends_when_the_submitting_thread_resolves_the_faults() {
    with_uffd(
        "a_write_ends_when_the_submitting_thread_resolves_the_faults",
        |uffd, stage| {
            for policy in [Policy::Look, Policy::Offload] {
                write_from_missing_memory(uffd, stage, policy, 8192, 1);
            }
        },
    );
}

/// What direct I/O refuses is copied, and the copy faults as well.
#[test]
fn unaligned_requests_end_when_the_submitting_thread_resolves_the_faults() {
    with_uffd(
        "unaligned_requests_end_when_the_submitting_thread_resolves_the_faults",
        |uffd, stage| {
            for policy in [Policy::Look, Policy::Offload] {
                read_into_missing_memory(uffd, stage, policy, 777, 1);
                write_from_missing_memory(uffd, stage, policy, 777, 1);
            }
        },
    );
}

#[test]
fn a_slow_handler_only_makes_the_request_late() {
    with_uffd(
        "a_slow_handler_only_makes_the_request_late",
        |uffd, stage| {
            for policy in [Policy::Look, Policy::Offload] {
                read_into_missing_memory(uffd, stage, policy, 0, 50);
                write_from_missing_memory(uffd, stage, policy, 0, 50);
            }
        },
    );
}

/// The pages are there and can be read, yet a write to them waits: what no look at the page tables
/// tells.
#[test]
fn a_read_into_write_protected_memory_ends() {
    let name = "a_read_into_write_protected_memory_ends";
    with_uffd(name, |uffd, stage| {
        for policy in [Policy::Look, Policy::Offload] {
            let buffer = Mapping::anon(LEN);
            buffer.fill(0..LEN, MEMORY_SEED);
            if let Err(errno) = uffd.watch_writes(&buffer) {
                common::note_skip(
                    name,
                    &format!("userfaultfd's write-protect mode: errno {errno}"),
                );
                return;
            }
            // SAFETY: the mapping outlives the request, which `drive` runs to its end.
            let request = unsafe {
                stage
                    .file
                    .read_raw_at(buffer.address() as *mut u8, LEN, 4096, policy)
            };
            let (result, served) = drive(stage, uffd, &buffer, 1, request);
            assert_eq!(result.expect("the read"), LEN);
            assert!(
                !served.is_empty(),
                "no write was held back: the test tests nothing"
            );
            assert!(
                buffer.bytes() == patterned(1 << 20, FILE_SEED)[4096..4096 + LEN],
                "the bytes read"
            );
            uffd.unwatch(&buffer);
        }
    });
}

/// One cold buffer must not stall the warm ones, however many of the cold there are.
#[test]
fn warm_requests_end_while_cold_ones_wait_for_their_faults() {
    with_uffd(
        "warm_requests_end_while_cold_ones_wait_for_their_faults",
        |uffd, stage| {
            const COLD: usize = 40;
            let cold = Mapping::anon(COLD * PAGE);
            uffd.watch_missing(&cold);
            let mut waiting: Vec<_> = (0..COLD)
                .map(|index| {
                    let address = (cold.address() + index * PAGE) as *mut u8;
                    // SAFETY: the mapping outlives the requests, which are all awaited below.
                    Box::pin(unsafe {
                        stage
                            .file
                            .read_raw_at(address, PAGE, (index * PAGE) as u64, Policy::Look)
                    })
                })
                .collect();
            for request in &mut waiting {
                assert!(
                    poll_once(request.as_mut()).is_pending(),
                    "nobody has resolved the fault"
                );
            }
            stage.engine.turn(Some(Duration::ZERO)).expect("turn");

            let expected = patterned(1 << 20, FILE_SEED);
            let warm = Mapping::anon(8 * PAGE);
            for round in 0..50_usize {
                // Written and aligned: these need nothing that a stuck fault could hold.
                warm.fill(0..8 * PAGE, MEMORY_SEED);
                let start = round * 8 % 256 * PAGE;
                let reads = (0..8).map(|index| {
                    let address = (warm.address() + index * PAGE) as *mut u8;
                    // SAFETY: the mapping outlives `block_on`, which returns when all requests have
                    // ended.
                    unsafe {
                        stage.file.read_raw_at(
                            address,
                            PAGE,
                            (start + index * PAGE) as u64,
                            Policy::Look,
                        )
                    }
                });
                let results = stage.engine.block_on(join_all(reads));
                assert!(
                    results
                        .into_iter()
                        .all(|result| result.is_ok_and(|count| count == PAGE))
                );
                assert!(
                    warm.bytes() == expected[start..start + 8 * PAGE],
                    "round {round}"
                );
            }
            for request in &mut waiting {
                assert!(
                    poll_once(request.as_mut()).is_pending(),
                    "nobody has resolved the fault"
                );
            }
            let (results, _) = drive(stage, uffd, &cold, 1, join_all(waiting));
            assert!(
                results
                    .into_iter()
                    .all(|result| result.is_ok_and(|count| count == PAGE))
            );
            uffd.unwatch(&cold);
            assert!(
                peek(cold.address(), COLD * PAGE) == expected[..COLD * PAGE],
                "the bytes read"
            );
        },
    );
}

#[test]
fn a_request_whose_time_is_over_ends_although_others_are_stuck() {
    with_uffd(
        "a_request_whose_time_is_over_ends_although_others_are_stuck",
        |uffd, stage| {
            let buffer = Mapping::anon(100 * PAGE);
            uffd.watch_missing(&buffer);
            // More than may be stuck at a time: the last ones wait for a place, and can be called
            // back.
            let in_time = stage.file.with_timeout(Duration::from_millis(20));
            // SAFETY: the mapping outlives the requests, which all end here.
            let read = |file: &File, page: usize| unsafe {
                file.read_raw_at(
                    (buffer.address() + page * PAGE) as *mut u8,
                    PAGE,
                    (page * PAGE) as u64,
                    Policy::Look,
                )
            };
            let stuck: Vec<_> = (0..90).map(|page| read(&stage.file, page)).collect();
            let late = stage
                .engine
                .block_on(read(&in_time, 90))
                .expect_err("a page that nobody provides");
            assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
            assert!(stage.engine.stats().slow_lane_waits > 0);
            let (results, _) = drive(stage, uffd, &buffer, 1, join_all(stuck));
            assert!(
                results
                    .into_iter()
                    .all(|result| result.is_ok_and(|count| count == PAGE))
            );
            // One that ends in time is not disturbed.
            let in_time = stage.file.with_timeout(10 * DEADLINE);
            let (count, _) = stage.engine.block_on(in_time.read_at(vec![0; PAGE], 0));
            assert_eq!(count.expect("a read"), PAGE);
            uffd.unwatch(&buffer);
        },
    );
}

/// As many requests are stuck as there are places for them, and many more. What can't be stuck gets
/// on: copies from and to memory that is there, and fault-ins of memory that nobody watches.
#[test]
fn stuck_faults_do_not_hold_up_requests_with_other_memory() {
    let name = "stuck_faults_do_not_hold_up_requests_with_other_memory";
    with_uffd(name, |uffd, stage| {
        const STUCK: usize = 60;
        let expected = patterned(1 << 20, FILE_SEED);
        let watched = Mapping::anon(STUCK * PAGE);
        uffd.watch_missing(&watched);
        let offsets: Vec<u64> = (0..STUCK as u64)
            // Every third is ragged, and would be stuck in a copy.
            .map(|index| index * PAGE as u64 + u64::from(index % 3 == 0) * 77)
            .collect();
        let mut stuck = Vec::new();
        for (index, offset) in offsets.iter().enumerate() {
            let address = (watched.address() + index * PAGE) as *mut u8;
            // SAFETY: the mapping outlives the requests, which are all awaited below.
            let read = unsafe { stage.file.read_raw_at(address, PAGE, *offset, Policy::Look) };
            stuck.push(Box::pin(read));
        }
        for _ in 0..20 {
            stage.engine.turn(Some(Duration::ZERO)).expect("turn");
        }
        stage.engine.block_on(async {
            // Ragged, into memory that is there.
            let (count, buffer) = stage.file.read_at(vec![1u8; 30_001], 77).await;
            assert_eq!(count.expect("a ragged read"), 30_001);
            assert!(buffer == expected[77..77 + 30_001]);
            // Aligned and ragged, into memory that is not there.
            let fresh = || AlignedBuf::new(256 << 10).expect("memory");
            let (count, buffer) = stage.file.read_at(fresh(), 0).await;
            assert_eq!(count.expect("a cold read"), 256 << 10);
            assert!(buffer[..] == expected[..256 << 10]);
            let (count, buffer) = stage.file.read_at(fresh(), 77).await;
            assert_eq!(count.expect("a cold, ragged read"), 256 << 10);
            assert!(buffer[..] == expected[77..77 + (256 << 10)]);
            // A write from memory that is not aligned, and from fresh memory.
            let ragged = patterned(5000, FILE_SEED);
            let (count, _) = stage.file.write_at(ragged, 0).await;
            assert_eq!(count.expect("a ragged write"), 5000);
            stage.file.sync_data().await.expect("sync_data");
        });
        assert!(
            stage.engine.stats().lanes_stuck > 0,
            "a stuck lane is counted"
        );
        for request in &mut stuck {
            assert!(
                poll_once(request.as_mut()).is_pending(),
                "nobody has resolved the fault"
            );
        }
        let (results, _) = drive(stage, uffd, &watched, 1, join_all(stuck));
        assert!(
            results
                .into_iter()
                .all(|result| result.is_ok_and(|count| count == PAGE))
        );
        uffd.unwatch(&watched);
    });
}
