//! Who owns a buffer when the caller has lost interest: drop, cancel and teardown with requests in
//! every state.
//!
//! Every buffer here counts its drop. Too early a drop is memory given away under the kernel's
//! hands, none at all is a leak.

mod common;

use common::child::watched;
use common::files;
use common::futures::{CountingWaker, join_all, poll_once};
use common::mapping::{Mapping, patterned};
use common::setup::{self, DEADLINE};
use common::sys::PAGE;
use common::uffd::Uffd;
use nofault::{Backend, Engine, File, OpenOptions, left_behind};
use nofault::{IoBuf, IoBufMut};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const BYTES: usize = 1 << 20;
const SEED: u64 = 21;

/// How many buffers have been dropped.
#[derive(Clone, Default)]
struct Drops(Arc<(Mutex<usize>, Condvar)>);

impl Drops {
    fn count(&self) -> usize {
        *self.0.0.lock().unwrap()
    }

    /// Waits until so many have been dropped; the watchdog bounds it.
    fn wait_for(&self, wanted: usize) {
        let count = self
            .0
            .1
            .wait_while(self.0.0.lock().unwrap(), |count| *count < wanted)
            .unwrap();
        assert_eq!(*count, wanted, "buffers dropped");
    }
}

/// A buffer that is unmapped, and counted, when dropped.
struct Counted {
    memory: Arc<Mapping>,
    drops: Drops,
}

impl Counted {
    fn new(len: usize, drops: &Drops) -> Self {
        Self {
            memory: Arc::new(Mapping::anon(len)),
            drops: drops.clone(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.drops.0.0.lock().unwrap() += 1;
        self.drops.0.1.notify_all();
    }
}

// SAFETY: a mapping stays where it is, and is zeroed by the kernel, so it counts as initialised.
unsafe impl IoBuf for Counted {
    fn stable_ptr(&self) -> *const u8 {
        self.memory.address() as *const u8
    }

    fn bytes_init(&self) -> usize {
        self.memory.len()
    }
}

// SAFETY: as above; no Rust reference names the mapping.
unsafe impl IoBufMut for Counted {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.memory.address() as *mut u8
    }

    fn bytes_total(&self) -> usize {
        self.memory.len()
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}

type Read<'a> = std::pin::Pin<Box<dyn Future<Output = (std::io::Result<usize>, Counted)> + 'a>>;

struct Stage {
    file: File,
    engine: Engine,
    plain: std::fs::File,
    drops: Drops,
    _folder: tempfile::TempDir,
}

fn stage(backend: Backend, depth: u32, drain: Duration) -> Stage {
    let folder = files::folder();
    let path = folder.path().join("file");
    let plain = files::make_patterned(&path, BYTES, SEED);
    let engine = Engine::builder()
        .backend(backend)
        .depth(depth)
        .drain_timeout(drain)
        .build()
        .unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&engine, &path)
        .unwrap();
    Stage {
        file,
        engine,
        plain,
        drops: Drops::default(),
        _folder: folder,
    }
}

fn each_backend(name: &str, depth: u32, body: impl Fn(Stage)) {
    watched(name, DEADLINE, || {
        for backend in setup::backends() {
            body(stage(backend, depth, Duration::from_secs(30)));
        }
    });
}

fn reads(stage: &Stage, count: usize, len: usize) -> Vec<Read<'_>> {
    let read = |index: usize| {
        stage.file.read_at(
            Counted::new(len, &stage.drops),
            (index * len % BYTES) as u64,
        )
    };
    (0..count).map(|index| Box::pin(read(index)) as _).collect()
}

/// The engine still works, and its answers are its own, not those of a request that was given up.
fn still_right(stage: &Stage) {
    let expected = patterned(BYTES, SEED);
    let requests = (0..32).map(|index| {
        stage
            .file
            .read_at(vec![0; PAGE], (index * 5 % 256 * PAGE) as u64)
    });
    for (index, (result, bytes)) in stage
        .engine
        .block_on(join_all(requests))
        .into_iter()
        .enumerate()
    {
        assert_eq!(result.expect("a read after others were given up"), PAGE);
        let at = index * 5 % 256 * PAGE;
        assert!(bytes == expected[at..at + PAGE], "read {index}");
    }
}

#[test]
fn buffers_come_back_once_when_futures_are_dropped_before_the_first_turn() {
    each_backend(
        "buffers_come_back_once_when_futures_are_dropped_before_the_first_turn",
        16,
        |stage| {
            // More than the depth: some have no slot yet.
            drop(reads(&stage, 50, 8192));
            still_right(&stage);
            let drops = stage.drops.clone();
            drop(stage);
            drops.wait_for(50);
        },
    );
}

#[test]
fn buffers_come_back_once_when_futures_are_dropped_in_flight() {
    each_backend(
        "buffers_come_back_once_when_futures_are_dropped_in_flight",
        16,
        |stage| {
            let mut waiting = reads(&stage, 50, 65536);
            for request in &mut waiting {
                let _ = poll_once(request.as_mut());
            }
            stage.engine.turn(Some(Duration::ZERO)).unwrap();
            drop(waiting);
            still_right(&stage);
            let drops = stage.drops.clone();
            drop(stage);
            drops.wait_for(50);
        },
    );
}

#[test]
fn a_request_that_has_ended_gives_its_buffer_to_whoever_drops_the_future() {
    each_backend(
        "a_request_that_has_ended_gives_its_buffer_to_whoever_drops_the_future",
        16,
        |stage| {
            let mut waiting = reads(&stage, 8, 4096);
            for request in &mut waiting {
                let _ = poll_once(request.as_mut());
            }
            still_right(&stage);
            drop(waiting);
            still_right(&stage);
            let drops = stage.drops.clone();
            drop(stage);
            drops.wait_for(8);
        },
    );
}

#[test]
fn the_engine_may_go_before_its_futures() {
    each_backend("the_engine_may_go_before_its_futures", 16, |stage| {
        let Stage {
            file,
            engine,
            plain: _plain,
            drops,
            _folder,
        } = stage;
        let memory: Vec<_> = (0..40).map(|_| Counted::new(32768, &drops)).collect();
        let requests: Vec<_> = memory
            .into_iter()
            .enumerate()
            .map(|(index, buffer)| Box::pin(file.read_at(buffer, (index % 32 * 32768) as u64)))
            .collect();
        engine.turn(Some(Duration::ZERO)).unwrap();
        drop(engine);
        drop(requests);
        drop(file);
        drops.wait_for(40);
    });
}

#[test]
fn writes_given_up_leave_whole_blocks() {
    each_backend("writes_given_up_leave_whole_blocks", 16, |stage| {
        let new = patterned(BYTES, SEED + 1);
        for round in 0..20 {
            let write = |index: usize| {
                let at = index * 16384;
                Box::pin(stage.file.write_at(new[at..at + 16384].to_vec(), at as u64))
            };
            let mut waiting: Vec<_> = (0..64)
                .filter(|index| index % 3 != round % 3)
                .map(write)
                .collect();
            for request in &mut waiting {
                let _ = poll_once(request.as_mut());
            }
            if round % 2 == 0 {
                stage.engine.turn(Some(Duration::ZERO)).unwrap();
            }
        }
        let Stage {
            file,
            engine,
            plain,
            _folder,
            ..
        } = stage;
        drop(file);
        drop(engine);
        let (old, now) = (
            patterned(BYTES, SEED),
            common::sys::read_range(common::sys::fd_of(&plain), 0, BYTES),
        );
        assert_eq!(now.len(), BYTES);
        for at in (0..BYTES).step_by(512) {
            let sector = at..at + 512;
            assert!(
                now[sector.clone()] == old[sector.clone()] || now[sector.clone()] == new[sector],
                "sector at {at}"
            );
        }
    });
}

#[test]
fn thousands_of_drops_leak_nothing() {
    each_backend("thousands_of_drops_leak_nothing", 32, |stage| {
        const ROUNDS: usize = 1500;
        const EACH: usize = 8;
        for round in 0..ROUNDS {
            let mut waiting = reads(&stage, EACH, 4096);
            if round % 2 == 0 {
                let _ = poll_once(waiting[round % EACH].as_mut());
            }
            if round % 3 == 0 {
                stage.engine.turn(Some(Duration::ZERO)).unwrap();
            }
            if round % 7 == 0 {
                // Some are seen through to the end, in the midst of those that are given up.
                let (result, _) = stage
                    .engine
                    .block_on(waiting.swap_remove((round + 1) % EACH));
                assert_eq!(result.expect("the read"), 4096);
            }
        }
        still_right(&stage);
        let drops = stage.drops.clone();
        drop(stage);
        drops.wait_for(ROUNDS * EACH);
    });
}

/// `mem::forget` of a future is safe code: it may leak its own buffer, and nothing else.
#[test]
fn forgotten_futures_stop_nobody() {
    each_backend("forgotten_futures_stop_nobody", 32, |stage| {
        for mut request in reads(&stage, 20, 4096) {
            let _ = poll_once(request.as_mut());
            std::mem::forget(request);
        }
        still_right(&stage);
        let drops = stage.drops.clone();
        drop(stage);
        assert!(drops.count() <= 20);
    });
}

/// Waits, driving the engine, until the kernel has met the missing page.
fn until_a_fault_waits(stage: &Stage, uffd: &Uffd) {
    while uffd.next_fault().is_none() {
        stage.engine.turn(Some(Duration::ZERO)).unwrap();
        std::thread::yield_now();
    }
}

fn with_stuck_request(
    name: &str,
    drain: Duration,
    body: impl Fn(Stage, Uffd, Arc<Mapping>, Counted),
) {
    watched(name, DEADLINE, || {
        for backend in setup::backends() {
            let uffd = match Uffd::new() {
                Ok(uffd) => uffd,
                Err(reason) => common::skip!(name, "{reason}"),
            };
            let stage = stage(backend, 16, drain);
            let buffer = Counted::new(65536, &stage.drops);
            let memory = Arc::clone(&buffer.memory);
            uffd.watch_missing(&memory);
            body(stage, uffd, memory, buffer);
        }
    });
}

#[test]
fn a_request_given_up_while_its_fault_waits_keeps_its_buffer() {
    let name = "a_request_given_up_while_its_fault_waits_keeps_its_buffer";
    with_stuck_request(
        name,
        Duration::from_secs(30),
        |stage, uffd, memory, buffer| {
            let mut request = Box::pin(stage.file.read_at(buffer, 0));
            assert!(poll_once(request.as_mut()).is_pending());
            until_a_fault_waits(&stage, &uffd);
            drop(request);
            still_right(&stage);
            assert_eq!(stage.drops.count(), 0, "the kernel still holds the address");
            uffd.unwatch(&memory);
            while stage.drops.count() == 0 {
                // Woken by the request's end; the watchdog sees to it if there is none.
                stage.engine.turn(Some(Duration::from_millis(10))).unwrap();
            }
            still_right(&stage);
        },
    );
}

/// What is left behind is taken in by whoever asks for it on the thread.
fn until_taken_in(drops: &Drops) {
    assert_eq!(
        drops.count(),
        0,
        "freed before anybody could know that the kernel is done"
    );
    while left_behind().pending > 0 {
        std::thread::yield_now();
    }
    assert_eq!(
        drops.count(),
        1,
        "the kernel is done, and the buffer is still there"
    );
}

/// The thread that drops the engine is the one that would resolve the fault: waiting for it would
/// be waiting for itself.
#[test]
fn an_engine_whose_request_is_stuck_can_be_dropped() {
    let name = "an_engine_whose_request_is_stuck_can_be_dropped";
    with_stuck_request(
        name,
        Duration::from_millis(200),
        |stage, uffd, memory, buffer| {
            let mut request = Box::pin(stage.file.read_at(buffer, 0));
            assert!(poll_once(request.as_mut()).is_pending());
            until_a_fault_waits(&stage, &uffd);
            drop(request);
            let drops = stage.drops.clone();
            drop(stage);
            assert_eq!(left_behind().pending, 1);
            assert_eq!(drops.count(), 0, "the kernel still holds the address");
            uffd.unwatch(&memory);
            until_taken_in(&drops);
        },
    );
}

#[test]
fn an_engine_can_be_dropped_before_its_stuck_future() {
    let name = "an_engine_can_be_dropped_before_its_stuck_future";
    with_stuck_request(
        name,
        Duration::from_millis(200),
        |stage, uffd, memory, buffer| {
            let Stage {
                file,
                engine,
                drops,
                plain: _plain,
                _folder,
            } = stage;
            {
                let mut request = Box::pin(file.read_at(buffer, 0));
                assert!(poll_once(request.as_mut()).is_pending());
                while uffd.next_fault().is_none() {
                    engine.turn(Some(Duration::ZERO)).unwrap();
                    std::thread::yield_now();
                }
                drop(engine);
                drop(request);
            }
            drop(file);
            assert_eq!(left_behind().pending, 1);
            assert_eq!(drops.count(), 0, "the kernel still holds the address");
            uffd.unwatch(&memory);
            until_taken_in(&drops);
        },
    );
}

/// The next engine of the thread takes in what the last one left.
#[test]
fn a_new_engine_takes_in_what_the_last_one_left_behind() {
    let name = "a_new_engine_takes_in_what_the_last_one_left_behind";
    with_stuck_request(
        name,
        Duration::from_millis(200),
        |stage, uffd, memory, buffer| {
            let mut request = Box::pin(stage.file.read_at(buffer, 0));
            assert!(poll_once(request.as_mut()).is_pending());
            until_a_fault_waits(&stage, &uffd);
            drop(request);
            let drops = stage.drops.clone();
            drop(stage);
            uffd.unwatch(&memory);
            while drops.count() == 0 {
                still_right(&self::stage(
                    setup::backends()[0],
                    16,
                    Duration::from_secs(30),
                ));
            }
            assert_eq!((drops.count(), left_behind().pending), (1, 0));
        },
    );
}

/// A thread takes nothing with it that the kernel may still write to; the buffer is leaked, and the
/// leak is counted.
#[test]
fn a_thread_that_ends_with_a_stuck_request_says_what_it_leaks() {
    let name = "a_thread_that_ends_with_a_stuck_request_says_what_it_leaks";
    watched(name, DEADLINE, || {
        for backend in setup::backends() {
            let uffd = match Uffd::new() {
                Ok(uffd) => Arc::new(uffd),
                Err(reason) => common::skip!(name, "{reason}"),
            };
            let leaked = left_behind().leaked;
            let drops = Drops::default();
            let buffer = Counted::new(65536, &drops);
            let memory = Arc::clone(&buffer.memory);
            uffd.watch_missing(&memory);
            let theirs = Arc::clone(&uffd);
            let thread = std::thread::spawn(move || {
                let stage = stage(backend, 16, Duration::from_millis(100));
                let mut request = Box::pin(stage.file.read_at(buffer, 0));
                assert!(poll_once(request.as_mut()).is_pending());
                until_a_fault_waits(&stage, &theirs);
            });
            while left_behind().leaked == leaked {
                std::thread::yield_now();
            }
            // An io_uring's worker belongs to the thread, and the kernel ends the one with the
            // other: not before the fault is resolved.
            uffd.unwatch(&memory);
            thread.join().unwrap();
            assert_eq!(
                (left_behind().pending, left_behind().leaked - leaked),
                (0, 1)
            );
            assert_eq!(drops.count(), 0, "leaked memory is never freed");
        }
    });
}

/// Nobody ever resolves the fault, and the process ends all the same.
#[test]
fn a_process_with_a_stuck_request_can_end() {
    let name = "a_process_with_a_stuck_request_can_end";
    with_stuck_request(
        name,
        Duration::from_millis(200),
        |stage, uffd, _memory, buffer| {
            let mut request = Box::pin(stage.file.read_at(buffer, 0));
            assert!(poll_once(request.as_mut()).is_pending());
            until_a_fault_waits(&stage, &uffd);
            drop(request);
            drop(stage);
            // Kept open: closing it would resolve the fault. The other back end's request, if there
            // is one, is stuck as well by then.
            std::mem::forget(uffd);
            if left_behind().pending == setup::backends().len() as u64 {
                common::child::end_now();
            }
        },
    );
}

#[test]
fn block_on_is_woken_from_another_thread() {
    each_backend("block_on_is_woken_from_another_thread", 16, |stage| {
        let flag = Arc::new((AtomicBool::new(false), Mutex::new(None::<Waker>)));
        let theirs = Arc::clone(&flag);
        let (asleep, is_asleep) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            is_asleep.recv().unwrap();
            theirs.0.store(true, Ordering::Release);
            if let Some(waker) = theirs.1.lock().unwrap().take() {
                waker.wake();
            }
        });
        let polls = AtomicUsize::new(0);
        let signal = std::future::poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            *flag.1.lock().unwrap() = Some(context.waker().clone());
            let _ = asleep.send(());
            if flag.0.load(Ordering::Acquire) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        stage.engine.block_on(signal);
        other.join().unwrap();
        assert!(
            polls.load(Ordering::Relaxed) < 1000,
            "a busy loop while idle"
        );
        still_right(&stage);
    });
}

#[test]
fn a_foreign_waker_is_called_when_the_request_ends() {
    each_backend(
        "a_foreign_waker_is_called_when_the_request_ends",
        16,
        |stage| {
            let counter = Arc::new(CountingWaker::default());
            let waker = Waker::from(Arc::clone(&counter));
            let mut context = Context::from_waker(&waker);
            let mut request = Box::pin(stage.file.read_at(Counted::new(65536, &stage.drops), 0));
            let mut result = request.as_mut().poll(&mut context);
            while result.is_pending() {
                let before = counter.0.load(Ordering::Relaxed);
                stage.engine.turn(None).unwrap();
                if counter.0.load(Ordering::Relaxed) > before {
                    result = request.as_mut().poll(&mut context);
                }
            }
            let Poll::Ready((result, buffer)) = result else {
                unreachable!()
            };
            assert_eq!(result.unwrap(), 65536);
            assert!(buffer.memory.bytes() == patterned(BYTES, SEED)[..65536]);
        },
    );
}

/// A waker that owns what belongs to the thread, as the tasks of a thread's own executor do.
struct Owner(#[expect(dead_code, reason = "owned to be dropped")] Mutex<Vec<Read<'static>>>);

// SAFETY: everything in these tests happens on one thread.
unsafe impl Send for Owner {}
// SAFETY: as above.
unsafe impl Sync for Owner {}

impl std::task::Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

/// The last waker of a task may own the task's future, and with it requests of the same engine.
#[test]
fn a_waker_that_owns_a_request_can_be_replaced_and_dropped() {
    each_backend(
        "a_waker_that_owns_a_request_can_be_replaced_and_dropped",
        4,
        |stage| {
            let Stage {
                file,
                engine,
                drops,
                plain: _plain,
                _folder,
            } = stage;
            // Requests that live as long as their owner likes.
            let file: &'static File = Box::leak(Box::new(file));
            let read = |index: usize| -> Read<'static> {
                Box::pin(file.read_at(Counted::new(65536, &drops), (index * 65536) as u64))
            };
            // More than there are slots: some have a place in the queue only, and that has a waker
            // too.
            for first in 0..6 {
                let mut kept: Vec<_> = (0..first).map(read).collect();
                let mut request = read(7);
                let owner = Arc::new(Owner(Mutex::new(vec![read(8)])));
                let waker = Waker::from(owner);
                let _ = request.as_mut().poll(&mut Context::from_waker(&waker));
                drop(waker);
                // Another waker takes the place of the last one of the owner.
                let _ = poll_once(request.as_mut());
                let owner = Arc::new(Owner(Mutex::new(vec![read(9)])));
                let waker = Waker::from(owner);
                let _ = request.as_mut().poll(&mut Context::from_waker(&waker));
                drop(waker);
                // And here the request goes with the waker that was left with it.
                drop(request);
                for request in &mut kept {
                    let _ = poll_once(request.as_mut());
                }
                drop(kept);
                while engine.stats().in_flight > 0 {
                    engine.turn(None).unwrap();
                }
            }
            drops.wait_for(6 * 3 + 15);
        },
    );
}
