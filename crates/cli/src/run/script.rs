//! What a worker does next: requests in their order, syncs between them, pauses, and when it is
//! over. Knows the clock only by what it is told.

use std::time::{Duration, Instant};

use fio_jobs::random::{Course, Request};
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
    course: Course,
    begun: Instant,
    counts_from: Instant,
    ends: Option<Instant>,
    /// When the next request of each direction may start.
    due: PerDirection<Instant>,
    /// The direction of the next request, which is not due yet: whether it is a write.
    direction: Option<bool>,
    /// Another pass begins.
    again: bool,
    /// The pass before was verified.
    verified: bool,
    writes: u64,
    sync: Option<(usize, bool)>,
    until_thought: u32,
    resumes: Option<Instant>,
    history: History,
    over: bool,
}

impl<'a> Script<'a> {
    pub(super) fn new(options: &'a Options, course: Course, now: Instant) -> Script<'a> {
        let counts_from = now + options.ramp_time;
        Script {
            options,
            history: History::new(options, course.requests()),
            course,
            begun: now,
            counts_from,
            ends: options.runtime.map(|runtime| counts_from + runtime),
            due: PerDirection::both(now),
            direction: None,
            again: false,
            verified: false,
            writes: 0,
            sync: None,
            until_thought: options.thinktime_blocks,
            resumes: None,
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
        // Ends: a pass without a request is the last one.
        loop {
            if self.again {
                // As fio: only what has a time to fill goes on without a break.
                if !self.options.time_based && in_flight > 0 {
                    return Step::Quiet;
                }
                self.again = false;
                return Step::Again;
            }
            if !self.course.is_pass_over() {
                let write = match self.direction.take() {
                    Some(write) => write,
                    None => self.course.direction(),
                };
                let (write, due) = self.in_time(write, now);
                if due > now {
                    self.direction = Some(write);
                    return Step::Later(self.not_beyond_the_end(due));
                }
                if let Some(request) = self.course.next_of(write) {
                    self.account(&request);
                    let number = self.history.made(&request);
                    return Step::Request(request, number);
                }
            }
            if let Some(step) = self.pass_over() {
                return step;
            }
        }
    }

    /// Which direction comes next, where this one is the job's choice, and when. As in fio, a
    /// direction that is ahead of its rate leaves its turn to the other one.
    fn in_time(&self, write: bool, now: Instant) -> (bool, Instant) {
        let due = |write| *self.due.get(write);
        let mode = self.options.mode;
        let share = match write {
            true => self.options.read_percent,
            false => 100 - self.options.read_percent,
        };
        let other_may = mode.reads() && mode.writes() && share > 0;
        if due(write) > now && other_may && due(!write) < due(write) {
            (!write, due(!write))
        } else {
            (write, due(write))
        }
    }

    /// What comes after the last request of a pass; None if it is another pass.
    fn pass_over(&mut self) -> Option<Step> {
        if self.history.wants() {
            return Some(Step::Verify);
        }
        let verified = std::mem::take(&mut self.verified);
        if !self.course.next_pass() {
            self.over = true;
            return Some(Step::Over);
        }
        self.history.next_pass(self.course.requests());
        // With a time to fill, the offsets of some distributions never come to an end. To verify is
        // to drain and to drop the cache as well.
        let ends = !self.options.mode.is_random() || self.options.covers();
        self.again = !verified && (ends || !self.options.time_based);
        None
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
        self.verified = true;
        self.history.take()
    }

    /// It goes on at this time, after so many bytes were verified: what was not done meanwhile is
    /// not made up for.
    pub(super) fn resume(&mut self, now: Instant, bytes: u64) {
        self.course.verified(bytes);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use fio_jobs::{JobFile, Surroundings};

    /// The script of a job of 64 KiB in blocks of 4 KiB, which starts at this time.
    fn with_script<T>(text: &str, now: Instant, with: impl FnOnce(Script<'_>) -> T) -> T {
        let text = format!("[j]\nfilename=f\nsize=64k\n{text}");
        let file = JobFile::parse("test.fio", &text, &Surroundings::isolated()).expect("a job");
        let job = &file.groups[0].jobs[0];
        let regions = job.regions(0, &[], 1).expect("regions");
        let course = Course::new(job, &regions, 1).expect("requests");
        with(Script::new(&job.options, course, now))
    }

    /// The steps at one and the same time, as letters.
    fn steps(text: &str, most: usize) -> String {
        let now = Instant::now();
        with_script(text, now, |mut script| letters(&mut script, now, most))
    }

    fn letters(script: &mut Script<'_>, now: Instant, most: usize) -> String {
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
                let blocks = script.written().0;
                let bytes = blocks.map(|(request, _)| request.bytes).sum();
                script.resume(now, bytes);
            }
            let step = letter(step);
            in_flight = usize::from(step != Some('q'));
            step
        };
        (0..most).map_while(step).collect()
    }

    #[test]
    fn a_job_moves_its_bytes_in_each_loop_and_then_it_is_over() {
        assert_eq!(steps("", 100), "r".repeat(16));
        assert_eq!(steps("loops=2", 100), format!("{0}qa{0}", "r".repeat(16)));
        assert_eq!(steps("io_size=16k", 100), "r".repeat(4));
        assert_eq!(
            steps("io_size=96k", 100),
            format!("{}qa{}", "r".repeat(16), "r".repeat(8))
        );
        // As fio: the loops are made of one pass, as long as the files have more.
        assert_eq!(steps("number_ios=3\nloops=2", 100), "rrrrrr");
        assert_eq!(steps("size=30k", 100), "r".repeat(7));
    }

    #[test]
    fn a_time_is_filled_without_a_break() {
        assert_eq!(
            steps("time_based\nruntime=1", 36),
            format!("{0}a{0}arr", "r".repeat(16))
        );
        assert_eq!(
            steps(
                "time_based\nruntime=1\nrw=randread\nrandom_distribution=zipf:1.1",
                100
            ),
            "r".repeat(100)
        );
    }

    #[test]
    fn each_pass_is_verified_when_it_was_written() {
        let write = |more: &str, most| steps(&format!("rw=write\nsize=12k\n{more}"), most);
        assert_eq!(write("verify=crc32c", 100), "wwwv");
        assert_eq!(write("verify=crc32c\nloops=2\nfsync=3", 100), "wwwsvwwwsv");
        assert_eq!(write("verify=crc32c\ndo_verify=0", 100), "www");
        assert_eq!(steps("size=12k\nrw=read\nverify=crc32c", 100), "rrr");
        // What is read to verify is a part of io_size, as in fio.
        assert_eq!(
            write("verify=crc32c\nio_size=48k\nioengine=libaio", 100),
            "wwwvwwwv"
        );
    }

    #[test]
    fn with_a_time_to_fill_each_pass_is_verified() {
        let timed = "verify=crc32c\ntime_based\nruntime=1";
        for mode in ["write", "randwrite", "randwrite\nnorandommap"] {
            assert_eq!(
                steps(&format!("rw={mode}\nsize=12k\n{timed}"), 10),
                "wwwvwwwvww"
            );
        }
        assert_eq!(
            steps(&format!("rw=write\nsize=30k\n{timed}"), 9),
            "wwwwwwwvw"
        );
        let mixed = steps(&format!("rw=randrw\nsize=64k\n{timed}"), 60);
        assert!(
            mixed.matches('v').count() == 3 && mixed.contains('r'),
            "{mixed}"
        );
    }

    #[test]
    fn what_the_runtime_leaves_no_time_to_verify_is_known() {
        let now = Instant::now();
        with_script("rw=write\nverify=crc32c\nruntime=1", now, |mut script| {
            assert!(matches!(script.next(now, 0), Step::Request(_, 0)));
            assert!(matches!(script.next(now, 0), Step::Request(_, 1)));
            let end = now + Duration::from_secs(1);
            assert!(matches!(script.next(end, 0), Step::Over));
            assert_eq!(script.not_verified(), 2);
        });
    }

    #[test]
    fn syncs_come_after_so_many_writes() {
        assert_eq!(steps("rw=write\nsize=12k\nfdatasync=1", 100), "wdwdwd");
        assert_eq!(steps("rw=write\nsize=20k\nfsync=2", 100), "wwswwsw");
    }

    #[test]
    fn rates_and_think_time_put_requests_off() {
        assert_eq!(steps("rate_iops=10", 4), "rlll");
        assert_eq!(steps("thinktime=1s\nthinktime_blocks=2", 4), "rrql");
        let now = Instant::now();
        with_script("rate=4k", now, |mut script| {
            assert!(matches!(script.next(now, 0), Step::Request(..)));
            let Step::Later(when) = script.next(now, 0) else {
                panic!("not due")
            };
            assert_eq!(when, now + Duration::from_secs(1));
            assert!(matches!(script.next(when, 0), Step::Request(..)));
        });
    }

    #[test]
    fn a_rate_for_one_direction_does_not_slow_the_other_one_down() {
        let timed = "rw=randrw\ntime_based\nruntime=2";
        for rate in ["rate_iops=,1", "rate=,4k"] {
            let steps = steps(&format!("{timed}\n{rate}"), 200);
            let reads = steps.matches('r').count();
            assert_eq!(
                (steps.matches('w').count(), steps.matches('l').count()),
                (1, 0)
            );
            assert!(reads > 180, "{rate}: {steps}");
        }
        // With both ahead of their rates, the one that is due first is next.
        let now = Instant::now();
        with_script(&format!("{timed}\nrate_iops=10,2"), now, |mut script| {
            let (mut at, mut counts) = (now, [0, 0]);
            while at < now + Duration::from_millis(1_990) {
                match script.next(at, 0) {
                    Step::Request(request, _) => counts[usize::from(request.write)] += 1,
                    Step::Later(when) => at = when,
                    _ => {}
                }
            }
            assert_eq!(counts, [20, 4]);
        });
        // A job that is to have no writes at all gets none instead of reads that come too early.
        assert_eq!(
            steps(&format!("{timed}\nrwmixread=100\nrate_iops=1,"), 4),
            "rlll"
        );
    }

    #[test]
    fn the_runtime_ends_it_and_the_ramp_does_not_count() {
        let now = Instant::now();
        with_script("runtime=2\nramp_time=1\ntime_based", now, |mut script| {
            let second = Duration::from_secs(1);
            assert!(!script.counts(now) && script.counts(now + second));
            let late = now + Duration::from_millis(2999);
            assert!(matches!(script.next(late, 0), Step::Request(..)));
            assert!(matches!(script.next(now + 3 * second, 0), Step::Over));
        });
    }
}
