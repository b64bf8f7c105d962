//! The loop that carries a script out, the same for every way of doing it: as many requests in flight as the script has room for, one reading
//! of the clock for each turn.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nofault::fio::random::{Request, Rng, Stream};

use super::files;
use super::memory::Piece;
use super::record::{Kind, Record};
use super::script::{Script, Step};

/// One way of making requests.
pub(super) trait Lane {
    /// Starts a request with the buffer of this slot.
    fn request(&mut self, slot: usize, request: &Request, piece: Piece) -> io::Result<()>;
    /// Starts a sync.
    fn sync(&mut self, slot: usize, file: usize, data_only: bool) -> io::Result<()>;
    /// Submits what was started, and waits for something to end, at most this long.
    fn turn(&mut self, most: Option<Duration>, ended: &mut Vec<Ended>) -> io::Result<()>;
    /// The times of calls that submit, so far.
    fn submit_ns(&mut self, into: &mut Histogram<u64>);
}

/// A request that is over.
pub(super) struct Ended {
    pub(super) slot: usize,
    pub(super) result: io::Result<usize>,
    /// Its buffer, if it had one.
    pub(super) piece: Option<Piece>,
}

/// Why to stop before the end.
pub(super) struct Stop<'a> {
    /// The signal that came, or 0.
    pub(super) signal: &'a AtomicUsize,
    /// Another worker has failed.
    pub(super) failed: AtomicBool,
}

impl Stop<'_> {
    pub(super) fn now(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0 || self.failed.load(Ordering::Relaxed)
    }

    /// Does nothing until then, or until there is a reason to stop. A signal may come to any thread, so it is looked for now and then.
    pub(super) fn pause(&self, until: Instant) {
        while !self.now() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

/// What was done so far, for whoever shows it.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) bytes: AtomicU64,
}

struct InFlight {
    kind: Kind,
    started: Instant,
    offset: u64,
    bytes: u64,
}

/// How the buffers of writes are filled.
#[derive(Clone, Copy)]
pub(super) struct Filling {
    pub(super) zero: bool,
    pub(super) refill: bool,
    pub(super) scramble: bool,
}

impl Filling {
    /// Before the first request.
    pub(super) fn first(self, piece: &mut Piece, rng: &mut Rng) {
        let bytes = piece.bytes();
        if self.zero {
            bytes.fill(0);
        } else {
            bytes.chunks_mut(8).for_each(|part| part.copy_from_slice(&rng.next_u64().to_le_bytes()[..part.len()]));
        }
    }

    /// Before each write.
    fn again(self, piece: &mut Piece, rng: &mut Rng) {
        if self.refill {
            self.first(piece, rng);
        } else if self.scramble && !self.zero {
            for sector in piece.bytes().chunks_mut(512).filter(|sector| sector.len() >= 8) {
                sector[..8].copy_from_slice(&rng.next_u64().to_le_bytes());
            }
        }
    }
}

/// What a run needs besides the lane.
pub(super) struct Ground<'a> {
    pub(super) stop: &'a Stop<'a>,
    pub(super) counters: &'a Counters,
    pub(super) filling: Filling,
    pub(super) seed: u64,
    /// The files that are synced at the end.
    pub(super) end_sync: usize,
    /// The files that the page cache is to have nothing of when it starts over.
    pub(super) again: Vec<File>,
}

/// Runs a script to its end. `pieces` has a buffer for each request that may be in flight.
pub(super) fn drive(
    lane: &mut impl Lane,
    script: &mut Script<'_>,
    pieces: Vec<Option<Piece>>,
    ground: &Ground<'_>,
    record: &mut Record,
) -> io::Result<()> {
    let rng = Rng::new(ground.seed, Stream::Contents);
    let slots = pieces.iter().map(|_| None).collect();
    let free = (0..pieces.len()).rev().collect();
    let mut turns = Turns { lane, ground, record, pieces, slots, free, ended: Vec::new(), rng, now: Instant::now() };
    turns.all(script)?;
    for file in 0..ground.end_sync {
        let Some(slot) = turns.free.pop() else { break };
        turns.start_sync(slot, file, false)?;
        while turns.slots[slot].is_some() {
            if let Some(failed) = turns.turn(None, false)? {
                return Err(failed);
            }
        }
    }
    turns.record.end();
    let mut submit_ns = std::mem::replace(&mut turns.record.submit_ns, Histogram::new(3).map_err(io::Error::other)?);
    turns.lane.submit_ns(&mut submit_ns);
    turns.record.submit_ns = submit_ns;
    Ok(())
}

struct Turns<'a, L> {
    lane: &'a mut L,
    ground: &'a Ground<'a>,
    record: &'a mut Record,
    pieces: Vec<Option<Piece>>,
    slots: Vec<Option<InFlight>>,
    free: Vec<usize>,
    ended: Vec<Ended>,
    rng: Rng,
    now: Instant,
}

impl<L: Lane> Turns<'_, L> {
    fn all(&mut self, script: &mut Script<'_>) -> io::Result<()> {
        let (mut over, mut error) = (false, None);
        loop {
            let mut later = None;
            if !self.record.is_begun() && script.counts(self.now) {
                self.record.begin(self.now);
            }
            over |= self.ground.stop.now();
            while !over
                && error.is_none()
                && let Some(&slot) = self.free.last()
            {
                match script.next(self.now, self.slots.len() - self.free.len()) {
                    Step::Request(request) => {
                        self.free.pop();
                        self.start(slot, &request)?;
                    }
                    Step::Sync { file, data_only } => {
                        self.free.pop();
                        self.start_sync(slot, file, data_only)?;
                    }
                    Step::Later(when) => {
                        later = Some(when);
                        break;
                    }
                    Step::Quiet => break,
                    Step::Again => self.ground.again.iter().try_for_each(files::cool)?,
                    Step::Over => over = true,
                }
            }
            if self.free.len() < self.slots.len() {
                let most = later.map(|when| when.saturating_duration_since(self.now));
                if let Some(failed) = self.turn(most, script.counts(self.now))? {
                    error = error.or(Some(failed));
                }
            } else if over || error.is_some() {
                return error.map_or(Ok(()), Err);
            } else if let Some(when) = later {
                self.ground.stop.pause(when);
                self.now = Instant::now();
            }
        }
    }

    fn start(&mut self, slot: usize, request: &Request) -> io::Result<()> {
        let Some(mut piece) = self.pieces[slot].take() else { return Err(io::Error::other("a slot without a buffer")) };
        piece.set_len(request.bytes as usize);
        if request.write {
            self.ground.filling.again(&mut piece, &mut self.rng);
        }
        let kind = if request.write { Kind::Write } else { Kind::Read };
        self.slots[slot] = Some(InFlight { kind, started: self.now, offset: request.offset, bytes: request.bytes });
        self.lane.request(slot, request, piece)
    }

    fn start_sync(&mut self, slot: usize, file: usize, data_only: bool) -> io::Result<()> {
        self.slots[slot] = Some(InFlight { kind: Kind::Sync, started: self.now, offset: 0, bytes: 0 });
        self.lane.sync(slot, file, data_only)
    }

    /// The error of a request, if there was one; what fails here is the lane itself.
    fn turn(&mut self, most: Option<Duration>, counts: bool) -> io::Result<Option<io::Error>> {
        let mut ended = std::mem::take(&mut self.ended);
        let turned = self.lane.turn(most, &mut ended);
        self.now = Instant::now();
        let (mut requests, mut bytes, mut error) = (0, 0, None);
        for Ended { slot, result, piece } in ended.drain(..) {
            let Some(request) = self.slots[slot].take() else { continue };
            self.free.push(slot);
            if piece.is_some() {
                self.pieces[slot] = piece;
            }
            match result {
                Ok(moved) if request.kind == Kind::Sync || moved as u64 == request.bytes => {
                    requests += u64::from(request.kind != Kind::Sync);
                    bytes += request.bytes;
                    if counts && self.record.is_begun() {
                        self.record.ended(request.kind, request.bytes, request.started, self.now);
                    }
                }
                result => error = error.or(Some(why(&request, result))),
            }
        }
        self.ended = ended;
        self.ground.counters.requests.fetch_add(requests, Ordering::Relaxed);
        self.ground.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        turned.map(|()| error)
    }
}

fn why(request: &InFlight, result: io::Result<usize>) -> io::Error {
    let what = match request.kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Sync => return result.err().unwrap_or_else(|| io::Error::other("a sync")),
    };
    let InFlight { offset, bytes, .. } = request;
    match result {
        Ok(moved) => io::Error::other(format!("a {what} of {bytes} bytes at {offset} moved only {moved}")),
        Err(error) => io::Error::new(error.kind(), format!("a {what} of {bytes} bytes at {offset}: {error}")),
    }
}
