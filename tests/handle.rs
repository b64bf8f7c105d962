//! The handle: requests from many threads, and what becomes of them whatever their future does.

mod common;
#[path = "handle/held.rs"]
mod held;
#[path = "handle/model.rs"]
mod model;

use common::child::{self, watched};
use common::files;
use common::futures::{join_all, poll_once};
use common::mapping::patterned;
use common::setup::{self, DEADLINE};
use common::uffd::Uffd;
use held::Held;
use nofault::handle::{File, Io, IoVec, Simple};
use nofault::{Backend, Handle, HandleBuilder, IoBufExt, left_behind};
use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const LEN: usize = 64 << 10;
const SEED: u64 = 11;

/// A file of 1 MiB full of a pattern, and a handle.
struct Stage {
    file: File,
    handle: Handle,
    plain: std::fs::File,
    _folder: tempfile::TempDir,
}

fn stage(backend: Backend, set_up: impl FnOnce(HandleBuilder) -> HandleBuilder) -> Stage {
    let folder = files::folder();
    let path = folder.path().join("file");
    let plain = files::make_patterned(&path, 1 << 20, SEED);
    let handle = set_up(Handle::builder().backend(backend))
        .build()
        .unwrap_or_else(|error| panic!("a handle over {backend:?}: {error}"));
    assert_eq!(
        handle.info().backend,
        setup::kind(backend),
        "{:?}",
        handle.info().reason
    );
    let file = File::open_with(
        &handle,
        nofault::OpenOptions::new().read(true).write(true),
        &path,
    )
    .unwrap();
    Stage {
        file,
        handle,
        plain,
        _folder: folder,
    }
}

/// Runs the body in a child, for each back end, if userfaultfd can be had.
fn with_uffd(name: &str, body: impl Fn(Backend, &Uffd)) {
    watched(name, DEADLINE, || {
        for backend in setup::backends() {
            match Uffd::new() {
                Ok(uffd) => body(backend, &uffd),
                Err(reason) => common::skip!(name, "{reason}"),
            }
        }
    });
}

/// A waker that says who was woken.
struct Named(usize, Mutex<Sender<usize>>);

impl Wake for Named {
    fn wake(self: Arc<Self>) {
        let _ = self.1.lock().unwrap().send(self.0);
    }
}

fn named(name: usize, to: &Sender<usize>) -> Waker {
    Waker::from(Arc::new(Named(name, Mutex::new(to.clone()))))
}

#[test]
fn handles_files_and_futures_go_anywhere() {
    fn everywhere<T: Send + Sync + Clone + 'static>() {}
    fn send<T: Send + 'static>() {}
    fn send_value<T: Send + 'static>(_: &T) {}
    everywhere::<Handle>();
    everywhere::<File>();
    send::<Io<Vec<u8>>>();
    send::<IoVec<Vec<u8>>>();
    send::<Simple>();
    send::<nofault::PoolBuf>();
    let stage = stage(setup::backends()[0], |builder| builder);
    send_value(&stage.file.read_exact_at(vec![0; 10], 0));
    send_value(&stage.file.write_all_at(vec![0; 10], 0));
    send_value(&stage.handle.shutdown());
}

#[test]
fn many_threads_read_and_write_their_own_part_of_one_file() {
    const THREADS: usize = 8;
    const BLOCK: usize = 4096;
    const BLOCKS: usize = (1 << 20) / BLOCK;
    for backend in setup::backends() {
        for io_threads in [1, 3] {
            // Little of everything, so that requests wait at each place where they can.
            let stage = stage(backend, |builder| {
                builder
                    .threads(io_threads)
                    .depth(4)
                    .queue(16)
                    .memory(10 * BLOCK as u64)
            });
            assert_eq!(stage.handle.threads(), io_threads);
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (handle, file) = (stage.handle.clone(), stage.file.clone());
                    scope.spawn(move || {
                        let mine = || (thread..BLOCKS).step_by(THREADS);
                        handle.block_on(async {
                            let writes = mine().map(|block| {
                                file.write_all_at(vec![block as u8; BLOCK], (block * BLOCK) as u64)
                            });
                            join_all(writes)
                                .await
                                .into_iter()
                                .for_each(|(result, _)| result.unwrap());
                            let reads = mine().map(|block| {
                                file.read_exact_at(
                                    Vec::with_capacity(BLOCK),
                                    (block * BLOCK) as u64,
                                )
                            });
                            for ((result, buffer), block) in
                                join_all(reads).await.into_iter().zip(mine())
                            {
                                result.unwrap();
                                assert!(buffer == vec![block as u8; BLOCK], "block {block}");
                            }
                        });
                    });
                }
            });
            let stats = stage.handle.stats();
            assert_eq!(
                (stats.requests, stats.ended, stats.in_flight),
                (2 * BLOCKS as u64, 2 * BLOCKS as u64, 0)
            );
            assert!(
                stats.admission_waits > 0,
                "nobody ever waited: the test does not test the queue"
            );
        }
    }
}

#[test]
fn every_kind_of_request_does_what_it_says() {
    for backend in setup::backends() {
        let Stage {
            file,
            handle,
            plain,
            _folder,
        } = stage(backend, |builder| builder.threads(2));
        let all = patterned(1 << 20, SEED);
        handle.block_on(async {
            let (count, buffers) = file
                .readv_at(
                    vec![Vec::with_capacity(5000), Vec::with_capacity(3000)],
                    100,
                )
                .await;
            assert_eq!(
                (count.unwrap(), &buffers[0][..], &buffers[1][..]),
                (8000, &all[100..5100], &all[5100..8100])
            );
            let (count, _) = file.writev_at(vec![vec![1u8; 10], vec![2; 20]], 7).await;
            assert_eq!(count.unwrap(), 30);
            let (count, part) = file.read_at(vec![9u8; 50].into_slice(10..40), 7).await;
            assert_eq!(count.unwrap(), 30);
            assert_eq!(
                part.into_inner(),
                [vec![9; 10], vec![1; 10], vec![2; 20], vec![9; 10]].concat()
            );
            file.sync_data().await.unwrap();
            file.allocate(1 << 20, 4096).await.unwrap();
            assert_eq!(file.len().unwrap(), (1 << 20) + 4096);
            file.set_len(1000).await.unwrap();
            file.sync_all().await.unwrap();
            let (result, buffer) = file.read_exact_at(Vec::with_capacity(2000), 0).await;
            assert_eq!(
                (result.unwrap_err().kind(), buffer.len()),
                (ErrorKind::UnexpectedEof, 1000)
            );
            // Errors are the kernel's own.
            let (result, _) = file.read_at(vec![0u8; 1], u64::MAX).await;
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        });
        assert_eq!(plain.metadata().unwrap().len(), 1000);
        let engine = setup::engine(backend);
        let same = nofault::File::from_std(&engine, plain.try_clone().unwrap()).unwrap();
        assert_eq!(
            (file.path(), file.alignment()),
            (same.path(), same.alignment())
        );
    }
}

#[test]
fn random_requests_do_what_pread_and_pwrite_do() {
    for backend in setup::backends() {
        for io_threads in [1, 2] {
            let stage = stage(backend, |builder| builder.threads(io_threads).depth(8));
            let twin = tempfile::tempfile_in(stage._folder.path()).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&twin, &patterned(1 << 20, SEED), 0).unwrap();
            model::compare(&stage.handle, &stage.file, &stage.plain, &twin, 400);
        }
    }
}

#[test]
fn a_file_that_is_closed_makes_room_for_the_next() {
    for backend in setup::backends() {
        let Stage {
            file,
            handle,
            _folder,
            ..
        } = stage(backend, |builder| builder.threads(2));
        drop(file);
        for round in 0..40u8 {
            let path = _folder.path().join("next");
            let file = File::create(&handle, &path).unwrap();
            // Two requests meet both threads; the reads are in flight when the file goes.
            let writes = [0, 4096].map(|offset| file.write_all_at(vec![round; 4096], offset));
            handle
                .block_on(join_all(writes))
                .into_iter()
                .for_each(|(result, _)| result.unwrap());
            let reads =
                [0, 4096].map(|offset| file.read_exact_at(Vec::with_capacity(4096), offset));
            drop(file);
            std::fs::remove_file(&path).unwrap();
            for (result, buffer) in handle.block_on(join_all(reads)) {
                result.unwrap();
                assert!(buffer == [round; 4096], "bytes of another file");
            }
        }
        handle.block_on(handle.shutdown());
        // The file of this folder is open nowhere: not in this process, and not in a ring.
        let open = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        assert_eq!(
            open.filter(
                |path| path.starts_with(_folder.path()) && path.to_string_lossy().contains("next")
            )
            .count(),
            0
        );
    }
}

#[test]
fn a_future_that_is_dropped_leaves_its_buffer_to_the_io_thread() {
    with_uffd(
        "a_future_that_is_dropped_leaves_its_buffer_to_the_io_thread",
        |backend, uffd| {
            let stage = stage(backend, |builder| builder);
            let (dropped, drops) = channel();
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let mut request = Box::pin(stage.file.read_at(buffer, 0));
            assert!(poll_once(request.as_mut()).is_pending());
            uffd.wait_for_fault();
            drop(request);
            // The I/O thread has seen to the cancellation when it answers, and the kernel still
            // uses the memory.
            assert_eq!(stage.handle.stats().cancelled, 1);
            assert!(
                drops.try_recv().is_err(),
                "the buffer was dropped while a fault is under way"
            );
            uffd.unwatch(&memory);
            drops.recv().expect("the buffer's end");
            // All of it was given back: the largest request there can be is let in.
            let (result, buffer) = stage
                .handle
                .block_on(stage.file.read_at(Vec::with_capacity(1 << 20), 0));
            assert_eq!(result.unwrap(), 1 << 20);
            assert!(buffer == patterned(1 << 20, SEED));
            assert_eq!(stage.handle.stats().in_flight, 0);
        },
    );
}

#[test]
fn futures_that_are_dropped_at_any_time_leave_nothing_behind() {
    for backend in setup::backends() {
        let stage = stage(backend, |builder| builder.threads(2).depth(2).queue(4));
        let (dropped, drops) = channel();
        const COUNT: usize = 400;
        let mut kept = Vec::new();
        for index in 0..COUNT {
            let mut request = Box::pin(
                stage
                    .file
                    .read_at(Held::new(4096, &dropped), (index % 256 * 4096) as u64),
            );
            if index % 3 > 0 {
                let _ = poll_once(request.as_mut());
            }
            if index % 2 == 0 {
                kept.push(request);
            }
            if index % 50 == 49 {
                kept.clear();
            }
        }
        drop(kept);
        for _ in 0..COUNT {
            drops.recv().expect("a buffer's end");
        }
        stage.handle.block_on(stage.handle.shutdown());
        let stats = stage.handle.stats();
        assert_eq!((stats.in_flight, stats.requests), (0, stats.ended));
    }
}

#[test]
fn a_future_that_is_leaked_leaks_its_buffer_and_nothing_else() {
    for backend in setup::backends() {
        let stage = stage(backend, |builder| builder);
        let (dropped, drops) = channel();
        for _ in 0..10 {
            std::mem::forget(stage.file.read_at(Held::new(LEN, &dropped), 0));
        }
        stage.handle.block_on(stage.handle.shutdown());
        assert!(drops.try_recv().is_err());
        assert_eq!(stage.handle.stats().ended, 10);
    }
}

#[test]
fn a_future_may_be_moved_between_threads_while_it_waits() {
    with_uffd(
        "a_future_may_be_moved_between_threads_while_it_waits",
        |backend, uffd| {
            let stage = stage(backend, |builder| builder);
            let (dropped, _drops) = channel();
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let mut request = stage.file.read_at(buffer, 0);
            // Another waker each time, and another thread each time.
            for _ in 0..3 {
                request = std::thread::spawn(move || {
                    assert!(poll_once(pin!(&mut request)).is_pending());
                    request
                })
                .join()
                .unwrap();
            }
            let handle = stage.handle.clone();
            let last = std::thread::spawn(move || handle.block_on(request));
            uffd.wait_for_fault();
            uffd.unwatch(&memory);
            let (result, buffer) = last.join().unwrap();
            assert_eq!(result.unwrap(), LEN);
            assert!(buffer.memory().prefix(LEN) == patterned(LEN, SEED));
        },
    );
}

/// One request fills the budget and is stuck; the others come after it, one by one, in their order.
#[test]
fn those_who_wait_start_in_order_and_whoever_leaves_gives_up_its_place() {
    with_uffd(
        "those_who_wait_start_in_order_and_whoever_leaves_gives_up_its_place",
        |backend, uffd| {
            let stage = stage(backend, |builder| builder.memory(LEN as u64));
            let ((dropped, drops), (woken, wakes)) = (channel(), channel());
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let mut requests = vec![Some(Box::pin(stage.file.read_at(buffer, 0)))];
            uffd.wait_for_fault();
            // Each needs all of the budget, or more than there is; and the smallest must not slip
            // past them.
            for len in [LEN, 3 * LEN, LEN, LEN, 1] {
                requests.push(Some(Box::pin(
                    stage.file.read_at(Held::new(len, &dropped), 0),
                )));
            }
            for (name, request) in requests.iter_mut().enumerate() {
                let waker = named(name, &woken);
                assert!(
                    request
                        .as_mut()
                        .unwrap()
                        .as_mut()
                        .poll(&mut Context::from_waker(&waker))
                        .is_pending()
                );
            }
            assert_eq!(stage.handle.stats().requests, 1, "the budget is full");
            assert_eq!(stage.handle.stats().admission_waits, 5);
            requests[3] = None;
            drops
                .try_recv()
                .expect("one that only waited gives its buffer back at once");
            uffd.unwatch(&memory);
            let order: Vec<usize> = (0..5).map(|_| wakes.recv().unwrap()).collect();
            assert_eq!(order, [0, 1, 2, 4, 5]);
            for (name, request) in requests.into_iter().enumerate() {
                let Some(mut request) = request else { continue };
                let Poll::Ready((result, _)) = poll_once(request.as_mut()) else {
                    panic!("{name} was woken and is not ready")
                };
                assert_eq!(result.unwrap(), [LEN, LEN, 3 * LEN, LEN, LEN, 1][name]);
            }
        },
    );
}

#[test]
fn the_queue_counts_requests_as_the_budget_counts_bytes() {
    with_uffd(
        "the_queue_counts_requests_as_the_budget_counts_bytes",
        |backend, uffd| {
            let stage = stage(backend, |builder| builder.queue(2));
            let (dropped, _drops) = channel();
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let stuck = stage.file.read_at(buffer, 0);
            uffd.wait_for_fault();
            // There is one place more, for one after the other.
            for _ in 0..10 {
                stage.handle.block_on(stage.file.sync_data()).unwrap();
            }
            let waits = [
                stage.file.read_at(vec![0u8; 1], 0),
                stage.file.read_at(vec![0u8; 1], 0),
            ];
            let debug = format!("{:?}", stage.handle);
            assert!(
                debug.contains("requests_in_flight: 2") || debug.contains("requests_in_flight: 1"),
                "{debug}"
            );
            assert!(stage.handle.stats().admission_waits >= 1);
            for (result, _) in stage.handle.block_on(join_all(waits)) {
                assert_eq!(result.unwrap(), 1);
            }
            uffd.unwatch(&memory);
            assert_eq!(stage.handle.block_on(stuck).0.unwrap(), LEN);
        },
    );
}

#[test]
fn shutdown_waits_for_what_is_in_flight_and_refuses_the_rest() {
    with_uffd(
        "shutdown_waits_for_what_is_in_flight_and_refuses_the_rest",
        |backend, uffd| {
            let stage = stage(backend, |builder| builder.threads(2).queue(1));
            let (dropped, _drops) = channel();
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let in_flight = stage.file.read_at(buffer, 0);
            let in_queue = stage.file.read_at(vec![0u8; 100], 0);
            uffd.wait_for_fault();
            let mut shutdown = Box::pin(stage.handle.shutdown());
            assert!(poll_once(shutdown.as_mut()).is_pending());
            let (result, buffer) = stage.handle.block_on(stage.file.write_at(vec![7u8; 10], 0));
            let error = result.unwrap_err();
            assert_eq!((error.kind(), buffer), (ErrorKind::BrokenPipe, vec![7; 10]));
            assert!(error.to_string().contains("shut down"), "{error}");
            assert_eq!(
                stage
                    .handle
                    .block_on(stage.file.sync_all())
                    .unwrap_err()
                    .kind(),
                ErrorKind::BrokenPipe
            );
            uffd.unwatch(&memory);
            stage.handle.block_on(shutdown);
            // Both were carried out, and the results are there although the threads are not.
            assert_eq!(stage.handle.block_on(in_flight).0.unwrap(), LEN);
            let (result, buffer) = stage.handle.block_on(in_queue);
            assert_eq!((result.unwrap(), buffer), (100, patterned(100, SEED)));
            assert_eq!(
                (stage.handle.stats().ended, stage.handle.stats().in_flight),
                (2, 0)
            );
            // Again, and by another who comes later.
            stage.handle.block_on(stage.handle.clone().shutdown());
        },
    );
}

#[test]
fn the_last_handle_leaves_the_end_to_the_threads() {
    with_uffd(
        "the_last_handle_leaves_the_end_to_the_threads",
        |backend, uffd| {
            let Stage { file, handle, .. } = stage(backend, |builder| {
                builder.drain_timeout(Duration::from_millis(50))
            });
            let (dropped, drops) = channel();
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let leaked = left_behind().leaked;
            let waiting = file.read_at(vec![0u8; 100], 0);
            let stuck = file.read_at(buffer, 0);
            uffd.wait_for_fault();
            drop(stuck);
            let block = handle.clone();
            drop((handle, file));
            // A future that is waited for keeps the threads.
            assert_eq!(block.block_on(waiting).0.unwrap(), 100);
            drop(block);
            // The thread gives up in time: it can't end the request, so what it uses is never
            // freed.
            while left_behind().leaked == leaked {
                std::thread::yield_now();
            }
            assert!(drops.try_recv().is_err());
            uffd.unwatch(&memory);
        },
    );
}

#[test]
fn a_panic_in_a_waker_harms_nobody_else() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker's own fault");
        }
    }
    /// Panics when it is dropped, as a buffer may.
    struct Bomb(Held);
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a buffer's own fault");
        }
    }
    held::delegate!(Bomb);
    // The words of the panics are of no interest.
    std::panic::set_hook(Box::new(|info| {
        if std::thread::current()
            .name()
            .is_none_or(|name| !name.starts_with("nofault-"))
        {
            eprintln!("{info}");
        }
    }));
    for backend in setup::backends() {
        let stage = stage(backend, |builder| builder);
        let (dropped, drops) = channel();
        for _ in 0..10 {
            let waker = Waker::from(Arc::new(Panics));
            let mut request = Box::pin(stage.file.read_at(Vec::with_capacity(LEN), 0));
            let _ = request.as_mut().poll(&mut Context::from_waker(&waker));
            let bomb = stage.file.read_at(Bomb(Held::new(LEN, &dropped)), 0);
            // If it is over by now the panic is this thread's.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(bomb)));
            drops.recv().expect("the buffer's end");
            assert_eq!(stage.handle.block_on(request).0.unwrap(), LEN);
        }
        stage.handle.block_on(stage.handle.shutdown());
        assert!(stage.handle.stats().ended >= 10);
    }
}

#[test]
fn a_pool_is_pinned_for_every_io_thread() {
    for backend in setup::backends() {
        for io_threads in [1, 3] {
            let stage = stage(backend, |builder| builder.threads(io_threads));
            let pool = stage.handle.pool(8, 4096).unwrap();
            let region = stage
                .handle
                .register(nofault::AlignedBuf::new(8 * 4096).unwrap());
            if backend == Backend::Uring && !(pool.is_pinned() && region.is_pinned()) {
                common::note_skip(
                    "a_pool_is_pinned_for_every_io_thread",
                    &format!("{:?}", stage.handle.stats().fallbacks),
                );
            }
            assert!(backend == Backend::Uring || !pool.is_pinned());
            let all = patterned(8 * 4096, SEED);
            for _ in 0..3 {
                let reads =
                    (0..8).map(|block| stage.file.read_at(pool.get().unwrap(), block * 4096));
                for (block, (result, buffer)) in stage
                    .handle
                    .block_on(join_all(reads))
                    .into_iter()
                    .enumerate()
                {
                    assert_eq!(result.unwrap(), 4096);
                    assert!(buffer[..] == all[block * 4096..][..4096]);
                }
                let reads = (0..8).map(|block| {
                    stage.file.read_at(
                        region.slice(block * 4096..(block + 1) * 4096).unwrap(),
                        block as u64 * 4096,
                    )
                });
                for (block, (result, buffer)) in stage
                    .handle
                    .block_on(join_all(reads))
                    .into_iter()
                    .enumerate()
                {
                    assert_eq!(result.unwrap(), 4096);
                    assert!(buffer[..] == all[block * 4096..][..4096]);
                }
            }
            let looked = stage.handle.stats().looked;
            assert!(
                (looked == 0) == (pool.is_pinned() && region.is_pinned()),
                "{looked} looks"
            );
            // Neither the handle nor its threads are needed for what is still held.
            let buffer = pool.get().unwrap();
            stage.handle.block_on(stage.handle.shutdown());
            drop((pool, region, stage));
            assert_eq!(buffer.len(), 4096);
        }
    }
}

#[test]
fn io_threads_sleep_while_there_is_nothing_to_do() {
    for backend in setup::backends() {
        let stage = stage(backend, |builder| builder.threads(2));
        stage
            .handle
            .block_on(stage.file.read_at(Vec::with_capacity(LEN), 0))
            .0
            .unwrap();
        let before = stage.handle.stats().enters;
        // Time in which a loop that spins would do so some thousand times.
        std::thread::sleep(Duration::from_millis(100));
        let after = stage.handle.stats().enters;
        assert!(after - before < 20, "{} turns while idle", after - before);
    }
}

#[test]
fn where_io_uring_is_forbidden_worker_threads_take_over() {
    let name = "where_io_uring_is_forbidden_worker_threads_take_over";
    watched(name, DEADLINE, || {
        child::forbid(&[libc::SYS_io_uring_setup], libc::EPERM);
        let error = Handle::builder()
            .backend(Backend::Uring)
            .threads(3)
            .build()
            .unwrap_err();
        assert!(error.to_string().contains("seccomp"), "{error}");
        let stage = stage(Backend::Threads, |builder| {
            builder.backend(Backend::Auto).threads(2)
        });
        assert!(stage.handle.info().reason.unwrap().contains("EPERM"));
        let (result, buffer) = stage
            .handle
            .block_on(stage.file.read_at(Vec::with_capacity(LEN), 0));
        assert_eq!((result.unwrap(), buffer), (LEN, patterned(LEN, SEED)));
        assert_eq!(
            stage
                .handle
                .stats()
                .fallbacks
                .iter()
                .filter(|what| **what == nofault::Fallback::UringRefused { errno: libc::EPERM })
                .count(),
            1,
            "each reason once"
        );
    });
}

/// Many threads make and drop requests, shut down in the midst of it, and every request has its
/// end.
#[test]
fn shutdown_at_any_time_ends_every_request() {
    for backend in setup::backends() {
        for _ in 0..20 {
            let stage = stage(backend, |builder| builder.threads(2).depth(2).queue(3));
            let (done, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for index in 0.. {
                            let request = stage.file.read_at(Vec::with_capacity(512), index * 512);
                            if index % 5 == 4 {
                                continue;
                            }
                            match stage.handle.block_on(request).0 {
                                Ok(count) => assert_eq!(count, 512),
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                                    refused.fetch_add(1, Ordering::Relaxed);
                                    return;
                                }
                            }
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                while done.load(Ordering::Relaxed) < 50 {
                    std::thread::yield_now();
                }
                stage.handle.block_on(stage.handle.shutdown());
            });
            assert_eq!(refused.load(Ordering::Relaxed), 4);
        }
    }
}
