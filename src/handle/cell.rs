//! One request, between the future that waits for it and the I/O thread that carries it out.
//!
//! May know: which side owns which field when. Must not know: queues, files, how a request is
//! carried out.
//!
//! No lock. The fields are handed to and fro by one atomic:
//!
//! | state | `waker` | `kept` | `result` |
//! |---|---|---|---|
//! | pending | the future | the future | the I/O thread |
//! | waiting | whoever leaves this state | the future | the I/O thread |
//! | done | the future | the future | the future, to read |
//! | abandoned | the future | the I/O thread | nobody |
//!
//! The buffer itself stays in the future, where it costs no allocation; only a future that is
//! dropped early leaves it here.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

use super::after::After;
use super::files::FileName;
use crate::driver::{Kind, Options};
use crate::sys::Errno;

/// The future has told no waker.
const PENDING: u8 = 0;
/// The future has told a waker.
const WAITING: u8 = 1;
/// The result is there.
const DONE: u8 = 2;
/// The future is gone.
const ABANDONED: u8 = 3;

/// No request of the set has this name.
const UNNAMED: u32 = u32::MAX;

pub(super) struct Cell {
    state: AtomicU8,
    /// The I/O thread that the request goes to, as an index.
    pub(super) thread: u8,
    /// The request's name in that thread's set, for that thread alone.
    name: AtomicU32,
    pub(super) file: FileName,
    /// What is asked for beside the bytes; of the time [`due`](Cell::due) is made.
    pub(super) options: Options,
    /// When it is cancelled.
    pub(super) due: Option<Instant>,
    /// It is to end early: the future has said so.
    to_end: AtomicBool,
    /// What it takes of the memory budget, in bytes.
    pub(super) bytes: u64,
    /// What comes behind it in the inbox.
    pub(super) next: AtomicPtr<Cell>,
    /// Its place in the queue before admission.
    pub(super) ticket: AtomicU64,
    /// What is to be done. The I/O thread's, once the cell was pushed.
    order: UnsafeCell<Option<Kind>>,
    waker: UnsafeCell<Option<Waker>>,
    kept: UnsafeCell<Option<Box<dyn Send>>>,
    result: UnsafeCell<Result<usize, Errno>>,
}

// SAFETY: the contents are all `Send`; who may touch which of them is what `state` says, see the
// table above, and changes of state that hand a field over are releases on the one side and
// acquires on the other.
unsafe impl Send for Cell {}
// SAFETY: as above. The methods of the future's side are called by one future, those of the I/O
// thread's by one thread.
unsafe impl Sync for Cell {}

impl Cell {
    pub(super) fn new(
        order: Kind,
        options: Options,
        file: FileName,
        thread: u8,
        bytes: u64,
    ) -> Arc<Cell> {
        Arc::new(Cell {
            state: AtomicU8::new(PENDING),
            thread,
            name: AtomicU32::new(UNNAMED),
            file,
            options,
            due: options.due(),
            to_end: AtomicBool::new(false),
            bytes,
            next: AtomicPtr::default(),
            ticket: AtomicU64::new(0),
            order: UnsafeCell::new(Some(order)),
            waker: UnsafeCell::new(None),
            kept: UnsafeCell::new(None),
            result: UnsafeCell::new(Ok(0)),
        })
    }

    /// The future's side: the result, or a promise to wake.
    ///
    /// # Safety
    ///
    /// Only the future that made the cell calls this, and never at the same time as `abandon`.
    #[inline]
    pub(super) unsafe fn poll(&self, waker: &Waker) -> Option<Result<usize, Errno>> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            match state {
                // SAFETY: done, so nobody writes the result any more.
                DONE => return Some(unsafe { *self.result.get() }),
                // Taken back first: the I/O thread may be about to take it.
                WAITING => match self.state.compare_exchange(
                    WAITING,
                    PENDING,
                    Ordering::Acquire,
                    Ordering::Acquire,
                ) {
                    Ok(_) => state = PENDING,
                    Err(now) => state = now,
                },
                _ => {
                    // SAFETY: pending, so the waker is the future's.
                    let place = unsafe { &mut *self.waker.get() };
                    if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
                        *place = Some(waker.clone());
                    }
                    match self.state.compare_exchange(
                        PENDING,
                        WAITING,
                        Ordering::Release,
                        Ordering::Acquire,
                    ) {
                        Ok(_) => return None,
                        Err(now) => state = now,
                    }
                }
            }
        }
    }

    /// The future's side: gives up. Leaves what `kept` makes to the I/O thread, and says so; or
    /// says that the request is over, and then the memory is the caller's again.
    ///
    /// # Safety
    ///
    /// Only the future that made the cell calls this, once, and never polls again.
    pub(super) unsafe fn abandon(&self, kept: impl FnOnce() -> Box<dyn Send>) -> bool {
        if self.state.load(Ordering::Acquire) == DONE {
            return false;
        }
        // SAFETY: not abandoned yet, so `kept` is the future's.
        unsafe { *self.kept.get() = Some(kept()) };
        match self.state.swap(ABANDONED, Ordering::AcqRel) {
            DONE => {
                // SAFETY: the I/O thread was done before and does not look again.
                drop(unsafe { (*self.kept.get()).take() });
                false
            }
            _ => {
                // SAFETY: in the state abandoned the I/O thread leaves the waker alone.
                drop(unsafe { (*self.waker.get()).take() });
                true
            }
        }
    }

    /// The future's side: says that the request is to end early. Whether that is news.
    pub(super) fn ask_to_cancel(&self) -> bool {
        !self.to_end.swap(true, Ordering::Relaxed)
    }

    /// Whether the future wants the request to end early. What the I/O thread has to know at once
    /// is brought to it by other ways, which have an order.
    pub(super) fn is_to_end(&self) -> bool {
        self.to_end.load(Ordering::Relaxed)
    }

    /// Whether the result is there.
    pub(super) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) == ABANDONED
    }

    /// The I/O thread's side: what is to be done; `None` if it was asked before.
    ///
    /// # Safety
    ///
    /// Only the I/O thread that has taken the cell from its inbox calls this.
    pub(super) unsafe fn take_order(&self) -> Option<Kind> {
        // SAFETY: the order is the I/O thread's since the push.
        unsafe { (*self.order.get()).take() }
    }

    /// The name under which it is in flight.
    pub(super) fn name(&self) -> Option<u32> {
        Some(self.name.load(Ordering::Relaxed)).filter(|name| *name != UNNAMED)
    }

    pub(super) fn set_name(&self, name: u32) {
        self.name.store(name, Ordering::Relaxed);
    }

    /// The I/O thread's side: the request is over, and nothing touches its memory any more. What
    /// has to be woken and dropped goes to `after`.
    ///
    /// # Safety
    ///
    /// Called once, by whoever has the cell from the inbox or from the queue before it.
    #[inline]
    pub(super) unsafe fn finish(&self, result: Result<usize, Errno>, after: &mut After) {
        self.name.store(UNNAMED, Ordering::Relaxed);
        // SAFETY: not done yet, so the result is not the future's; an abandoned one is nobody's.
        unsafe { *self.result.get() = result };
        match self.state.swap(DONE, Ordering::AcqRel) {
            // SAFETY: this has left the state waiting, so the waker is ours.
            WAITING => after.wakers.extend(unsafe { (*self.waker.get()).take() }),
            // SAFETY: abandoned, so `kept` is ours.
            ABANDONED => after.to_drop.extend(unsafe { (*self.kept.get()).take() }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    fn cell() -> Arc<Cell> {
        let sync = Kind::Sync { data_only: false };
        Cell::new(sync, Options::default(), FileName::default(), 0, 0)
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_waker_is_woken_once() {
        let (cell, counts) = (
            cell(),
            [Arc::new(Count::default()), Arc::new(Count::default())],
        );
        let mut after = After::default();
        for count in &counts {
            // SAFETY: one future's side, one thread's side.
            assert_eq!(unsafe { cell.poll(&Waker::from(count.clone())) }, None);
        }
        // SAFETY: as above.
        unsafe { cell.finish(Ok(5), &mut after) };
        after.run();
        assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
        // SAFETY: as above.
        assert_eq!(unsafe { cell.poll(Waker::noop()) }, Some(Ok(5)));
    }

    #[test]
    fn a_buffer_is_dropped_by_whoever_comes_last() {
        for done_first in [true, false] {
            let (cell, buffer) = (cell(), Arc::new(()));
            let mut after = After::default();
            if done_first {
                // SAFETY: one thread's side.
                unsafe { cell.finish(Ok(1), &mut after) };
            }
            let mut kept = Some(buffer.clone());
            // SAFETY: one future's side.
            let tell = unsafe { cell.abandon(|| Box::new(kept.take())) };
            assert_eq!((tell, kept.is_some()), (!done_first, done_first));
            if !done_first {
                assert_eq!(Arc::strong_count(&buffer), 2);
                // SAFETY: one thread's side.
                unsafe { cell.finish(Ok(1), &mut after) };
            }
            after.run();
            drop(kept);
            assert_eq!(Arc::strong_count(&buffer), 1);
        }
    }

    #[test]
    fn every_race_of_the_two_sides_ends_in_one_result_or_one_drop() {
        for round in 0..2000 {
            let (cell, buffer, count) = (cell(), Arc::new(()), Arc::new(Count::default()));
            let other = cell.clone();
            let (waker, kept) = (Waker::from(count.clone()), buffer.clone());
            let future = std::thread::spawn(move || {
                // SAFETY: one future's side.
                unsafe {
                    let mut seen = cell.poll(&waker);
                    if round % 3 == 0 {
                        seen = seen.or_else(|| cell.poll(Waker::noop()));
                    }
                    if round % 2 == 0 && seen.is_none() {
                        cell.abandon(|| Box::new(kept));
                    }
                    seen
                }
            });
            let mut after = After::default();
            // SAFETY: one thread's side.
            unsafe { other.finish(Ok(round), &mut after) };
            after.run();
            let seen = future.join().unwrap();
            assert!(seen.is_none_or(|result| result == Ok(round)));
            drop(other);
            assert_eq!(Arc::strong_count(&buffer), 1, "round {round}");
            if seen.is_none() && round % 6 != 0 && round % 2 == 1 && round % 3 != 0 {
                assert_eq!(count.0.load(Ordering::Relaxed), 1, "round {round}");
            }
        }
    }
}
