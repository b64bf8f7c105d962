//! The engine as the program asks for it, and what it says of itself and of a file.

use std::io;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use nofault::{Backend, Engine, File, IoPath, OpenOptions, Timing};
use serde::Serialize;

use super::facts;

/// Which back end the engine is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendChoice {
    /// io_uring where it is allowed, threads elsewhere
    Auto,
    /// io_uring or nothing
    Uring,
    /// Worker threads with pread and pwrite
    Threads,
}

/// An engine for at most `depth` requests in flight. The error is the whole line for the user.
pub(crate) fn build(choice: BackendChoice, depth: u32, timing: Timing) -> Result<Engine, String> {
    let backend = match choice {
        BackendChoice::Auto => Backend::Auto,
        BackendChoice::Uring => Backend::Uring,
        BackendChoice::Threads => Backend::Threads,
    };
    Engine::builder()
        .depth(depth)
        .backend(backend)
        .timing(timing)
        .build()
        .map_err(|error| match choice {
            BackendChoice::Uring => format!(
                "no io_uring: {}; or take --backend threads",
                facts::explain_ring_error(&error)
            ),
            _ => format!("cannot make an engine: {error}"),
        })
}

/// What the engine says of itself.
#[derive(Clone, Serialize)]
pub(crate) struct RingFacts {
    pub(crate) backend: String,
    /// Why it is not the first choice.
    pub(crate) reason: Option<String>,
    pub(crate) flags: Vec<String>,
}

impl RingFacts {
    pub(crate) fn of(engine: &Engine) -> RingFacts {
        let info = engine.info();
        RingFacts {
            backend: info.backend.to_string(),
            reason: info.reason.as_ref().map(|reason| explain(reason)),
            flags: info.flags.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Why there is no ring. Where it is forbidden the library has several guesses; the program asks.
pub(crate) fn explain(reason: &str) -> String {
    if !reason.contains("EPERM") {
        return reason.to_owned();
    }
    match io_uring::IoUring::new(2) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            facts::explain_ring_error(&error)
        }
        _ => reason.to_owned(),
    }
}

/// What a ring grants that is not asked for unless somebody wants it.
#[derive(Clone, Serialize)]
pub(crate) struct OnRequest {
    granted: Vec<String>,
    /// With the reasons.
    refused: Vec<String>,
}

impl OnRequest {
    /// Asks an engine for all of it, and reads a block of the file. `None` without io_uring.
    pub(crate) fn ask(path: &Path) -> Option<OnRequest> {
        let plain = Engine::builder()
            .depth(8)
            .backend(Backend::Uring)
            .build()
            .ok()?;
        let builder = Engine::builder()
            .depth(8)
            .backend(Backend::Uring)
            .timing(Timing::Off);
        let engine = builder
            .io_poll(true)
            .sq_poll(Duration::from_millis(1))
            .no_iowait(true)
            .build()
            .ok()?;
        if let (Ok(file), Ok(pool)) = (File::open(&engine, path), engine.pool(1, 4096))
            && let Some(buffer) = pool.get()
        {
            // What is wrong with the file is said elsewhere.
            let _ = engine.block_on(file.read_at(buffer, 0));
        }
        let (before, info) = (plain.info(), engine.info());
        let granted = info
            .flags
            .iter()
            .filter(|flag| !before.flags.contains(flag))
            .map(ToString::to_string)
            .collect();
        Some(OnRequest {
            granted,
            refused: engine
                .stats()
                .fallbacks
                .iter()
                .map(ToString::to_string)
                .collect(),
        })
    }

    /// For people: what was granted, and what was not and why.
    pub(crate) fn lines(&self) -> (String, &[String]) {
        (
            if self.granted.is_empty() {
                "nothing".to_owned()
            } else {
                self.granted.join(", ")
            },
            &self.refused,
        )
    }
}

/// What the engine found out about a file.
#[derive(Clone, Serialize)]
pub(crate) struct FileFacts {
    /// Direct, or buffered and why.
    pub(crate) path: String,
    pub(crate) direct: bool,
    pub(crate) alignment_bytes: Alignment,
    /// Where the alignment was learnt: `statx`, `probe` or `assumed`.
    pub(crate) alignment_source: Option<String>,
}

/// What a direct request has to be a multiple of, in bytes. All 1 where requests are buffered.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Alignment {
    pub(crate) memory: u32,
    pub(crate) offset: u32,
    pub(crate) read_offset: u32,
}

impl FileFacts {
    pub(crate) fn of(file: &File) -> FileFacts {
        let alignment = file.alignment();
        FileFacts {
            path: file.path().to_string(),
            direct: matches!(file.path(), IoPath::Direct),
            alignment_bytes: Alignment {
                memory: alignment.mem,
                offset: alignment.offset,
                read_offset: alignment.read_offset,
            },
            alignment_source: file.alignment_source().map(|source| source.to_string()),
        }
    }
}

/// What the engine finds out about the file at this path, opened for reading.
pub(crate) fn open(engine: &Engine, path: &Path) -> io::Result<FileFacts> {
    Ok(FileFacts::of(
        &OpenOptions::new().read(true).open(engine, path)?,
    ))
}
