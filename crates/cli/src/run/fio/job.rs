//! The job file for fio: the group as it was planned, for one of fio's engines.
//!
//! Everything that decides on the requests stays as it is. What is changed is only who lays files
//! out and removes them, and what is reported.

use std::time::Duration;

use fio_jobs::{Job, Memory, Size};

use super::super::plan::{Group, Planned, Worker, batches_as_here};
use super::{Engine, SLOWEST_BYTES, SLOWEST_REQUEST, SPARE_TIME};

/// Options that would leave out what the columns show.
const REPORTS: [&str; 5] = [
    "gtod_reduce",
    "disable_lat",
    "disable_clat",
    "disable_slat",
    "unified_rw_reporting",
];
/// Options for fio only that change nothing about the requests, or that the other columns heed too.
const HARMLESS: [&str; 15] = [
    "fadvise_hint",
    "fallocate",
    "verify_state_save",
    "create_serialize",
    "create_fsync",
    "allow_mounted_write",
    "openfiles",
    "disk_util",
    "unit_base",
    "significant_figures",
    "error_dump",
    "per_job_logs",
    "log_entries",
    "bwavgtime",
    "iopsavgtime",
];

/// The whole file.
pub(super) fn text(group: &Group, engine: Engine) -> String {
    group
        .jobs
        .iter()
        .map(|job| changed(job, engine).to_string())
        .collect()
}

fn changed(planned: &Planned, engine: Engine) -> Job {
    let mut job = planned.job.clone();
    let options = &mut job.options;
    options.set_engine(engine.name());
    if engine == Engine::Psync {
        options.direct = false;
    }
    // They start together, and each worker is reported by itself.
    (
        options.stonewall,
        options.new_group,
        options.group_reporting,
    ) = (false, false, false);
    // The files are ours, and the next column needs them.
    options.unlink = false;
    (options.lat_percentiles, options.slat_percentiles) = (true, true);
    options
        .fio_only
        .retain(|option| !REPORTS.contains(&option.name));
    absolute(&mut job, &planned.workers);
    job
}

/// Parts of a file are of the file as it was before the first column, not of what it is now.
fn absolute(job: &mut Job, workers: &[Worker]) {
    let Some(first) = workers.first() else { return };
    let options = &mut job.options;
    if let Some(region) = first.regions.first() {
        if matches!(options.offset, Size::Percent(_)) {
            options.offset = Size::Bytes(region.offset);
        }
        if matches!(options.offset_increment, Size::Percent(_)) {
            let second = workers.get(1).and_then(|worker| worker.regions.first());
            options.offset_increment =
                Size::Bytes(second.map_or(0, |second| second.offset.saturating_sub(region.offset)));
        }
    }
    if matches!(options.size, Some(Size::Percent(_))) {
        options.size = Some(Size::Bytes(
            first.regions.iter().map(|region| region.bytes).sum(),
        ));
    }
    if matches!(options.io_size, Some(Size::Percent(_))) {
        options.io_size = Some(Size::Bytes(first.bytes));
    }
}

/// The file that fio makes to map its buffers from, and removes.
pub(super) fn mapped(job: &Job) -> Option<&str> {
    match &job.options.memory {
        Memory::Mmap(name) | Memory::MmapHuge(name) | Memory::MmapShared(name) => name.as_deref(),
        _ => None,
    }
}

/// What fio does of the job and the other columns don't.
pub(super) fn heeded(planned: &Planned) -> Option<String> {
    let options = &planned.job.options;
    let mut names = Vec::new();
    if !batches_as_here(options) {
        names.push("iodepth_batch and its kin");
    }
    if options.depth_low.is_some() {
        names.push("iodepth_low");
    }
    let only = options.fio_only.iter().map(|option| option.name);
    names.extend(only.filter(|name| !HARMLESS.contains(name) && !REPORTS.contains(name)));
    (!names.is_empty()).then(|| {
        format!(
            "{}: fio heeds {}, the other columns do not.",
            planned.place,
            names.join(", ")
        )
    })
}

/// How long fio may take: by the runtime, where that is known; otherwise as long as a slow disk
/// would.
pub(super) fn time_limit(group: &Group) -> Duration {
    let jobs = group.jobs.iter().map(|planned| {
        let options = &planned.job.options;
        let bytes = planned
            .workers
            .iter()
            .map(|worker| worker.bytes)
            .fold(0, u64::saturating_add)
            .saturating_mul(u64::from(options.loops));
        let flushed = Duration::from_secs(bytes / SLOWEST_BYTES);
        let most = match options.runtime {
            Some(runtime) => runtime + options.ramp_time,
            None => {
                let requests = bytes / options.min_block().max(1) + 1;
                let rate = |write| {
                    options
                        .rate
                        .get(write)
                        .map(|rate| Duration::from_secs(bytes / rate.max(1)))
                };
                let iops = |write| {
                    options
                        .rate_iops
                        .get(write)
                        .map(|rate| Duration::from_secs(requests / u64::from(rate.max(1))))
                };
                let rated = [rate(false), rate(true), iops(false), iops(true)]
                    .into_iter()
                    .flatten()
                    .max()
                    .unwrap_or_default();
                // Twice: a sync may follow each of them, and what is written may be verified.
                let each =
                    SLOWEST_REQUEST * 2 + options.thinktime / options.thinktime_blocks.max(1);
                each.saturating_mul(u32::try_from(requests).unwrap_or(u32::MAX))
                    .saturating_add(rated * 2)
            }
        };
        most.saturating_add(options.start_delay.1)
            .saturating_add(flushed)
    });
    // One after the other, because they may wait for each other.
    jobs.fold(SPARE_TIME, Duration::saturating_add)
}
