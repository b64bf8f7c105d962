//! What is reported, and what is logged.

use super::super::error::Fault;
use super::super::value::Value;
use super::{Draft, Known, set, show_flag};

/// fio's own limit.
const MAX_PERCENTILES: usize = 20;

const LOGS: &str = "no logs are written";

pub(super) const TABLE: &[Known] = &[
    Known::typed(
        "clat_percentiles",
        &[],
        |d, v| set(&mut d.options.clat_percentiles, v.boolean()),
        |o| show_flag(o.clat_percentiles, true),
    ),
    Known::typed(
        "lat_percentiles",
        &[],
        |d, v| set(&mut d.options.lat_percentiles, v.boolean()),
        |o| show_flag(o.lat_percentiles, false),
    ),
    Known::typed(
        "slat_percentiles",
        &[],
        |d, v| set(&mut d.options.slat_percentiles, v.boolean()),
        |o| show_flag(o.slat_percentiles, false),
    ),
    Known::typed("percentile_list", &[], set_percentiles, |o| {
        (!o.percentiles.is_empty()).then(|| {
            o.percentiles
                .iter()
                .map(f64::to_string)
                .collect::<Vec<_>>()
                .join(":")
        })
    }),
    Known::kept("clocksource"),
    Known::kept("gtod_reduce"),
    Known::kept("gtod_cpu"),
    Known::kept("disable_lat"),
    Known::kept("disable_clat"),
    Known::kept("disable_slat"),
    Known::kept("disable_bw_measurement").also(&["disable_bw"]),
    Known::kept("disk_util"),
    Known::kept("unit_base"),
    Known::kept("significant_figures"),
    Known::kept("unified_rw_reporting"),
    Known::kept("error_dump"),
    Known::kept("per_job_logs"),
    Known::kept("log_entries"),
    Known::kept("bwavgtime"),
    Known::kept("iopsavgtime"),
    Known::ignored("stats", "every job is reported"),
    Known::ignored("block_error_percentiles", "errors are counted only"),
    Known::ignored("write_bw_log", LOGS),
    Known::ignored("write_lat_log", LOGS),
    Known::ignored("write_hist_log", LOGS),
    Known::ignored("write_iops_log", LOGS),
    Known::ignored("log_avg_msec", LOGS),
    Known::ignored("log_hist_msec", LOGS),
    Known::ignored("log_hist_coarseness", LOGS),
    Known::ignored("log_max_value", LOGS).also(&["log_window_value"]),
    Known::ignored("log_offset", LOGS),
    Known::ignored("log_prio", LOGS),
    Known::ignored("log_issue_time", LOGS),
    Known::ignored("log_compression", LOGS),
    Known::ignored("log_compression_cpus", LOGS),
    Known::ignored("log_store_compressed", LOGS),
    Known::ignored("log_unix_epoch", LOGS),
    Known::ignored("log_alternate_epoch", LOGS),
    Known::ignored("log_alternate_epoch_clock_id", LOGS),
];

fn set_percentiles(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    let mut percentiles = Vec::new();
    for part in value.list()? {
        match part.real()? {
            percentile if percentile > 0.0 && percentile <= 100.0 => percentiles.push(percentile),
            other => {
                return Err(Fault::value(format!(
                    "{other} is not above 0 and up to 100"
                )));
            }
        }
        if percentiles.len() > MAX_PERCENTILES {
            return Err(Fault::value(format!(
                "more than {MAX_PERCENTILES} percentiles"
            )));
        }
    }
    draft.options.percentiles = percentiles;
    Ok(())
}
