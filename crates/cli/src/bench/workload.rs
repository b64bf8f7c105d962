//! What is measured: the rows of the table, and the requests that one round of a row consists of.
//!
//! Every column takes its requests from the same [`Feed`], so offsets, addresses, lengths and the
//! end of a round are alike in all of them. Knows nothing of rings, engines or clocks other than
//! the instants it is given.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::memory::Memory;
use crate::figures::units;

/// Whether requests fill memory or send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Where in the file the requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Random,
    Sequential,
}

/// What the memory of the requests went through before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffers {
    /// Written before, and used again by every request of its slot.
    Warm,
    /// Anonymous memory that nobody has touched, other memory for every request.
    Cold,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What `--only` and `--list` call it.
    pub(crate) name: &'static str,
    pub(crate) access: Access,
    pub(crate) order: Order,
    pub(crate) buffers: Buffers,
    /// Bytes of one request.
    pub(crate) request: usize,
    /// Requests in flight.
    pub(crate) depth: usize,
}

const SMALL: usize = 4 << 10;
/// One request of the sequential rows; the file's size is a multiple of it.
pub(crate) const LARGE: usize = 1 << 20;
const SINGLE: usize = 32 << 20;
/// The requests in flight at most, over all rows.
pub(crate) const DEPTH_MAX: usize = 32;

/// All rows, for a file of `file` bytes: no request is larger than the file.
pub(crate) fn rows(file: u64) -> Vec<Row> {
    use {Access::*, Buffers::*, Order::*};
    let row = |name, access, order, buffers, request, depth| Row {
        name,
        access,
        order,
        buffers,
        request,
        depth,
    };
    vec![
        row("random-read-warm", Read, Random, Warm, SMALL, DEPTH_MAX),
        row("random-read-cold", Read, Random, Cold, SMALL, DEPTH_MAX),
        row("random-write-warm", Write, Random, Warm, SMALL, DEPTH_MAX),
        row("random-write-cold", Write, Random, Cold, SMALL, DEPTH_MAX),
        row("sequential-read-warm", Read, Sequential, Warm, LARGE, 4),
        row("sequential-read-cold", Read, Sequential, Cold, LARGE, 4),
        row("sequential-write-warm", Write, Sequential, Warm, LARGE, 4),
        row("sequential-write-cold", Write, Sequential, Cold, LARGE, 4),
        row(
            "large-read-cold",
            Read,
            Sequential,
            Cold,
            SINGLE.min(usize::try_from(file).unwrap_or(SINGLE)),
            1,
        ),
    ]
}

impl Row {
    /// What the table calls it.
    pub(crate) fn title(&self) -> String {
        let bytes = units::size(self.request as u64);
        let verb = if self.access == Access::Read {
            "read"
        } else {
            "write"
        };
        let memory = match self.buffers {
            Buffers::Warm => "warm buffers",
            Buffers::Cold => "cold buffers",
        };
        match (self.order, self.depth) {
            (_, 1) => format!("one {bytes} {verb} at a time, {memory}"),
            (Order::Random, depth) => format!("{bytes} random {verb}, depth {depth}, {memory}"),
            (Order::Sequential, depth) => {
                format!("sequential {verb}, {bytes} requests, depth {depth}, {memory}")
            }
        }
    }

    /// Whether small warm requests go from registered memory, as a program that cares would have
    /// it. The larger ones go from the caller's.
    pub(crate) fn registered(&self) -> bool {
        self.buffers == Buffers::Warm && self.request == SMALL
    }
}

/// The offsets of the random rows: every block of the file once, shuffled; of a very large file a
/// part of the blocks.
pub(crate) struct Offsets {
    blocks: Vec<u64>,
}

impl Offsets {
    /// More blocks than a round can use; 8 MiB of table.
    const COUNT_MAX: u64 = 1 << 20;

    pub(crate) fn new(file: u64, seed: u64) -> Offsets {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = (file / SMALL as u64).max(1);
        let mut blocks: Vec<u64> = if count <= Self::COUNT_MAX {
            (0..count).collect()
        } else {
            (0..Self::COUNT_MAX).map(|_| rng.u64(0..count)).collect()
        };
        rng.shuffle(&mut blocks);
        Offsets { blocks }
    }
}

/// One request to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) offset: u64,
    pub(crate) address: *mut u8,
    pub(crate) len: usize,
}

/// What all rounds of a run share.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Bytes of the file, a multiple of [`LARGE`].
    pub(crate) file: u64,
    pub(crate) offsets: &'a Offsets,
    pub(crate) memory: &'a Memory,
    /// Not 0 once the run shall end.
    pub(crate) stop: &'a AtomicUsize,
}

/// The requests of one round.
pub(crate) struct Feed<'a> {
    row: Row,
    place: Place<'a>,
    deadline: Instant,
    issued: u64,
    issued_max: u64,
    /// Where in the order this round starts; the same for all columns of a round.
    start: u64,
}

impl<'a> Feed<'a> {
    /// `start` chooses the part of the file, `issued_max` bounds the requests, besides the size of
    /// the file and of the untouched memory: within a round no block of the file comes twice and no
    /// cold page is touched twice.
    pub(crate) fn new(
        row: Row,
        place: Place<'a>,
        deadline: Instant,
        issued_max: u64,
        start: u64,
    ) -> Feed<'a> {
        let request = row.request as u64;
        let in_file = match row.order {
            Order::Random => place.offsets.blocks.len() as u64,
            Order::Sequential => place.file / request,
        };
        let in_memory = match row.buffers {
            Buffers::Warm => u64::MAX,
            Buffers::Cold => place.memory.cold_bytes() as u64 / request,
        };
        Feed {
            row,
            place,
            deadline,
            issued: 0,
            issued_max: issued_max.min(in_file).min(in_memory).max(1),
            start,
        }
    }

    pub(crate) fn row(&self) -> &Row {
        &self.row
    }

    /// The next request for a slot that is free, `now` being about now; None when the round is
    /// over.
    pub(crate) fn next(&mut self, slot: usize, now: Instant) -> Option<Request> {
        debug_assert!(
            slot < self.row.depth,
            "a row has as many slots as its depth"
        );
        // One request is made always: a round without any would be no measurement.
        if self.issued >= self.issued_max
            || (self.issued > 0
                && (now >= self.deadline || self.place.stop.load(Ordering::Relaxed) != 0))
        {
            return None;
        }
        let len = self.row.request;
        let turn = self.start.wrapping_add(self.issued);
        let offset = match self.row.order {
            Order::Random => {
                self.place.offsets.blocks[(turn % self.place.offsets.blocks.len() as u64) as usize]
                    * SMALL as u64
            }
            Order::Sequential => turn % (self.place.file / len as u64) * len as u64,
        };
        let address = match self.row.buffers {
            Buffers::Warm => self.place.memory.warm(slot * len, len),
            Buffers::Cold => self.place.memory.cold(self.issued as usize * len, len),
        };
        self.issued += 1;
        Some(Request {
            offset,
            address,
            len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    const FILE: u64 = 1 << 20;

    fn all(row: Row, memory: &Memory, start: u64) -> Vec<Request> {
        let (offsets, stop) = (Offsets::new(FILE, 7), AtomicUsize::new(0));
        let place = Place {
            file: FILE,
            offsets: &offsets,
            memory,
            stop: &stop,
        };
        let now = Instant::now();
        let mut feed = Feed::new(row, place, now + Duration::from_secs(60), u64::MAX, start);
        std::iter::from_fn(|| feed.next(0, now))
            .take(10_000)
            .collect()
    }

    #[test]
    fn a_round_uses_every_block_once_and_stays_in_the_file() {
        let memory = Memory::new(4 << 20).expect("memory");
        for row in rows(FILE) {
            let requests = all(row, &memory, 5);
            let distinct: BTreeSet<u64> = requests.iter().map(|r| r.offset).collect();
            assert_eq!(distinct.len(), requests.len(), "{}", row.name);
            assert!(
                requests.iter().all(|r| r.offset + r.len as u64 <= FILE),
                "{}",
                row.name
            );
            assert!(
                !requests.is_empty() && requests.len() <= 256,
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn cold_requests_never_share_memory_and_warm_ones_stay_in_their_slot() {
        let memory = Memory::new(1 << 20).expect("memory");
        for row in rows(FILE) {
            let requests = all(row, &memory, 0);
            let addresses: BTreeSet<usize> = requests.iter().map(|r| r.address.addr()).collect();
            match row.buffers {
                Buffers::Cold => assert_eq!(addresses.len(), requests.len(), "{}", row.name),
                Buffers::Warm => assert_eq!(addresses.len(), 1, "{}", row.name),
            }
        }
    }

    #[test]
    fn a_round_ends_at_the_deadline_at_the_bound_and_when_asked_to_stop() {
        let memory = Memory::new(1 << 20).expect("memory");
        let (offsets, stop) = (Offsets::new(FILE, 7), AtomicUsize::new(0));
        let place = Place {
            file: FILE,
            offsets: &offsets,
            memory: &memory,
            stop: &stop,
        };
        let now = Instant::now();
        let feed = |bound| Feed::new(rows(FILE)[0], place, now, bound, 0);
        let mut late = feed(9);
        assert!(late.next(0, now).is_some() && late.next(0, now).is_none());
        let early = now
            .checked_sub(Duration::from_secs(1))
            .expect("an hour after boot");
        let mut bounded = feed(2);
        assert!(
            bounded.next(0, early).is_some()
                && bounded.next(1, early).is_some()
                && bounded.next(2, early).is_none()
        );
        let mut stopped = feed(9);
        assert!(stopped.next(0, early).is_some() && stopped.next(0, early).is_some());
        stop.store(2, Ordering::Relaxed);
        assert!(stopped.next(0, early).is_none());
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = rows(FILE).iter().map(|r| r.name).collect();
        assert_eq!(names.len(), rows(FILE).len());
    }
}
