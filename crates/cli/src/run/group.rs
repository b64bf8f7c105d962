//! One run of one group in one column: a thread for each worker, all of them ready before the first
//! one starts.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fio_jobs::Options;
use fio_jobs::random::{Rng, Stream};
use indicatif::ProgressBar;
use rustix::fs::Advice;

use super::engine_lane::EngineLane;
use super::files::{Files, Target};
use super::fio;
use super::lane::{self, Counters, Filling, Ground, Lane, Stop};
use super::memory::Buffers;
use super::plan::{Group, Planned, Worker};
use super::record::Record;
use super::ring_lane::RingLane;
use super::script::Script;
use super::verify::Verifier;
use crate::figures::units;
use crate::ground::engine::BackendChoice;

/// Who carries the jobs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// nofault, direct whatever the job says.
    Direct,
    /// A plain ring, direct or not as the job says.
    Bare,
    /// nofault through the page cache, whatever the job says.
    Buffered,
    /// Real fio.
    Fio(fio::Engine),
}

impl Column {
    /// All columns of a run, in their order; those of fio only if there is one.
    pub(super) fn all(fio: bool) -> Vec<Column> {
        let own = [Column::Direct, Column::Bare, Column::Buffered];
        let others = fio::Engine::ALL.into_iter().map(Column::Fio);
        own.into_iter().chain(others.filter(|_| fio)).collect()
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Column::Direct => "nofault direct",
            Column::Buffered => "nofault buffered",
            Column::Bare => "bare io_uring",
            Column::Fio(engine) => engine.title(),
        }
    }
}

/// What a run gave: a record for each job, or why there is none; and what has to be known.
pub(super) struct Outcome {
    pub(super) jobs: Vec<Result<Record, String>>,
    pub(super) notes: Vec<String>,
    /// A request of fio's has failed. Our own columns say so with a record that is missing.
    pub(super) request_failed: bool,
}

/// How a run is done, and who watches.
pub(super) struct Watch<'a> {
    pub(super) signal: &'a AtomicUsize,
    pub(super) backend: BackendChoice,
    pub(super) bar: &'a ProgressBar,
    /// The bar's position when the run begins; a run is [`RUN_TICKS`] long.
    pub(super) from: u64,
    pub(super) title: &'a str,
}

/// How long a run is on the progress bar.
pub(super) const RUN_TICKS: u64 = 1000;

/// A number that goes down to 0, to be waited for.
struct Gate {
    left: Mutex<usize>,
    open: Condvar,
}

impl Gate {
    fn new(left: usize) -> Gate {
        Gate {
            left: Mutex::new(left),
            open: Condvar::new(),
        }
    }

    fn pass(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.open.notify_all();
    }

    fn wait(&self) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.open
                .wait_while(left, |left| *left > 0)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Passes a gate when dropped, so that nobody waits for a worker that has failed.
struct Passes<'a>(&'a Gate);

impl Drop for Passes<'_> {
    fn drop(&mut self) {
        self.0.pass();
    }
}

/// Says that a worker is ready, or, when dropped, that it will never be.
struct Announce<'a>(&'a Sender<News>, bool);

impl Announce<'_> {
    fn ready(&mut self) {
        if !std::mem::replace(&mut self.1, true) {
            // The other end is there until all workers have ended.
            let _ = self.0.send(News::Ready);
        }
    }
}

impl Drop for Announce<'_> {
    fn drop(&mut self) {
        self.ready();
    }
}

enum News {
    Ready,
    Over {
        job: usize,
        result: Result<Box<Record>, String>,
        notes: Vec<String>,
    },
}

/// What all workers of a run share.
struct Shared<'a> {
    stop: Stop<'a>,
    counters: Counters,
    start: Gate,
    /// One for each job: its workers that have not ended.
    gates: Vec<Gate>,
    backend: BackendChoice,
    column: Column,
    files: &'a Files,
}

/// Runs all jobs of the group. The files are laid out and ready.
pub(super) fn run(group: &Group, column: Column, files: &Files, watch: &Watch<'_>) -> Outcome {
    let shared = Shared {
        stop: Stop {
            signal: watch.signal,
            failed: false.into(),
        },
        counters: Counters::default(),
        start: Gate::new(1),
        gates: group
            .jobs
            .iter()
            .map(|job| Gate::new(job.workers.len()))
            .collect(),
        backend: watch.backend,
        column,
        files,
    };
    let mut collected: Vec<Vec<Result<Record, String>>> =
        group.jobs.iter().map(|_| Vec::new()).collect();
    let mut notes = Vec::new();
    thread::scope(|scope| {
        let (sender, news) = mpsc::channel();
        let mut waiting = 0;
        for (number, job) in group.jobs.iter().enumerate() {
            for worker in &job.workers {
                let (sender, shared) = (sender.clone(), &shared);
                let begun = thread::Builder::new()
                    .name(job.job.section.chars().take(15).collect())
                    .spawn_scoped(scope, move || {
                        let _ended = Passes(&shared.gates[number]);
                        let mut notes = Vec::new();
                        let result =
                            work(job, worker, shared, Announce(&sender, false), &mut notes);
                        if result.is_err() {
                            shared.stop.failed.store(true, Ordering::Relaxed);
                        }
                        // The other end waits for this.
                        let _ = sender.send(News::Over {
                            job: number,
                            result: result.map(Box::new),
                            notes,
                        });
                    });
                match begun {
                    Ok(_) => waiting += 1,
                    Err(error) => {
                        shared.gates[number].pass();
                        shared.stop.failed.store(true, Ordering::Relaxed);
                        collected[number].push(Err(format!("cannot start a thread: {error}")));
                    }
                }
            }
        }
        drop(sender);
        let mut begun: Option<Instant> = None;
        let mut over = Vec::new();
        loop {
            if begun.is_none() && waiting == 0 {
                begun = Some(Instant::now());
                shared.start.pass();
            }
            match news.recv_timeout(Duration::from_millis(200)) {
                Ok(News::Ready) => waiting -= 1,
                Ok(News::Over {
                    job,
                    result,
                    notes: more,
                }) => {
                    over.push((job, result.map(|record| *record)));
                    notes.extend(more);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            show(group, &shared, begun, watch);
        }
        over.into_iter()
            .for_each(|(job, result)| collected[job].push(result));
    });
    let mut jobs: Vec<Result<Record, String>> = collected.into_iter().map(together).collect();
    share_workers(&mut jobs);
    if shared.stop.failed.load(Ordering::Relaxed) {
        // What the others measured until one failed is not what was asked for.
        let whole = |job: &Result<Record, String>| {
            job.as_ref().is_ok_and(|record| record.verified.differ == 0)
        };
        jobs.iter_mut()
            .filter(|job| whole(job))
            .for_each(|job| *job = Err("another job of its group failed".to_owned()));
    }
    Outcome {
        jobs,
        notes,
        request_failed: false,
    }
}

/// The workers of one job.
fn together(workers: Vec<Result<Record, String>>) -> Result<Record, String> {
    let mut all: Option<Record> = None;
    for worker in workers {
        let worker = worker?;
        match &mut all {
            Some(all) => all.add(&worker, true),
            None => all = Some(worker),
        }
    }
    all.ok_or_else(|| "a worker's thread died".to_owned())
}

/// Divides what the process has used and no worker's thread has, by requests: that is what
/// io_uring's own workers did for them.
fn share_workers(jobs: &mut [Result<Record, String>]) {
    let records = || jobs.iter().flatten();
    // What was verified too: it has its part.
    let usages = |record: &Record| [record.usage, record.verified.usage];
    let process: Duration = records()
        .map(|record| usages(record).map(|usage| usage.process).iter().sum())
        .max()
        .unwrap_or_default();
    let threads: Duration = records()
        .flat_map(usages)
        .map(|usage| usage.user + usage.system)
        .sum();
    let requests: u64 = records()
        .map(|record| record.requests() + record.verified.reads.requests)
        .sum();
    let left = process.saturating_sub(threads);
    for record in jobs.iter_mut().flatten() {
        record.workers_cpu = left.mul_f64(record.requests() as f64 / requests.max(1) as f64);
    }
}

fn show(group: &Group, shared: &Shared<'_>, begun: Option<Instant>, watch: &Watch<'_>) {
    let Some(begun) = begun else { return };
    let seconds = begun.elapsed().as_secs_f64().max(1e-3);
    let (requests, bytes) = (
        shared.counters.requests.load(Ordering::Relaxed),
        shared.counters.bytes.load(Ordering::Relaxed),
    );
    let by_time = group
        .time()
        .map_or(0.0, |time| seconds / time.as_secs_f64().max(1e-3));
    let time_based = group.jobs.iter().any(|job| job.job.options.time_based);
    let by_bytes = if time_based {
        0.0
    } else {
        bytes as f64 / group.bytes().max(1) as f64
    };
    watch
        .bar
        .set_position(watch.from + (by_time.max(by_bytes).min(1.0) * RUN_TICKS as f64) as u64);
    let rate = format!(
        "{}/s, {}",
        units::rate(requests as f64 / seconds),
        units::byte_rate(bytes as f64 / seconds)
    );
    watch.bar.set_message(format!(
        "{}, {}: {rate}",
        watch.title,
        shared.column.title()
    ));
}

/// What fio tells the page cache of a job, unless `fadvise_hint` says something else: whether its
/// requests are random.
fn advice(options: &Options) -> Option<Advice> {
    let hint = options
        .fio_only
        .iter()
        .find(|option| option.name == "fadvise_hint")
        .and_then(|option| option.value.as_deref());
    match hint {
        Some("0" | "none") => None,
        Some("random") => Some(Advice::Random),
        Some("sequential") => Some(Advice::Sequential),
        _ if options.mode.is_random() => Some(Advice::Random),
        _ => Some(Advice::Sequential),
    }
}

/// All that one worker does.
fn work(
    job: &Planned,
    worker: &Worker,
    shared: &Shared<'_>,
    announce: Announce<'_>,
    notes: &mut Vec<String>,
) -> Result<Record, String> {
    let options = &job.job.options;
    let direct = match shared.column {
        Column::Direct => true,
        Column::Buffered => false,
        Column::Bare | Column::Fio(_) => options.direct,
    };
    let target = |&file: &usize| Target {
        path: shared.files.path(file),
        read: true,
        write: options.mode.writes(),
        sync: options.sync,
    };
    let targets: Vec<Target<'_>> = worker.files.iter().map(target).collect();
    let room = usize::try_from(options.max_block()).map_err(|_| "bs is more than memory holds")?;
    let align = usize::try_from(options.memory_align).unwrap_or(1);
    let buffers = Buffers::new(
        &options.memory,
        worker.mapped.clone(),
        options.depth as usize,
        room,
        align,
    )
    .map_err(|error| format!("no memory for the buffers: {error}"))?;
    let filling = Filling {
        zero: options.zero_buffers,
        refill: options.refill_buffers,
        scramble: options.scramble_buffers,
    };
    // Direct requests leave nothing in the page cache.
    let cooled: &[usize] = if options.invalidate && !direct {
        &worker.files
    } else {
        &[]
    };
    let again = cooled
        .iter()
        .map(|&file| File::open(shared.files.path(file)));
    let again = again
        .collect::<io::Result<_>>()
        .map_err(|error| format!("cannot open a file: {error}"))?;
    let ground = Ground {
        stop: &shared.stop,
        counters: &shared.counters,
        filling,
        verifier: Verifier::new(options, &targets, worker.number),
        seed: worker.seed,
        again,
        end_sync: if options.mode.writes() && (options.end_fsync || options.fsync_on_close) {
            worker.files.len()
        } else {
            0
        },
    };
    let run = Run {
        job,
        worker,
        shared,
        announce,
        ground,
        buffers: &buffers,
    };
    match shared.column {
        Column::Fio(_) => Err("fio's columns are not carried out here".to_owned()),
        Column::Bare => {
            let mut lane = RingLane::new(options.depth, &targets, direct, advice(options))?;
            if options.fixed_buffers {
                lane.register(&buffers)?;
            }
            run.with(&mut lane, None)
        }
        Column::Direct | Column::Buffered => {
            let mut lane = EngineLane::new(shared.backend, options.depth, &targets, direct)?;
            let pinned = if options.fixed_buffers {
                lane.register(&buffers)
            } else {
                None
            };
            let result = run.with(&mut lane, pinned);
            notes.extend(lane.notes(direct));
            result
        }
    }
}

struct Run<'a> {
    job: &'a Planned,
    worker: &'a Worker,
    shared: &'a Shared<'a>,
    announce: Announce<'a>,
    ground: Ground<'a>,
    buffers: &'a Buffers,
}

impl Run<'_> {
    fn with(
        mut self,
        lane: &mut impl Lane,
        pinned: Option<nofault::memory::Pinned>,
    ) -> Result<Record, String> {
        let options = &self.job.job.options;
        let mut pieces = self.buffers.pieces(pinned);
        if options.mode.writes() {
            let mut rng = Rng::new(self.worker.seed, Stream::Contents);
            pieces
                .iter_mut()
                .flatten()
                .for_each(|piece| self.ground.filling.first(piece, &mut rng));
        }
        self.announce.ready();
        self.shared.start.wait();
        if let Some(after) = self.job.after {
            self.shared.gates[after].wait();
        }
        let (least, most) = options.start_delay;
        let spread = u64::try_from((most.saturating_sub(least)).as_nanos()).unwrap_or(u64::MAX);
        let delay = least
            + Duration::from_nanos(Rng::new(self.worker.seed, Stream::StartDelay).below(spread));
        if delay > Duration::ZERO {
            self.shared.stop.pause(Instant::now() + delay);
        }
        let mut record = Record::new();
        let mut script = Script::new(options, self.worker.course.clone(), Instant::now());
        lane::drive(lane, &mut script, pieces, &self.ground, &mut record)
            .map_err(|error| error.to_string())?;
        Ok(record)
    }
}
