//! Requests that wait to be admitted and have a deadline.
//!
//! May know: cells, and when they are due. Must not know: who lets them in.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use super::cell::Cell;

struct Entry {
    due: Instant,
    cell: Arc<Cell>,
}

// The first one due is the greatest: it is on top of the heap.
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.due == other.due
    }
}

impl Eq for Entry {}

/// The requests of one I/O thread that were not admitted at once; some may have been since.
#[derive(Default)]
pub(super) struct Timed {
    heap: BinaryHeap<Entry>,
    /// From this length on those that are over are thrown out.
    limit: usize,
}

impl Timed {
    /// Fewer are not worth a search.
    const FEWEST: usize = 64;

    pub(super) fn add(&mut self, cell: Arc<Cell>) {
        let Some(due) = cell.due else { return };
        if self.heap.len() >= self.limit {
            // So there are never more than twice those that wait or are in flight, and the search
            // costs each as much as one step.
            self.heap
                .retain(|entry| !entry.cell.is_done() && !entry.cell.is_to_end());
            self.limit = (2 * self.heap.len()).max(Timed::FEWEST);
        }
        self.heap.push(Entry { due, cell });
    }

    /// When the first is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.due)
    }

    /// Takes out one that is due.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Arc<Cell>> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.cell)
    }
}

#[cfg(test)]
mod tests {
    use super::super::after::After;
    use super::super::files::FileName;
    use super::*;
    use crate::driver::{Kind, Options};

    fn cell(seconds: u64) -> Arc<Cell> {
        let options = Options {
            timeout_ns: seconds * 1_000_000_000,
            ..Options::default()
        };
        let sync = Kind::Sync { data_only: false };
        Cell::new(sync, options, FileName::default(), 0, 0)
    }

    #[test]
    fn they_come_out_as_they_are_due() {
        let mut timed = Timed::default();
        let cells = [300, 100, 200].map(cell);
        cells.iter().for_each(|cell| timed.add(cell.clone()));
        assert_eq!(timed.next(), cells[1].due);
        assert!(timed.next_due(Instant::now()).is_none());
        let later = cells[2].due.expect("a time");
        let out: Vec<_> = std::iter::from_fn(|| timed.next_due(later)).collect();
        assert!(out.len() == 2 && Arc::ptr_eq(&out[0], &cells[1]));
        assert_eq!(timed.next(), cells[0].due);
    }

    #[test]
    fn those_that_are_over_do_not_pile_up() {
        let mut timed = Timed::default();
        let waiting = cell(1000);
        timed.add(waiting.clone());
        for _ in 0..10_000 {
            let over = cell(1000);
            timed.add(over.clone());
            let mut after = After::default();
            // SAFETY: nobody else has the cell.
            unsafe { over.finish(Ok(0), &mut after) };
        }
        assert!(timed.heap.len() <= Timed::FEWEST, "{}", timed.heap.len());
        let left = std::iter::from_fn(|| timed.next_due(waiting.due.expect("a time")));
        assert!(left.into_iter().any(|cell| Arc::ptr_eq(&cell, &waiting)));
    }
}
