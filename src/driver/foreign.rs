//! Foreign code that is to run as soon as the driver is not borrowed: wakers and drops.
//!
//! A waker may own a task, and a buffer's drop may be anybody's: both may call the engine again, and
//! both may panic. So the driver collects them, and [`Foreign::run`] calls each behind a shield.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

/// Wakers to wake, and values to drop.
#[derive(Default)]
pub(crate) struct Foreign {
    wake: Vec<Waker>,
    /// Wakers to drop. Most are of a task that is woken already.
    unneeded: Vec<Waker>,
    to_drop: Vec<Box<dyn Any>>,
}

impl Foreign {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.wake.is_empty() && self.unneeded.is_empty() && self.to_drop.is_empty()
    }

    /// Whether somebody is to be woken.
    #[inline]
    pub(crate) fn wakes(&self) -> bool {
        !self.wake.is_empty()
    }

    /// Wakes a waker. Many requests of one task end in one turn: the task is woken once.
    #[inline]
    pub(crate) fn wake(&mut self, waker: Waker) {
        match self.wake.last() {
            Some(last) if last.will_wake(&waker) => self.unneeded.push(waker),
            _ => self.wake.push(waker),
        }
    }

    /// Drops a waker.
    #[inline]
    pub(crate) fn drop_waker(&mut self, waker: Option<Waker>) {
        self.unneeded.extend(waker);
    }

    /// Drops a value.
    #[inline]
    pub(crate) fn drop_later(&mut self, value: Box<dyn Any>) {
        self.to_drop.push(value);
    }

    /// Runs all of it; nothing may be borrowed. A panic of one call keeps no other call from being
    /// made: the first panic goes on when all calls are made.
    pub(crate) fn run(&mut self) {
        let mut panicked = None;
        let mut shielded = |call: &mut dyn FnMut()| {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
                // The payload of a later panic is foreign too, and its drop may panic: it is leaked.
                match panicked {
                    None => panicked = Some(panic),
                    Some(_) => std::mem::forget(panic),
                }
            }
        };
        for waker in self.wake.drain(..) {
            let mut waker = Some(waker);
            shielded(&mut || waker.take().into_iter().for_each(Waker::wake));
        }
        for waker in self.unneeded.drain(..) {
            let mut waker = Some(waker);
            shielded(&mut || drop(waker.take()));
        }
        for value in self.to_drop.drain(..) {
            let mut value = Some(value);
            shielded(&mut || drop(value.take()));
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }
}
