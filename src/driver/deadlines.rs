//! When the time of requests is over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::op::Wait;
use super::slot::Key;
use super::table::Table;
use super::waiters::{Ticket, Waiters};

/// Whose time it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// A request in flight.
    Request(Key),
    /// A place in the queue of those who found no room.
    Ticket(Ticket),
}

/// Deadlines, the first one on top; some may be of requests that are over.
#[derive(Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(Instant, Whose)>>);

impl Deadlines {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one. Those of requests that are over are thrown out before they are more than the
    /// others can be.
    pub(super) fn add(&mut self, due: Instant, whose: Whose, table: &Table, waiters: &Waiters) {
        if self.0.len() >= 2 * (table.len() + waiters.len()) {
            self.0.retain(|Reverse((_, whose))| match whose {
                Whose::Request(key) => table.has(*key),
                Whose::Ticket(ticket) => waiters.has(*ticket),
            });
        }
        self.0.push(Reverse((due, whose)));
    }

    /// Takes out one that is due.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Whose> {
        let Reverse((due, whose)) = *self.0.peek()?;
        if due > now {
            return None;
        }
        self.0.pop();
        Some(whose)
    }

    /// When the first is due.
    #[inline]
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }
}

/// The wait, ended by a deadline.
#[inline]
pub(super) fn bound(wait: Wait, deadline: Option<Instant>) -> Wait {
    let Some(deadline) = deadline else {
        return wait;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    match wait {
        Wait::No => Wait::No,
        Wait::Forever => Wait::For(left),
        Wait::For(time) => Wait::For(time.min(left)),
    }
}
