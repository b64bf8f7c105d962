//! The two faces, an engine's file and a handle's, do the same: what one can do the other can, and
//! a request that is given up early loses neither its buffer nor its count.

mod common;
#[path = "handle/held.rs"]
mod held;

use common::child::watched;
use common::files;
use common::futures::poll_once;
use common::mapping::{Mapping, patterned};
use common::setup::{self, DEADLINE};
use common::uffd::Uffd;
use held::Held;
use nofault::{
    Backend, Engine, Handle, IoBufExt, IoPath, OpenOptions, Policy, Priority, Reason, handle,
};
use std::fmt::Debug;
use std::future::Future;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const LEN: usize = 64 << 10;
const SEED: u64 = 5;

/// A file of 1 MiB full of a pattern.
fn patterned_file() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = files::folder();
    let path = folder.path().join("file");
    files::make_patterned(&path, 1 << 20, SEED);
    (folder, path)
}

fn read_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

fn handle(backend: Backend) -> Handle {
    let built = Handle::builder().backend(backend).threads(2).build();
    built.unwrap_or_else(|error| panic!("a handle over {backend:?}: {error}"))
}

/// Runs the same text on both faces and all back ends: with a file open to read and write, what runs
/// its futures, and what says how many requests have ended.
macro_rules! on_each_face {
    (|$file:ident, $runs:ident, $ended:ident| $body:block) => {
        for backend in setup::backends() {
            {
                let (_folder, path) = patterned_file();
                let $runs = setup::engine(backend);
                let $file = read_write().open(&$runs, &path).expect("the file");
                let $ended = |runs: &Engine| {
                    runs.turn(None).expect("a turn");
                    runs.stats().ended
                };
                $body
            }
            {
                let (_folder, path) = patterned_file();
                let $runs = handle(backend);
                let $file =
                    handle::File::open_with(&$runs, &read_write(), &path).expect("the file");
                let $ended = |runs: &Handle| runs.stats().ended;
                $body
            }
        }
    };
}

fn has_words(value: &impl Debug, words: &[&str]) {
    let text = format!("{value:?}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn what_one_face_can_do_the_other_can() {
    let all = patterned(1 << 20, SEED);
    on_each_face!(|file, runs, _ended| {
        let file = file
            .with_priority(Priority::best_effort(6))
            .expect("a priority that everybody may have")
            .with_timeout(Duration::from_secs(600));
        let mut memory = [vec![0u8; 5000], vec![0u8; 3000]];
        let pieces = memory
            .each_mut()
            .map(|piece| (piece.as_mut_ptr(), piece.len()));
        runs.block_on(async {
            for policy in [Policy::Look, Policy::Offload, Policy::Trust] {
                // SAFETY: the memory is not used until the futures are ready.
                unsafe {
                    let one = file.read_raw_at(pieces[0].0, pieces[0].1, 7, policy);
                    assert_eq!(one.await.expect("a read"), 5000);
                    assert!(memory[0] == all[7..5007]);
                    let both = file.readv_raw_at(pieces.to_vec(), 100, policy);
                    assert_eq!(both.await.expect("a read"), 8000);
                    assert!(memory[0] == all[100..5100] && memory[1] == all[5100..8100]);
                    let source = (memory[1].as_ptr(), 3000);
                    let one = file.write_raw_at(source.0, source.1, 20_000, policy);
                    assert_eq!(one.await.expect("a write"), 3000);
                    let both = file.writev_raw_at(vec![source, source], 30_000, policy);
                    assert_eq!(both.await.expect("a write"), 6000);
                }
            }
            let (count, buffers) = file.readv_at(vec![vec![0; 3000]; 3], 30_000).await;
            assert_eq!(count.expect("a read"), 9000);
            assert!(buffers[0] == memory[1] && buffers[1] == memory[1]);
            let (count, _) = file.writev_at(buffers, 0).await;
            assert_eq!(count.expect("a write"), 9000);
            let (result, part) = file
                .read_exact_at(vec![0; 9000].into_slice(..6000), 0)
                .await;
            result.expect("all of it");
            assert!(part.into_inner()[3000..6000] == memory[1]);
            file.write_all_at(vec![1; 100], 0)
                .await
                .0
                .expect("all of it");
            file.sync_data().await.expect("a sync");
            file.allocate(1 << 20, 4096).await.expect("more room");
            file.set_len(5000).await.expect("a cut");
            file.sync_all().await.expect("a sync");
            let (result, buffer) = file.read_exact_at(Vec::with_capacity(6000), 0).await;
            let error = result.expect_err("the end of the file");
            assert_eq!(
                (error.kind(), buffer.len()),
                (ErrorKind::UnexpectedEof, 5000)
            );
        });
        assert_eq!(file.len().expect("a size"), 5000);
    });
}

/// Bad memory ends a raw request as pread(2) does, on each face.
#[test]
fn raw_memory_that_is_bad_gives_a_count_or_efault() {
    on_each_face!(|file, runs, _ended| {
        let memory = Mapping::anon(LEN);
        let half = LEN / 2;
        memory.protect(half..LEN, libc::PROT_NONE);
        let start = memory.address() as *mut u8;
        // SAFETY: nobody else uses the mapping, and it outlives the futures.
        let (whole, behind) = unsafe {
            (
                file.read_raw_at(start, LEN, 0, Policy::Look),
                file.read_raw_at(start.add(half), half, 0, Policy::Look),
            )
        };
        assert_eq!(runs.block_on(whole).expect("a part"), half);
        let error = runs.block_on(behind).expect_err("nothing to write to");
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    });
}

/// Memory that an engine or a handle has pinned is known by its address.
#[test]
fn raw_memory_inside_a_region_needs_no_look() {
    on_each_face!(|file, runs, _ended| {
        let region = runs.register(nofault::AlignedBuf::new(LEN).expect("memory"));
        // SAFETY: no slice of the region is out, and it outlives the future.
        let read = unsafe { file.read_raw_at(region.as_ptr(), LEN, 0, Policy::Look) };
        assert_eq!(runs.block_on(read).expect("a read"), LEN);
        let part = region.slice(..).expect("all of it");
        assert!(part[..] == patterned(1 << 20, SEED)[..LEN]);
        if region.is_pinned() {
            assert_eq!(runs.stats().looked, 0);
        }
    });
}

/// The bytes are on their way although nobody has polled.
#[test]
fn requests_in_many_passes_start_when_they_are_made_as_single_ones_do() {
    watched(
        "requests_in_many_passes_start_when_they_are_made_as_single_ones_do",
        DEADLINE,
        || {
            on_each_face!(|file, runs, ended| {
                let requests = (
                    file.write_all_at(vec![3u8; LEN], 0),
                    file.read_exact_at(vec![0u8; LEN], 2 * LEN as u64),
                    file.write_at(vec![3u8; LEN], 4 * LEN as u64),
                );
                while ended(&runs) < 3 {
                    std::thread::yield_now();
                }
                runs.block_on(async {
                    requests.0.await.0.expect("all of it");
                    requests.1.await.0.expect("all of it");
                    requests.2.await.0.expect("a write");
                });
                assert_eq!(runs.stats().requests, 3);
            });
        },
    );
}

/// Nothing has been submitted yet, or all is over: both are told truly.
#[test]
fn a_request_that_is_cancelled_gives_its_buffer_and_its_result() {
    let all = patterned(1 << 20, SEED);
    on_each_face!(|file, runs, _ended| {
        for round in 0..200u64 {
            let offset = round * 4096;
            let read = file.read_at(vec![0xa5u8; 4096], offset);
            let (result, buffer) = runs.block_on(read.cancel());
            match result {
                Ok(count) => assert!(buffer[..count] == all[offset as usize..][..count]),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
            }
            assert_eq!(buffer.len(), 4096);
            let read = file.readv_at(vec![vec![0u8; 4096]; 2], offset);
            let (result, buffers) = runs.block_on(read.cancel());
            assert!(result.is_ok() || buffers.len() == 2);
            let (result, buffer) = runs.block_on(file.read_exact_at(vec![0u8; 5000], 1).cancel());
            match result {
                Ok(count) => assert!(buffer[..count] == all[1..][..count]),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
            }
            match runs.block_on(file.sync_data().cancel()) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
            }
        }
        let stats = runs.stats();
        assert_eq!((stats.in_flight, stats.ended), (0, stats.requests));
        // What was over before is not undone.
        let mut read = file.read_at(vec![0u8; 4096], 0);
        runs.block_on(std::future::poll_fn(|context| {
            let result = std::pin::Pin::new(&mut read).poll(context);
            result.map(|(count, _)| assert_eq!(count.expect("a read"), 4096))
        }));
        assert!(poll_once(std::pin::pin!(read.cancel())).is_pending());
    });
}

/// A fault holds the memory: the buffer comes back when the kernel is done with it, and not before.
#[test]
fn a_cancelled_request_keeps_its_buffer_until_the_kernel_is_done() {
    let name = "a_cancelled_request_keeps_its_buffer_until_the_kernel_is_done";
    watched(name, DEADLINE, || {
        let uffd = match Uffd::new() {
            Ok(uffd) => uffd,
            Err(reason) => common::skip!(name, "{reason}"),
        };
        let (dropped, drops) = channel();
        for backend in setup::backends() {
            let runs = handle(backend);
            let (_folder, path) = patterned_file();
            let file = handle::File::open_with(&runs, &read_write(), &path).expect("the file");
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let read = file.read_at(buffer, 0);
            uffd.wait_for_fault();
            let mut read = std::pin::pin!(read.cancel());
            // The I/O thread has seen to the cancellation when it answers.
            assert_eq!(runs.stats().cancelled, 1);
            has_words(&read, &["in flight", "cancelled"]);
            uffd.unwatch(&memory);
            let (result, buffer) = runs.block_on(read.as_mut());
            match result {
                Ok(count) => assert!((1..=LEN).contains(&count)),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
            }
            assert!(drops.try_recv().is_err(), "the buffer was given back");
            drop(buffer);
            drops.recv().expect("the buffer's end");
            assert_eq!(runs.stats().in_flight, 0);
        }
    });
}

/// There is room for one request only, and it is stuck. One that waits ends at once when it is
/// cancelled, and in its time when it has one; whoever comes after it is let in all the same.
#[test]
fn those_who_wait_for_room_can_be_cancelled_and_run_out_of_time() {
    let name = "those_who_wait_for_room_can_be_cancelled_and_run_out_of_time";
    watched(name, DEADLINE, || {
        let uffd = match Uffd::new() {
            Ok(uffd) => uffd,
            Err(reason) => common::skip!(name, "{reason}"),
        };
        let (dropped, _drops) = channel();
        for backend in setup::backends() {
            let runs = Handle::builder().backend(backend).queue(1).build();
            let runs = runs.expect("a handle");
            let (_folder, path) = patterned_file();
            let file = handle::File::open(&runs, &path).expect("the file");
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let stuck = file.read_at(buffer, 0);
            uffd.wait_for_fault();
            let given_up = file.read_at(vec![9u8; 10], 0);
            let in_no_time = file
                .with_timeout(Duration::from_millis(1))
                .read_at(vec![9u8; 10], 0);
            let in_time = file
                .with_timeout(Duration::from_secs(600))
                .read_at(vec![9u8; 10], 0);
            let last = file.read_at(vec![9u8; 10], 0);
            let (result, buffer) = runs.block_on(given_up.cancel());
            let error = result.expect_err("it only waited");
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            assert_eq!(buffer, [9; 10]);
            let (result, buffer) = runs.block_on(in_no_time);
            assert_eq!(
                result.expect_err("its time is over").kind(),
                ErrorKind::TimedOut
            );
            assert_eq!(buffer, [9; 10]);
            assert_eq!(runs.stats().requests, 1, "the others wait");
            uffd.unwatch(&memory);
            assert_eq!(runs.block_on(stuck).0.expect("a read"), LEN);
            assert_eq!(runs.block_on(in_time).0.expect("a read"), 10);
            assert_eq!(runs.block_on(last).0.expect("a read"), 10);
        }
    });
}

/// The I/O thread has the requests, and a slot for one of them only, which is stuck.
#[test]
fn those_who_wait_on_the_io_thread_can_be_cancelled() {
    let name = "those_who_wait_on_the_io_thread_can_be_cancelled";
    watched(name, DEADLINE, || {
        let uffd = match Uffd::new() {
            Ok(uffd) => uffd,
            Err(reason) => common::skip!(name, "{reason}"),
        };
        let (dropped, _drops) = channel();
        for backend in setup::backends() {
            let builder = Handle::builder().backend(backend);
            let runs = builder.depth(1).queue(10).build().expect("a handle");
            let (_folder, path) = patterned_file();
            let file = handle::File::open(&runs, &path).expect("the file");
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let stuck = file.read_at(buffer, 0);
            uffd.wait_for_fault();
            let waits = [0, 1, 2].map(|_| file.read_at(vec![9u8; 10], 0));
            // The I/O thread has taken all of them in when it answers.
            assert_eq!(runs.stats().requests, 1);
            let [first, second, third] = waits;
            for given_up in [second, first] {
                let (result, buffer) = runs.block_on(given_up.cancel());
                let error = result.expect_err("it only waited");
                assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                assert_eq!(buffer, [9; 10]);
            }
            uffd.unwatch(&memory);
            assert_eq!(runs.block_on(stuck).0.expect("a read"), LEN);
            assert_eq!(runs.block_on(third).0.expect("a read"), 10);
            assert_eq!(runs.stats().requests, 2);
        }
    });
}

/// As above for an engine: the fault holds the memory, not the thread.
#[test]
fn an_engine_keeps_the_buffer_of_a_cancelled_request_too() {
    let name = "an_engine_keeps_the_buffer_of_a_cancelled_request_too";
    watched(name, DEADLINE, || {
        let uffd = match Uffd::new() {
            Ok(uffd) => uffd,
            Err(reason) => common::skip!(name, "{reason}"),
        };
        let (dropped, drops) = channel();
        for backend in setup::backends() {
            let engine = setup::engine(backend);
            let (_folder, path) = patterned_file();
            let file = nofault::File::open(&engine, &path).expect("the file");
            let buffer = Held::new(LEN, &dropped);
            let memory = buffer.memory();
            uffd.watch_missing(&memory);
            let read = file.read_at(buffer, 0);
            engine.turn(Some(Duration::ZERO)).expect("a turn");
            uffd.wait_for_fault();
            let mut read = read.cancel();
            has_words(&read, &["in flight", "cancelled"]);
            let _ = poll_once(std::pin::Pin::new(&mut read));
            assert!(
                drops.try_recv().is_err(),
                "the buffer is dropped in a fault"
            );
            uffd.unwatch(&memory);
            let (result, buffer) = engine.block_on(read);
            match result {
                Ok(count) => assert!((1..=LEN).contains(&count)),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
            }
            drop(buffer);
            drops.recv().expect("the buffer's end");
            let stats = engine.stats();
            assert_eq!((stats.cancelled, stats.in_flight), (1, 0));
        }
    });
}

/// An engine of one slot: what waits for it is cancelled without having been started.
#[test]
fn a_future_that_waits_for_a_slot_is_cancelled_at_once() {
    for backend in setup::backends() {
        let engine = setup::engine_with_depth(backend, 1);
        let (_folder, path) = patterned_file();
        let file = nofault::File::open(&engine, &path).expect("the file");
        let first = file.read_at(vec![0u8; LEN], 0);
        let mut second = file.read_at(vec![9u8; 10], 0);
        assert!(poll_once(std::pin::Pin::new(&mut second)).is_pending());
        has_words(&second, &["waits"]);
        let third = file.read_at(vec![9u8; 10], 0);
        let (result, buffer) = engine.block_on(second.cancel());
        let error = result.expect_err("it only waited");
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(buffer, [9; 10]);
        assert_eq!(engine.block_on(first).0.expect("a read"), LEN);
        assert_eq!(engine.block_on(third).0.expect("a read"), 10);
        assert_eq!(engine.stats().requests, 2);
    }
}

/// The time of a request in many passes is that of the call, not of each pass.
#[test]
fn a_request_in_many_passes_ends_in_the_time_of_the_call() {
    for backend in setup::backends() {
        let (_folder, path) = patterned_file();
        let runs = handle(backend);
        let file = handle::File::open_with(&runs, &read_write(), &path).expect("the file");
        let late = file.with_timeout(Duration::from_nanos(1));
        let mut ended_late = 0;
        for _ in 0..20 {
            match runs.block_on(late.write_all_at(vec![1u8; 1 << 20], 0)).0 {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    ended_late += 1;
                }
            }
        }
        assert!(ended_late > 0, "nothing takes a nanosecond only");
    }
}

#[test]
fn every_future_says_what_it_is() {
    on_each_face!(|file, runs, _ended| {
        // SAFETY: no bytes are named.
        let raw = unsafe { file.read_raw_at(std::ptr::null_mut(), 0, 0, Policy::Look) };
        has_words(&file.read_at(vec![0u8; 10], 0), &["Io("]);
        has_words(&file.readv_at(vec![vec![0u8; 10]], 0), &["IoVec("]);
        has_words(&file.write_all_at(vec![0u8; 10], 0), &["IoAll(", "0 of 10"]);
        has_words(&file.sync_data(), &["Simple("]);
        has_words(&raw, &["RawIo("]);
        let mut over = file.sync_data();
        runs.block_on(std::future::poll_fn(|context| {
            std::pin::Pin::new(&mut over).poll(context).map(drop)
        }));
        has_words(&over, &["over"]);
        drop(raw);
    });
}

/// Whatever was opened or given, the descriptor that others get is the one without O_DIRECT.
#[test]
fn the_descriptor_given_out_is_of_the_file_and_has_no_o_direct() {
    fn check(file: &(impl AsFd + AsRawFd), plain: &std::fs::File) {
        let (own, given) = (plain.metadata().expect("stat"), file.as_fd());
        let duplicate = std::fs::File::from(given.try_clone_to_owned().expect("a duplicate"));
        let other = duplicate.metadata().expect("stat");
        assert_eq!((own.dev(), own.ino()), (other.dev(), other.ino()));
        assert_eq!(file.as_raw_fd(), given.as_raw_fd());
        let flags = rustix::fs::fcntl_getfl(given).expect("flags");
        assert!(!flags.contains(rustix::fs::OFlags::DIRECT));
    }
    let (_folder, path) = patterned_file();
    let plain = std::fs::File::open(&path).expect("the file");
    let (engine, handle) = (
        Engine::new().expect("an engine"),
        Handle::new().expect("a handle"),
    );
    let mut options = std::fs::File::options();
    options.read(true);
    for flags in [0, libc::O_DIRECT] {
        let Ok(given) = options.custom_flags(flags).open(&path) else {
            common::note_skip(
                "a descriptor with O_DIRECT",
                "the filesystem refuses O_DIRECT",
            );
            continue;
        };
        let again = given.try_clone().expect("a duplicate");
        check(
            &nofault::File::from_std(&engine, given).expect("a file"),
            &plain,
        );
        check(
            &handle::File::from_std(&handle, again).expect("a file"),
            &plain,
        );
    }
}

/// Several requests and their maker hold one buffer.
#[test]
fn a_buffer_that_is_shared_can_be_written_by_many_requests_at_once() {
    on_each_face!(|file, runs, _ended| {
        let page: Arc<[u8]> = patterned(4096, 1).into();
        let pool = runs.pool(1, 4096).expect("a pool");
        let mut pinned = pool.get().expect("a buffer");
        pinned.copy_from_slice(&page);
        let (pinned, plain) = (Arc::new(pinned), Arc::new(page.to_vec()));
        let writes = (
            file.write_all_at(page.clone(), 0),
            file.write_all_at(pinned.clone(), 4096),
            file.write_all_at(plain.clone().into_slice(100..), 8192 + 100),
            file.write_at(plain.clone().into_slice(..100), 8192),
        );
        assert!(pool.get().is_none() && page[..] == plain[..]);
        runs.block_on(async {
            writes.0.await.0.expect("all of it");
            writes.1.await.0.expect("all of it");
            writes.2.await.0.expect("all of it");
            assert_eq!(writes.3.await.0.expect("a write"), 100);
            let (result, all) = file
                .read_exact_at(vec![0; 3 * 4096].into_slice(..3 * 4096), 0)
                .await;
            result.expect("all of it");
            assert!(all.as_ref().chunks(4096).all(|copy| *copy == page[..]));
        });
        assert_eq!(
            (Arc::strong_count(&page), Arc::strong_count(&pinned)),
            (1, 1)
        );
        drop(pinned);
        assert!(pool.get().is_some(), "given back by the last");
    });
}

/// As with O_APPEND and pwrite(2): the offset of a request says nothing.
#[test]
fn a_file_opened_to_append_is_written_at_its_end() {
    for backend in setup::backends() {
        let (_folder, path) = patterned_file();
        let engine = setup::engine(backend);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .append(true)
            .open(&engine, &path)
            .expect("the file");
        assert_eq!(*file.path(), IoPath::Buffered(Reason::Append));
        engine.block_on(async {
            file.write_all_at(vec![1u8; 100], 0)
                .await
                .0
                .expect("all of it");
            file.write_all_at(vec![2u8; 50], 7)
                .await
                .0
                .expect("all of it");
        });
        let bytes = std::fs::read(&path).expect("the bytes");
        assert!(bytes[..1 << 20] == patterned(1 << 20, SEED));
        assert!(bytes[1 << 20..] == [[1u8; 100].as_slice(), &[2; 50]].concat());
    }
}

/// Clones are one file; the last of them closes it.
#[test]
fn clones_of_a_file_are_one_file() {
    on_each_face!(|file, runs, _ended| {
        let (first, second) = (file.clone(), file.clone());
        assert_eq!(first.as_raw_fd(), file.as_raw_fd());
        drop(file);
        let write = first.write_all_at(vec![8u8; 4096], 0);
        drop(first);
        runs.block_on(write).0.expect("all of it");
        let (result, buffer) = runs.block_on(second.read_exact_at(vec![0u8; 4096], 0));
        result.expect("all of it");
        assert!(buffer == vec![8; 4096]);
    });
}
