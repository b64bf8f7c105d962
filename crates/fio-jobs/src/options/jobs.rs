//! What a job is called, how often it is done, what it waits for.

use super::super::MAX_WORKERS;
use super::super::number::KbBase;
use super::{Known, set, show_count, show_flag};

pub(super) const TABLE: &[Known] = &[
    // The name is shown by whoever knows the section's.
    Known::typed(
        "name",
        &[],
        |d, v| set(&mut d.name, v.text().map(|name| Some(name.to_owned()))),
        |_| None,
    ),
    Known::typed(
        "description",
        &[],
        |d, v| {
            // fio takes a blank before it for a part of it, which does no harm.
            let text = v.text.unwrap_or("").trim_start_matches([' ', '\t']);
            d.options.description = (!text.is_empty()).then(|| text.to_owned());
            Ok(())
        },
        |o| o.description.clone(),
    ),
    Known::typed(
        "kb_base",
        &[],
        |d, v| {
            set(
                &mut d.base,
                v.one_of(&[("1024", KbBase::Binary), ("1000", KbBase::Decimal)]),
            )
        },
        |_| None,
    ),
    Known::typed(
        "numjobs",
        &[],
        |d, v| {
            set(
                &mut d.options.numjobs,
                v.count(1..=u64::from(MAX_WORKERS))
                    .map(|count| count as u32),
            )
        },
        |o| show_count(o.numjobs, 1),
    ),
    Known::typed(
        "loops",
        &[],
        |d, v| set(&mut d.options.loops, v.count32(0).map(|loops| loops.max(1))),
        |o| show_count(o.loops, 1),
    ),
    Known::typed(
        "stonewall",
        &["wait_for_previous"],
        |d, v| set(&mut d.options.stonewall, v.flag()),
        |o| show_flag(o.stonewall, false),
    ),
    Known::typed(
        "new_group",
        &[],
        |d, v| set(&mut d.options.new_group, v.flag()),
        |o| show_flag(o.new_group, false),
    ),
    Known::typed(
        "wait_for",
        &[],
        |d, v| {
            set(
                &mut d.options.wait_for,
                v.text().map(|name| Some(name.to_owned())),
            )
        },
        |o| o.wait_for.clone(),
    ),
    Known::typed(
        "group_reporting",
        &[],
        |d, v| set(&mut d.options.group_reporting, v.flag()),
        |o| show_flag(o.group_reporting, false),
    ),
    Known::typed(
        "thread",
        &[],
        |d, v| set(&mut d.options.thread, v.flag()),
        |o| show_flag(o.thread, false),
    ),
];
