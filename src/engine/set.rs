//! A set of requests in flight, each with something that is handed back when it ends.
//!
//! Not futures: one waker and one list of results serve all of them, so a request costs no waker,
//! no second look and no allocation. What the [`Queue`](super::Queue) is for users.

use std::any::Any;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use super::Inner;
use crate::driver::{Ended, Key, Notify, Plain, Request};
use crate::open_file::FileShared;
use crate::sys::Errno;

/// A place of the set.
struct Place<T> {
    /// What belongs to the request; `None`: the place is free.
    what: Option<T>,
    /// The request in flight. `None`: it waits, or is over.
    key: Option<Key>,
    /// Not admitted yet. Boxed, so that all the others are small.
    waiting: Option<Box<Request>>,
}

/// Requests, and what belongs to each.
pub(crate) struct RequestSet<T: 'static> {
    inner: Rc<Inner>,
    list: u32,
    places: Vec<Place<T>>,
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
            places: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
            waiting: VecDeque::new(),
            ticket: None,
            reminder: None,
        }
    }

    /// How many there are, those included that are over and were not given out.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    #[inline]
    fn place(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| self.new_place())
    }

    #[cold]
    fn new_place(&mut self) -> u32 {
        self.places.push(Place {
            what: None,
            key: None,
            waiting: None,
        });
        self.places.len() as u32 - 1
    }

    /// Starts a read or write of one range, by the short way if it can. Gives the request's name,
    /// good until it was given out.
    ///
    /// # Safety
    ///
    /// The memory that the request names stays valid until the request was given out by `pop`.
    /// `what` may be what keeps it valid: it is not dropped before, and if the set goes away it is
    /// left to the driver until the kernel is done.
    #[inline]
    pub(crate) unsafe fn plain(&mut self, file: &Rc<FileShared>, plain: Plain, what: T) -> u32 {
        if self.waiting.is_empty() {
            let name = self.place();
            let notify = Notify::List {
                list: self.list,
                name,
            };
            let started = self.inner.with(|driver| {
                // SAFETY: the caller's contract is that of `push_plain`.
                unsafe { driver.push_plain(file, &plain, notify) }
            });
            if let Some(key) = started {
                let place = &mut self.places[name as usize];
                (place.key, place.what) = (Some(key), Some(what));
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
        self.places[name as usize] = Place {
            what: Some(what),
            key: None,
            waiting: Some(Box::new(request)),
        };
        self.waiting.push_back(name);
        self.start_waiting();
        name
    }

    /// Starts those that wait, as far as there is room.
    fn start_waiting(&mut self) {
        let (waiting, places, list) = (&mut self.waiting, &mut self.places, self.list);
        self.inner.with(|driver| {
            while driver.has_room()
                && let Some(name) = waiting.pop_front()
            {
                let place = &mut places[name as usize];
                if let Some(request) = place.waiting.take() {
                    // SAFETY: the contract of `submit`.
                    place.key = Some(unsafe { driver.push(*request, Notify::List { list, name }) });
                }
            }
        });
    }

    /// Whether there is one that is over, so that a wait would be in vain. Some requests are over
    /// at once.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty() || self.inner.with(|driver| driver.has_ended(self.list))
    }

    /// What belongs to a request.
    #[inline]
    pub(crate) fn get(&self, name: u32) -> Option<&T> {
        self.places.get(name as usize)?.what.as_ref()
    }

    /// Asks to end a request early. It is given out as any other.
    pub(crate) fn cancel(&mut self, name: u32) {
        let Some(place) = self.places.get_mut(name as usize) else {
            return;
        };
        if let Some(key) = place.key {
            self.inner.with(|driver| driver.cancel_one(key));
        } else if place.waiting.take().is_some() {
            self.waiting.retain(|waiting| *waiting != name);
            self.ended.insert(
                0,
                Ended {
                    name,
                    result: Err(libc::ECANCELED),
                },
            );
        }
    }

    /// One that is over: what belongs to it, and its result. If there is none, `waker` is woken as
    /// soon as there may be.
    #[inline]
    pub(crate) fn pop(&mut self, waker: Option<&Waker>) -> Option<(T, Result<usize, Errno>)> {
        if self.ended.is_empty() {
            self.fetch(waker);
        }
        let Ended { name, result } = self.ended.pop()?;
        let place = &mut self.places[name as usize];
        place.key = None;
        let what = place.what.take()?;
        self.free.push(name);
        Some((what, result))
    }

    fn due(&self, name: u32) -> Option<Instant> {
        self.places[name as usize].waiting.as_ref()?.due
    }

    /// Ends those whose time was over before there was room.
    fn end_those_too_late(&mut self) {
        let (places, ended) = (&mut self.places, &mut self.ended);
        self.waiting.retain(|name| {
            let waiting = &mut places[*name as usize].waiting;
            let late = waiting.as_ref().is_some_and(|request| request.is_late());
            if late {
                *waiting = None;
                ended.push(Ended {
                    name: *name,
                    result: Err(libc::ETIMEDOUT),
                });
            }
            !late
        });
    }

    fn fetch(&mut self, waker: Option<&Waker>) {
        if !self.waiting.is_empty() {
            self.start_waiting();
        }
        let (ended, list) = (&mut self.ended, self.list);
        let woken = self.inner.with(|driver| {
            driver.take_ended(list, ended);
            waker.is_none_or(|waker| !ended.is_empty() || driver.list_wakes(list, waker))
        });
        if !woken && let Some(waker) = waker {
            // Foreign code, which may ask this engine: nothing is borrowed meanwhile.
            let copy = waker.clone();
            self.inner.with(|driver| {
                driver.wake_list_by(list, copy);
                driver.take_ended(list, ended);
            });
        }
        ended.reverse();
        self.end_those_too_late();
        let still_waiting = !self.waiting.is_empty();
        let ticket = self.ticket.take();
        if let Some(waker) = waker
            && still_waiting
        {
            let due = self.waiting.iter().filter_map(|name| self.due(*name)).min();
            let waker = waker.clone();
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
        let (places, list, ticket) = (
            std::mem::take(&mut self.places),
            self.list,
            self.ticket.take(),
        );
        let mut over: Vec<Box<dyn Any>> = Vec::new();
        self.inner.with(|driver| {
            for Place { what, key, waiting } in places {
                match (key, what) {
                    (Some(key), Some(what)) => driver.abandon(key, Box::new(what)),
                    (None, Some(what)) => over.push(Box::new((waiting, what))),
                    (_, None) => {}
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
