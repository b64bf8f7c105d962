//! fio's report, as `--output-format=json+` writes it, made into records.
//!
//! Only what is needed is read. The bins of `lat_ns` are whole nanoseconds to counts, each within
//! about one in a hundred of the truth.

use std::collections::HashMap;
use std::time::Duration;

use fio_jobs::Mode;
use serde::Deserialize;

use super::super::plan::Group;
use super::super::record::{Record, Side, record_many};

/// Below this, what the processes have used beside their threads' own time is rounding.
const CPU_STEPS: Duration = Duration::from_millis(20);

/// The whole report.
#[derive(Deserialize)]
pub(super) struct Reports {
    jobs: Vec<JobReport>,
}

/// One worker.
#[derive(Deserialize)]
struct JobReport {
    jobname: String,
    /// A number of errno(3), or 0.
    #[serde(default)]
    error: i32,
    #[serde(default)]
    read: SideReport,
    #[serde(default)]
    write: SideReport,
    #[serde(default)]
    sync: SideReport,
    /// Milliseconds; the CPU times are percentages of them.
    #[serde(default)]
    job_runtime: u64,
    #[serde(default)]
    usr_cpu: f64,
    #[serde(default)]
    sys_cpu: f64,
    #[serde(default)]
    ctx: u64,
    #[serde(default)]
    majf: u64,
    #[serde(default)]
    minf: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SideReport {
    io_bytes: u64,
    total_ios: u64,
    /// Milliseconds.
    runtime: u64,
    slat_ns: Times,
    clat_ns: Times,
    lat_ns: Times,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Times {
    bins: HashMap<String, u64>,
}

/// A job as fio reports it.
pub(super) enum Reported {
    Measured(Box<Record>),
    /// Its error, in words.
    Failed(String),
}

/// What stands before the report: fio writes other lines to the same file.
pub(super) fn before_report(text: &str) -> &str {
    &text[..start(text)]
}

fn start(text: &str) -> usize {
    if text.starts_with('{') {
        0
    } else {
        text.find("\n{").map_or(text.len(), |at| at + 1)
    }
}

impl Reports {
    pub(super) fn read(text: &str) -> Result<Reports, String> {
        let mut values =
            serde_json::Deserializer::from_str(&text[start(text)..]).into_iter::<Reports>();
        match values.next() {
            Some(Ok(reports)) => Ok(reports),
            Some(Err(error)) => Err(format!("its report cannot be read: {error}")),
            None => Err("it reported nothing".to_owned()),
        }
    }

    pub(super) fn any_error(&self) -> bool {
        self.jobs.iter().any(|job| job.error != 0)
    }

    /// Whether any request was carried out.
    pub(super) fn any_request(&self) -> bool {
        self.jobs
            .iter()
            .any(|job| job.read.total_ios + job.write.total_ios > 0)
    }

    /// One for each job of the group. `jobs_cpu` is what their processes have used in all.
    pub(super) fn records(
        &self,
        group: &Group,
        jobs_cpu: Duration,
    ) -> Result<Vec<Reported>, String> {
        let asked: usize = group.jobs.iter().map(|job| job.workers.len()).sum();
        if self.jobs.len() != asked {
            return Err(format!(
                "fio reported {} workers, {asked} were asked for",
                self.jobs.len()
            ));
        }
        let mut reports = self.jobs.iter();
        let mut jobs = Vec::new();
        for planned in &group.jobs {
            let mut job: Option<Reported> = None;
            for report in reports.by_ref().take(planned.workers.len()) {
                if report.jobname != planned.job.name {
                    return Err(format!(
                        "fio reported the job {:?} in the place of {:?}",
                        report.jobname, planned.job.name
                    ));
                }
                job = Some(match (job, report.reported(planned.job.options.mode)) {
                    (Some(Reported::Measured(mut all)), Reported::Measured(more)) => {
                        all.add(&more, true);
                        Reported::Measured(all)
                    }
                    (Some(failed @ Reported::Failed(_)), _) => failed,
                    (_, report) => report,
                });
            }
            jobs.push(job.ok_or_else(|| "a job without workers".to_owned())?);
        }
        let ramps = group.jobs.iter().map(|job| job.job.options.ramp_time);
        share(&mut jobs, ramps, jobs_cpu);
        Ok(jobs)
    }
}

/// Divides what the jobs' processes have used beyond their threads: io_uring's own workers. Where
/// there is a ramp, as much of it as the time behind the ramp is of the whole.
fn share(jobs: &mut [Reported], ramps: impl Iterator<Item = Duration>, jobs_cpu: Duration) {
    let mut measured: Vec<(&mut Record, Duration)> = jobs
        .iter_mut()
        .zip(ramps)
        .filter_map(|(job, ramp)| match job {
            Reported::Measured(record) => Some((&mut **record, ramp)),
            Reported::Failed(_) => None,
        })
        .collect();
    let counted: f64 = measured
        .iter()
        .map(|(record, _)| record.elapsed.as_secs_f64())
        .sum();
    let whole: f64 = measured
        .iter()
        .map(|(record, ramp)| (record.elapsed + *ramp).as_secs_f64())
        .sum();
    let threads: Duration = measured
        .iter()
        .map(|(record, _)| record.usage.user + record.usage.system)
        .sum();
    let processes = jobs_cpu.mul_f64(if whole > 0.0 { counted / whole } else { 0.0 });
    let requests: u64 = measured.iter().map(|(record, _)| record.requests()).sum();
    let left = processes.saturating_sub(threads);
    if left > CPU_STEPS {
        for (record, _) in &mut measured {
            record.workers_cpu = left.mul_f64(record.requests() as f64 / requests.max(1) as f64);
        }
    }
}

impl JobReport {
    fn reported(&self, mode: Mode) -> Reported {
        if self.error != 0 {
            return Reported::Failed(std::io::Error::from_raw_os_error(self.error).to_string());
        }
        let mut record = Record::new();
        // Without these modes, reads are those that verify: they are no part of the job's own
        // figures in any column.
        let (reads, writes) = (mode.reads(), mode.writes());
        let sides = [
            (reads, &self.read, &mut record.read),
            (writes, &self.write, &mut record.write),
        ];
        for (report, side) in sides
            .into_iter()
            .filter_map(|(used, report, side)| used.then_some((report, side)))
        {
            report.fill(side);
            report.slat_ns.fill(&mut record.submit_ns);
            record.elapsed = record.elapsed.max(Duration::from_millis(report.runtime));
        }
        self.sync.fill(&mut record.sync);
        record.sync.requests = record.sync.latency_ns.len();
        let percent = |percent: f64| {
            Duration::try_from_secs_f64(percent / 100.0 * self.job_runtime as f64 / 1e3)
                .unwrap_or_default()
        };
        (record.usage.user, record.usage.system) = (percent(self.usr_cpu), percent(self.sys_cpu));
        (
            record.usage.switches,
            record.usage.major_faults,
            record.usage.minor_faults,
        ) = (self.ctx, self.majf, self.minf);
        record.usage.process = record.usage.user + record.usage.system;
        Reported::Measured(Box::new(record))
    }
}

impl SideReport {
    fn fill(&self, side: &mut Side) {
        (side.requests, side.bytes) = (self.total_ios, self.io_bytes);
        let times = if self.lat_ns.bins.is_empty() {
            &self.clat_ns
        } else {
            &self.lat_ns
        };
        times.fill(&mut side.latency_ns);
    }
}

impl Times {
    fn fill(&self, histogram: &mut hdrhistogram::Histogram<u64>) {
        for (ns, &count) in &self.bins {
            if let Ok(ns) = ns.parse() {
                record_many(histogram, Duration::from_nanos(ns), count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"fio: terminating on signal 15
{
  "fio version": "fio-3.33",
  "jobs": [
    { "jobname": "a", "error": 0, "job_runtime": 2000, "usr_cpu": 10.0, "sys_cpu": 25.0, "ctx": 7, "majf": 1, "minf": 2,
      "read": { "io_bytes": 8192, "total_ios": 2, "runtime": 2000,
        "slat_ns": { "N": 2, "bins": { "1000": 2 } },
        "clat_ns": { "N": 2, "bins": { "90000": 2 } },
        "lat_ns": { "N": 2, "bins": { "100000": 1, "200000": 1 } } },
      "write": { "io_bytes": 4096, "total_ios": 1, "runtime": 1000, "clat_ns": { "N": 1, "bins": { "50000": 1 } } },
      "sync": { "total_ios": 0, "lat_ns": { "N": 3, "bins": { "3000000": 3 } } } },
    { "jobname": "b", "error": 5, "read": { "total_ios": 0 } }
  ]
}
and more
"#;

    fn measured(reported: Reported) -> Record {
        match reported {
            Reported::Measured(record) => *record,
            Reported::Failed(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn a_report_becomes_a_record() {
        let reports = Reports::read(REPORT).expect("read");
        let record = measured(reports.jobs[0].reported(Mode::RandReadWrite));
        assert_eq!(
            (
                record.read.requests,
                record.read.bytes,
                record.write.requests,
                record.sync.requests
            ),
            (2, 8192, 1, 3)
        );
        assert_eq!(record.elapsed, Duration::from_secs(2));
        let near = |ns: u64, expected: u64| ns.abs_diff(expected) <= expected / 500;
        // The whole latency, and where there is none the part from the submission on.
        assert!(
            near(record.read.latency_ns.max(), 200_000)
                && near(record.read.latency_ns.min(), 100_000)
        );
        assert!(
            near(record.write.latency_ns.max(), 50_000)
                && near(record.sync.latency_ns.max(), 3_000_000)
        );
        assert_eq!((record.submit_ns.len(), record.submit_ns.min()), (2, 1000));
        assert_eq!(
            (record.usage.user, record.usage.system),
            (Duration::from_millis(200), Duration::from_millis(500))
        );
        assert_eq!(
            (
                record.usage.switches,
                record.usage.major_faults,
                record.usage.minor_faults
            ),
            (7, 1, 2)
        );
    }

    #[test]
    fn reads_that_verify_do_not_count() {
        let reports = Reports::read(REPORT).expect("read");
        let record = measured(reports.jobs[0].reported(Mode::RandWrite));
        assert_eq!(
            (record.requests(), record.submit_ns.len(), record.elapsed),
            (1, 0, Duration::from_secs(1))
        );
    }

    #[test]
    fn an_error_is_in_words_and_lines_before_the_report_are_kept_apart() {
        let reports = Reports::read(REPORT).expect("read");
        assert!(reports.any_error() && reports.any_request());
        assert!(
            matches!(reports.jobs[1].reported(Mode::Read), Reported::Failed(reason) if reason.contains("error 5"))
        );
        assert_eq!(before_report(REPORT), "fio: terminating on signal 15\n");
        assert_eq!(before_report("{}"), "");
        assert_eq!(before_report("fio: no"), "fio: no");
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for text in [
            "",
            "fio: engine nothing not loadable\n",
            "{ \"jobs\": 3 }",
            "{ \"jobs\": [ {} ] }",
            "{ \"jobs\": [",
        ] {
            assert!(Reports::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_the_processes_used_beside_their_threads_is_divided_by_requests() {
        let record = |requests, threads_ms| {
            let mut record = Record::new();
            record.read.requests = requests;
            record.elapsed = Duration::from_secs(4);
            record.usage.system = Duration::from_millis(threads_ms);
            Reported::Measured(Box::new(record))
        };
        let workers = |jobs_cpu| {
            let mut jobs = [record(100, 300), record(300, 100)];
            // A fifth of the time was not measured.
            share(
                &mut jobs,
                [Duration::from_secs(1); 2].into_iter(),
                Duration::from_millis(jobs_cpu),
            );
            jobs.map(|job| measured(job).workers_cpu.as_millis())
        };
        assert_eq!(workers(1000), [100, 300]);
        // Within the steps that it comes in, or less than the threads themselves say: nothing.
        assert_eq!(workers(520), [0, 0]);
        assert_eq!(workers(0), [0, 0]);
    }
}
