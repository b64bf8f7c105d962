//! Wakers: whoever waits for room is woken when there is room, and no waker of one task can take a
//! wake-up from another.

mod common;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use common::child::watched;
use common::setup::{DEADLINE, backends, engine_with_depth};
use nofault::{Backend, File};

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
