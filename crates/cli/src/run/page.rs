//! A report of job files as a page.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::figures::{self, JobReport, Report};
use super::record::Record;
use super::table;
use crate::figures::curve;
use crate::ground::machine;
use crate::report::html::{Cell, Job, Measured, Page, Pair, Round};

/// The page of a run that began then.
pub(super) fn page(report: &Report, dir: &Path, begun: SystemTime) -> Page {
    let mut facts = machine::facts(dir, begun);
    facts.push((
        "Measured",
        if report.rounds == 1 {
            "one round".into()
        } else {
            format!("{} rounds, medians", report.rounds)
        },
    ));
    let mut names: Vec<&str> = Vec::new();
    let mut profiles: Vec<&str> = Vec::new();
    for job in &report.jobs {
        profiles.push(&job.profile);
        names.extend(
            job.cells
                .iter()
                .map(|cell| cell.column.title())
                .filter(|name| !names.contains(name))
                .collect::<Vec<_>>(),
        );
    }
    profiles.dedup();
    Page {
        subject: match &profiles[..] {
            few if few.len() <= 3 => few
                .iter()
                .map(|profile| short(profile))
                .collect::<Vec<_>>()
                .join(", "),
            many => format!("{} job files", many.len()),
        },
        facts,
        columns: names
            .iter()
            .map(|name| ((*name).to_owned(), what(name).to_owned()))
            .collect(),
        jobs: report
            .jobs
            .iter()
            .map(|found| job(found, profiles.len() > 1))
            .collect(),
        pairs: pairs(&report.jobs),
        notes: table::said(report),
        interrupted: report.interrupted,
    }
}

/// The name of a profile without its directory; the command at the top of the page has all of it.
fn short(profile: &str) -> String {
    Path::new(profile)
        .file_name()
        .map_or(profile.to_owned(), |name| {
            name.to_string_lossy().into_owned()
        })
}

/// What a column is.
fn what(column: &str) -> &'static str {
    match column {
        "nofault direct" => "this library, direct whatever the job says",
        "nofault buffered" => "this library through the page cache, whatever the job says",
        "bare io_uring" => "a plain io_uring loop, direct or not as the job says",
        name if name.starts_with("fio") => "real fio, with the same job file",
        _ => "",
    }
}

fn job(job: &JobReport, several: bool) -> Job {
    Job {
        group: if several {
            short(&job.profile)
        } else {
            String::new()
        },
        name: job.job.name.clone(),
        title: job.title(),
        cells: job.cells.iter().map(|found| cell(job, found)).collect(),
    }
}

fn cell(job: &JobReport, cell: &figures::Cell) -> Cell {
    let measured = match (cell.figures(), &cell.failed) {
        (Some(found), _) => {
            let ratio = job.ratio(cell.column);
            let curves: Vec<Vec<Duration>> = cell
                .rounds
                .iter()
                .map(|round| curve::of(&round.latency_ns()))
                .collect();
            Ok(Measured {
                figures: table::FIGURES
                    .map(|figure| figure.0)
                    .into_iter()
                    .zip(table::figures(&found, ratio))
                    .collect(),
                requests_per_second: found.iops,
                ratio_to_buffered: ratio,
                latency: curve::medians(curves.iter().map(Vec::as_slice)),
                rounds: cell
                    .rounds
                    .iter()
                    .map(|round| Round {
                        elapsed: round.elapsed,
                        timeline: round.timeline.clone(),
                    })
                    .collect(),
            })
        }
        (None, Some(reason)) => Err(format!("not available: {reason}")),
        (None, None) => Err("not measured".to_owned()),
    };
    Cell {
        column: cell.column.title().to_owned(),
        measured,
    }
}

/// Jobs of one profile that are alike but for their buffers: with cold ones none was used twice, so
/// that each was fresh memory.
fn pairs(jobs: &[JobReport]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (warm, used) in jobs
        .iter()
        .enumerate()
        .filter(|(_, job)| state(job) == Some(Buffers::Warm))
    {
        for (cold, fresh) in jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| state(job) == Some(Buffers::Cold))
        {
            if alike(used, fresh) {
                pairs.push(Pair {
                    title: format!("{} against {}", fresh.job.name, used.job.name),
                    warm,
                    cold,
                });
            }
        }
    }
    pairs
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Buffers {
    Cold,
    Warm,
}

fn alike(a: &JobReport, b: &JobReport) -> bool {
    let of = |job: &JobReport| {
        let options = &job.job.options;
        (
            job.profile.clone(),
            options.mode,
            options.block.clone(),
            options.depth,
            options.direct,
            options.numjobs,
            options.distribution,
        )
    };
    of(a) == of(b)
}

/// What a job's buffers went through. What is written was touched before; some requests more than
/// buffers leave both warm and cold ones.
fn state(job: &JobReport) -> Option<Buffers> {
    let options = &job.job.options;
    let requests = job
        .cells
        .iter()
        .flat_map(|cell| &cell.rounds)
        .map(Record::requests);
    let (least, most) = (requests.clone().min()?, requests.max()?);
    let buffers = u64::from(options.depth) * u64::from(options.numjobs);
    match () {
        () if options.mode.writes() => None,
        () if most <= buffers => Some(Buffers::Cold),
        () if least >= 4 * buffers => Some(Buffers::Warm),
        () => None,
    }
}
