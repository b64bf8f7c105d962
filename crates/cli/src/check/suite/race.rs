//! Threads of one scenario that act at the same moment, again and again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::io::Io;
use super::{Context, Outcome, Stop};

/// How long a scenario goes on with rounds that it could do without.
const ENOUGH: Duration = Duration::from_millis(700);

/// Rounds, `most` of them, or fewer where a slow filesystem or a busy machine would take long; one
/// at least.
pub(crate) fn rounds(most: usize) -> impl Iterator<Item = usize> {
    let begun = Instant::now();
    (0..most).take_while(move |&round| round == 0 || begun.elapsed() < ENOUGH)
}

fn panicked(_: Box<dyn Any + Send>) -> Outcome {
    Err(Stop::Fail("a thread of the scenario panicked".to_owned()))
}

/// In each round `before(round)`, then `work(thread, round, io)` in `count` threads at once, each
/// with an I/O of its own, then `after(round)`. The first that does not pass ends it.
pub(crate) fn race(
    cx: &Context,
    count: usize,
    most: usize,
    mut before: impl FnMut(usize) -> Outcome,
    work: impl Fn(usize, usize, &mut dyn Io) -> Outcome + Sync,
    mut after: impl FnMut(usize) -> Outcome,
) -> Outcome {
    let gate = Barrier::new(count + 1);
    let over = AtomicBool::new(false);
    let arrived = AtomicUsize::new(0);
    let worst = Mutex::new(Ok(()));
    let note = |outcome: Outcome| {
        let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
        *worst = std::mem::replace(&mut *worst, Ok(())).and(outcome);
    };
    let runner = |thread: usize| {
        let mut io = cx.io();
        for round in 0.. {
            gate.wait();
            if over.load(Ordering::Relaxed) {
                return;
            }
            // Nobody leaves the barrier at the same moment as the others: the last steps are taken
            // awake.
            arrived.fetch_add(1, Ordering::Relaxed);
            while arrived.load(Ordering::Relaxed) < count * (round + 1) {
                std::thread::yield_now();
            }
            // A thread that panicked must still come to the barrier.
            note(match &mut io {
                Ok(io) => catch_unwind(AssertUnwindSafe(|| work(thread, round, &mut **io)))
                    .unwrap_or_else(panicked),
                Err(_) => {
                    std::mem::replace(&mut io, Err(Stop::Fail("no I/O".to_owned()))).map(drop)
                }
            });
            gate.wait();
        }
    };
    std::thread::scope(|scope| {
        let runner = &runner;
        for thread in 0..count {
            scope.spawn(move || runner(thread));
        }
        let mut outcome = Ok(());
        for round in rounds(most) {
            outcome = before(round);
            if outcome.is_err() {
                break;
            }
            gate.wait();
            gate.wait();
            outcome = std::mem::replace(
                &mut *worst.lock().unwrap_or_else(PoisonError::into_inner),
                Ok(()),
            )
            .and_then(|()| after(round));
            if outcome.is_err() {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        gate.wait();
        outcome
    })
}

/// Does `work` while another thread, with what `make` gives it there, does `again` over and over.
pub(crate) fn beside<S>(
    make: impl FnOnce() -> Result<S, Stop> + Send,
    mut again: impl FnMut(&mut S) -> Outcome + Send,
    work: impl FnOnce() -> Outcome,
) -> Outcome {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| -> Outcome {
            let mut state = make()?;
            while !stop.load(Ordering::Relaxed) {
                again(&mut state)?;
            }
            Ok(())
        });
        let ours = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked);
        stop.store(true, Ordering::Relaxed);
        ours.and(other.join().unwrap_or_else(panicked))
    })
}
