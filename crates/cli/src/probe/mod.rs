//! `nofault probe PATH`: what direct I/O and io_uring can do there, and which back end would be
//! chosen and why.
//!
//! Changes nothing: of a directory it asks a file without a name that is gone when the program
//! ends.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use io_uring::{IoUring, Parameters};
use serde::Serialize;

use crate::figures::units;
use crate::ground::engine::BackendChoice;
use crate::ground::engine::{self, FileFacts, OnRequest, RingFacts};
use crate::ground::facts::{self, Switch};
use crate::report::Outcome;
use crate::report::print;

/// Options of `nofault probe`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A file, a block device, or a directory whose filesystem is meant
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Back end to ask for
    #[arg(long, value_enum, default_value = "auto")]
    backend: BackendChoice,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// All answers. Units stand last in the names.
#[derive(Serialize)]
struct Answers {
    path: String,
    kind: &'static str,
    filesystem: String,
    /// None where no file could be opened: then `file_unknown` says why.
    file: Option<FileFacts>,
    file_unknown: Option<String>,
    kernel: String,
    io_uring_disabled: Option<u32>,
    /// Why it could not be read; None also where this kernel has no such switch.
    io_uring_disabled_unknown: Option<String>,
    memlock_bytes: Option<u64>,
    huge_pages: HugePages,
    ring_features: Vec<&'static str>,
    ring_unavailable: Option<String>,
    engine: RingFacts,
    /// What the builder may ask for besides: a kernel thread, polling, waiting that is no waiting
    /// for I/O.
    on_request: Option<OnRequest>,
    #[serde(skip)]
    asked: BackendChoice,
}

/// What the machine grants in huge pages: `always`, `madvise` (which nofault says), `never` or
/// `unknown`.
#[derive(Serialize)]
struct HugePages {
    transparent: String,
    transparent_shared: String,
    hugetlb_total: u64,
    hugetlb_free: u64,
}

impl HugePages {
    fn ask() -> HugePages {
        let granted = nofault::memory::huge_pages();
        HugePages {
            transparent: granted.anonymous.to_string(),
            transparent_shared: granted.shared.to_string(),
            hugetlb_total: granted.hugetlb_total,
            hugetlb_free: granted.hugetlb_free,
        }
    }
}

/// Runs the probe.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let answers = ask(arguments)?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&answers)
            .map_err(|e| format!("cannot write JSON: {e}"))?;
        print(&(text + "\n"))?;
    } else {
        print(&render(&answers))?;
    }
    // The main question has stayed open.
    Ok(ExitCode::from(u8::from(answers.file.is_none())))
}

fn ask(arguments: &Arguments) -> Result<Answers, String> {
    let path = &arguments.path;
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|e| format!("cannot look at {shown}: {e}"))?;
    let kind = match meta.file_type() {
        t if t.is_dir() => "directory",
        t if t.is_file() => "file",
        t if t.is_block_device() => "block device",
        // Opening a pipe would wait for its other end, and a device could do anything.
        _ => {
            return Err(format!(
                "{shown} is neither a file nor a directory nor a block device: there is no direct I/O to it"
            ));
        }
    };
    let engine = engine::build(arguments.backend, 8, nofault::Timing::Off)?;
    let opened = if kind == "directory" {
        nameless(path)
    } else {
        named(path)
    };
    let filesystem = match (&opened, kind) {
        (_, "block device") => "none (block device)".into(),
        (Ok((file, _)), _) => facts::filesystem(file),
        (Err(_), _) => File::open(path).map_or_else(|_| "unknown".into(), facts::filesystem),
    };
    let mut on_request = None;
    let answer = opened.and_then(|(file, path)| {
        let answer = engine::open(&engine, &path).map_err(|e| format!("cannot open it: {e}"));
        on_request = (engine.info().backend == nofault::BackendKind::Uring)
            .then(|| OnRequest::ask(&path))
            .flatten();
        // Until here: the path may be that of this very descriptor.
        drop(file);
        answer
    });
    let (file, file_unknown) = match answer {
        Ok(facts) => (Some(facts), None),
        Err(reason) => (None, Some(reason)),
    };
    let (ring_features, ring_unavailable) = match IoUring::new(8) {
        Ok(ring) => (features(ring.params()), None),
        Err(error) => (Vec::new(), Some(facts::explain_ring_error(&error))),
    };
    let switch = facts::io_uring_disabled();
    Ok(Answers {
        path: fs::canonicalize(path)
            .unwrap_or_else(|_| path.clone())
            .display()
            .to_string(),
        kind,
        filesystem,
        file,
        file_unknown,
        kernel: facts::kernel_release(),
        io_uring_disabled: match switch {
            Switch::Set(mode) => Some(mode),
            _ => None,
        },
        io_uring_disabled_unknown: match switch {
            Switch::Unknown(why) => Some(why),
            _ => None,
        },
        memlock_bytes: facts::memlock_bytes(),
        huge_pages: HugePages::ask(),
        ring_features,
        ring_unavailable,
        engine: RingFacts::of(&engine),
        on_request,
        asked: arguments.backend,
    })
}

fn named(path: &Path) -> Result<(File, PathBuf), String> {
    let file = File::open(path).map_err(|e| format!("cannot open it for reading: {e}"))?;
    Ok((file, path.to_owned()))
}

/// A file in this directory that has no name, and where it can be opened again.
fn nameless(dir: &Path) -> Result<(File, PathBuf), String> {
    let mut file = tempfile::tempfile_in(dir)
        .map_err(|e| format!("cannot make a file there to ask: {e}; name an existing file"))?;
    // Where statx doesn't answer, reads are tried, and an empty file would tell nothing. One that
    // can't be filled is asked all the same.
    let _ = file.write_all(&[0; 64 << 10]);
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok((file, path))
}

/// The ring's features by their names in io_uring_setup(2), without IORING_FEAT_.
fn features(p: &Parameters) -> Vec<&'static str> {
    [
        (p.is_feature_single_mmap(), "SINGLE_MMAP"),
        (p.is_feature_nodrop(), "NODROP"),
        (p.is_feature_submit_stable(), "SUBMIT_STABLE"),
        (p.is_feature_rw_cur_pos(), "RW_CUR_POS"),
        (p.is_feature_cur_personality(), "CUR_PERSONALITY"),
        (p.is_feature_fast_poll(), "FAST_POLL"),
        (p.is_feature_poll_32bits(), "POLL_32BITS"),
        (p.is_feature_sqpoll_nonfixed(), "SQPOLL_NONFIXED"),
        (p.is_feature_ext_arg(), "EXT_ARG"),
        (p.is_feature_native_workers(), "NATIVE_WORKERS"),
        (p.is_feature_resource_tagging(), "RSRC_TAGS"),
        (p.is_feature_skip_cqe_on_success(), "CQE_SKIP"),
        (p.is_feature_linked_file(), "LINKED_FILE"),
        (p.is_feature_recvsend_bundle(), "RECVSEND_BUNDLE"),
        (p.is_feature_min_timeout(), "MIN_TIMEOUT"),
        (p.is_feature_no_iowait(), "NO_IOWAIT"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect()
}

fn render(a: &Answers) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        for (i, part) in crate::figures::text::wrap(value, 80).iter().enumerate() {
            let _ = writeln!(out, "{:<18}{part}", if i == 0 { name } else { "" });
        }
    };
    line("path", &format!("{} ({})", a.path, a.kind));
    line("filesystem", &a.filesystem);
    match (&a.file, &a.file_unknown) {
        (Some(file), _) => {
            line("requests go", &file.path);
            if file.direct {
                let source = file.alignment_source.as_deref().unwrap_or("nowhere");
                let (m, o, r) = (
                    file.alignment_bytes.memory,
                    file.alignment_bytes.offset,
                    file.alignment_bytes.read_offset,
                );
                line(
                    "alignment",
                    &format!(
                        "memory {m}, offset and length {o}, of reads {r} bytes; from {source}"
                    ),
                );
            }
        }
        (None, reason) => line(
            "requests go",
            &format!(
                "unknown: {}",
                reason.as_deref().unwrap_or("nothing was asked")
            ),
        ),
    }
    line("kernel", &a.kernel);
    line(
        "io_uring_disabled",
        &match (a.io_uring_disabled, &a.io_uring_disabled_unknown) {
            (None, Some(why)) => format!("unknown: {why}"),
            (None, None) => "this kernel has no such switch".into(),
            (Some(0), _) => "0: allowed for all".into(),
            (Some(1), _) => {
                "1: only for CAP_SYS_ADMIN and the group in kernel.io_uring_group".into()
            }
            (Some(mode), _) => format!("{mode}: forbidden for all"),
        },
    );
    line(
        "RLIMIT_MEMLOCK",
        &a.memlock_bytes.map_or_else(
            || "no limit".into(),
            |b| format!("{}: pinned buffers of one user at most", units::size(b)),
        ),
    );
    line(
        "huge pages",
        &format!(
            "transparent: {}, in shared memory {}; hugetlb: {} of {} free",
            a.huge_pages.transparent,
            a.huge_pages.transparent_shared,
            a.huge_pages.hugetlb_free,
            a.huge_pages.hugetlb_total
        ),
    );
    match &a.ring_unavailable {
        None => line("ring features", &a.ring_features.join(" ")),
        Some(reason) => line("ring features", &format!("no ring: {reason}")),
    }
    line("back end", &a.engine.backend);
    let because = match a.asked {
        BackendChoice::Auto => "it is the first choice, and nothing stands against it",
        _ => "it was asked for",
    };
    line("because", a.engine.reason.as_deref().unwrap_or(because));
    if !a.engine.flags.is_empty() {
        line("ring flags", &a.engine.flags.join(", "));
    }
    if let Some(on_request) = &a.on_request {
        let (granted, refused) = on_request.lines();
        line("on request", &granted);
        refused
            .iter()
            .for_each(|reason| line("", &format!("not: {reason}")));
    }
    out
}
