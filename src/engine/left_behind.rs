//! Drivers whose engine is gone while operations are still with the kernel.
//!
//! They stay with their thread, because their ring does, and because their buffers need not be
//! `Send`. Every engine that is built on the thread, and the end of the thread, looks whether the
//! kernel is done with them. What is in flight at the thread's end is leaked, and counted.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::driver::Driver;
use crate::driver::op::Wait;

static PENDING: AtomicU64 = AtomicU64::new(0);
static LEAKED: AtomicU64 = AtomicU64::new(0);

/// Requests that outlived their engine, in the whole process. See [`left_behind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// Still with the kernel: their buffers are kept.
    pub pending: u64,
    /// Given up when their thread ended: their buffers are never freed.
    pub leaked: u64,
}

/// How many requests outlived their engine because they could be neither finished nor cancelled in
/// time. First takes in those of this thread that have ended since.
///
/// With io_uring the end of the thread waits, in the kernel (`io_wq_put_and_exit`), for a worker
/// that a fault still holds; whoever resolves that fault must not be this thread.
pub fn left_behind() -> LeftBehind {
    visit();
    LeftBehind {
        pending: PENDING.load(Ordering::Relaxed),
        leaked: LEAKED.load(Ordering::Relaxed),
    }
}

/// The drivers of one thread.
struct Kept(RefCell<Vec<Driver>>);

thread_local!(static KEPT: Kept = const { Kept(RefCell::new(Vec::new())) });

/// Keeps a driver until nothing of it is in flight.
pub(super) fn keep(driver: Driver) {
    PENDING.fetch_add(driver.in_flight() as u64, Ordering::Relaxed);
    let mut driver = Some(driver);
    // The closure is not called while the thread is being torn down.
    let _ = KEPT.try_with(|kept| kept.0.borrow_mut().extend(driver.take()));
    if let Some(driver) = driver {
        leak(driver);
    }
}

/// Takes in what has ended, and drops the drivers that are done.
pub(super) fn visit() {
    let _ = KEPT.try_with(|kept| {
        // Taken out, because dropping buffers runs foreign code that may come back here.
        for mut driver in kept.0.take() {
            if advance(&mut driver) {
                kept.0.borrow_mut().push(driver);
            }
        }
    });
}

/// Whether something is still in flight.
fn advance(driver: &mut Driver) -> bool {
    driver.check_process();
    let before = driver.in_flight();
    let _ = driver.turn(Wait::No);
    driver.forget_done();
    PENDING.fetch_sub((before - driver.in_flight()) as u64, Ordering::Relaxed);
    std::mem::take(&mut driver.foreign).run();
    driver.in_flight() > 0
}

/// The thread is going, and the kernel may still write to the buffers: nobody may ever use that
/// memory again.
fn leak(driver: Driver) {
    let count = driver.in_flight() as u64;
    PENDING.fetch_sub(count, Ordering::Relaxed);
    LEAKED.fetch_add(count, Ordering::Relaxed);
    std::mem::forget(driver);
}

impl Drop for Kept {
    fn drop(&mut self) {
        for mut driver in self.0.take() {
            if advance(&mut driver) {
                leak(driver);
            }
        }
    }
}
