//! What is to be run: the jobs of the profiles, with what the command line changes, and what of
//! them can't be carried out.
//!
//! Nothing of a job is left out without a word: it is carried out, warned of, or an error.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fio_jobs::random::Requests;
use fio_jobs::{FileRegion, Job, JobFile, Memory, Options, Size, Surroundings, Verify};

use super::files::{Files, Wish};
use super::guard;
use super::verify;

/// Requests in flight of one worker: what a ring may have.
const MAX_DEPTH: u32 = 16_384;
/// Of the runtime that is given for all jobs, the ramp takes so much at most.
const RAMP_SHARE: u32 = 5;

/// What the command line says instead of the profiles.
pub(super) struct Changes<'a> {
    pub(super) dir: &'a Path,
    pub(super) size: Option<u64>,
    pub(super) runtime: Option<Duration>,
}

/// Everything that is to be run.
pub(super) struct Plan {
    pub(super) groups: Vec<Group>,
    pub(super) files: Files,
    /// Lines for standard error.
    pub(super) warnings: Vec<String>,
}

/// Jobs that start together.
pub(super) struct Group {
    pub(super) jobs: Vec<Planned>,
    /// Files that no later group uses.
    pub(super) last_use: Vec<usize>,
}

/// One job with its workers.
pub(super) struct Planned {
    pub(super) job: Job,
    /// Where it stands: file, line and name.
    pub(super) place: String,
    pub(super) profile: String,
    /// Which job of the same group has to end before.
    pub(super) after: Option<usize>,
    pub(super) workers: Vec<Worker>,
}

/// One worker of a job.
pub(super) struct Worker {
    pub(super) files: Vec<usize>,
    /// The part of each of them.
    pub(super) regions: Vec<FileRegion>,
    pub(super) requests: Requests,
    pub(super) bytes: u64,
    pub(super) seed: u64,
    /// Its number among all workers of the profile, from 1.
    pub(super) number: u32,
    /// The file that its buffers are a mapping of.
    pub(super) mapped: Option<PathBuf>,
}

impl Group {
    /// The files that its jobs use, each once.
    pub(super) fn files(&self) -> Vec<usize> {
        let mut files: Vec<usize> = self
            .jobs
            .iter()
            .flat_map(|job| &job.workers)
            .flat_map(|worker| worker.files.iter().copied())
            .collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// How long it runs, where that is known.
    pub(super) fn time(&self) -> Option<Duration> {
        self.jobs
            .iter()
            .map(|job| {
                job.job
                    .options
                    .runtime
                    .map(|time| time + job.job.options.ramp_time)
            })
            .max()
            .flatten()
    }

    /// How many bytes it moves, where that is known.
    pub(super) fn bytes(&self) -> u64 {
        let of = |job: &Planned| {
            let options = &job.job.options;
            let again = options.verify.is_some() && options.do_verify && options.mode.writes();
            job.workers.iter().map(|worker| worker.bytes).sum::<u64>()
                * u64::from(options.loops)
                * (1 + u64::from(again))
        };
        self.jobs.iter().map(of).sum()
    }
}

impl Plan {
    /// Reads the profiles. The error is the whole line for the user.
    pub(super) fn read(profiles: &[PathBuf], changes: &Changes<'_>) -> Result<Plan, String> {
        let mut plan = Plan {
            groups: Vec::new(),
            files: Files::default(),
            warnings: Vec::new(),
        };
        for profile in profiles {
            let file = JobFile::read(profile, &Surroundings::system())
                .map_err(|error| error.to_string())?;
            plan.warnings
                .extend(file.warnings.iter().map(ToString::to_string));
            for group in file.groups {
                let mut jobs: Vec<Planned> = Vec::new();
                for mut job in group.jobs {
                    let place = format!("{}:{}: [{}]", profile.display(), job.line, job.section);
                    let wrong = |text: String| format!("{place}: {text}");
                    change(&mut job, changes);
                    plan.judge(&job, &place)?;
                    let after = job
                        .options
                        .wait_for
                        .as_ref()
                        .and_then(|name| jobs.iter().position(|other| other.job.name == *name));
                    let workers = (0..job.options.numjobs)
                        .map(|clone| plan.worker(&job, clone, &place, changes.dir));
                    let workers = workers.collect::<Result<_, _>>().map_err(wrong)?;
                    jobs.push(Planned {
                        job,
                        place,
                        profile: profile.display().to_string(),
                        after,
                        workers,
                    });
                }
                plan.warn_of_overlaps(&jobs);
                plan.groups.push(Group {
                    jobs,
                    last_use: Vec::new(),
                });
            }
        }
        let mut seen = std::collections::HashSet::new();
        for group in plan.groups.iter_mut().rev() {
            group.last_use = group
                .files()
                .into_iter()
                .filter(|file| seen.insert(*file))
                .collect();
        }
        Ok(plan)
    }

    fn worker(&mut self, job: &Job, clone: u32, place: &str, dir: &Path) -> Result<Worker, String> {
        let seed = job.seed(clone, fastrand::u64(..));
        let found = job
            .files(clone)
            .into_iter()
            .map(|name| self.files.find(dir.join(name)))
            .collect::<Result<Vec<_>, _>>()?;
        let existing: Vec<Option<u64>> = found.iter().map(|(_, bytes)| *bytes).collect();
        let regions = job
            .regions(clone, &existing, seed)
            .map_err(|error| error.to_string())?;
        let requests =
            Requests::new(&job.options, &regions, seed).map_err(|error| error.to_string())?;
        let options = &job.options;
        let sparse = options
            .fio_only
            .iter()
            .any(|option| option.name == "fallocate" && option.value.as_deref() == Some("none"));
        for ((file, _), region) in found.iter().zip(&regions) {
            let wish = Wish {
                job: place,
                bytes: region.end(),
                write: options.mode.writes(),
                laid_out: options.mode.reads() || options.overwrite,
                invalidate: options.invalidate,
                sparse,
                in_use_allowed: options.fio_only.iter().any(|option| {
                    option.name == guard::ALLOWED_BY && option.value.as_deref() != Some("0")
                }),
            };
            self.files.wish(*file, &wish);
        }
        let mapped = match &options.memory {
            Memory::Mmap(name) | Memory::MmapHuge(name) | Memory::MmapShared(name) => {
                name.as_ref().map(|name| {
                    let name = if options.numjobs > 1 {
                        format!("{name}.{clone}")
                    } else {
                        name.clone()
                    };
                    dir.join(name)
                })
            }
            _ => None,
        };
        if options.unlink && existing.iter().any(Option::is_some) && clone == 0 {
            self.warnings.push(format!(
                "{place}: warning: unlink has no effect on a file that was there before"
            ));
        }
        let files = found.into_iter().map(|(file, _)| file).collect();
        let bytes = job.io_bytes(&regions);
        Ok(Worker {
            files,
            bytes,
            requests,
            seed,
            number: job.first_worker + clone,
            regions,
            mapped,
        })
    }

    /// Says which jobs verify what another worker writes to meanwhile.
    fn warn_of_overlaps(&mut self, jobs: &[Planned]) {
        let mut regions: Vec<(usize, FileRegion, usize)> = Vec::new();
        for (at, worker) in jobs
            .iter()
            .enumerate()
            .flat_map(|(at, job)| job.workers.iter().map(move |worker| (at, worker)))
        {
            regions.extend(
                worker
                    .files
                    .iter()
                    .zip(&worker.regions)
                    .map(|(&file, &region)| (file, region, at)),
            );
        }
        regions.sort_unstable_by_key(|&(file, region, _)| (file, region.offset));
        let verifies = |job: usize| jobs[job].job.options.verify.is_some();
        let writes = |job: usize| jobs[job].job.options.mode.writes();
        // Of a job that waits for the other one the two are not there at the same time; a longer
        // chain is not looked at.
        let apart = |a: usize, b: usize| jobs[a].after == Some(b) || jobs[b].after == Some(a);
        let mut disturbed = vec![false; jobs.len()];
        for (at, &(file, region, a)) in regions.iter().enumerate() {
            for &(_, _, b) in regions[at + 1..]
                .iter()
                .take_while(|(same, other, _)| *same == file && other.offset < region.end())
            {
                let (of_a, of_b) = (verifies(a) && writes(b), verifies(b) && writes(a));
                disturbed[a] |= of_a && !apart(a, b);
                disturbed[b] |= of_b && !apart(a, b);
            }
        }
        for (job, _) in jobs
            .iter()
            .zip(disturbed)
            .filter(|(_, disturbed)| *disturbed)
        {
            let text = "another worker writes to what this job verifies, at the same time: differences are likely";
            self.warnings
                .push(format!("{}: warning: {text}", job.place));
        }
    }

    /// Says what of a job is not carried out as it stands there.
    fn judge(&mut self, job: &Job, place: &str) -> Result<(), String> {
        let options = &job.options;
        let error = |text: &str| Err(format!("{place}: {text}"));
        if options.depth > MAX_DEPTH {
            return error(&format!(
                "iodepth={}: a ring here has {MAX_DEPTH} requests at most",
                options.depth
            ));
        }
        if options.max_block() > 1 << 30 {
            return error("bs: requests have 1 GiB at most here");
        }
        if options.fixed_buffers && options.depth > 1024 {
            return error(
                "fixedbufs: at most 1024 buffers are registered here; take a smaller iodepth",
            );
        }
        if options.memory_align > 1 << 21
            || !options.memory_align.is_power_of_two() && options.memory_align != 0
        {
            return error("iomem_align: buffers are aligned to a power of two up to 2 MiB here");
        }
        if options.verify.is_some_and(|kind| kind != Verify::Pattern)
            && least_block(options) < verify::OVERHEAD as u64
        {
            return error(&format!(
                "verify: a block needs {} bytes for its header, and bs is less",
                verify::OVERHEAD
            ));
        }
        let mut warn = |text: &str| self.warnings.push(format!("{place}: warning: {text}"));
        if !batches_as_here(options) {
            warn(
                "iodepth_batch and its kin have no effect: what is ready is submitted at once, and what has ended is taken at once",
            );
        }
        if options.depth_low.is_some() {
            warn(
                "iodepth_low has no effect: there are always as many requests in flight as iodepth says",
            );
        }
        if options.engine.is_synchronous() && options.depth > 1 {
            warn("iodepth is heeded, though this ioengine would not");
        }
        if options.create_on_open {
            warn("create_on_open has no effect: files are made before");
        }
        if matches!(options.memory, Memory::Shm) {
            warn("iomem=shm: a shared anonymous mapping is taken, which is the same memory");
        }
        if options.numjobs > 1 && !options.group_reporting {
            warn("the workers of a job are reported as one, with or without group_reporting");
        }
        let bytes = u64::from(options.numjobs) * u64::from(options.depth) * options.max_block();
        if bytes > 4 << 30 {
            warn(&format!(
                "the buffers of its workers take {} in all",
                crate::figures::units::size(bytes)
            ));
        }
        Ok(())
    }
}

/// The fewest bytes that a request may have. With several sizes it may end where another one
/// begins, and both directions share what starts are multiples of.
fn least_block(options: &Options) -> u64 {
    let (read, write) = (options.block.read.min(), options.block.write.min());
    match (options.mode.reads(), options.mode.writes()) {
        (true, true) => {
            let (mut a, mut b) = (read, write);
            while b > 0 {
                (a, b) = (b, a % b);
            }
            a
        }
        (false, true) => write,
        _ => read,
    }
}

/// Whether fio would submit and reap as it is done here, or nothing is said about that: all that is
/// ready, at once.
pub(super) fn batches_as_here(options: &Options) -> bool {
    let all = options.batch_submit == 0 || options.batch_submit >= options.depth;
    let reaps_all = options
        .batch_complete_max
        .is_some_and(|most| most >= options.depth);
    let unsaid = options.batch_submit == 1 && options.batch_complete_max.is_none();
    options.batch_complete_min == 1 && (unsaid || all && reaps_all)
}

/// Applies what the command line says.
fn change(job: &mut Job, changes: &Changes<'_>) {
    let options = &mut job.options;
    if let Some(size) = changes.size {
        options.size = Some(Size::Bytes(size));
        options.filesize = None;
        if let Some(Size::Bytes(bytes)) = &mut options.io_size {
            *bytes = (*bytes).min(size);
        }
    }
    if let Some(runtime) = changes.runtime {
        options.runtime = Some(runtime);
        options.ramp_time = options.ramp_time.min(runtime / RAMP_SHARE);
    }
}
