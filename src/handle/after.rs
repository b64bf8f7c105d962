//! What an I/O thread does at the end of a turn, when it holds nothing: wake tasks, and drop
//! buffers that nobody waits for.
//!
//! Both are foreign code. A panic in it is caught and let go: it must not end a thread on which
//! others' requests depend.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

#[derive(Default)]
pub(super) struct After {
    pub(super) wakers: Vec<Waker>,
    pub(super) to_drop: Vec<Box<dyn Send>>,
}

/// Runs foreign code.
fn shielded(code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(code)) {
        // Its own drop might panic again.
        std::mem::forget(payload);
    }
}

impl After {
    pub(super) fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.to_drop.is_empty()
    }

    pub(super) fn run(&mut self) {
        let mut wakers = self.wakers.drain(..).peekable();
        while let Some(waker) = wakers.next() {
            // A task whose requests ended side by side is woken once.
            let again = wakers.peek().is_some_and(|next| next.will_wake(&waker));
            shielded(|| if again { drop(waker) } else { waker.wake() });
        }
        drop(wakers);
        for grave in self.to_drop.drain(..) {
            shielded(|| drop(grave));
        }
    }
}
