//! A set of requests in flight, each with something that is handed back when it ends.
//!
//! Not futures: one waker and one list of results serve all of them, so a request costs no waker, no second look and no allocation. What the
//! [`Queue`](super::Queue) is for users.

use std::any::Any;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use super::Inner;
use crate::driver::{Ended, Key, Plain, Request, Tell};
use crate::file::FileShared;
use crate::sys::Errno;

/// What a place of the set holds.
enum Entry<T> {
    Free,
    /// Not admitted yet. Boxed, so that all the others are small.
    Waiting(Box<Request>, T),
    InFlight(Key, T),
}

/// Requests, and what belongs to each.
pub(crate) struct RequestSet<T: 'static> {
    inner: Rc<Inner>,
    list: u32,
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    /// Results that were fetched and not yet given out, the last one first.
    ended: Vec<Ended>,
    /// Those who found no room, in order.
    waiting: VecDeque<u32>,
    ticket: Option<u64>,
    /// The last that was asked for.
    reminder: Option<(u64, Instant)>,
}

impl<T: 'static> RequestSet<T> {
    pub(crate) fn new(inner: &Rc<Inner>) -> RequestSet<T> {
        let list = inner.with(|driver| driver.open_list());
        RequestSet {
            inner: inner.clone(),
            list,
            entries: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
            waiting: VecDeque::new(),
            ticket: None,
            reminder: None,
        }
    }

    /// How many there are, those included that are over and were not given out.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn place(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::Free);
            self.entries.len() as u32 - 1
        })
    }

    /// Starts a read or write of one range, by the short way if it can. Gives the request's name, good until it was given out.
    ///
    /// # Safety
    ///
    /// The memory that the request names stays valid until the request was given out by `pop`. `what` may be what keeps it valid: it is not
    /// dropped before, and if the set goes away it is left to the driver until the kernel is done.
    #[inline]
    pub(crate) unsafe fn plain(&mut self, file: &Rc<FileShared>, plain: Plain, what: T) -> u32 {
        if self.waiting.is_empty() {
            let name = self.place();
            let tell = Tell::List { list: self.list, name };
            // SAFETY: the caller's contract is that of `push_plain`.
            if let Some(key) = self.inner.with(|driver| unsafe { driver.push_plain(file, plain, tell) }) {
                self.entries[name as usize] = Entry::InFlight(key, what);
                return name;
            }
            self.free.push(name);
        }
        // SAFETY: the caller's contract.
        unsafe { self.submit(plain.request(file), what) }
    }

    /// Starts a request, now or as soon as there is room. Gives its name.
    ///
    /// # Safety
    ///
    /// As for [`RequestSet::plain`].
    pub(crate) unsafe fn submit(&mut self, request: Request, what: T) -> u32 {
        let name = self.place();
        self.entries[name as usize] = Entry::Waiting(Box::new(request), what);
        self.waiting.push_back(name);
        self.start_waiting();
        name
    }

    /// Starts those that wait, as far as there is room.
    fn start_waiting(&mut self) {
        let (waiting, entries, list) = (&mut self.waiting, &mut self.entries, self.list);
        self.inner.with(|driver| {
            while driver.has_room()
                && let Some(name) = waiting.pop_front()
            {
                let entry = &mut entries[name as usize];
                if let Entry::Waiting(request, what) = std::mem::replace(entry, Entry::Free) {
                    // SAFETY: the contract of `submit`.
                    let key = unsafe { driver.push(*request, Tell::List { list, name }) };
                    *entry = Entry::InFlight(key, what);
                }
            }
        });
    }

    /// Whether there is one that is over, so that a wait would be in vain. Some requests are over at once.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty() || self.inner.with(|driver| driver.has_ended(self.list))
    }

    /// What belongs to a request.
    #[inline]
    pub(crate) fn get(&self, name: u32) -> Option<&T> {
        match self.entries.get(name as usize)? {
            Entry::InFlight(_, what) | Entry::Waiting(_, what) => Some(what),
            Entry::Free => None,
        }
    }

    /// Asks to end a request early. It is given out as any other.
    pub(crate) fn cancel(&mut self, name: u32) {
        match self.entries.get(name as usize) {
            Some(Entry::InFlight(key, _)) => {
                let key = *key;
                self.inner.with(|driver| driver.cancel_one(key));
            }
            Some(Entry::Waiting(..)) => {
                self.waiting.retain(|waiting| *waiting != name);
                self.ended.insert(0, Ended { name, result: Err(libc::ECANCELED) });
            }
            Some(Entry::Free) | None => {}
        }
    }

    /// One that is over: what belongs to it, and its result. If there is none, `waker` is woken as soon as there may be.
    #[inline]
    pub(crate) fn pop(&mut self, waker: Option<&Waker>) -> Option<(T, Result<usize, Errno>)> {
        if self.ended.is_empty() {
            self.fetch(waker);
        }
        let Ended { name, result } = self.ended.pop()?;
        let entry = std::mem::replace(&mut self.entries[name as usize], Entry::Free);
        self.free.push(name);
        match entry {
            Entry::InFlight(_, what) | Entry::Waiting(_, what) => Some((what, result)),
            Entry::Free => None,
        }
    }

    fn due(&self, name: u32) -> Option<Instant> {
        match &self.entries[name as usize] {
            Entry::Waiting(request, _) => request.due,
            _ => None,
        }
    }

    /// Ends those whose time was over before there was room.
    fn end_those_too_late(&mut self) {
        let (entries, ended) = (&self.entries, &mut self.ended);
        self.waiting.retain(|name| {
            let late = matches!(&entries[*name as usize], Entry::Waiting(request, _) if request.is_late());
            if late {
                ended.push(Ended { name: *name, result: Err(libc::ETIMEDOUT) });
            }
            !late
        });
    }

    fn fetch(&mut self, waker: Option<&Waker>) {
        if !self.waiting.is_empty() {
            self.start_waiting();
        }
        let (ended, list) = (&mut self.ended, self.list);
        self.inner.with(|driver| driver.take_ended(list, ended, waker));
        ended.reverse();
        self.end_those_too_late();
        let still_waiting = !self.waiting.is_empty();
        let ticket = self.ticket.take();
        if let Some(waker) = waker
            && still_waiting
        {
            let due = self.waiting.iter().filter_map(|name| self.due(*name)).min();
            let place = self.inner.with(|driver| {
                let place = driver.wait_for_slot(ticket, waker);
                if let Some(due) = due
                    && self.reminder != Some((place, due))
                {
                    driver.remind(place, due);
                }
                place
            });
            self.ticket = Some(place);
            self.reminder = due.map(|due| (place, due));
        } else if let Some(ticket) = ticket {
            self.inner.with(|driver| driver.leave_queue(ticket));
        }
    }
}

impl<T: 'static> Drop for RequestSet<T> {
    fn drop(&mut self) {
        let (entries, list, ticket) = (std::mem::take(&mut self.entries), self.list, self.ticket.take());
        let mut over: Vec<Box<dyn Any>> = Vec::new();
        self.inner.with(|driver| {
            for entry in entries {
                match entry {
                    Entry::InFlight(key, what) => driver.abandon(key, Box::new(what)),
                    Entry::Waiting(request, what) => over.push(Box::new((request, what))),
                    Entry::Free => {}
                }
            }
            if let Some(ticket) = ticket {
                driver.leave_queue(ticket);
            }
            driver.close_list(list);
        });
        // Foreign code, and not before the driver is free again.
        drop(over);
    }
}
