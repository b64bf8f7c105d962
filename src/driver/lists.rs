//! Results in lists: for owners of many requests, who take all results that are there at once.
//!
//! May know: names and results. Must not know: slots.

use std::task::Waker;

use super::request::Ended;

/// Results of the requests of one owner, in the order in which the requests ended.
#[derive(Default)]
struct List {
    ended: Vec<Ended>,
    waker: Option<Waker>,
}

/// All lists. A closed list leaves its place to the next one that is opened.
#[derive(Default)]
pub(super) struct Lists(Vec<Option<List>>);

impl Lists {
    /// Opens a list and gives its number.
    pub(super) fn open(&mut self) -> u32 {
        let place = self.0.iter().position(Option::is_none).unwrap_or_else(|| {
            self.0.push(None);
            self.0.len() - 1
        });
        self.0[place] = Some(List::default());
        place as u32
    }

    fn get(&mut self, list: u32) -> Option<&mut List> {
        self.0.get_mut(list as usize)?.as_mut()
    }

    /// Closes a list. Gives its waker, which the caller drops when nothing is borrowed.
    pub(super) fn close(&mut self, list: u32) -> Option<Waker> {
        self.0.get_mut(list as usize)?.take()?.waker
    }

    /// Adds a result. Gives the waker of whoever waits for one.
    #[inline]
    pub(super) fn add(&mut self, list: u32, ended: Ended) -> Option<Waker> {
        let list = self.get(list)?;
        list.ended.push(ended);
        list.waker.take()
    }

    /// Swaps the results of a list with `into`, which is empty.
    pub(super) fn take(&mut self, list: u32, into: &mut Vec<Ended>) {
        if let Some(list) = self.get(list) {
            std::mem::swap(&mut list.ended, into);
        }
    }

    /// Whether a list has results.
    pub(super) fn has_ended(&self, list: u32) -> bool {
        matches!(self.0.get(list as usize), Some(Some(list)) if !list.ended.is_empty())
    }

    /// Whether `waker` is woken by the next result of a list.
    pub(super) fn knows(&mut self, list: u32, waker: &Waker) -> bool {
        self.get(list)
            .and_then(|list| list.waker.as_ref())
            .is_some_and(|known| known.will_wake(waker))
    }

    /// Wakes `waker` at the next result of a list. Gives the waker before it.
    pub(super) fn set_waker(&mut self, list: u32, waker: Waker) -> Option<Waker> {
        match self.get(list) {
            Some(list) => list.waker.replace(waker),
            None => Some(waker),
        }
    }
}
