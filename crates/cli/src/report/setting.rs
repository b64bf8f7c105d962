//! Where and how a run on a file made for it was done.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::ground::engine::{FileFacts, RingFacts};
use crate::ground::facts;
use crate::ground::scratch::Scratch;

/// Where and how a run was done.
#[derive(Serialize)]
pub(crate) struct Setting {
    pub(crate) version: &'static str,
    pub(crate) kernel: String,
    pub(crate) dir: String,
    pub(crate) filesystem: String,
    pub(crate) file_bytes: u64,
    pub(crate) file: FileFacts,
    pub(crate) engine: RingFacts,
    pub(crate) rounds: u32,
    pub(crate) seconds_per_cell: f64,
}

impl Setting {
    /// Of a run in this directory.
    pub(crate) fn new(
        dir: &Path,
        scratch: &Scratch,
        (file, engine): (FileFacts, RingFacts),
        rounds: u32,
        time: Duration,
    ) -> Setting {
        Setting {
            version: env!("CARGO_PKG_VERSION"),
            kernel: facts::kernel_release(),
            dir: std::fs::canonicalize(dir)
                .unwrap_or_else(|_| dir.to_owned())
                .display()
                .to_string(),
            filesystem: scratch.filesystem.clone(),
            file_bytes: scratch.bytes,
            file,
            engine,
            rounds,
            seconds_per_cell: time.as_secs_f64(),
        }
    }
}
