//! How often a worker goes through its files, and where it ends. No clock.

use super::requests::{Request, Requests, RequestsError};
use crate::{FileRegion, Job, Options};

/// All requests of one worker from the first to the last, as far as they need no clock: `size`,
/// `io_size`, `loops` and `number_ios` decide how many there are.
///
/// The requests come in passes, as in fio. When [`next_of`](Course::next_of) has no further one,
/// the pass is over: what was written is to be verified now, if the job says so. Then
/// [`next_pass`](Course::next_pass) tells whether there is another one. A job that is `time_based`
/// always has another one, and its caller ends it.
///
/// As an iterator a course gives the requests of all passes.
///
/// ```
/// use fio_jobs::random::Course;
/// use fio_jobs::{JobFile, Surroundings};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // 30 KiB have room for seven blocks of 4 KiB, and each of the two loops reads all of them.
/// let text = "[j]\nfilename=f\nrw=read\nbs=4k\nsize=30k\nloops=2\n";
/// let file = JobFile::parse("example.fio", text, &Surroundings::isolated())?;
/// let job = file.jobs().next().ok_or("no job")?;
/// let regions = job.regions(0, &[], job.seed(0, 0))?;
/// let course = Course::new(job, &regions, job.seed(0, 0))?;
/// assert_eq!(course.count(), 14);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Course {
    requests: Requests,
    time_based: bool,
    /// What ends a job without a time to fill: bytes, and requests.
    bytes_most: u64,
    count_most: Option<u64>,
    loops_left: u32,
    /// What `io_size` or the size says of one loop.
    limit: u64,
    has_io_size: bool,
    max_block: u64,
    /// All requests so far.
    bytes: u64,
    count: u64,
    /// The same with what was read to verify.
    moved: u64,
    in_pass: u64,
}

impl Course {
    /// The course of a worker of `job` over these regions, see
    /// [`Job::regions`](crate::Job::regions) and [`Job::seed`](crate::Job::seed).
    ///
    /// # Errors
    ///
    /// See [`RequestsError`].
    pub fn new(job: &Job, regions: &[FileRegion], seed: u64) -> Result<Course, RequestsError> {
        let options = &job.options;
        let mut requests = Requests::new(options, regions, seed)?;
        let (size, io_size) = job.amount(regions);
        let limit = io_size.unwrap_or(size);
        if let Some(bytes) = pass_bytes(options, size, io_size) {
            requests.set_pass_bytes(bytes);
        }
        let loops = u64::from(options.loops);
        Ok(Course {
            requests,
            time_based: options.time_based,
            bytes_most: limit.saturating_mul(loops),
            count_most: options.number_ios.map(|count| count.saturating_mul(loops)),
            loops_left: options.loops.saturating_sub(1),
            limit,
            has_io_size: io_size.is_some(),
            max_block: options.max_block(),
            bytes: 0,
            count: 0,
            moved: 0,
            in_pass: 0,
        })
    }

    /// Whether the next request is to be a write, as the job mixes them.
    pub fn direction(&mut self) -> bool {
        self.requests.direction()
    }

    /// The next request of this direction, or of the other one where only that has any left. None
    /// if the pass is over.
    pub fn next_of(&mut self, write: bool) -> Option<Request> {
        if self.is_pass_over() {
            return None;
        }
        let request = self.requests.next_of(write)?;
        self.bytes = self.bytes.saturating_add(request.bytes);
        self.moved = self.moved.saturating_add(request.bytes);
        self.count += 1;
        self.in_pass += 1;
        Some(request)
    }

    /// Whether it is known already that the pass is over. Where no block fits into what is left of
    /// the files only [`next_of`](Course::next_of) knows.
    pub fn is_pass_over(&self) -> bool {
        self.is_enough() || self.requests.is_pass_over()
    }

    /// So many bytes were read to verify what was written. In fio they count as a part of what
    /// `io_size` asks for.
    pub fn verified(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// Begins another pass, if there is one.
    pub fn next_pass(&mut self) -> bool {
        if std::mem::take(&mut self.in_pass) == 0 || !self.goes_on() {
            return false;
        }
        self.requests.next_pass();
        true
    }

    fn goes_on(&mut self) -> bool {
        if self.time_based {
            return true;
        }
        if self.is_enough() {
            return false;
        }
        if let Some(left) = self.loops_left.checked_sub(1) {
            self.loops_left = left;
            return true;
        }
        let files_are_over = self.requests.files_are_over() && !self.has_io_size;
        let left = self.limit.saturating_sub(self.moved);
        left > 0 && left >= self.max_block && !files_are_over
    }

    fn is_enough(&self) -> bool {
        let counted = self.count_most.is_some_and(|most| self.count >= most);
        !self.time_based && (counted || self.bytes >= self.bytes_most)
    }

    /// The requests of this pass that are still to come, whatever ends the job.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }
}

impl Iterator for Course {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        loop {
            let write = self.direction();
            if let Some(request) = self.next_of(write) {
                return Some(request);
            }
            if !self.next_pass() {
                return None;
            }
        }
    }
}

/// After how many bytes a pass is over although the files have more. None for as many as all
/// regions have.
fn pass_bytes(options: &Options, size: u64, io_size: Option<u64>) -> Option<u64> {
    let mode = options.mode;
    if options.time_based && options.verify.is_none() {
        // Each direction of a sequential job comes to the end of the files at its own time.
        let apart = !mode.is_random() && mode.reads() && mode.writes();
        return apart.then_some(u64::MAX);
    }
    if !options.time_based && options.engine.is_synchronous() {
        // fio does not count what such engines submit: only the end of the files, or of the job,
        // ends a pass.
        return Some(u64::MAX);
    }
    // What may come again is not over with the size.
    let again = mode.writes() && mode.is_random() && options.norandommap;
    Some(if again {
        size.max(io_size.unwrap_or(0))
    } else {
        size
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Found, JobFile, Surroundings};

    const K: u64 = 1024;

    /// The requests of all passes, as a letter and an offset in KiB, and `+` with the size in KiB
    /// where that is not 4.
    fn course(text: &str, existing: Option<u64>) -> String {
        let text = format!("[j]\nfilename=f\n{text}");
        let file = JobFile::parse("test.fio", &text, &Surroundings::isolated()).unwrap();
        let job = file.jobs().next().unwrap();
        let regions = job
            .regions(0, &[existing.map_or(Found::Nothing, Found::File)], 1)
            .unwrap();
        let show = |request: Request| {
            let letter = if request.write { 'w' } else { 'r' };
            match request.bytes / K {
                4 => format!("{letter}{}", request.offset / K),
                bytes => format!("{letter}{}+{bytes}", request.offset / K),
            }
        };
        let course = Course::new(job, &regions, 1).unwrap();
        course.map(show).collect::<Vec<_>>().join(" ")
    }

    /// The requests of fio 3.33 for the same lines.
    #[test]
    fn a_course_is_what_fio_makes_of_the_same_lines() {
        let large = Some(128 * K);
        let seven = "r0 r4 r8 r12 r16 r20 r24";
        let four = "r0 r4 r8 r12";
        for (text, existing, expected) in [
            ("size=30k", None, seven.to_owned()),
            ("size=30k", large, format!("{seven} r28")),
            ("size=30k\nloops=2", None, format!("{seven} {seven}")),
            ("size=30k\nio_size=60k", None, format!("{seven} {seven} r0")),
            ("size=30k\nio_size=58k", None, format!("{seven} {seven}")),
            ("size=64k\nio_size=30k", None, format!("{seven} r28")),
            ("filesize=64k\nsize=30k", None, format!("{seven} r28")),
            (
                "filesize=64k\nsize=16k\nio_size=32k",
                None,
                format!("{seven} r28"),
            ),
            (
                "filesize=64k\nsize=16k\nio_size=48k\nioengine=libaio",
                None,
                format!("{four} {four} {four}"),
            ),
            (
                "filesize=64k\nsize=16k\nloops=2",
                None,
                format!("{seven} r28"),
            ),
            (
                "filesize=64k\nsize=16k\nloops=2\nioengine=libaio",
                None,
                format!("{four} {four}"),
            ),
            (
                "size=16k\nio_size=32k\nloops=2",
                None,
                format!("{four} {four}"),
            ),
            (
                "size=32k\nio_size=16k\nloops=2",
                None,
                format!("{seven} r28"),
            ),
            (
                "size=16k\nio_size=8k\nloops=3",
                None,
                format!("{four} r0 r4"),
            ),
            ("size=32k\nnumber_ios=2\nloops=2", None, four.to_owned()),
            ("size=16k\nnumber_ios=6", None, four.to_owned()),
            (
                "size=16k\nnumber_ios=6\nloops=2",
                None,
                format!("{four} {four}"),
            ),
            (
                "size=16k\nio_size=64k\nnumber_ios=6",
                None,
                format!("{four} r0 r4"),
            ),
            (
                "rw=read:4k\nsize=32k",
                None,
                "r0 r8 r16 r24 r0 r8 r16 r24".to_owned(),
            ),
            ("rw=read:4k\nsize=36k", None, "r0 r8 r16 r24 r32".to_owned()),
            ("rw=read:4k\nsize=32k", large, "r0 r8 r16 r24".to_owned()),
            (
                "rw=read:4k\nsize=32k\noffset=16k",
                None,
                "r16 r24 r32 r40".to_owned(),
            ),
            (
                "bs=12k\nsize=64k",
                None,
                "r0+12 r12+12 r24+12 r36+12 r48+12".to_owned(),
            ),
            (
                "filesize=64k\noffset=48k",
                None,
                "r48 r52 r56 r60".to_owned(),
            ),
        ] {
            assert_eq!(course(text, existing), expected, "{text} {existing:?}");
        }
    }

    #[test]
    fn random_requests_leave_out_what_no_block_fits_into() {
        for (text, count) in [
            ("rw=randread\nsize=30k", 7),
            ("rw=randrw\nsize=30k", 7),
            ("rw=randread\nnorandommap\nsize=30k", 8),
            ("rw=rw\nsize=30k", 8),
        ] {
            assert_eq!(course(text, None).split(' ').count(), count, "{text}");
        }
    }

    #[test]
    fn what_is_read_to_verify_counts_for_the_io_size() {
        let text = "[j]\nfilename=f\nsize=16k\nio_size=32k\nrw=write\nverify=crc32c";
        let file = JobFile::parse("test.fio", text, &Surroundings::isolated()).unwrap();
        let job = file.jobs().next().unwrap();
        let regions = job.regions(0, &[], 1).unwrap();
        let mut course = Course::new(job, &regions, 1).unwrap();
        assert_eq!(std::iter::from_fn(|| course.next_of(true)).count(), 4);
        course.verified(16 * K);
        assert!(!course.next_pass());
    }

    #[test]
    fn a_job_with_a_time_to_fill_has_passes_without_end() {
        let text = "[j]\nfilename=f\nsize=16k\nnumber_ios=3\ntime_based\nruntime=1\nrw=write";
        let passes = |more: &str| {
            let text = format!("{text}\n{more}");
            let file = JobFile::parse("test.fio", &text, &Surroundings::isolated()).unwrap();
            let job = file.jobs().next().unwrap();
            let regions = job.regions(0, &[], 1).unwrap();
            let mut course = Course::new(job, &regions, 1).unwrap();
            let mut pass = || {
                let count = std::iter::from_fn(|| course.next_of(true))
                    .take(100)
                    .count();
                (count, course.next_pass())
            };
            [pass(), pass(), pass()]
        };
        assert_eq!(passes(""), [(4, true); 3]);
        assert_eq!(passes("verify=crc32c"), [(4, true); 3]);
    }
}
