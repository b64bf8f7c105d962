//! Reads or writes, how large, how durable.

use super::super::error::{ErrorKind, Fault};
use super::super::job::{BLOCK_BYTES, Options};
use super::super::kinds::{BlockSize, Mode, PerDirection, Sequencer, SplitPart, SyncMode};
use super::super::number;
use super::super::value::Value;
use super::{Draft, Known, set, show_count, show_flag};

/// The largest request.
const MAX_BLOCK: u64 = 1 << 30;
/// The sizes that one direction may have; fio's own limit.
const MAX_PARTS: usize = 64;

pub(super) const TABLE: &[Known] = &[
    Known::typed("rw", &["readwrite"], set_mode, |o| {
        match (o.mode, o.modifier) {
            (Mode::Read, 0) => None,
            (mode, 0) => Some(mode.to_string()),
            (mode, modifier) => Some(format!("{mode}:{}", number::show_bytes(modifier))),
        }
    }),
    Known::typed(
        "rw_sequencer",
        &[],
        |d, v| {
            set(
                &mut d.options.sequencer,
                v.one_of(&[
                    ("sequential", Sequencer::Sequential),
                    ("identical", Sequencer::Identical),
                ]),
            )
        },
        |o| (o.sequencer == Sequencer::Identical).then(|| "identical".to_owned()),
    ),
    Known::typed(
        "rwmixread",
        &[],
        |d, v| set(&mut d.options.read_percent, percent(v)),
        |o| show_count(o.read_percent.into(), 50),
    ),
    Known::typed(
        "rwmixwrite",
        &[],
        |d, v| {
            set(
                &mut d.options.read_percent,
                percent(v).map(|percent| 100 - percent),
            )
        },
        |_| None,
    ),
    Known::typed("bs", &["blocksize"], set_bs, show_bs),
    Known::typed("bsrange", &["blocksize_range"], set_bsrange, show_bsrange),
    Known::typed("bssplit", &[], set_bssplit, show_bssplit),
    Known::typed(
        "bs_unaligned",
        &["blocksize_unaligned"],
        |d, v| set(&mut d.options.block_unaligned, v.flag()),
        |o| show_flag(o.block_unaligned, false),
    ),
    Known::typed(
        "ba",
        &["blockalign"],
        |d, v| {
            take(
                &mut d.options.block_align,
                v.directions(|v| v.count(1..=MAX_BLOCK))?,
            );
            Ok(())
        },
        |o| show_directions(&o.block_align, |bytes| bytes.map(number::show_bytes)),
    ),
    Known::typed(
        "direct",
        &[],
        |d, v| set(&mut d.options.direct, v.boolean()),
        |o| show_flag(o.direct, false),
    ),
    Known::typed(
        "buffered",
        &[],
        |d, v| set(&mut d.options.direct, v.boolean().map(|buffered| !buffered)),
        |_| None,
    ),
    Known::typed(
        "sync",
        &[],
        |d, v| {
            const WORDS: [(&str, SyncMode); 5] = [
                ("none", SyncMode::None),
                ("0", SyncMode::None),
                ("sync", SyncMode::Sync),
                ("1", SyncMode::Sync),
                ("dsync", SyncMode::Dsync),
            ];
            set(&mut d.options.sync, v.one_of(&WORDS))
        },
        |o| match o.sync {
            SyncMode::None => None,
            SyncMode::Sync => Some("sync".to_owned()),
            SyncMode::Dsync => Some("dsync".to_owned()),
        },
    ),
    Known::typed(
        "fsync",
        &[],
        |d, v| set(&mut d.options.fsync, v.count32(0)),
        |o| show_count(o.fsync, 0),
    ),
    Known::typed(
        "fdatasync",
        &[],
        |d, v| set(&mut d.options.fdatasync, v.count32(0)),
        |o| show_count(o.fdatasync, 0),
    ),
    Known::typed(
        "end_fsync",
        &[],
        |d, v| set(&mut d.options.end_fsync, v.boolean()),
        |o| show_flag(o.end_fsync, false),
    ),
    Known::typed(
        "fsync_on_close",
        &[],
        |d, v| set(&mut d.options.fsync_on_close, v.boolean()),
        |o| show_flag(o.fsync_on_close, false),
    ),
];

fn set_mode(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    const MODES: [(&str, Option<Mode>); 11] = [
        ("read", Some(Mode::Read)),
        ("write", Some(Mode::Write)),
        ("randread", Some(Mode::RandRead)),
        ("randwrite", Some(Mode::RandWrite)),
        ("rw", Some(Mode::ReadWrite)),
        ("readwrite", Some(Mode::ReadWrite)),
        ("randrw", Some(Mode::RandReadWrite)),
        ("trim", None),
        ("randtrim", None),
        ("trimwrite", None),
        ("randtrimwrite", None),
    ];
    let (word, modifier) = value
        .text()?
        .split_once(':')
        .map_or((value.text()?, None), |(word, modifier)| {
            (word, Some(modifier))
        });
    let mode = Value {
        text: Some(word),
        ..value
    }
    .one_of(&MODES)?;
    let Some(mode) = mode else {
        return Err(Fault::unsupported(format!(
            "{word}: trims are not offered here"
        )));
    };
    let modifier = modifier.map(|modifier| match modifier.starts_with('-') {
        true => Err(Fault::unsupported("going backwards is not offered here")),
        false => Value {
            text: Some(modifier),
            ..value
        }
        .bytes(),
    });
    draft.options.modifier = modifier.transpose()?.unwrap_or(0);
    draft.options.mode = mode;
    Ok(())
}

fn percent(value: Value<'_>) -> Result<u8, Fault> {
    value.count(0..=100).map(|percent| percent as u8)
}

/// Takes what was given for a direction, and leaves the other one as it is.
fn take<T>(slot: &mut PerDirection<Option<T>>, given: PerDirection<Option<T>>) {
    for (slot, given) in [(&mut slot.read, given.read), (&mut slot.write, given.write)] {
        if given.is_some() {
            *slot = given;
        }
    }
}

pub(super) fn show_directions<T>(
    values: &PerDirection<T>,
    show: impl Fn(&T) -> Option<String>,
) -> Option<String> {
    match (show(&values.read), show(&values.write)) {
        (None, None) => None,
        (Some(read), Some(write)) if read == write => Some(read),
        (Some(read), Some(write)) => Some(format!("{read},{write}")),
        (Some(read), None) => Some(format!("{read},")),
        (None, Some(write)) => Some(format!(",{write}")),
    }
}

fn set_bs(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    let given = value.directions(|v| v.count(1..=MAX_BLOCK))?;
    for write in [false, true] {
        let other = if draft.splits.get(write).is_some() {
            "bssplit"
        } else {
            "bsrange"
        };
        if given.get(write).is_some()
            && (draft.splits.get(write).is_some() || draft.ranges.get(write).is_some())
        {
            draft.notes.push(format!(
                "has no effect: the job has a {other}, which fio prefers"
            ));
            break;
        }
    }
    take(&mut draft.bs, given);
    Ok(())
}

fn set_bsrange(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    let given = value.directions(|v| {
        let (min, max) = v.byte_range()?;
        if min == 0 || max > MAX_BLOCK {
            Err(Fault::value(format!("sizes are from 1 to {MAX_BLOCK}")))
        } else {
            Ok((min, max))
        }
    })?;
    if draft.splits != PerDirection::both(None) {
        let message = "the job has a bssplit already, and fio would mix both up".to_owned();
        return Err(Fault {
            kind: ErrorKind::Conflict,
            message,
        });
    }
    take(&mut draft.ranges, given);
    Ok(())
}

fn set_bssplit(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    let given = value.directions(parts)?;
    if given.read.is_none() || given.write.is_none() {
        return Err(Fault::value(
            "fio needs the sizes of reads and of writes, or one list for both",
        ));
    }
    draft.ranges = PerDirection::both(None);
    draft.splits = given;
    Ok(())
}

/// `size/percentage:size/percentage`. Percentages that are left out share what is left; what is
/// missing at the end goes to the last size, as in fio. The result adds up to 100 and has no part
/// of 0 %.
fn parts(value: Value<'_>) -> Result<Vec<SplitPart>, Fault> {
    let mut parts = Vec::new();
    for part in value.list()? {
        let text = part.text.unwrap_or("");
        let (size, percent) = text
            .split_once('/')
            .map_or((text, ""), |(size, percent)| (size, percent));
        let bytes = Value {
            text: Some(size),
            ..value
        }
        .count(1..=MAX_BLOCK)?;
        let percent = if percent.is_empty() {
            None
        } else {
            Some(
                Value {
                    text: Some(percent.strip_suffix('%').unwrap_or(percent)),
                    ..value
                }
                .count(0..=100)?,
            )
        };
        parts.push((bytes, percent));
        if parts.len() > MAX_PARTS {
            return Err(Fault::value(format!("more than {MAX_PARTS} sizes")));
        }
    }
    let given: u64 = parts.iter().filter_map(|part| part.1).sum();
    let left = 100u64
        .checked_sub(given)
        .ok_or_else(|| Fault::value(format!("the percentages add up to {given}, more than 100")))?;
    let open = parts.iter().filter(|part| part.1.is_none()).count() as u64;
    let share = left.checked_div(open).unwrap_or(0);
    let mut missing = left - share * open;
    let mut result = Vec::with_capacity(parts.len());
    for (at, &(bytes, percent)) in parts.iter().enumerate().rev() {
        // The last one takes what is missing.
        let percent = percent.unwrap_or(share)
            + if at + 1 == parts.len() {
                std::mem::take(&mut missing)
            } else {
                0
            };
        if percent > 0 {
            result.push(SplitPart {
                bytes,
                percent: percent as u8,
            });
        }
    }
    result.reverse();
    Ok(result)
}

fn show_bs(options: &Options) -> Option<String> {
    let fixed = |block: &BlockSize| match block {
        BlockSize::Fixed(bytes) if *bytes != BLOCK_BYTES => Some(number::show_bytes(*bytes)),
        _ => None,
    };
    if has_split(options) {
        None
    } else {
        show_directions(&options.block, fixed)
    }
}

fn show_bsrange(options: &Options) -> Option<String> {
    let range = |block: &BlockSize| match block {
        BlockSize::Range { min, max } => Some(format!(
            "{}-{}",
            number::show_bytes(*min),
            number::show_bytes(*max)
        )),
        _ => None,
    };
    show_directions(&options.block, range)
}

fn has_split(options: &Options) -> bool {
    [&options.block.read, &options.block.write]
        .into_iter()
        .any(|block| matches!(block, BlockSize::Split(_)))
}

fn show_bssplit(options: &Options) -> Option<String> {
    let part = |bytes, percent| format!("{}/{percent}", number::show_bytes(bytes));
    let parts = |block: &BlockSize| match block {
        BlockSize::Fixed(bytes) => Some(part(*bytes, 100)),
        BlockSize::Range { .. } => None,
        BlockSize::Split(parts) => Some(
            parts
                .iter()
                .map(|&SplitPart { bytes, percent }| part(bytes, percent))
                .collect::<Vec<_>>()
                .join(":"),
        ),
    };
    if has_split(options) {
        show_directions(&options.block, parts)
    } else {
        None
    }
}
