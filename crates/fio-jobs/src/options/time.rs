//! How long, how fast.

use std::time::Duration;

use super::super::error::Fault;
use super::super::kinds::PerDirection;
use super::super::number::{self, Unit};
use super::super::value::Value;
use super::requests::show_directions;
use super::{Draft, Known, set, show_count, show_flag};

pub(super) const TABLE: &[Known] = &[
    Known::typed(
        "runtime",
        &["timeout"],
        |d, v| {
            set(
                &mut d.options.runtime,
                v.time(Unit::Seconds)
                    .map(|time| (!time.is_zero()).then_some(time)),
            )
        },
        |o| o.runtime.map(number::show_time),
    ),
    Known::typed(
        "time_based",
        &[],
        |d, v| set(&mut d.options.time_based, v.flag()),
        |o| show_flag(o.time_based, false),
    ),
    Known::typed(
        "ramp_time",
        &[],
        |d, v| set(&mut d.options.ramp_time, v.time(Unit::Seconds)),
        |o| show_time(o.ramp_time),
    ),
    Known::typed("startdelay", &[], set_delay, |o| match o.start_delay {
        (low, high) if low == high => show_time(low),
        // In microseconds, because fio reads the unit of the first number wrongly if it has one
        // letter.
        (low, high) => Some(format!("{}us-{}us", low.as_micros(), high.as_micros())),
    }),
    Known::typed(
        "rate",
        &[],
        |d, v| set_rate(&mut d.options.rate, v, Value::bytes),
        |o| show_directions(&o.rate, |rate| rate.map(number::show_bytes)),
    ),
    Known::typed(
        "rate_iops",
        &[],
        |d, v| set_rate(&mut d.options.rate_iops, v, |v| v.count32(0)),
        |o| show_directions(&o.rate_iops, |rate| rate.map(|rate| rate.to_string())),
    ),
    Known::ignored("rate_min", "a job that is slower is not ended").also(&["ratemin"]),
    Known::ignored("rate_iops_min", "a job that is slower is not ended"),
    Known::ignored("rate_cycle", "a job that is slower is not ended").also(&["ratecycle"]),
    Known::fixed(
        "rate_process",
        &["linear"],
        "requests come at even intervals",
    ),
    Known::fixed(
        "rate_ignore_thinktime",
        &["0"],
        "the rate is caught up with after think time",
    ),
    Known::typed(
        "thinktime",
        &[],
        |d, v| set(&mut d.options.thinktime, v.time(Unit::Micros)),
        |o| show_time(o.thinktime),
    ),
    Known::typed(
        "thinktime_spin",
        &[],
        |d, v| set(&mut d.options.thinktime_spin, v.time(Unit::Micros)),
        |o| show_time(o.thinktime_spin),
    ),
    Known::typed(
        "thinktime_blocks",
        &[],
        |d, v| {
            set(
                &mut d.options.thinktime_blocks,
                v.count32(0).map(|blocks| blocks.max(1)),
            )
        },
        |o| show_count(o.thinktime_blocks, 1),
    ),
    Known::fixed(
        "thinktime_blocks_type",
        &["complete"],
        "requests count when they complete",
    ),
    Known::fixed(
        "thinktime_iotime",
        &["0"],
        "think time comes after requests, not after time",
    ),
];

fn show_time(time: Duration) -> Option<String> {
    (!time.is_zero()).then(|| number::show_time(time))
}

fn set_delay(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    let text = value.text.unwrap_or("");
    let ranged = number::split(text, '-').len() > 1 || number::split(text, ':').len() > 1;
    draft.options.start_delay = if ranged {
        let (low, high) = number::range(text, Unit::Seconds)?;
        (Duration::from_micros(low), Duration::from_micros(high))
    } else {
        value.time(Unit::Seconds).map(|time| (time, time))?
    };
    Ok(())
}

/// A rate of zero is none. A direction that is not given keeps what it had.
fn set_rate<'v, T: Clone + Default + PartialEq>(
    slot: &mut PerDirection<Option<T>>,
    value: Value<'v>,
    read: impl Fn(Value<'v>) -> Result<T, Fault>,
) -> Result<(), Fault> {
    let given = value.directions(read)?;
    for (slot, given) in [(&mut slot.read, given.read), (&mut slot.write, given.write)] {
        if let Some(rate) = given {
            *slot = (rate != T::default()).then_some(rate);
        }
    }
    Ok(())
}
