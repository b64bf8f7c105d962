//! Requests on their way to an I/O thread: many push, one takes.
//!
//! May know: how cells are linked. Must not know: what is in them.
//!
//! One pointer is the whole of it: to the cell that was pushed last, which points to the one
//! before. An I/O thread that is about to sleep puts a mark there if the inbox is empty. Whoever
//! pushes first after that replaces the mark, and so knows that it is the one to wake the thread;
//! nobody else has to, and while the thread is awake nobody at all.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::cell::Cell;

/// Empty, and the thread sleeps or is about to.
const ASLEEP: *mut Cell = ptr::without_provenance_mut(1);
/// Empty for ever: the thread is gone.
const GONE: *mut Cell = ptr::without_provenance_mut(2);

/// What a push has met.
pub(super) enum Pushed {
    /// The thread is awake, or somebody else wakes it.
    Quiet,
    /// The thread has to be woken.
    Wake,
    /// There is no thread any more.
    Gone(Arc<Cell>),
}

pub(super) struct Inbox {
    last: AtomicPtr<Cell>,
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        Inbox {
            last: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// From any thread.
    #[inline]
    pub(super) fn push(&self, cell: Arc<Cell>) -> Pushed {
        let new = Arc::into_raw(cell).cast_mut();
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            if last == GONE {
                // SAFETY: from `into_raw` above, and not pushed.
                return Pushed::Gone(unsafe { Arc::from_raw(new) });
            }
            let before = if last == ASLEEP {
                ptr::null_mut()
            } else {
                last
            };
            // SAFETY: the cell is this call's until it is pushed.
            unsafe { (*new).next.store(before, Ordering::Relaxed) };
            // Release: whoever takes the cell sees what is in it.
            match self
                .last
                .compare_exchange_weak(last, new, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) if last == ASLEEP => return Pushed::Wake,
                Ok(_) => return Pushed::Quiet,
                Err(now) => last = now,
            }
        }
    }

    /// Takes all there are: appended to `into`, the last one first. Takes the mark away too. For
    /// the I/O thread.
    pub(super) fn take(&self, into: &mut Vec<Arc<Cell>>) {
        if !self.last.load(Ordering::Relaxed).is_null() {
            unlink(self.last.swap(ptr::null_mut(), Ordering::Acquire), into);
        }
    }

    /// Whether the thread may sleep: nothing is there, and who pushes next will wake it. For the
    /// I/O thread.
    pub(super) fn sleep(&self) -> bool {
        self.last
            .compare_exchange(
                ptr::null_mut(),
                ASLEEP,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Takes what is there, and nothing any more. For the I/O thread, when it goes.
    pub(super) fn close(&self, into: &mut Vec<Arc<Cell>>) {
        unlink(self.last.swap(GONE, Ordering::Acquire), into);
    }
}

/// Makes a list of what hangs on a pointer that was taken out of an inbox.
fn unlink(mut last: *mut Cell, into: &mut Vec<Arc<Cell>>) {
    while !last.is_null() && last != ASLEEP && last != GONE {
        // SAFETY: a pointer in an inbox comes from `into_raw`, and the one who swaps it out is the
        // only one to have it then.
        let cell = unsafe { Arc::from_raw(last) };
        last = cell.next.load(Ordering::Relaxed);
        into.push(cell);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close(&mut Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::FileName;
    use super::*;
    use crate::driver::{Kind, Options};

    fn cell(number: u64) -> Arc<Cell> {
        Cell::new(
            Kind::Sync { data_only: false },
            Options::default(),
            FileName::default(),
            0,
            number,
        )
    }

    #[test]
    fn only_the_first_push_after_the_thread_lay_down_wakes_it() {
        let (inbox, mut taken) = (Inbox::new(), Vec::new());
        assert!(matches!(inbox.push(cell(1)), Pushed::Quiet));
        assert!(!inbox.sleep(), "there is something to do");
        inbox.take(&mut taken);
        assert!(inbox.sleep());
        assert!(matches!(inbox.push(cell(2)), Pushed::Wake));
        assert!(matches!(inbox.push(cell(3)), Pushed::Quiet));
        inbox.take(&mut taken);
        assert_eq!(
            taken.iter().map(|cell| cell.bytes).collect::<Vec<_>>(),
            [1, 3, 2]
        );
        // Woken by something else: nobody has to wake it.
        assert!(inbox.sleep());
        inbox.take(&mut taken);
        assert!(matches!(inbox.push(cell(4)), Pushed::Quiet));
        inbox.close(&mut taken);
        assert_eq!(taken.len(), 4);
        assert!(matches!(inbox.push(cell(5)), Pushed::Gone(_)));
    }

    #[test]
    fn nothing_is_lost_and_each_pusher_is_in_order() {
        const PUSHERS: u64 = 4;
        const EACH: u64 = 5000;
        let inbox = Arc::new(Inbox::new());
        let threads: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                let inbox = inbox.clone();
                std::thread::spawn(move || {
                    (0..EACH).for_each(|number| drop(inbox.push(cell(pusher * EACH + number))))
                })
            })
            .collect();
        let (mut next, mut left, mut taken) = ([0; PUSHERS as usize], PUSHERS * EACH, Vec::new());
        while left > 0 {
            inbox.take(&mut taken);
            left -= taken.len() as u64;
            while let Some(cell) = taken.pop() {
                let (pusher, number) = ((cell.bytes / EACH) as usize, cell.bytes % EACH);
                assert_eq!(number, next[pusher]);
                next[pusher] += 1;
            }
            std::thread::yield_now();
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}
