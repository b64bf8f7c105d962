//! Who may hand a request to an I/O thread: as long as there are places and bytes left, everybody;
//! then each in turn.
//!
//! May know: counts and bytes. Must not know: files, memory, how a request is carried out.
//!
//! One word says it all, so that the way in is one atomic: the bytes in flight, the requests in
//! flight, whether somebody waits, and whether it is closed. While somebody waits nobody goes past
//! the queue. Whoever gives something back lets in those at its head, with their share of it; so a
//! large request gets its turn, and nobody is woken only to find that there is no room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cell::Cell;

const BYTE_BITS: u32 = 40;
const REQUEST: u64 = 1 << BYTE_BITS;
const WAITING: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;

/// The most bytes that can be counted.
pub(super) const MAX_BYTES: u64 = REQUEST - 1;
/// The most requests that can be counted.
pub(super) const MAX_REQUESTS: u64 = WAITING / REQUEST - 1;

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It may be handed on.
    Admitted,
    /// It is in the queue, or among those that were let in by this very call.
    Queued,
    /// Closed.
    Refused,
}

pub(super) struct Admission {
    // Every request changes it: it is the one word that all submitters share. The order of its
    // changes is all that counts, so they are relaxed.
    state: AtomicU64,
    bytes: u64,
    requests: u64,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    cells: VecDeque<Arc<Cell>>,
    next_ticket: u64,
    waits: u64,
}

/// What is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

impl Share {
    fn word(self) -> u64 {
        self.requests * REQUEST + self.bytes
    }
}

impl Admission {
    pub(super) fn new(bytes: u64, requests: u64) -> Admission {
        let (bytes, requests) = (bytes.clamp(1, MAX_BYTES), requests.clamp(1, MAX_REQUESTS));
        Admission {
            state: AtomicU64::new(0),
            bytes,
            requests,
            queue: Mutex::default(),
        }
    }

    /// What a request of so many bytes takes. One that is larger than all there is takes all there
    /// is, and so goes alone.
    pub(super) fn cost(&self, bytes: u64) -> u64 {
        bytes.min(self.bytes)
    }

    fn fits(&self, state: u64, bytes: u64) -> bool {
        let used = state & !(WAITING | CLOSED);
        (used & MAX_BYTES) + bytes <= self.bytes && used / REQUEST < self.requests
    }

    /// Asks for a request. `granted` gets those that may be handed on now although they had to
    /// wait: it may be among them.
    #[inline]
    pub(super) fn enter(&self, cell: &Arc<Cell>, granted: &mut Vec<Arc<Cell>>) -> Entry {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (WAITING | CLOSED) == 0 && self.fits(state, cell.bytes) {
            match self.state.compare_exchange_weak(
                state,
                state + REQUEST + cell.bytes,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Entry::Admitted,
                Err(now) => state = now,
            }
        }
        self.queue_up(cell, granted)
    }

    #[cold]
    fn queue_up(&self, cell: &Arc<Cell>, granted: &mut Vec<Arc<Cell>>) -> Entry {
        let mut queue = self.lock();
        if self.state.load(Ordering::Relaxed) & CLOSED != 0 {
            return Entry::Refused;
        }
        // From here on everybody else queues up too, and whoever gives something back comes here.
        // If it was closed just now, this one is taken to have come before that.
        self.state.fetch_or(WAITING, Ordering::Relaxed);
        queue.next_ticket += 1;
        queue.waits += 1;
        cell.ticket.store(queue.next_ticket, Ordering::Relaxed);
        queue.cells.push_back(cell.clone());
        self.grant(&mut queue, granted);
        Entry::Queued
    }

    /// Lets in those at the head of the queue for whom there is room.
    fn grant(&self, queue: &mut Queue, granted: &mut Vec<Arc<Cell>>) {
        while let Some(first) = queue.cells.front() {
            // While somebody waits, and that is known to be so, the word only falls.
            if !self.fits(self.state.load(Ordering::Relaxed), first.bytes) {
                return;
            }
            self.state
                .fetch_add(REQUEST + first.bytes, Ordering::Relaxed);
            granted.extend(queue.cells.pop_front());
        }
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
    }

    /// Gives back what requests had that are over. `granted` gets those that may be handed on now.
    /// Says whether it is closed and all is over.
    pub(super) fn release(&self, share: Share, granted: &mut Vec<Arc<Cell>>) -> bool {
        let before = self.state.fetch_sub(share.word(), Ordering::Relaxed);
        if before & WAITING != 0 {
            self.grant(&mut self.lock(), granted);
        }
        before & CLOSED != 0 && self.is_over()
    }

    /// Gives up a place in the queue, if the request is still there. `granted` gets those that may
    /// be handed on now.
    pub(super) fn leave(&self, cell: &Cell, granted: &mut Vec<Arc<Cell>>) -> bool {
        let mut queue = self.lock();
        let ticket = cell.ticket.load(Ordering::Relaxed);
        let Ok(at) = queue
            .cells
            .binary_search_by_key(&ticket, |cell| cell.ticket.load(Ordering::Relaxed))
        else {
            return false;
        };
        queue.cells.remove(at);
        self.grant(&mut queue, granted);
        true
    }

    /// Lets nobody in any more but those who wait already. Says whether all is over.
    pub(super) fn close(&self) -> bool {
        self.state.fetch_or(CLOSED, Ordering::Relaxed);
        self.is_over()
    }

    /// Takes those who wait out of the queue: they will not be let in.
    pub(super) fn give_up(&self) -> Vec<Arc<Cell>> {
        let mut queue = self.lock();
        self.state.fetch_or(CLOSED, Ordering::Relaxed);
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
        queue.cells.drain(..).collect()
    }

    fn is_over(&self) -> bool {
        self.state.load(Ordering::Relaxed) == CLOSED
    }

    /// How many requests have had to wait so far.
    pub(super) fn waits(&self) -> u64 {
        self.lock().waits
    }

    /// How much is in flight, started or on its way to an I/O thread.
    pub(super) fn in_flight(&self) -> Share {
        let state = self.state.load(Ordering::Relaxed);
        Share {
            requests: (state & !(WAITING | CLOSED)) / REQUEST,
            bytes: state & MAX_BYTES,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock panics.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::FileName;
    use super::*;
    use crate::driver::{Kind, Options};

    fn cell(admission: &Admission, bytes: u64) -> Arc<Cell> {
        Cell::new(
            Kind::Sync { data_only: false },
            Options::default(),
            FileName::default(),
            0,
            admission.cost(bytes),
        )
    }

    fn share(cell: &Cell) -> Share {
        Share {
            requests: 1,
            bytes: cell.bytes,
        }
    }

    /// Asks for one, and gives it with the answer and who was let in.
    fn ask(admission: &Admission, bytes: u64) -> (Arc<Cell>, Entry, usize) {
        let (cell, mut granted) = (cell(admission, bytes), Vec::new());
        let entry = admission.enter(&cell, &mut granted);
        (cell, entry, granted.len())
    }

    #[test]
    fn those_who_wait_are_let_in_in_order_and_nobody_goes_past_them() {
        let admission = Admission::new(100, 10);
        let (first, entry, _) = ask(&admission, 60);
        assert_eq!(entry, Entry::Admitted);
        // The large one waits, and the small one behind it too although there is room for it.
        let (large, entry, _) = ask(&admission, 90);
        assert_eq!(entry, Entry::Queued);
        let (small, entry, _) = ask(&admission, 10);
        assert_eq!(
            (entry, admission.in_flight()),
            (
                Entry::Queued,
                Share {
                    requests: 1,
                    bytes: 60
                }
            )
        );
        let mut granted = Vec::new();
        assert!(!admission.release(share(&first), &mut granted));
        assert!(
            granted.len() == 2
                && Arc::ptr_eq(&granted[0], &large)
                && Arc::ptr_eq(&granted[1], &small)
        );
        // The queue is empty, so the short way is open again.
        assert!(!admission.release(
            Share {
                requests: 2,
                bytes: 100
            },
            &mut granted
        ));
        assert_eq!(ask(&admission, 1).1, Entry::Admitted);
        assert_eq!(admission.waits(), 2);
    }

    #[test]
    fn one_that_is_larger_than_the_budget_goes_alone() {
        let admission = Admission::new(100, 10);
        let (small, ..) = ask(&admission, 1);
        let (huge, entry, _) = ask(&admission, 1 << 50);
        assert_eq!(entry, Entry::Queued);
        let mut granted = Vec::new();
        admission.release(share(&small), &mut granted);
        assert_eq!((granted.len(), admission.in_flight().bytes), (1, 100));
        assert_eq!(ask(&admission, 1).1, Entry::Queued);
        granted.clear();
        admission.release(share(&huge), &mut granted);
        assert_eq!((granted.len(), admission.in_flight().bytes), (1, 1));
    }

    #[test]
    fn places_are_counted_like_bytes() {
        let admission = Admission::new(100, 2);
        assert_eq!(
            [
                ask(&admission, 0).1,
                ask(&admission, 0).1,
                ask(&admission, 0).1
            ],
            [Entry::Admitted, Entry::Admitted, Entry::Queued]
        );
    }

    #[test]
    fn whoever_leaves_the_queue_lets_the_next_one_through() {
        let admission = Admission::new(100, 10);
        let (first, ..) = ask(&admission, 50);
        let (large, ..) = ask(&admission, 100);
        let (small, ..) = ask(&admission, 50);
        let mut granted = Vec::new();
        assert!(admission.leave(&large, &mut granted));
        assert!(granted.len() == 1 && Arc::ptr_eq(&granted[0], &small));
        assert!(!admission.leave(&small, &mut granted), "it was let in");
        assert!(!admission.leave(&first, &mut granted), "it never waited");
        assert_eq!(
            admission.in_flight(),
            Share {
                requests: 2,
                bytes: 100
            }
        );
    }

    #[test]
    fn closed_it_is_over_when_those_who_waited_are_through() {
        let admission = Admission::new(100, 10);
        let (first, ..) = ask(&admission, 100);
        let (second, ..) = ask(&admission, 100);
        assert!(!admission.close());
        let (third, entry, _) = ask(&admission, 1);
        assert_eq!(entry, Entry::Refused);
        let mut granted = Vec::new();
        assert!(
            !admission.release(share(&first), &mut granted),
            "the second is in now"
        );
        assert!(Arc::ptr_eq(&granted[0], &second));
        assert!(admission.release(share(&second), &mut granted));
        assert_eq!(admission.enter(&third, &mut granted), Entry::Refused);
        assert!(admission.close());
    }

    #[test]
    fn many_threads_stay_within_the_bounds_and_none_is_forgotten() {
        const THREADS: u64 = 4;
        const EACH: u64 = 3000;
        let admission = Admission::new(64, 5);
        let through = AtomicU64::new(0);
        // Whoever is let in gives its share back at once, and hands on whom that lets in.
        let through_all = |mut granted: Vec<Arc<Cell>>| {
            while let Some(cell) = granted.pop() {
                let now = admission.in_flight();
                assert!(now.bytes <= 64 && now.requests <= 5, "{now:?}");
                through.fetch_add(1, Ordering::Relaxed);
                admission.release(share(&cell), &mut granted);
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (admission, through_all) = (&admission, &through_all);
                scope.spawn(move || {
                    for number in 0..EACH {
                        let cell = cell(admission, (number * 7 + thread) % 70);
                        let mut granted = Vec::new();
                        match admission.enter(&cell, &mut granted) {
                            Entry::Admitted => granted.push(cell),
                            Entry::Queued => {}
                            Entry::Refused => unreachable!(),
                        }
                        through_all(granted);
                    }
                });
            }
        });
        assert_eq!(
            (through.load(Ordering::Relaxed), admission.in_flight()),
            (THREADS * EACH, Share::default())
        );
    }
}
