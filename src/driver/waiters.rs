//! The queue of those who wait for a free slot, in the order in which they came.
//!
//! May know: tickets and wakers. Must not know: slots and requests.
//!
//! Whatever frees a slot calls up the first waiter. A waiter that was called up and does not use the
//! slot passes the call on (`Driver::leave_queue`), and a turn calls up again before it sleeps.

use std::collections::VecDeque;
use std::task::Waker;

/// A place in the queue. Tickets rise, and none is given twice.
pub(crate) type Ticket = u64;

/// The queue.
#[derive(Default)]
pub(super) struct Waiters {
    queue: VecDeque<(Ticket, Waker)>,
    last: Ticket,
}

impl Waiters {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.queue
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
            .ok()
    }

    /// Whether the holder of the ticket still waits.
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        self.position(ticket).is_some()
    }

    /// Keeps the place that `ticket` names, or takes one at the end. Gives the place, and a waker
    /// that is of no more use.
    pub(super) fn join(&mut self, ticket: Option<Ticket>, waker: Waker) -> (Ticket, Option<Waker>) {
        if let Some(ticket) = ticket
            && let Some(at) = self.position(ticket)
        {
            let old = std::mem::replace(&mut self.queue[at].1, waker);
            return (ticket, Some(old));
        }
        self.last += 1;
        self.queue.push_back((self.last, waker));
        (self.last, None)
    }

    /// Gives up a place. `None`: its holder was called up already.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let at = self.position(ticket)?;
        self.queue.remove(at).map(|(_, waker)| waker)
    }

    /// Takes out the first.
    pub(super) fn call_up(&mut self) -> Option<Waker> {
        self.queue.pop_front().map(|(_, waker)| waker)
    }
}
