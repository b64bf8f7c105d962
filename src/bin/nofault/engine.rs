//! The engine as the program asks for it, and what it says of itself and of a file.

use std::io;
use std::path::Path;

use nofault::{Backend, Engine, File, IoPath, OpenOptions, Timing};
use serde::Serialize;

use crate::{BackendChoice, facts};

/// An engine for at most `depth` requests in flight. The error is the whole line for the user.
pub(crate) fn build(choice: BackendChoice, depth: u32, timing: Timing) -> Result<Engine, String> {
    let backend = match choice {
        BackendChoice::Auto => Backend::Auto,
        BackendChoice::Uring => Backend::Uring,
        BackendChoice::Threads => Backend::Threads,
    };
    Engine::builder().depth(depth).backend(backend).timing(timing).build().map_err(|error| match choice {
        BackendChoice::Uring => format!("no io_uring: {}; or take --backend threads", facts::explain_ring_error(&error)),
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
            reason: info.reason.clone(),
            flags: info.flags.iter().map(ToString::to_string).collect(),
        }
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
            alignment_bytes: Alignment { memory: alignment.mem, offset: alignment.offset, read_offset: alignment.read_offset },
            alignment_source: file.alignment_source().map(|source| source.to_string()),
        }
    }
}

/// What the engine finds out about the file at this path, opened for reading.
pub(crate) fn open(engine: &Engine, path: &Path) -> io::Result<FileFacts> {
    Ok(FileFacts::of(&OpenOptions::new().read(true).open(engine, path)?))
}
