//! An engine inside a current-thread runtime of tokio, and a handle inside one of many threads.

mod common;
#[path = "handle/held.rs"]
mod held;

use common::child::watched;
use common::files;
use common::mapping::patterned;
use common::setup::{self, DEADLINE};
use common::uffd::Uffd;
use held::Held;
use nofault::{AlignedBuf, Backend, Engine, File, Handle, handle};
use std::cell::Cell;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local, yield_now};

const BLOCK: usize = 4096;
const BYTES: usize = 1 << 20;
const SEED: u64 = 17;

/// Only what the crate asks for: no timers.
fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_io().build().unwrap()
}

fn patterned_file() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = files::folder();
    let path = folder.path().join("file");
    files::make_patterned(&path, BYTES, SEED);
    (folder, path)
}

/// Runs the body inside a current-thread runtime in which an engine is driven, for each back end.
fn driven<F: Future>(depth: u32, body: impl Fn(Engine, File) -> F) {
    let (_folder, path) = patterned_file();
    for backend in setup::backends() {
        LocalSet::new().block_on(&current_thread(), async {
            let engine = setup::engine_with_depth(backend, depth);
            let file = nofault::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&engine, &path)
                .unwrap();
            spawn_local(nofault::tokio::drive(&engine).unwrap());
            body(engine, file).await;
        });
    }
}

async fn read_block(file: &File, block: usize) {
    let (result, buffer) = file
        .read_at(Vec::with_capacity(BLOCK), (block * BLOCK) as u64)
        .await;
    assert_eq!(result.unwrap(), BLOCK);
    assert!(
        buffer == patterned(BYTES, SEED)[block * BLOCK..][..BLOCK],
        "block {block}"
    );
}

#[test]
fn many_tasks_share_a_driven_engine() {
    // Fewer places than tasks: some wait for admission.
    driven(8, |engine, file| async move {
        let file = Rc::new(file);
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let file = file.clone();
                spawn_local(async move {
                    for round in 0..10 {
                        read_block(&file, (task * 7 + round * 13) % (BYTES / BLOCK)).await;
                    }
                    file.sync_data().await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let stats = engine.stats();
        assert_eq!((stats.ended, stats.in_flight), (64 * 11, 0));
    });
}

/// A driver that counts how often it is polled.
fn counted(engine: &Engine) -> (impl Future<Output = ()> + use<>, Rc<Cell<usize>>) {
    let polls = Rc::new(Cell::new(0));
    let (mut drive, counter) = (
        Box::pin(nofault::tokio::drive(engine).unwrap()),
        polls.clone(),
    );
    let drive = std::future::poll_fn(move |context| {
        counter.set(counter.get() + 1);
        drive.as_mut().poll(context)
    });
    (drive, polls)
}

#[test]
fn what_tasks_ask_for_in_one_turn_is_submitted_by_one_call() {
    let (_folder, path) = patterned_file();
    if !setup::backends().contains(&Backend::Uring) {
        return common::note_skip(
            "what_tasks_ask_for_in_one_turn_is_submitted_by_one_call",
            "NOFAULT_BACKEND asks for another back end",
        );
    }
    LocalSet::new().block_on(&current_thread(), async {
        let engine = setup::engine(Backend::Uring);
        let file = Rc::new(File::open(&engine, &path).unwrap());
        let (drive, polls) = counted(&engine);
        spawn_local(drive);
        read_block(&file, 0).await;
        // Until the driver has seen that there is nothing to do.
        let mut quiet = 0;
        while quiet < 20 {
            let before = polls.get();
            yield_now().await;
            quiet = if polls.get() == before { quiet + 1 } else { 0 };
        }
        let before = engine.stats();
        let tasks: Vec<_> = (0..16)
            .map(|block| {
                let file = file.clone();
                // Aligned, and there: what is not takes several steps.
                let mut buffer = AlignedBuf::new(BLOCK).unwrap();
                buffer.populate().unwrap();
                spawn_local(async move { file.read_at(buffer, block * BLOCK as u64).await.0 })
            })
            .collect();
        while engine.stats().enters == before.enters {
            yield_now().await;
        }
        // By the first call after all were made, all are with the kernel.
        assert_eq!(engine.stats().operations - before.operations, 16);
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), BLOCK);
        }
    });
}

#[test]
fn the_driver_is_not_polled_while_there_is_nothing_to_do() {
    let (_folder, path) = patterned_file();
    for backend in setup::backends() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let engine = setup::engine(backend);
            let file = File::open(&engine, &path).unwrap();
            let (drive, polls) = counted(&engine);
            spawn_local(drive);
            read_block(&file, 3).await;
            let before = polls.get();
            // Time in which a task that wakes itself would be polled some ten thousand times.
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(
                before > 0 && polls.get() - before < 10,
                "{} polls",
                polls.get() - before
            );
            read_block(&file, 4).await;
        });
    }
}

/// Tasks that end, and ask for nothing more, make room for those who wait for it.
#[test]
fn room_that_is_made_without_a_request_is_used() {
    driven(1, |_engine, file| async move {
        let file = Rc::new(file);
        for _ in 0..50 {
            let tasks: Vec<_> = (0..6)
                .map(|block| {
                    let file = file.clone();
                    spawn_local(async move { read_block(&file, block).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
    });
}

#[test]
fn driving_ends_with_the_engine() {
    let (_folder, path) = patterned_file();
    for backend in setup::backends() {
        LocalSet::new().block_on(&current_thread(), async {
            let engine = setup::engine(backend);
            let drive = spawn_local(nofault::tokio::drive(&engine).unwrap());
            let file = File::open(&engine, &path).unwrap();
            drop(engine);
            // The file keeps it.
            read_block(&file, 1).await;
            assert!(!drive.is_finished());
            // Dropped early: the engine ends the request before it is gone.
            let mut early = Box::pin(file.read_at(Vec::with_capacity(BYTES), 0));
            let _ = common::futures::poll_once(early.as_mut());
            drop((early, file));
            drive.await.unwrap();
        });
    }
}

#[test]
fn it_can_be_driven_without_being_spawned_and_within_a_runtime_of_many_threads() {
    let (_folder, path) = patterned_file();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_io()
        .build()
        .unwrap();
    for backend in setup::backends() {
        runtime.block_on(async {
            let engine = setup::engine(backend);
            let file = File::open(&engine, &path).unwrap();
            let mut drive = pin!(nofault::tokio::drive(&engine).unwrap());
            let mut work = pin!(async {
                for block in 0..50 {
                    read_block(&file, block).await;
                }
            });
            std::future::poll_fn(|context| {
                assert!(drive.as_mut().poll(context).is_pending());
                work.as_mut().poll(context)
            })
            .await;
        });
    }
}

/// One request is stuck and the runtime has no timers: the time of another, that waits for room, is
/// over all the same.
#[test]
fn deadlines_need_no_timers_of_the_runtime() {
    let name = "deadlines_need_no_timers_of_the_runtime";
    watched(name, DEADLINE, || {
        let uffd = match Uffd::new() {
            Ok(uffd) => uffd,
            Err(reason) => common::skip!(name, "{reason}"),
        };
        driven(1, |_engine, file| {
            let uffd = &uffd;
            async move {
                let (dropped, _drops) = channel();
                let buffer = Held::new(BLOCK, &dropped);
                let memory = buffer.memory();
                uffd.watch_missing(&memory);
                let stuck = file.read_at(buffer, 0);
                let late = file
                    .with_timeout(Duration::from_millis(30))
                    .read_at(Vec::with_capacity(BLOCK), 0);
                assert_eq!(late.await.0.unwrap_err().kind(), ErrorKind::TimedOut);
                uffd.unwatch(&memory);
                assert_eq!(stuck.await.0.unwrap(), BLOCK);
            }
        });
    });
}

#[test]
#[should_panic(expected = "reactor")]
fn without_a_runtime_there_is_no_reactor() {
    let engine = setup::engine(Backend::Threads);
    let _ = nofault::tokio::drive(&engine);
}

// ---- a handle in a runtime of many threads

#[test]
fn a_handle_works_in_a_runtime_of_many_threads() {
    let (_folder, path) = patterned_file();
    let runtime = Builder::new_multi_thread()
        .worker_threads(3)
        .build()
        .unwrap();
    for backend in setup::backends() {
        for io_threads in [1, 2] {
            let handle = Handle::builder()
                .backend(backend)
                .threads(io_threads)
                .depth(8)
                .build()
                .unwrap();
            let file = handle::File::open(&handle, &path).unwrap();
            runtime.block_on(async {
                let tasks: Vec<_> = (0..64)
                    .map(|task| {
                        let file = file.clone();
                        tokio::spawn(async move {
                            for round in 0..20 {
                                let block = (task * 31 + round) % (BYTES / BLOCK);
                                let (result, buffer) = file
                                    .read_at(Vec::with_capacity(BLOCK), (block * BLOCK) as u64)
                                    .await;
                                assert_eq!(result.unwrap(), BLOCK);
                                assert!(buffer == patterned(BYTES, SEED)[block * BLOCK..][..BLOCK]);
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
                handle.shutdown().await;
            });
            assert_eq!(handle.stats().ended, 64 * 20);
        }
    }
}

#[test]
fn tasks_that_are_aborted_leave_nothing_in_flight() {
    let (_folder, path) = patterned_file();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    for backend in setup::backends() {
        let handle = Handle::builder()
            .backend(backend)
            .depth(4)
            .queue(4)
            .build()
            .unwrap();
        let file = handle::File::open(&handle, &path).unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    let file = file.clone();
                    tokio::spawn(async move { file.read_at(Vec::with_capacity(BYTES), 0).await.0 })
                })
                .collect();
            for (number, task) in tasks.iter().enumerate() {
                if number % 2 == 0 {
                    task.abort();
                }
            }
            for (number, task) in tasks.into_iter().enumerate() {
                match task.await {
                    Ok(result) => assert_eq!(result.unwrap(), BYTES),
                    Err(error) => assert!(error.is_cancelled() && number % 2 == 0),
                }
            }
            handle.shutdown().await;
        });
        let stats = handle.stats();
        assert_eq!((stats.in_flight, stats.requests), (0, stats.ended));
    }
}
