//! Wakers: whoever waits for room is woken when there is room, and no waker of one task can take a
//! wake-up from another.

mod common;

use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

use common::child::watched;
use common::futures::CountingWaker;
use common::setup::{DEADLINE, backends, engine_with_depth};
use nofault::{Backend, Engine, File, OpenOptions, Queue};

const BLOCK: usize = 4096;

/// The waker of one of many tasks inside a future, as `FuturesUnordered` and `join_all` make them.
struct Task {
    ready: AtomicBool,
    parent: Mutex<Option<Waker>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.ready.store(true, Ordering::SeqCst);
        if let Some(parent) = self.parent.lock().expect("the parent's waker").take() {
            parent.wake();
        }
    }
}

/// Polls each future only when its own waker was called, which is all that a waker promises.
async fn each_by_its_own_waker<F: Future + Unpin>(
    futures: Vec<F>,
    mut each: impl FnMut(F::Output),
) {
    let mut tasks: Vec<_> = futures
        .into_iter()
        .map(|future| {
            let task = Task {
                ready: AtomicBool::new(true),
                parent: Mutex::new(None),
            };
            (Some(future), Arc::new(task))
        })
        .collect();
    poll_fn(move |context| {
        let mut left = 0;
        for (slot, task) in &mut tasks {
            *task.parent.lock().expect("the parent's waker") = Some(context.waker().clone());
            let Some(future) = slot else { continue };
            if task.ready.swap(false, Ordering::SeqCst) {
                let waker = Waker::from(task.clone());
                if let Poll::Ready(output) = Pin::new(future).poll(&mut Context::from_waker(&waker))
                {
                    each(output);
                    *slot = None;
                    continue;
                }
            }
            left += 1;
        }
        if left == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// All requests in flight end in one turn and are taken. Then nothing is in flight, and the requests
/// that wait for a slot have to be told that there are slots.
fn more_futures_than_slots(backend: Backend, depth: u32) {
    let engine = engine_with_depth(backend, depth);
    let dir = common::files::folder();
    let path = dir.path().join("file");
    std::fs::write(&path, vec![7u8; 64 * BLOCK]).expect("a file");
    let file = File::open(&engine, &path).expect("the file");
    let reads = (0..(3 * u64::from(depth)).max(100))
        .map(|i| file.read_at(vec![0; BLOCK], i % 64 * BLOCK as u64))
        .collect();
    engine.block_on(each_by_its_own_waker(reads, |(result, _buffer)| {
        assert_eq!(result.expect("a read"), BLOCK);
    }));
}

#[test]
fn futures_beyond_the_depth_are_woken_when_results_are_taken() {
    let name = "futures_beyond_the_depth_are_woken_when_results_are_taken";
    watched(name, DEADLINE, || {
        for backend in backends() {
            for depth in [1, 2, 8, 32, 256] {
                more_futures_than_slots(backend, depth);
            }
        }
    });
}

/// A file of sixteen blocks in the page cache, and reads of all of them in flight.
fn sixteen_reads(engine: &Engine, dir: &Path) -> Vec<nofault::Io<Vec<u8>>> {
    let path = dir.join("file");
    std::fs::write(&path, vec![1u8; 16 * BLOCK]).expect("a file");
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .direct(false)
        .open(engine, &path)
        .expect("the file");
    (0..16)
        .map(|block| file.read_at(vec![0; BLOCK], block * BLOCK as u64))
        .collect()
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// The panic comes out of the turn. The wakers behind the one that panics are called all the same.
#[test]
fn a_waker_that_panics_takes_no_wake_up_from_others() {
    for backend in backends() {
        let engine = engine_with_depth(backend, 64);
        let dir = common::files::folder();
        let mut reads = sixteen_reads(&engine, dir.path());
        let told: Vec<_> = reads
            .iter()
            .map(|_| Arc::new(CountingWaker::default()))
            .collect();
        for (index, (read, told)) in reads.iter_mut().zip(&told).enumerate() {
            let waker = match index % 5 {
                0 => Waker::from(Arc::new(Panics)),
                _ => Waker::from(told.clone()),
            };
            let polled = Pin::new(read).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending() || backend != Backend::Uring);
        }
        let mut panics = 0;
        while engine.stats().ended < 16 {
            let turn = catch_unwind(AssertUnwindSafe(|| engine.turn(None)));
            panics += u32::from(turn.is_err());
        }
        assert!(panics > 0, "{backend:?}: the panic is not swallowed");
        for (index, told) in told.iter().enumerate().filter(|(index, _)| index % 5 != 0) {
            assert_eq!(
                told.0.load(Ordering::Relaxed),
                1,
                "{backend:?}: waker {index}"
            );
        }
    }
}

/// A waker whose clone, wake and drop each ask the engine for something.
struct Asks(Engine);

/// The pointer is one reference of an `Rc<Asks>`; clone adds one, wake and drop take one. The
/// waker stays on the thread of the engine.
static ASKS: RawWakerVTable = RawWakerVTable::new(
    |asks| {
        // SAFETY: the reference that the waker holds, which is given back.
        let asks = ManuallyDrop::new(unsafe { Rc::from_raw(asks.cast::<Asks>()) });
        asks.0
            .turn(Some(Duration::ZERO))
            .expect("a turn in a clone");
        RawWaker::new(Rc::into_raw(Rc::clone(&asks)).cast(), &ASKS)
    },
    |asks| {
        // SAFETY: the reference that the waker held.
        let asks = unsafe { Rc::from_raw(asks.cast::<Asks>()) };
        asks.0.turn(Some(Duration::ZERO)).expect("a turn in a wake");
    },
    |asks| {
        // SAFETY: the reference that the waker holds, which is given back.
        let asks = ManuallyDrop::new(unsafe { Rc::from_raw(asks.cast::<Asks>()) });
        asks.0.turn(Some(Duration::ZERO)).expect("a turn in a wake");
    },
    |asks| {
        // SAFETY: the reference that the waker held.
        let asks = unsafe { Rc::from_raw(asks.cast::<Asks>()) };
        asks.0.turn(Some(Duration::ZERO)).expect("a turn in a drop");
    },
);

#[test]
fn clone_wake_and_drop_of_a_waker_may_ask_the_engine() {
    for backend in backends() {
        // Fewer slots than requests: some wait for a slot, with such a waker too.
        let engine = engine_with_depth(backend, 4);
        let dir = common::files::folder();
        let mut reads = sixteen_reads(&engine, dir.path());
        let asks = Rc::into_raw(Rc::new(Asks(engine.clone())));
        // SAFETY: the vtable's contract, above.
        let waker = unsafe { Waker::from_raw(RawWaker::new(asks.cast(), &ASKS)) };
        let mut left: Vec<_> = reads.iter_mut().collect();
        while !left.is_empty() {
            left.retain_mut(|read| {
                // Another waker each time, so that the one before is dropped.
                let waker = waker.clone();
                match Pin::new(read).poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready((result, _buffer)) => {
                        assert_eq!(result.expect("a read"), BLOCK);
                        false
                    }
                    Poll::Pending => true,
                }
            });
            engine
                .turn(Some(Duration::from_millis(10)))
                .expect("a turn");
        }
        // The queue's waker too.
        let file = File::open(&engine, dir.path().join("file")).expect("the file");
        let mut queue = Queue::new(&engine);
        (0..16).for_each(|block| queue.read_at(&file, vec![0; BLOCK], block * BLOCK as u64, ()));
        let mut done = 0;
        while done < 16 {
            let waker = waker.clone();
            if let Poll::Ready(Some(_)) = queue.poll_next(&mut Context::from_waker(&waker)) {
                done += 1;
            }
            engine
                .turn(Some(Duration::from_millis(10)))
                .expect("a turn");
        }
    }
}

/// As many futures as there are slots are over and not polled; the next request must not wait for
/// them, whether their owner polls them later or has forgotten them.
#[test]
fn results_that_nobody_takes_do_not_keep_their_slots() {
    let name = "results_that_nobody_takes_do_not_keep_their_slots";
    watched(name, DEADLINE, || {
        for backend in backends() {
            let engine = engine_with_depth(backend, 16);
            let dir = common::files::folder();
            let mut reads = sixteen_reads(&engine, dir.path());
            for read in &mut reads {
                let _ = common::futures::poll_once(Pin::new(read));
            }
            let file = File::open(&engine, dir.path().join("file")).expect("the file");
            let (result, _) = engine.block_on(file.read_at(vec![0; BLOCK], 0));
            assert_eq!(result.expect("one more read"), BLOCK);
            let forgotten = reads.split_off(8);
            forgotten.into_iter().for_each(std::mem::forget);
            for read in reads {
                let (result, buffer) = engine.block_on(read);
                assert_eq!((result.expect("a read"), buffer), (BLOCK, vec![1; BLOCK]));
            }
            for _ in 0..64 {
                let (result, _) = engine.block_on(file.read_at(vec![0; BLOCK], 0));
                assert_eq!(result.expect("a read"), BLOCK);
            }
        }
    });
}
