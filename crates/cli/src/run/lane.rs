//! The loop that carries a script out, the same for every way of doing it: as many requests in
//! flight as the script has room for, one reading of the clock for each turn.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fio_jobs::random::{Request, Rng, Stream};
use hdrhistogram::Histogram;

use super::files;
use super::memory::Piece;
use super::record::{Kind, Record};
use super::script::{Script, Step};
use super::verify::Verifier;

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

    /// Does nothing until then, or until there is a reason to stop. A signal may come to any
    /// thread, so it is looked for now and then.
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
    /// None for a sync.
    request: Option<Request>,
    check: Check,
}

/// Whether what is read is verified.
#[derive(Clone, Copy)]
enum Check {
    No,
    /// Any write may have been the last one there.
    Block,
    /// The worker's own write of this number was the last one there.
    Write(u64),
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
            bytes
                .chunks_mut(8)
                .for_each(|part| part.copy_from_slice(&rng.next_u64().to_le_bytes()[..part.len()]));
        }
    }

    /// Before each write.
    fn again(self, piece: &mut Piece, rng: &mut Rng) {
        if self.refill {
            self.first(piece, rng);
        } else if self.scramble && !self.zero {
            for sector in piece
                .bytes()
                .chunks_mut(512)
                .filter(|sector| sector.len() >= 8)
            {
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
    /// What fills and checks the blocks, if the job verifies.
    pub(super) verifier: Option<Verifier<'a>>,
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
    let mut turns = Turns {
        lane,
        ground,
        record,
        pieces,
        slots,
        free,
        ended: Vec::new(),
        held: None,
        writing: BTreeMap::new(),
        rng,
        now: Instant::now(),
    };
    let mut timed = false;
    loop {
        let pause = turns.all(script)?;
        if !script.goes_on() {
            turns.sync_files(ground.end_sync)?;
        }
        turns.record.end();
        // What verifying takes is not to be seen in the figures of what is verified: these are as
        // they were when it first began.
        if !std::mem::replace(&mut timed, true) {
            let mut submit_ns = std::mem::replace(
                &mut turns.record.submit_ns,
                Histogram::new(3).map_err(io::Error::other)?,
            );
            turns.lane.submit_ns(&mut submit_ns);
            turns.record.submit_ns = submit_ns;
        }
        let Some(verifier) = ground
            .verifier
            .as_ref()
            .filter(|_| pause && !turns.is_given_up())
        else {
            break;
        };
        turns.verify(script, verifier)?;
    }
    turns.record.verified.left += script.not_verified();
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
    /// Drawn, but it overlaps a write in flight.
    held: Option<(Request, u64)>,
    /// The ends of the writes in flight, by file and offset; only where it matters which of two is
    /// the last one.
    writing: BTreeMap<(usize, u64), u64>,
    rng: Rng,
    now: Instant,
}

impl<L: Lane> Turns<'_, L> {
    /// Until it is over, or until there is something to verify: true then.
    fn all(&mut self, script: &mut Script<'_>) -> io::Result<bool> {
        let (mut over, mut verify, mut error) = (false, false, None);
        loop {
            let mut later = None;
            if !self.record.is_begun() && script.counts(self.now) {
                self.record.begin(self.now);
            }
            over |= self.is_given_up();
            while !over
                && error.is_none()
                && let Some(&slot) = self.free.last()
            {
                let step = match self.held.take() {
                    Some((request, number)) => Step::Request(request, number),
                    None => script.next(self.now, self.slots.len() - self.free.len()),
                };
                match step {
                    Step::Request(request, number) if self.must_wait(&request) => {
                        self.held = Some((request, number));
                        break;
                    }
                    Step::Request(request, number) => {
                        self.free.pop();
                        self.start(slot, &request, number)?;
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
                    Step::Verify => (over, verify) = (true, true),
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
                return error.map_or(Ok(verify), Err);
            } else if let Some(when) = later {
                self.ground.stop.pause(when);
                self.now = Instant::now();
            }
        }
    }

    /// Whether there is a reason to stop before the end.
    fn is_given_up(&self) -> bool {
        let fatal = self
            .ground
            .verifier
            .as_ref()
            .is_some_and(|verifier| verifier.fatal);
        self.ground.stop.now() || fatal && self.record.verified.differ > 0
    }

    /// Whether a write must wait for one in flight: which of the two would be the last one is not
    /// known, and it is what is verified.
    fn must_wait(&self, request: &Request) -> bool {
        let (from, to) = (
            (request.file, 0),
            (request.file, request.offset + request.bytes),
        );
        // No two of those in flight overlap, so only the last one that starts before the end can
        // reach into this one.
        request.write
            && self
                .writing
                .range(from..to)
                .next_back()
                .is_some_and(|(_, &end)| end > request.offset)
    }

    /// Starts a request, which if it is a write is the worker's write of this number.
    fn start(&mut self, slot: usize, request: &Request, number: u64) -> io::Result<()> {
        let Some(mut piece) = self.pieces[slot].take() else {
            return Err(io::Error::other("a slot without a buffer"));
        };
        piece.set_len(request.bytes as usize);
        let mut check = Check::No;
        match &self.ground.verifier {
            Some(verifier) if request.write => {
                verifier.marks.fill(piece.bytes(), request.offset, number);
                self.writing.insert(
                    (request.file, request.offset),
                    request.offset + request.bytes,
                );
                // To fill a block takes time, which is not that of the requests before it.
                self.now = Instant::now();
            }
            Some(verifier) if verifier.checks_reads => check = Check::Block,
            None if request.write => self.ground.filling.again(&mut piece, &mut self.rng),
            _ => {}
        }
        let kind = if request.write {
            Kind::Write
        } else {
            Kind::Read
        };
        self.slots[slot] = Some(InFlight {
            kind,
            started: self.now,
            request: Some(*request),
            check,
        });
        self.lane.request(slot, request, piece)
    }

    fn start_sync(&mut self, slot: usize, file: usize, data_only: bool) -> io::Result<()> {
        self.slots[slot] = Some(InFlight {
            kind: Kind::Sync,
            started: self.now,
            request: None,
            check: Check::No,
        });
        self.lane.sync(slot, file, data_only)
    }

    /// Syncs the first files, one after the other. Nothing is in flight.
    fn sync_files(&mut self, files: usize) -> io::Result<()> {
        for file in 0..files {
            let Some(slot) = self.free.pop() else { break };
            self.start_sync(slot, file, false)?;
            while self.slots[slot].is_some() {
                if let Some(failed) = self.turn(None, false)? {
                    return Err(failed);
                }
            }
        }
        Ok(())
    }

    /// Reads and checks what was written. Nothing is in flight, before and after.
    fn verify(&mut self, script: &mut Script<'_>, verifier: &Verifier<'_>) -> io::Result<()> {
        let (mut blocks, beyond) = script.written();
        self.now = Instant::now();
        self.record.verified.begin(self.now);
        // As fio: what is verified comes from the device, and to get it there is part of the time.
        self.sync_files(verifier.files())?;
        verifier.drop_cache()?;
        let (mut over, mut error, mut bytes) = (false, None, 0);
        loop {
            over |= self.is_given_up() || script.is_out_of_time(self.now) || error.is_some();
            while !over && let Some(&slot) = self.free.last() {
                let Some((request, number)) = blocks.next() else {
                    over = true;
                    break;
                };
                self.free.pop();
                let Some(mut piece) = self.pieces[slot].take() else {
                    return Err(io::Error::other("a slot without a buffer"));
                };
                piece.set_len(request.bytes as usize);
                bytes += request.bytes;
                let check = Check::Write(number);
                self.slots[slot] = Some(InFlight {
                    kind: Kind::Verify,
                    started: self.now,
                    request: Some(request),
                    check,
                });
                self.lane.request(slot, &request, piece)?;
            }
            if self.free.len() == self.slots.len() {
                break;
            }
            if let Some(failed) = self.turn(None, true)? {
                error = error.or(Some(failed));
            }
        }
        self.record.verified.end();
        self.record.verified.left += blocks.count() as u64 + beyond;
        self.now = Instant::now();
        script.resume(self.now, bytes);
        error.map_or(Ok(()), Err)
    }

    /// The error of a request, if there was one; what fails here is the lane itself.
    fn turn(&mut self, most: Option<Duration>, counts: bool) -> io::Result<Option<io::Error>> {
        let mut ended = std::mem::take(&mut self.ended);
        let turned = self.lane.turn(most, &mut ended);
        self.now = Instant::now();
        let (mut requests, mut bytes, mut checked, mut error) = (0, 0, false, None);
        for Ended {
            slot,
            result,
            mut piece,
        } in ended.drain(..)
        {
            let Some(InFlight {
                kind,
                started,
                request,
                check,
            }) = self.slots[slot].take()
            else {
                continue;
            };
            self.free.push(slot);
            if let (Kind::Write, Some(request)) = (kind, &request) {
                self.writing.remove(&(request.file, request.offset));
            }
            let wanted = request.map_or(0, |request| request.bytes);
            match result {
                Ok(moved) if kind == Kind::Sync || moved as u64 == wanted => {
                    requests += u64::from(kind != Kind::Sync);
                    bytes += wanted;
                    if counts && (kind == Kind::Verify || self.record.is_begun()) {
                        self.record.ended(kind, wanted, started, self.now);
                    }
                    if let (Some(verifier), Some(request), Some(piece)) =
                        (&self.ground.verifier, &request, &mut piece)
                    {
                        checked |= verify_block(verifier, request, piece, check, self.record);
                    }
                }
                result => error = error.or(Some(why(kind, request.as_ref(), result))),
            }
            if piece.is_some() {
                self.pieces[slot] = piece;
            }
        }
        self.ended = ended;
        if checked {
            // To check blocks takes time, which is not that of the requests that come next.
            self.now = Instant::now();
        }
        self.ground
            .counters
            .requests
            .fetch_add(requests, Ordering::Relaxed);
        self.ground
            .counters
            .bytes
            .fetch_add(bytes, Ordering::Relaxed);
        turned.map(|()| error)
    }
}

/// Whether the block was looked at.
fn verify_block(
    verifier: &Verifier<'_>,
    request: &Request,
    piece: &mut Piece,
    check: Check,
    record: &mut Record,
) -> bool {
    let number = match check {
        Check::No => return false,
        Check::Block => None,
        Check::Write(number) => Some(number),
    };
    record
        .verified
        .add(verifier.check(request, piece.bytes(), number));
    true
}

fn why(kind: Kind, request: Option<&Request>, result: io::Result<usize>) -> io::Error {
    let what = match kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Verify => "read to verify",
        Kind::Sync => "sync",
    };
    let Some(Request { offset, bytes, .. }) = request else {
        return result
            .err()
            .unwrap_or_else(|| io::Error::other(format!("a {what}")));
    };
    match result {
        Ok(moved) => io::Error::other(format!(
            "a {what} of {bytes} bytes at {offset} moved only {moved}"
        )),
        Err(error) => io::Error::new(
            error.kind(),
            format!("a {what} of {bytes} bytes at {offset}: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::run::files::Target;
    use crate::run::memory::Buffers;
    use fio_jobs::random::Course;
    use fio_jobs::{FileRegion, JobFile, Memory, Surroundings, SyncMode};

    const BYTES: usize = 64 << 10;

    /// A file in memory. Of the requests in flight the youngest one ends first: no order that a
    /// worker may rely on.
    struct InMemory {
        bytes: Vec<u8>,
        waiting: Vec<(usize, Option<(Request, Piece)>)>,
        /// How many writes have ended, and which of them, from 0, is lost without a word.
        writes: u64,
        lost: Option<u64>,
        /// Reads, and syncs, so far; and after how many reads the user has enough.
        reads: u64,
        enough: u64,
        signal: Arc<AtomicUsize>,
        syncs: u64,
    }

    impl Lane for InMemory {
        fn request(&mut self, slot: usize, request: &Request, piece: Piece) -> io::Result<()> {
            let overlaps = |other: &Request| {
                other.write
                    && other.offset < request.offset + request.bytes
                    && request.offset < other.offset + other.bytes
            };
            let clash = self
                .waiting
                .iter()
                .filter_map(|(_, other)| other.as_ref())
                .any(|(other, _)| overlaps(other));
            assert!(
                !(request.write && clash),
                "which of two writes in flight is the last one is not known"
            );
            self.waiting.push((slot, Some((*request, piece))));
            Ok(())
        }

        fn sync(&mut self, slot: usize, _file: usize, _data_only: bool) -> io::Result<()> {
            self.syncs += 1;
            self.waiting.push((slot, None));
            Ok(())
        }

        fn turn(&mut self, _most: Option<Duration>, ended: &mut Vec<Ended>) -> io::Result<()> {
            let Some((slot, what)) = self.waiting.pop() else {
                return Ok(());
            };
            let Some((request, mut piece)) = what else {
                ended.push(Ended {
                    slot,
                    result: Ok(0),
                    piece: None,
                });
                return Ok(());
            };
            let part = &mut self.bytes[request.offset as usize..][..request.bytes as usize];
            if request.write {
                if self.lost != Some(self.writes) {
                    part.copy_from_slice(piece.bytes());
                }
                self.writes += 1;
            } else {
                piece.bytes().copy_from_slice(part);
                self.reads += 1;
                if self.reads == self.enough {
                    self.signal.store(2, Ordering::Relaxed);
                }
            }
            ended.push(Ended {
                slot,
                result: Ok(request.bytes as usize),
                piece: Some(piece),
            });
            Ok(())
        }

        fn submit_ns(&mut self, _into: &mut Histogram<u64>) {}
    }

    /// The job on a file in memory, which loses the write that ends as this one.
    fn run(text: &str, lost: Option<u64>) -> (InMemory, Record) {
        run_until(text, lost, u64::MAX)
    }

    fn run_until(text: &str, lost: Option<u64>, enough: u64) -> (InMemory, Record) {
        let place = tempfile::NamedTempFile::new().expect("a file");
        let text = format!("[j]\nfilename=f\nsize=64k\nio_size=128k\niodepth=8\n{text}");
        let file = JobFile::parse("test.fio", &text, &Surroundings::isolated()).expect("a job");
        let job = &file.groups[0].jobs[0];
        let (options, regions) = (&job.options, [FileRegion::new(0, BYTES as u64)]);
        let course = Course::new(job, &regions, 1).expect("requests");
        let targets = [Target {
            path: place.path(),
            read: true,
            write: true,
            sync: SyncMode::None,
        }];
        let signal = Arc::new(AtomicUsize::new(0));
        let stop = Stop {
            signal: &signal,
            failed: AtomicBool::new(false),
        };
        let ground = Ground {
            stop: &stop,
            counters: &Counters::default(),
            filling: Filling {
                zero: false,
                refill: false,
                scramble: false,
            },
            verifier: Verifier::new(options, &targets, 1),
            again: Vec::new(),
            seed: 1,
            end_sync: 0,
        };
        let buffers = Buffers::new(&Memory::Malloc, None, 8, options.max_block() as usize, 1)
            .expect("buffers");
        let mut lane = InMemory {
            bytes: vec![0; BYTES],
            waiting: Vec::new(),
            writes: 0,
            lost,
            reads: 0,
            enough,
            signal: signal.clone(),
            syncs: 0,
        };
        let mut script = Script::new(options, course, Instant::now());
        let mut record = Record::new();
        drive(
            &mut lane,
            &mut script,
            buffers.pieces(None),
            &ground,
            &mut record,
        )
        .expect("it runs");
        assert!(lane.waiting.is_empty());
        (lane, record)
    }

    #[test]
    fn what_is_written_is_found_again_however_often_it_was_overwritten() {
        for text in [
            "rw=write",
            "rw=randwrite\nnorandommap",
            "rw=randwrite\nnorandommap\nbsrange=4k-16k\nblockalign=4k",
            "rw=randrw:4\nloops=3",
        ] {
            let (lane, record) = run(&format!("{text}\nverify=crc32c"), None);
            assert!(
                record.verified.blocks > 0 && record.verified.blocks <= 16 * 3,
                "{text}"
            );
            assert_eq!(
                (record.verified.differ, record.verified.left),
                (0, 0),
                "{text}: {:?}",
                record.verified.told
            );
            assert!(lane.syncs > 0);
            assert_eq!(
                lane.reads,
                record.read.requests + record.verified.reads.requests
            );
            assert_eq!(lane.writes, record.write.requests);
        }
    }

    /// The block is a good one then: only that it is not the last write tells.
    #[test]
    fn a_write_that_was_lost_is_found_though_an_earlier_one_is_there() {
        // Each second block is written four times; the last of all writes is never overwritten.
        let (_, record) = run("rw=write:4k\nverify=crc32c", Some(31));
        assert_eq!((record.verified.blocks, record.verified.differ), (8, 1));
        assert!(
            record.verified.told[0].contains("not the last write"),
            "{:?}",
            record.verified.told
        );
        // The first one is overwritten: nothing is lost.
        assert_eq!(
            run("rw=write:4k\nverify=crc32c", Some(0)).1.verified.differ,
            0
        );
    }

    #[test]
    fn an_interrupted_verification_says_what_it_has_not_looked_at() {
        for (text, blocks) in [
            ("rw=write\nbs=2k", 32),
            ("rw=randwrite\nbs=2k\nnumber_ios=20", 20),
        ] {
            let (_, record) = run_until(&format!("{text}\nverify=crc32c"), None, 3);
            let verified = &record.verified;
            assert!(verified.blocks >= 3 && verified.left > 0, "{text}");
            assert_eq!(
                (verified.blocks + verified.left, verified.differ),
                (blocks, 0),
                "{text}"
            );
        }
    }

    #[test]
    fn the_first_difference_ends_the_job_if_it_is_fatal() {
        let blank = "rw=read\nverify=crc32c\niodepth=1";
        let (lane, record) = run(blank, None);
        assert_eq!(
            (lane.reads, record.verified.blocks, record.verified.differ),
            (32, 32, 32)
        );
        assert_eq!(record.verified.told.len(), 4);
        let (lane, record) = run(&format!("{blank}\nverify_fatal=1"), None);
        assert!(lane.reads < 16 && record.verified.differ >= 1);
    }
}
