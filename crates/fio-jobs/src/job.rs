//! What a job file says, as types: files, jobs, options. No text: the names of fio's options are in
//! the documentation only.

use std::time::Duration;

use super::error::Warning;
use super::kinds::{
    BlockSize, Distribution, FioOnly, IoEngine, Memory, Mode, PatternPart, PerDirection, Sequencer,
    Size, SyncMode, Verify,
};

/// A job file, read.
///
/// Two are equal if they have the same jobs in the same groups; where those stand in their files,
/// and what was warned of, does not count.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobFile {
    /// The jobs, in groups that run one after the other: each group starts when every worker of the
    /// one before has ended (`stonewall`). No group is empty.
    pub groups: Vec<Group>,
    /// What has no effect, in the order of the file.
    pub warnings: Vec<Warning>,
}

impl JobFile {
    /// All jobs, in the order of the file.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.groups.iter().flat_map(|group| &group.jobs)
    }

    /// The workers of all jobs, `numjobs` counted; at most [`MAX_WORKERS`](super::MAX_WORKERS).
    pub fn workers(&self) -> u32 {
        self.jobs().map(|job| job.options.numjobs).sum()
    }
}

impl PartialEq for JobFile {
    fn eq(&self, other: &JobFile) -> bool {
        self.groups == other.groups
    }
}

/// Jobs that start together.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Group {
    /// The jobs, in the order of the file. One that has [`Options::wait_for`] starts only when that
    /// one has ended.
    pub jobs: Vec<Job>,
}

/// One section of a job file, with everything that it inherits.
///
/// Two are equal if they are the same job; the line in the file does not count.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Job {
    /// The section's name. Generated file names have it, even if `name` says otherwise.
    pub section: String,
    /// The name in reports: the section's, or what `name` says.
    pub name: String,
    /// The line of the section, from 1.
    pub line: u32,
    /// Which group of reports it belongs to, from 0: `stonewall` and `new_group` start another one.
    /// With [`Options::group_reporting`] the jobs of one group are reported as one.
    pub report_group: u32,
    /// The number of its first worker among those of the whole file, from 1. The worker `clone` has
    /// `first_worker + clone`, and takes its random numbers from that.
    pub first_worker: u32,
    /// What it does.
    pub options: Options,
}

impl PartialEq for Job {
    fn eq(&self, other: &Job) -> bool {
        let named = |job: &Job| (job.report_group, job.first_worker);
        self.section == other.section
            && self.name == other.name
            && named(self) == named(other)
            && self.options == other.options
    }
}

/// Everything that a job file can say of a job. What it does not say has fio's default, which is
/// also this type's.
///
/// Where a type has "no limit" or "not given", that is `None`, not zero. In brackets is the name of
/// the option, where it is another one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Options {
    // ---- the job
    /// What it is for.
    pub description: Option<String>,
    /// How many workers do the same. At least 1.
    pub numjobs: u32,
    /// How often all of it is done. At least 1.
    pub loops: u32,
    /// It starts when all jobs before it have ended.
    pub stonewall: bool,
    /// It starts another group of reports.
    pub new_group: bool,
    /// It starts when all workers of the job with this name have ended. Exactly one job before it
    /// has that name.
    pub wait_for: Option<String>,
    /// The jobs of its group are reported as one.
    pub group_reporting: bool,
    /// fio uses a thread and not a process.
    pub thread: bool,

    // ---- the files
    /// The files (`filename`), with their directory; empty if they are generated. See
    /// [`Job::files`].
    pub filenames: Vec<String>,
    /// Where generated files are (`directory`); the workers take one after the other. Empty if
    /// there are file names.
    pub directories: Vec<String>,
    /// How generated files are named.
    pub filename_format: String,
    /// How many files are generated. At least 1.
    pub nrfiles: u32,
    /// The size of each file in bytes, from and to.
    pub filesize: Option<(u64, u64)>,
    /// The size of all files together. See [`Job::regions`].
    pub size: Option<Size>,
    /// How much is read and written (`io_size`), if not as much as the size is.
    pub io_size: Option<Size>,
    /// Where in each file the region starts.
    pub offset: Size,
    /// How much further each worker starts.
    pub offset_increment: Size,
    /// What a start in percent is rounded up to; 0 for the smallest block.
    pub offset_align: u64,
    /// How many requests there are at most.
    pub number_ios: Option<u64>,
    /// The files are removed at the end.
    pub unlink: bool,
    /// A file that is written is laid out before.
    pub overwrite: bool,
    /// The files are made when they are opened, not before.
    pub create_on_open: bool,
    /// What the page cache has of the files is dropped before the start.
    pub invalidate: bool,

    // ---- the requests
    /// Reads or writes, random or not (`rw`).
    pub mode: Mode,
    /// The number behind the mode, see [`Sequencer`]; 0 if there is none.
    pub modifier: u64,
    /// What that number does (`rw_sequencer`).
    pub sequencer: Sequencer,
    /// How many of a hundred requests of a mixed job are reads (`rwmixread`, `rwmixwrite`).
    pub read_percent: u8,
    /// The sizes of the requests (`bs`, `bsrange`, `bssplit`).
    pub block: PerDirection<BlockSize>,
    /// Sizes of a range need not be multiples of the smallest.
    pub block_unaligned: bool,
    /// What random offsets are multiples of (`blockalign`), if not of the smallest size. Turns
    /// [`Options::covers`] off.
    pub block_align: PerDirection<Option<u64>>,
    /// Direct I/O (`direct`, `buffered`).
    pub direct: bool,
    /// Synchronous writes.
    pub sync: SyncMode,

    // ---- random offsets
    /// Which offsets are likely.
    pub distribution: Distribution,
    /// Offsets may come again before all have come.
    pub norandommap: bool,
    /// If not set, the seed is another one in each run.
    pub randrepeat: bool,
    /// The same for all that is random; fio's own distinction, which is none here.
    pub allrandrepeat: bool,
    /// The seed of everything random; it makes runs repeatable whatever [`Options::randrepeat`]
    /// says.
    pub randseed: Option<u64>,

    // ---- how requests are sent
    /// fio's engine.
    pub engine: IoEngine,
    /// Requests in flight. At least 1.
    pub depth: u32,
    /// Requests that are submitted at once (`iodepth_batch`); 0 for as many as possible.
    pub batch_submit: u32,
    /// Requests that are waited for at least (`iodepth_batch_complete_min`).
    pub batch_complete_min: u32,
    /// Requests that are reaped at once at most (`iodepth_batch_complete_max`), if not the same as
    /// the minimum.
    pub batch_complete_max: Option<u32>,
    /// To how many the requests in flight are let down, once there were as many as the depth,
    /// before new ones are sent (`iodepth_low`). Less than the depth; without it there are always
    /// as many as the depth.
    pub depth_low: Option<u32>,
    /// Buffers are registered once (`fixedbufs`).
    pub fixed_buffers: bool,
    /// Files are registered once (`registerfiles`).
    pub registered_files: bool,

    // ---- buffers
    /// Their memory.
    pub memory: Memory,
    /// Their alignment in bytes (`iomem_align`); 0 for a page.
    pub memory_align: u64,
    /// They are zero.
    pub zero_buffers: bool,
    /// They are filled anew for each write.
    pub refill_buffers: bool,
    /// They are changed a little for each write.
    pub scramble_buffers: bool,

    // ---- time and rate
    /// How long it runs at most.
    pub runtime: Option<Duration>,
    /// It runs that long even if all is done, by starting over. Only with a runtime.
    pub time_based: bool,
    /// How long it runs before anything counts; adds to the runtime.
    pub ramp_time: Duration,
    /// How long it waits before it starts: a random time between these two.
    pub start_delay: (Duration, Duration),
    /// Bytes per second at most. Never together with `rate_iops`.
    pub rate: PerDirection<Option<u64>>,
    /// Requests per second at most.
    pub rate_iops: PerDirection<Option<u32>>,
    /// How long it does nothing after each `thinktime_blocks` requests.
    pub thinktime: Duration,
    /// How much of the think time is spent with computing. Not more than that.
    pub thinktime_spin: Duration,
    /// See `thinktime`. At least 1.
    pub thinktime_blocks: u32,

    // ---- durability
    /// An fsync after so many writes; 0 for never.
    pub fsync: u32,
    /// An fdatasync after so many writes; 0 for never.
    pub fdatasync: u32,
    /// An fsync at the end.
    pub end_fsync: bool,
    /// An fsync when a file is closed.
    pub fsync_on_close: bool,

    // ---- verification
    /// How what was written is verified.
    pub verify: Option<Verify>,
    /// It is read back and verified after it was written.
    pub do_verify: bool,
    /// The first difference ends the job.
    pub verify_fatal: bool,
    /// What the blocks are filled with; for [`Verify::Pattern`] never empty.
    pub verify_pattern: Vec<PatternPart>,

    // ---- reports
    /// Percentiles of the time from completion to submission.
    pub clat_percentiles: bool,
    /// Percentiles of the whole time.
    pub lat_percentiles: bool,
    /// Percentiles of the time that submission takes.
    pub slat_percentiles: bool,
    /// Which percentiles; empty for the usual ones. At most 20, each above 0 and up to 100.
    pub percentiles: Vec<f64>,

    /// What only real fio heeds.
    pub fio_only: Vec<FioOnly>,
}

/// fio's own default of `filename_format`.
pub(super) const FILENAME_FORMAT: &str = "$jobname.$jobnum.$filenum";
/// fio's own default of `bs`.
pub(super) const BLOCK_BYTES: u64 = 4096;

impl Default for Options {
    fn default() -> Options {
        Options {
            description: None,
            numjobs: 1,
            loops: 1,
            stonewall: false,
            new_group: false,
            wait_for: None,
            group_reporting: false,
            thread: false,
            filenames: Vec::new(),
            directories: Vec::new(),
            filename_format: FILENAME_FORMAT.to_owned(),
            nrfiles: 1,
            filesize: None,
            size: None,
            io_size: None,
            offset: Size::Bytes(0),
            offset_increment: Size::Bytes(0),
            offset_align: 0,
            number_ios: None,
            unlink: false,
            overwrite: false,
            create_on_open: false,
            invalidate: true,
            mode: Mode::Read,
            modifier: 0,
            sequencer: Sequencer::Sequential,
            read_percent: 50,
            block: PerDirection::both(BlockSize::Fixed(BLOCK_BYTES)),
            block_unaligned: false,
            block_align: PerDirection::both(None),
            direct: false,
            sync: SyncMode::None,
            distribution: Distribution::Random,
            norandommap: false,
            randrepeat: true,
            allrandrepeat: false,
            randseed: None,
            engine: IoEngine::Psync,
            depth: 1,
            batch_submit: 1,
            batch_complete_min: 1,
            batch_complete_max: None,
            depth_low: None,
            fixed_buffers: false,
            registered_files: false,
            memory: Memory::Malloc,
            memory_align: 0,
            zero_buffers: false,
            refill_buffers: false,
            scramble_buffers: true,
            runtime: None,
            time_based: false,
            ramp_time: Duration::ZERO,
            start_delay: (Duration::ZERO, Duration::ZERO),
            rate: PerDirection::both(None),
            rate_iops: PerDirection::both(None),
            thinktime: Duration::ZERO,
            thinktime_spin: Duration::ZERO,
            thinktime_blocks: 1,
            fsync: 0,
            fdatasync: 0,
            end_fsync: false,
            fsync_on_close: false,
            verify: None,
            do_verify: true,
            verify_fatal: false,
            verify_pattern: Vec::new(),
            clat_percentiles: true,
            lat_percentiles: false,
            slat_percentiles: false,
            percentiles: Vec::new(),
            fio_only: Vec::new(),
        }
    }
}

impl Options {
    /// The smallest block of the directions that the mode has: what offsets and sizes are counted
    /// in.
    pub fn min_block(&self) -> u64 {
        self.used_blocks()
            .map(BlockSize::min)
            .min()
            .unwrap_or(BLOCK_BYTES)
    }

    /// The largest block of the directions that the mode has: what a buffer must hold.
    pub fn max_block(&self) -> u64 {
        self.used_blocks()
            .map(BlockSize::max)
            .max()
            .unwrap_or(BLOCK_BYTES)
    }

    fn used_blocks(&self) -> impl Iterator<Item = &BlockSize> {
        let of = |used: bool, block| used.then_some(block);
        of(self.mode.reads(), &self.block.read)
            .into_iter()
            .chain(of(self.mode.writes(), &self.block.write))
    }

    /// The same job for another engine. As in fio, what was said to the one before is lost: so it
    /// can be printed for each of fio's columns.
    pub fn set_engine(&mut self, engine: IoEngine) {
        self.fio_only
            .retain(|option| option.engines.is_empty() || option.engines.contains(&engine));
        if engine != IoEngine::IoUring {
            self.fixed_buffers = false;
            self.registered_files = false;
        }
        self.engine = engine;
    }

    /// Whether random requests visit every block of the region once before any comes again: a
    /// uniform distribution, and neither `norandommap` nor an alignment of its own.
    pub fn covers(&self) -> bool {
        let aligned = |write: bool| {
            self.block_align
                .get(write)
                .is_none_or(|align| align == self.block.get(write).min())
        };
        self.distribution == Distribution::Random
            && !self.norandommap
            && aligned(false)
            && aligned(true)
    }
}
