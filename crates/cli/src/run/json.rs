//! A report in the layout of fio's JSON, so that what reads that reads this: an entry of `jobs` for
//! each job in each column.
//!
//! What fio does not have stands under `nofault`. Where fio tells submission and completion of one
//! request apart, this does not: `clat_ns` is the whole time, as `lat_ns`, and `slat_ns` has the
//! times of calls that submit, of those that were timed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::figures::{Cell, JobReport, Report, cpu_us, iops};
use super::record::{Record, Side, Verified};

/// fio's own percentiles.
const PERCENTILES: [f64; 17] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95,
    99.99,
];

/// The whole document.
pub(super) fn document(report: &Report) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let jobs: Vec<Value> = report
        .jobs
        .iter()
        .flat_map(|job| job.cells.iter().filter_map(|cell| entry(job, cell)))
        .collect();
    json!({
        "fio version": format!("nofault-{}", env!("CARGO_PKG_VERSION")),
        "timestamp": now.as_secs(),
        "timestamp_ms": now.as_millis() as u64,
        "nofault": {
            "kernel": report.kernel,
            "dir": report.dir,
            "rounds": report.rounds,
            "fio": report.fio.as_ref().map(|fio| json!({ "version": fio.version, "program": fio.program })),
            "interrupted": report.interrupted,
            "notes": report.notes,
        },
        "jobs": jobs,
        "disk_util": [],
    })
}

/// One job in one column; nothing if it was not measured.
fn entry(report: &JobReport, cell: &Cell) -> Option<Value> {
    let job = &report.job;
    let column = cell.column.title();
    let mut own = json!({
        "column": column,
        "job": job.name,
        "profile": report.profile,
        "ratio_to_buffered": report.ratio(cell.column),
    });
    let Some(record) = cell.all().filter(|_| cell.failed.is_none()) else {
        let reason = cell.failed.as_ref()?;
        own["failed"] = json!(reason);
        own["verify"] = cell
            .all()
            .map_or(Value::Null, |record| verified(report, &record.verified));
        // As fio says it of a block that differs: EILSEQ.
        let error = if cell.differs { libc::EILSEQ } else { 1 };
        return Some(
            json!({ "jobname": format!("{} ({column})", job.name), "groupid": job.report_group, "error": error, "nofault": own }),
        );
    };
    let rounds: Vec<Value> = cell.rounds.iter().map(round).collect();
    own["rounds"] = json!(rounds);
    own["verify"] = verified(report, &record.verified);
    own["cpu_us_per_request"] = json!(cell.figures().map(|figures| figures.cpu_us_per_request));
    let seconds = record.elapsed.as_secs_f64().max(1e-9);
    let workers = f64::from(job.options.numjobs);
    let percent = |time: std::time::Duration| time.as_secs_f64() * 100.0 / seconds / workers;
    Some(json!({
        "jobname": format!("{} ({column})", job.name),
        "groupid": job.report_group,
        "error": 0,
        "eta": 0,
        "elapsed": seconds.ceil() as u64,
        "job options": options(report),
        "read": side(report, &record, cell, Record::all_reads),
        "write": side(report, &record, cell, |record| (record.write.clone(), record.elapsed)),
        "trim": side(report, &Record::new(), cell, |_| Record::new().all_reads()),
        "sync": { "total_ios": record.sync.requests, "lat_ns": times(&record.sync.latency_ns, &percentiles(report, true)) },
        "job_runtime": (seconds * 1e3 * workers) as u64,
        "usr_cpu": percent(record.usage.user),
        "sys_cpu": percent(record.usage.system),
        "ctx": record.usage.switches,
        "majf": record.usage.major_faults,
        "minf": record.usage.minor_faults,
        "latency_depth": job.options.depth,
        "latency_target": 0,
        "latency_percentile": 100.0,
        "latency_window": 0,
        "nofault": own,
    }))
}

fn round(record: &Record) -> Value {
    let all = record.latency_ns();
    json!({
        "iops": iops(record),
        "bw_bytes": record.bytes() as f64 / record.elapsed.as_secs_f64().max(1e-9),
        "runtime": record.elapsed.as_millis() as u64,
        "cpu_us_per_request": cpu_us(record),
        "p50_ns": all.value_at_quantile(0.5),
        "p99_ns": all.value_at_quantile(0.99),
        "p999_ns": all.value_at_quantile(0.999),
        "p9999_ns": all.value_at_quantile(0.9999),
    })
}

/// The job's options as fio shows them: names and values, as text.
fn options(report: &JobReport) -> Map<String, Value> {
    let text = report.job.to_string();
    let lines = text
        .lines()
        .skip(1)
        .map(|line| line.split_once('=').unwrap_or((line, "1")));
    lines
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

/// What was verified; fio has no place for it but its `read` side, where the reads are too. Null
/// for a job that does not verify.
fn verified(report: &JobReport, verified: &Verified) -> Value {
    if report.job.options.verify.is_none() {
        return Value::Null;
    }
    json!({
        "blocks": verified.blocks,
        "differ": verified.differ,
        "not_verified": verified.left,
        "differences": verified.told,
        "total_ios": verified.reads.requests,
        "io_bytes": verified.reads.bytes,
        "runtime": verified.elapsed.as_millis() as u64,
    })
}

/// Reads or writes: these, and for how long.
fn side(
    report: &JobReport,
    record: &Record,
    cell: &Cell,
    of: impl Fn(&Record) -> (Side, Duration),
) -> Value {
    let (side, elapsed) = of(record);
    let options = &report.job.options;
    let seconds = elapsed.as_secs_f64();
    let per_second = |value: u64| {
        if side.requests == 0 {
            0.0
        } else {
            value as f64 / seconds.max(1e-9)
        }
    };
    // fio's samples are of half seconds, these are of rounds.
    let mut bandwidths = Samples::default();
    let mut rates = Samples::default();
    for round in cell.rounds.iter().filter(|_| side.requests > 0) {
        let (side, elapsed) = of(round);
        let seconds = elapsed.as_secs_f64().max(1e-9);
        bandwidths.add(side.bytes as f64 / 1024.0 / seconds);
        rates.add(side.requests as f64 / seconds);
    }
    let mut value = json!({
        "io_bytes": side.bytes,
        "io_kbytes": side.bytes / 1024,
        "bw_bytes": per_second(side.bytes) as u64,
        "bw": (per_second(side.bytes) / 1024.0) as u64,
        "iops": per_second(side.requests),
        "runtime": if side.requests == 0 { 0 } else { (seconds * 1e3) as u64 },
        "total_ios": side.requests,
        "short_ios": 0,
        "drop_ios": 0,
        "slat_ns": times(&if side.requests > 0 { record.submit_ns.clone() } else { side.latency_ns.clone() }, &percentiles(report, options.slat_percentiles)),
        "clat_ns": times(&side.latency_ns, &percentiles(report, options.clat_percentiles)),
        "lat_ns": times(&side.latency_ns, &percentiles(report, options.lat_percentiles)),
    });
    for (name, samples) in [("bw", &bandwidths), ("iops", &rates)] {
        value[format!("{name}_min")] = json!(samples.least());
        value[format!("{name}_max")] = json!(samples.most());
        value[format!("{name}_mean")] = json!(samples.mean());
        value[if name == "bw" {
            "bw_dev"
        } else {
            "iops_stddev"
        }] = json!(samples.deviation());
        value[format!("{name}_samples")] = json!(samples.0.len());
    }
    value["bw_agg"] = json!(if side.requests > 0 { 100.0 } else { 0.0 });
    value
}

/// The percentiles that the job asks for; none if it asks for none.
fn percentiles(report: &JobReport, asked: bool) -> Vec<f64> {
    match &report.job.options.percentiles {
        _ if !asked => Vec::new(),
        usual if usual.is_empty() => PERCENTILES.to_vec(),
        listed => listed.clone(),
    }
}

fn times(histogram: &Histogram<u64>, percentiles: &[f64]) -> Value {
    let mut value = json!({
        "min": if histogram.is_empty() { 0 } else { histogram.min() },
        "max": histogram.max(),
        "mean": histogram.mean(),
        "stddev": histogram.stdev(),
        "N": histogram.len(),
    });
    if !percentiles.is_empty() && !histogram.is_empty() {
        let at = |&percentile: &f64| {
            (
                format!("{percentile:.6}"),
                Value::from(histogram.value_at_percentile(percentile)),
            )
        };
        value["percentile"] = Value::Object(percentiles.iter().map(at).collect());
    }
    value
}

/// A few samples.
#[derive(Default)]
struct Samples(Vec<f64>);

impl Samples {
    fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    fn least(&self) -> f64 {
        self.0.iter().copied().reduce(f64::min).unwrap_or(0.0)
    }

    fn most(&self) -> f64 {
        self.0.iter().copied().reduce(f64::max).unwrap_or(0.0)
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }

    fn deviation(&self) -> f64 {
        let mean = self.mean();
        (self
            .0
            .iter()
            .map(|sample| (sample - mean).powi(2))
            .sum::<f64>()
            / self.0.len().max(1) as f64)
            .sqrt()
    }
}
