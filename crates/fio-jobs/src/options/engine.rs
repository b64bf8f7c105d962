//! How requests are sent: fio's engine and what belongs to it.

use super::super::error::Fault;
use super::super::kinds::IoEngine;
use super::super::value::Value;
use super::{Draft, Known, set, show_count, show_flag};

/// The requests that one worker may have in flight.
const MAX_DEPTH: u64 = 1 << 16;

const URING: &[IoEngine] = &[IoEngine::IoUring];
const ASYNC: &[IoEngine] = &[IoEngine::IoUring, IoEngine::Libaio];
const NOWAIT: &[IoEngine] = &[IoEngine::IoUring, IoEngine::Libaio, IoEngine::Pvsync2];
const POLLED: &[IoEngine] = &[IoEngine::IoUring, IoEngine::Pvsync2];

const PRIORITY: &str = "all requests have the same priority";

pub(super) const TABLE: &[Known] = &[
    Known::typed("ioengine", &[], set_engine, |o| {
        (o.engine != IoEngine::Psync).then(|| o.engine.to_string())
    }),
    Known::typed(
        "iodepth",
        &[],
        |d, v| {
            set(
                &mut d.options.depth,
                v.count(1..=MAX_DEPTH).map(|depth| depth as u32),
            )
        },
        |o| show_count(o.depth, 1),
    ),
    Known::typed(
        "iodepth_batch",
        &["iodepth_batch_submit"],
        |d, v| set(&mut d.options.batch_submit, v.count32(0)),
        |o| show_count(o.batch_submit, 1),
    ),
    Known::typed(
        "iodepth_batch_complete_min",
        &["iodepth_batch_complete"],
        |d, v| set(&mut d.options.batch_complete_min, v.count32(0)),
        |o| show_count(o.batch_complete_min, 1),
    ),
    Known::typed(
        "iodepth_batch_complete_max",
        &[],
        |d, v| set(&mut d.options.batch_complete_max, v.count32(0).map(Some)),
        |o| o.batch_complete_max.map(|most| most.to_string()),
    ),
    Known::typed(
        "iodepth_low",
        &[],
        |d, v| set(&mut d.options.depth_low, v.count32(0).map(Some)),
        |o| o.depth_low.map(|low| low.to_string()),
    ),
    Known::fixed(
        "io_submit_mode",
        &["inline"],
        "each worker submits its own requests",
    ),
    Known::fixed(
        "serialize_overlap",
        &["0"],
        "requests in flight may overlap",
    ),
    Known::typed(
        "fixedbufs",
        &[],
        |d, v| set(&mut d.options.fixed_buffers, v.flag()),
        |o| show_flag(o.fixed_buffers, false),
    )
    .of(URING),
    Known::typed(
        "registerfiles",
        &[],
        |d, v| set(&mut d.options.registered_files, v.flag()),
        |o| show_flag(o.registered_files, false),
    )
    .of(URING),
    Known::kept("nonvectored").of(URING),
    Known::kept("userspace_reap").of(&[IoEngine::Libaio]),
    Known::ignored("hipri", "completions are not polled for").of(POLLED),
    Known::ignored("hipri_percentage", "completions are not polled for").of(&[IoEngine::Pvsync2]),
    Known::ignored("sqthread_poll", "no kernel thread polls for submissions").of(URING),
    Known::ignored(
        "sqthread_poll_cpu",
        "no kernel thread polls for submissions",
    )
    .of(URING),
    Known::ignored(
        "force_async",
        "only what must not run on this thread is sent to the kernel's workers",
    )
    .of(URING),
    Known::ignored("nowait", "requests wait for what they need").of(NOWAIT),
    Known::ignored("uncached", "the buffered path keeps what it reads").of(POLLED),
    Known::ignored("cmdprio", PRIORITY).of(ASYNC),
    Known::ignored("cmdprio_class", PRIORITY).of(ASYNC),
    Known::ignored("cmdprio_percentage", PRIORITY).of(ASYNC),
    Known::ignored("cmdprio_bssplit", PRIORITY).of(ASYNC),
];

fn set_engine(draft: &mut Draft, value: Value<'_>) -> Result<(), Fault> {
    const ENGINES: [IoEngine; 8] = [
        IoEngine::IoUring,
        IoEngine::Libaio,
        IoEngine::Posixaio,
        IoEngine::Psync,
        IoEngine::Sync,
        IoEngine::Vsync,
        IoEngine::Pvsync,
        IoEngine::Pvsync2,
    ];
    let text = value.text()?;
    let engine = ENGINES
        .into_iter()
        .find(|engine| engine.to_string() == text)
        .ok_or_else(|| {
            let names = ENGINES.map(|engine| engine.to_string());
            Fault::unsupported(format!(
                "the engine {text:?} is not offered here: take one of {}",
                names.join(", ")
            ))
        })?;
    draft.options.set_engine(engine);
    Ok(())
}
