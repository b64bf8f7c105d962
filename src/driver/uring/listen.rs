//! Telling a reactor that completions are there.
//!
//! By an eventfd that is registered with the ring, as the ring's own descriptor will not do: with
//! DEFER_TASKRUN it becomes readable when completions wait to be taken in, but nobody who waits for
//! that is woken.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Uring, wake};

#[derive(Default)]
pub(super) struct Listeners {
    count: u32,
    event: Option<OwnedFd>,
}

impl Uring {
    /// A descriptor that becomes readable, as an edge, with each completion; never to be read.
    pub(crate) fn listen(&mut self) -> io::Result<OwnedFd> {
        if self.listeners.event.is_none() {
            let event = wake::eventfd()?;
            self.ring
                .ring()
                .submitter()
                .register_eventfd(event.as_raw_fd())?;
            self.listeners.event = Some(event);
        }
        let Some(event) = &self.listeners.event else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let event = event.try_clone()?;
        self.listeners.count += 1;
        Ok(event)
    }

    /// Takes back one `listen`.
    pub(crate) fn unlisten(&mut self) {
        self.listeners.count = self.listeners.count.saturating_sub(1);
        // Where it can't be taken back completions go on being told, to nobody.
        if self.listeners.count == 0 && self.ring.ring().submitter().unregister_eventfd().is_ok() {
            self.listeners.event = None;
        }
    }

    /// Whether completions are there that were told before, or are not told at all because they
    /// have to be polled for.
    pub(crate) fn has_answers(&mut self) -> bool {
        self.polled
            .as_ref()
            .is_some_and(|polled| polled.in_flight > 0)
            || !self.ring.completion().is_empty()
            || self.ring.has_work()
    }
}
