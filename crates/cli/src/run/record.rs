//! What one worker measured, and how workers and rounds add up.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::ClockId;

use crate::figures::timeline::Timeline;

/// Requests of one kind.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) requests: u64,
    pub(super) bytes: u64,
    /// From making a request to seeing it done.
    pub(super) latency_ns: Histogram<u64>,
}

impl Side {
    fn new() -> Side {
        Side {
            requests: 0,
            bytes: 0,
            latency_ns: histogram(),
        }
    }

    fn add(&mut self, other: &Side) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        merge(&mut self.latency_ns, &other.latency_ns);
    }
}

fn histogram() -> Histogram<u64> {
    // Three digits are always allowed; it grows with what it is given.
    Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are within 0 to 5"))
}

pub(super) fn merge(into: &mut Histogram<u64>, more: &Histogram<u64>) {
    // Both grow by themselves, so there is always room.
    let _ = into.add(more);
}

pub(super) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    let _ = histogram.record(
        u64::try_from(time.as_nanos())
            .unwrap_or(u64::MAX >> 1)
            .clamp(1, 1 << 42),
    );
}

/// So many of about this time.
pub(super) fn record_many(histogram: &mut Histogram<u64>, time: Duration, count: u64) {
    let _ = histogram.record_n(
        u64::try_from(time.as_nanos())
            .unwrap_or(u64::MAX >> 1)
            .clamp(1, 1 << 42),
        count,
    );
}

/// What a thread has used so far, as getrusage(2) counts it.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) user: Duration,
    pub(super) system: Duration,
    pub(super) switches: u64,
    pub(super) major_faults: u64,
    pub(super) minor_faults: u64,
    /// User and system time of the whole process, io_uring's workers included.
    pub(super) process: Duration,
}

impl Usage {
    fn now() -> Usage {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the struct has the kernel's layout and lives until the call returns; zeroes are a
        // valid one should the call fail.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
            usage.assume_init()
        };
        let time = |t: libc::timeval| {
            Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
        };
        Usage {
            user: time(usage.ru_utime),
            system: time(usage.ru_stime),
            switches: (usage.ru_nvcsw + usage.ru_nivcsw) as u64,
            major_faults: usage.ru_majflt as u64,
            minor_faults: usage.ru_minflt as u64,
            process: Duration::try_from(rustix::time::clock_gettime(ClockId::ProcessCPUTime))
                .unwrap_or_default(),
        }
    }

    fn since(self, before: Usage) -> Usage {
        Usage {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            switches: self.switches.saturating_sub(before.switches),
            major_faults: self.major_faults.saturating_sub(before.major_faults),
            minor_faults: self.minor_faults.saturating_sub(before.minor_faults),
            process: self.process.saturating_sub(before.process),
        }
    }

    fn add(&mut self, other: Usage) {
        self.merge(other, false);
    }

    /// What another thread of the same process has used, at the same time (`beside`) or later.
    fn merge(&mut self, other: Usage, beside: bool) {
        self.user += other.user;
        self.system += other.system;
        self.switches += other.switches;
        self.major_faults += other.major_faults;
        self.minor_faults += other.minor_faults;
        self.process = if beside {
            self.process.max(other.process)
        } else {
            self.process + other.process
        };
    }
}

/// The differences that are told one by one; the others are counted.
const TOLD: usize = 4;

/// What a verification found, and how it went: apart from what it verifies.
#[derive(Clone)]
pub(super) struct Verified {
    /// The reads of blocks that this job has written.
    pub(super) reads: Side,
    pub(super) elapsed: Duration,
    pub(super) usage: Usage,
    /// Blocks that were verified: those, and in a job that only reads all it has read.
    pub(super) blocks: u64,
    pub(super) differ: u64,
    /// The first ones: file, offset, what was expected and what was found.
    pub(super) told: Vec<String>,
    /// Blocks that were written and not verified.
    pub(super) left: u64,
    begun: Option<(Instant, Usage)>,
}

impl Verified {
    fn new() -> Verified {
        let (reads, usage) = (Side::new(), Usage::default());
        Verified {
            reads,
            elapsed: Duration::ZERO,
            usage,
            blocks: 0,
            differ: 0,
            told: Vec::new(),
            left: 0,
            begun: None,
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some((now, Usage::now()));
    }

    pub(super) fn end(&mut self) {
        if let Some((begun, usage)) = self.begun.take() {
            self.elapsed += begun.elapsed();
            self.usage.add(Usage::now().since(usage));
        }
    }

    /// One block.
    pub(super) fn add(&mut self, result: Result<(), String>) {
        self.blocks += 1;
        if let Err(difference) = result {
            self.differ += 1;
            if self.told.len() < TOLD {
                self.told.push(difference);
            }
        }
    }

    /// What differs, in a line; None if nothing does.
    pub(super) fn differences(&self) -> Option<String> {
        let first = self.told.first()?;
        Some(format!(
            "verify: {} of {} blocks are not what was written; {first}",
            self.differ, self.blocks
        ))
    }

    fn merge(&mut self, other: &Verified, beside: bool) {
        self.reads.add(&other.reads);
        self.elapsed = if beside {
            self.elapsed.max(other.elapsed)
        } else {
            self.elapsed + other.elapsed
        };
        self.usage.merge(other.usage, beside);
        self.blocks += other.blocks;
        self.differ += other.differ;
        self.told.extend(
            other
                .told
                .iter()
                .take(TOLD - self.told.len().min(TOLD))
                .cloned(),
        );
        self.left += other.left;
    }
}

/// What was measured of a worker, or of all workers of a job.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) read: Side,
    pub(super) write: Side,
    pub(super) sync: Side,
    /// Not in any of the figures beside it.
    pub(super) verified: Verified,
    /// The times of calls that submit, of those that were timed.
    pub(super) submit_ns: Histogram<u64>,
    pub(super) elapsed: Duration,
    pub(super) usage: Usage,
    /// This job's part of what nobody's thread has used: io_uring's workers.
    pub(super) workers_cpu: Duration,
    /// Reads and writes by time; of several rounds the first one's.
    pub(super) timeline: Timeline,
    begun: Option<(Instant, Usage)>,
}

impl Record {
    pub(super) fn new() -> Record {
        Record {
            read: Side::new(),
            write: Side::new(),
            sync: Side::new(),
            verified: Verified::new(),
            submit_ns: histogram(),
            elapsed: Duration::ZERO,
            usage: Usage::default(),
            workers_cpu: Duration::ZERO,
            timeline: Timeline::default(),
            begun: None,
        }
    }

    /// From here on it counts.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.begun.is_none() {
            self.begun = Some((now, Usage::now()));
            self.timeline.begin(now);
        }
    }

    /// Whether it counts.
    pub(super) fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// A request that was made then and moved so many bytes.
    pub(super) fn ended(&mut self, kind: Kind, bytes: u64, started: Instant, now: Instant) {
        let side = match kind {
            Kind::Read => &mut self.read,
            Kind::Write => &mut self.write,
            Kind::Sync => &mut self.sync,
            Kind::Verify => &mut self.verified.reads,
        };
        side.requests += 1;
        side.bytes += bytes;
        if kind != Kind::Sync {
            self.timeline.ended(bytes, now);
        }
        record(&mut side.latency_ns, now.saturating_duration_since(started));
    }

    /// All is done, the sync at the end too; or it stops counting until it is begun again.
    pub(super) fn end(&mut self) {
        if let Some((begun, usage)) = self.begun.take() {
            self.elapsed += begun.elapsed();
            self.usage.add(Usage::now().since(usage));
        }
    }

    /// Reads as fio counts them, those that verified among them, and how long there were any.
    pub(super) fn all_reads(&self) -> (Side, Duration) {
        let mut reads = self.read.clone();
        reads.add(&self.verified.reads);
        let own = if self.read.requests > 0 {
            self.elapsed
        } else {
            Duration::ZERO
        };
        (reads, own + self.verified.elapsed)
    }

    /// Reads and writes.
    pub(super) fn requests(&self) -> u64 {
        self.read.requests + self.write.requests
    }

    pub(super) fn bytes(&self) -> u64 {
        self.read.bytes + self.write.bytes
    }

    /// Takes in a worker that ran beside this one (`beside`), or another round of the same.
    pub(super) fn add(&mut self, other: &Record, beside: bool) {
        self.read.add(&other.read);
        self.write.add(&other.write);
        self.sync.add(&other.sync);
        self.verified.merge(&other.verified, beside);
        merge(&mut self.submit_ns, &other.submit_ns);
        self.usage.merge(other.usage, beside);
        self.workers_cpu += other.workers_cpu;
        if beside {
            self.timeline.add_beside(&other.timeline);
            self.elapsed = self.elapsed.max(other.elapsed);
        } else {
            self.elapsed += other.elapsed;
        }
    }

    /// Reads and writes in one.
    pub(super) fn latency_ns(&self) -> Histogram<u64> {
        let mut all = self.read.latency_ns.clone();
        merge(&mut all, &self.write.latency_ns);
        all
    }
}

/// What a request was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Sync,
    /// A read that verifies what this job has written.
    Verify,
}
