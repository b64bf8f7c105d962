//! What a worker does next: requests in their order, syncs between them, pauses, and when it is
//! over. Knows the clock only by what it is told.

use std::time::{Duration, Instant};

use fio_jobs::random::{Request, Requests};
use fio_jobs::{Options, PerDirection};

use super::history::{Blocks, History};

/// The next thing to do.
pub(super) enum Step {
    /// Make this request; a write is the worker's write of this number.
    Request(Request, u64),
    /// Bring the writes of this file to the device; the data only, if so.
    Sync { file: usize, data_only: bool },
    /// Nothing before this time.
    Later(Instant),
    /// Nothing before all that is in flight has ended.
    Quiet,
    /// Verify what was written, once nothing is in flight: see [`Script::written`].
    Verify,
    /// It starts over: what the page cache has of the files is dropped, if the job says so.
    Again,
    /// Nothing any more.
    Over,
}

/// The script of one worker.
pub(super) struct Script<'a> {
    options: &'a Options,
    requests: Requests,
    /// What one loop moves.
    loop_bytes: u64,
    bytes: u64,
    count: u64,
    loops_left: u32,
    begun: Instant,
    counts_from: Instant,
    ends: Option<Instant>,
    /// When the next request of each direction may start.
    due: PerDirection<Instant>,
    /// Drawn, and not due yet.
    drawn: Option<Request>,
    writes: u64,
    sync: Option<(usize, bool)>,
    until_thought: u32,
    resumes: Option<Instant>,
    history: History,
    /// The next request is the first one of another pass.
    again: bool,
    over: bool,
}

impl<'a> Script<'a> {
    pub(super) fn new(
        options: &'a Options,
        requests: Requests,
        loop_bytes: u64,
        now: Instant,
    ) -> Script<'a> {
        let counts_from = now + options.ramp_time;
        Script {
            options,
            history: History::new(options, &requests),
            requests,
            loop_bytes,
            bytes: 0,
            count: 0,
            loops_left: options.loops,
            begun: now,
            counts_from,
            ends: options.runtime.map(|runtime| counts_from + runtime),
            due: PerDirection::both(now),
            drawn: None,
            writes: 0,
            sync: None,
            until_thought: options.thinktime_blocks,
            resumes: None,
            again: false,
            over: false,
        }
    }

    /// Whether what ends at this time counts.
    pub(super) fn counts(&self, now: Instant) -> bool {
        now >= self.counts_from
    }

    /// What to do at this time, with so many requests in flight.
    pub(super) fn next(&mut self, now: Instant, in_flight: usize) -> Step {
        if self.over || self.is_out_of_time(now) {
            self.over = true;
            return Step::Over;
        }
        if let Some((file, data_only)) = self.sync.take() {
            return Step::Sync { file, data_only };
        }
        if self.options.thinktime > Duration::ZERO && self.until_thought == 0 {
            if in_flight > 0 {
                return Step::Quiet;
            }
            self.until_thought = self.options.thinktime_blocks;
            while now.elapsed() < self.options.thinktime_spin {
                std::hint::spin_loop();
            }
            self.resumes = Some(now + self.options.thinktime);
        }
        if let Some(resumes) = self.resumes {
            if now < resumes {
                return Step::Later(self.not_beyond_the_end(resumes));
            }
            self.resumes = None;
        }
        let Some(request) = self.drawn.take().or_else(|| self.draw()) else {
            return if self.history.wants() {
                Step::Verify
            } else {
                Step::Over
            };
        };
        if self.again {
            self.drawn = Some(request);
            // As fio: only what has a time to fill goes on without a break.
            if !self.options.time_based && in_flight > 0 {
                return Step::Quiet;
            }
            self.again = false;
            return Step::Again;
        }
        let due = *self.due.get(request.write);
        if due > now {
            self.drawn = Some(request);
            return Step::Later(self.not_beyond_the_end(due));
        }
        self.account(&request);
        let number = self.history.made(&request);
        Step::Request(request, number)
    }

    /// Whether the runtime is over.
    pub(super) fn is_out_of_time(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now >= ends)
    }

    /// Whether there is a loop to come.
    pub(super) fn goes_on(&self) -> bool {
        !self.over
    }

    /// What is to be verified now, and how many blocks more there was no room to keep track of.
    pub(super) fn written(&mut self) -> (Blocks, u64) {
        self.history.take(&self.requests)
    }

    /// It goes on at this time, after a verification: what was not done meanwhile is not made up
    /// for.
    pub(super) fn resume(&mut self, now: Instant) {
        self.due = PerDirection {
            read: self.due.read.max(now),
            write: self.due.write.max(now),
        };
    }

    /// The writes that are not verified, though the job asks for it.
    pub(super) fn not_verified(&self) -> u64 {
        if self.options.verify.is_some() && self.options.do_verify {
            self.history.left()
        } else {
            0
        }
    }

    fn not_beyond_the_end(&self, when: Instant) -> Instant {
        self.ends.map_or(when, |ends| when.min(ends))
    }

    fn account(&mut self, request: &Request) {
        let options = self.options;
        let due = if request.write {
            &mut self.due.write
        } else {
            &mut self.due.read
        };
        // From the begin on, not from now: what comes late is made up for, as fio does.
        if let Some(rate) = options.rate.get(request.write) {
            *due += Duration::from_secs_f64(request.bytes as f64 / (*rate).max(1) as f64);
        }
        if let Some(rate) = options.rate_iops.get(request.write) {
            *due += Duration::from_secs_f64(1.0 / f64::from((*rate).max(1)));
        }
        debug_assert!(*due >= self.begun);
        self.until_thought = self.until_thought.saturating_sub(1);
        if request.write {
            self.writes += 1;
            let every = |n: u32| n > 0 && self.writes.is_multiple_of(u64::from(n));
            if every(options.fsync) {
                self.sync = Some((request.file, false));
            } else if every(options.fdatasync) {
                self.sync = Some((request.file, true));
            }
        }
    }

    fn next_pass(&mut self) {
        self.requests.next_pass();
        // With a time to fill, the offsets of some distributions never come to an end.
        let ends = !self.options.mode.is_random() || self.options.covers();
        self.again = ends || !self.options.time_based;
    }

    /// The next request; none if it is over, or if there is something to verify before the next
    /// one.
    fn draw(&mut self) -> Option<Request> {
        let full = self.bytes >= self.loop_bytes
            || self
                .options
                .number_ios
                .is_some_and(|most| self.count >= most);
        if full {
            if !self.options.time_based {
                self.loops_left = self.loops_left.saturating_sub(1);
                if self.loops_left == 0 {
                    self.over = true;
                    return None;
                }
            }
            (self.bytes, self.count) = (0, 0);
            self.next_pass();
            if self.history.wants() {
                // To verify is to drain and to drop the cache as well.
                self.again = false;
                return None;
            }
        }
        let request = match self.requests.next() {
            Some(request) => Some(request),
            None => {
                self.next_pass();
                self.history.again();
                self.requests.next()
            }
        };
        let Some(request) = request else {
            self.over = true;
            return None;
        };
        self.bytes += request.bytes;
        self.count += 1;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fio_jobs::{FileRegion, JobFile, Surroundings};

    fn options(text: &str) -> Options {
        let file = JobFile::parse(
            "test.fio",
            &format!("[j]\nfilename=f\nsize=64k\n{text}"),
            &Surroundings::isolated(),
        )
        .expect("a job");
        file.groups[0].jobs[0].options.clone()
    }

    fn script(options: &Options, loop_bytes: u64, now: Instant) -> Script<'_> {
        let requests =
            Requests::new(options, &[FileRegion::new(0, 64 << 10)], 1).expect("requests");
        Script::new(options, requests, loop_bytes, now)
    }

    /// The steps at one and the same time, as letters.
    fn steps(text: &str, loop_kib: u64, most: usize) -> String {
        let (options, now) = (options(text), Instant::now());
        let mut script = script(&options, loop_kib << 10, now);
        let letter = |step| match step {
            Step::Request(request, _) => Some(if request.write { 'w' } else { 'r' }),
            Step::Sync { data_only, .. } => Some(if data_only { 'd' } else { 's' }),
            Step::Later(_) => Some('l'),
            Step::Quiet => Some('q'),
            Step::Verify => Some('v'),
            Step::Again => Some('a'),
            Step::Over => None,
        };
        let mut in_flight = 1;
        let step = |_| {
            let step = script.next(now, in_flight);
            if matches!(step, Step::Verify) {
                script.written();
            }
            let step = letter(step);
            in_flight = usize::from(step != Some('q'));
            step
        };
        (0..most).map_while(step).collect()
    }

    #[test]
    fn a_job_moves_its_bytes_in_each_loop_and_then_it_is_over() {
        assert_eq!(steps("", 64, 100), "r".repeat(16));
        assert_eq!(
            steps("loops=2", 64, 100),
            format!("{0}qa{0}", "r".repeat(16))
        );
        assert_eq!(steps("", 16, 100), "r".repeat(4));
        assert_eq!(
            steps("", 96, 100),
            format!("{}qa{}", "r".repeat(16), "r".repeat(8))
        );
        assert_eq!(steps("number_ios=3\nloops=2", 64, 100), "rrrqarrr");
    }

    #[test]
    fn a_time_is_filled_without_a_break() {
        assert_eq!(
            steps("time_based\nruntime=1", 64, 36),
            format!("{0}a{0}arr", "r".repeat(16))
        );
        assert_eq!(
            steps(
                "time_based\nruntime=1\nrw=randread\nrandom_distribution=zipf:1.1",
                64,
                100
            ),
            "r".repeat(100)
        );
    }

    #[test]
    fn each_loop_is_verified_when_it_was_written() {
        assert_eq!(steps("rw=write\nverify=crc32c", 12, 100), "wwwv");
        assert_eq!(
            steps("rw=write\nverify=crc32c\nloops=2\nfsync=3", 12, 100),
            "wwwsvwwwsv"
        );
        assert_eq!(
            steps("rw=write\nverify=crc32c\ndo_verify=0", 12, 100),
            "www"
        );
        assert_eq!(steps("rw=read\nverify=crc32c", 12, 100), "rrr");
        assert_eq!(
            steps("rw=write\nverify=crc32c\ntime_based\nruntime=1", 12, 6),
            "wwwaww"
        );
    }

    #[test]
    fn what_the_runtime_leaves_no_time_to_verify_is_known() {
        let (options, now) = (
            options("rw=write\nverify=crc32c\nruntime=1"),
            Instant::now(),
        );
        let mut script = script(&options, 64 << 10, now);
        assert!(
            matches!(script.next(now, 0), Step::Request(_, 0))
                && matches!(script.next(now, 0), Step::Request(_, 1))
        );
        assert!(matches!(
            script.next(now + Duration::from_secs(1), 0),
            Step::Over
        ));
        assert_eq!(script.not_verified(), 2);
    }

    #[test]
    fn syncs_come_after_so_many_writes() {
        assert_eq!(steps("rw=write\nfdatasync=1", 12, 100), "wdwdwd");
        assert_eq!(steps("rw=write\nfsync=2", 20, 100), "wwswwsw");
    }

    #[test]
    fn rates_and_think_time_put_requests_off() {
        assert_eq!(steps("rate_iops=10", 64, 4), "rlll");
        assert_eq!(steps("thinktime=1s\nthinktime_blocks=2", 64, 4), "rrql");
        let (options, now) = (options("rate=4k"), Instant::now());
        let mut script = script(&options, 64 << 10, now);
        assert!(matches!(script.next(now, 0), Step::Request(..)));
        let Step::Later(when) = script.next(now, 0) else {
            panic!("not due")
        };
        assert_eq!(when, now + Duration::from_secs(1));
        assert!(matches!(script.next(when, 0), Step::Request(..)));
    }

    #[test]
    fn the_runtime_ends_it_and_the_ramp_does_not_count() {
        let (options, now) = (
            options("runtime=2\nramp_time=1\ntime_based"),
            Instant::now(),
        );
        let mut script = script(&options, 64 << 10, now);
        assert!(!script.counts(now) && script.counts(now + Duration::from_secs(1)));
        assert!(matches!(
            script.next(now + Duration::from_millis(2999), 0),
            Step::Request(..)
        ));
        assert!(matches!(
            script.next(now + Duration::from_secs(3), 0),
            Step::Over
        ));
    }
}
