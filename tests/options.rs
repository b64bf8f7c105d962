//! What can be asked of an engine and a file beyond reading and writing: polling, a kernel thread,
//! priorities. Where the kernel or the device refuses, the requests go the ordinary way, and the
//! engine says so.

mod common;

use std::time::Duration;

use common::{files, setup};
use nofault::{Backend, BackendKind, Engine, EngineBuilder, Fallback, File, OpenOptions, Priority};

const LEN: usize = 1 << 20;
const BLOCK: usize = 4096;

/// Writes and reads through a pool, foreign memory and ragged ranges, many at a time.
fn works(builder: EngineBuilder) -> Engine {
    let engine = builder.depth(16).build().expect("an engine");
    let folder = files::folder();
    let path = folder.path().join("file");
    let plain = files::make_patterned(&path, LEN, 5);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&engine, &path)
        .expect("the file");
    let pool = engine.pool(16, BLOCK).expect("a pool");
    let expected = std::fs::read(&path).expect("the bytes");
    engine.block_on(async {
        for round in 0..8 {
            let offset = |index: usize| ((round * 16 + index) * BLOCK) as u64;
            let reads: Vec<_> = (0..16)
                .map(|index| file.read_at(pool.get().expect("a buffer"), offset(index)))
                .collect();
            for (index, read) in reads.into_iter().enumerate() {
                let (count, buffer) = read.await;
                assert_eq!(count.expect("a read"), BLOCK);
                assert!(
                    buffer[..] == expected[offset(index) as usize..][..BLOCK],
                    "block {index} of round {round}"
                );
            }
        }
        let (count, buffer) = file.read_at(Vec::with_capacity(10_000), 12_345).await;
        assert_eq!(count.expect("a read"), buffer.len());
        assert!(buffer[..] == expected[12_345..][..buffer.len()]);
        file.write_all_at(vec![7; 3 * BLOCK], 4096)
            .await
            .0
            .expect("a write");
        file.sync_data().await.expect("a sync");
    });
    drop(plain);
    assert!(
        std::fs::read(&path).expect("the bytes")[4096..][..3 * BLOCK]
            .iter()
            .all(|byte| *byte == 7)
    );
    engine
}

#[test]
fn polling_is_used_or_its_loss_is_told() {
    let engine = works(Engine::builder().io_poll(true));
    let (info, stats) = (engine.info(), engine.stats());
    if info.backend == BackendKind::Uring {
        let lost = stats.fallbacks.iter().any(|fallback| {
            matches!(
                fallback,
                Fallback::NoPolledRing { .. } | Fallback::NoPolledQueues
            )
        });
        assert!(
            info.flags.contains(&"IOPOLL ring") || lost,
            "{info}: {stats}"
        );
    }
}

#[test]
fn a_kernel_thread_is_used_or_its_loss_is_told() {
    let engine = works(Engine::builder().sq_poll(Duration::from_millis(5)));
    let (info, stats) = (engine.info(), engine.stats());
    if info.backend == BackendKind::Uring {
        assert!(
            info.flags.contains(&"SQPOLL")
                || stats
                    .fallbacks
                    .iter()
                    .any(|fallback| matches!(fallback, Fallback::NoSubmissionThread { .. })),
            "{info}: {stats}"
        );
    }
}

#[test]
fn everything_at_once() {
    works(
        Engine::builder()
            .sq_poll(Duration::from_millis(1))
            .io_poll(true)
            .no_iowait(true),
    );
}

#[test]
fn waiting_that_is_no_waiting_for_io() {
    let engine = works(Engine::builder().no_iowait(true));
    let (info, stats) = (engine.info(), engine.stats());
    if info.backend == BackendKind::Uring {
        assert!(
            info.flags.contains(&"NO_IOWAIT") || stats.fallbacks.contains(&Fallback::WaitsCount)
        );
    }
}

/// Only so many rings find a place in the table of a thread; the others are entered by their
/// descriptors. Places are given back.
#[test]
fn more_rings_than_a_thread_has_places_for() {
    for _ in 0..3 {
        let engines: Vec<_> = (0..20)
            .map(|_| Engine::builder().depth(2).build().expect("an engine"))
            .collect();
        let folder = files::folder();
        let path = folder.path().join("file");
        std::fs::write(&path, [3; BLOCK]).expect("a file");
        for engine in &engines {
            let file = File::open(engine, &path).expect("the file");
            let (count, _) = engine.block_on(file.read_at(vec![0; BLOCK], 0));
            assert_eq!(count.expect("a read"), BLOCK);
        }
        if engines[0].info().backend == BackendKind::Uring {
            assert!(
                engines[0].info().flags.contains(&"registered ring"),
                "{}",
                engines[0].info()
            );
        }
    }
}

#[test]
fn a_file_with_a_priority_reads_the_same_bytes() {
    for backend in setup::backends() {
        let engine = Engine::builder()
            .backend(backend)
            .build()
            .expect("an engine");
        let folder = files::folder();
        let path = folder.path().join("file");
        let _plain = files::make_patterned(&path, LEN, 6);
        let file = File::open(&engine, &path).expect("the file");
        for priority in [
            Priority::best_effort(0),
            Priority::best_effort(200),
            Priority::idle(),
        ] {
            let urgent = file
                .with_priority(priority)
                .expect("no privilege is needed");
            let (count, buffer) = engine.block_on(urgent.read_at(vec![0; BLOCK], 0));
            assert_eq!(count.expect("a read"), BLOCK);
            assert_eq!(buffer, engine.block_on(file.read_at(vec![0; BLOCK], 0)).1);
        }
    }
}

#[test]
fn real_time_needs_a_privilege_and_says_so() {
    let engine = Engine::builder()
        .backend(Backend::Auto)
        .build()
        .expect("an engine");
    let folder = files::folder();
    let path = folder.path().join("file");
    std::fs::write(&path, [3; BLOCK]).expect("a file");
    let file = File::open(&engine, &path).expect("the file");
    match file.with_priority(Priority::real_time(0)) {
        Ok(first) => assert_eq!(
            engine
                .block_on(first.read_at(vec![0; BLOCK], 0))
                .0
                .expect("a read"),
            BLOCK
        ),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
    }
}

#[test]
fn a_pool_of_huge_pages_reads_the_same_bytes() {
    let engine = Engine::builder().depth(4).build().expect("an engine");
    let folder = files::folder();
    let path = folder.path().join("file");
    let _plain = files::make_patterned(&path, LEN, 7);
    let file = File::open(&engine, &path).expect("the file");
    let pool = engine.huge_pool(4, 128 << 10).expect("a pool");
    assert_eq!((pool.count(), pool.buffer_bytes()), (4, 128 << 10));
    let expected = std::fs::read(&path).expect("the bytes");
    let buffers: Vec<_> = (0..4).filter_map(|_| pool.get()).collect();
    for (index, buffer) in buffers.into_iter().enumerate() {
        let (count, buffer) = engine.block_on(file.read_at(buffer, (index * (128 << 10)) as u64));
        assert_eq!(count.expect("a read"), 128 << 10);
        assert!(buffer[..] == expected[index * (128 << 10)..][..128 << 10]);
    }
    if pool.is_pinned() {
        assert_eq!(engine.stats().looked, 0);
    }
}

/// What an engine itself needs, with as many requests in flight as storage engines have: their
/// buffers are not counted.
#[test]
fn an_engine_with_a_thousand_in_flight_is_small() {
    const REQUESTS: usize = 1024;
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/smaps_rollup").expect("/proc");
        let line = status
            .lines()
            .find(|line| line.starts_with("Rss:"))
            .expect("the resident memory");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<usize>().ok())
            .expect("a number")
            << 10
    }
    common::child::watched(
        "an_engine_with_a_thousand_in_flight_is_small",
        setup::DEADLINE,
        || {
            let folder = files::folder();
            let path = folder.path().join("file");
            let _plain = files::make_patterned(&path, 8 << 20, 7);
            let mut buffers: Vec<_> = (0..REQUESTS)
                .map(|_| nofault::AlignedBuf::new(BLOCK).expect("a buffer"))
                .collect();
            buffers
                .iter_mut()
                .for_each(|buffer| buffer.populate().expect("its page"));
            let before = resident();
            let engine = Engine::builder()
                .depth(REQUESTS as u32)
                .build()
                .expect("an engine");
            let file = File::open(&engine, &path).expect("the file");
            let mut queue = nofault::Queue::new(&engine);
            for (index, buffer) in buffers.into_iter().enumerate() {
                queue.read_at(&file, buffer, (index * BLOCK) as u64, ());
            }
            engine.turn(Some(Duration::ZERO)).expect("a turn");
            let most = resident() - before;
            common::sys::say(&format!(
                "an engine with {REQUESTS} requests: {} KiB\n",
                most >> 10
            ));
            // The workers of the other back end are threads, with stacks.
            assert!(most <= 8 << 20, "{} KiB", most >> 10);
            engine.block_on(async {
                while let Some(done) = queue.next().await {
                    assert_eq!(done.result.expect("a read"), BLOCK);
                }
            });
        },
    );
}
