//! fio's job files: their language, read into types, and the offsets that such a job asks for.
//!
//! May know: text, numbers, and what fio does with a job file. Must not know: engines, files that
//! are open, requests in flight, clocks. Nothing here does I/O but [`JobFile::read`], for the job
//! file, and [`Surroundings::system`], for the environment and the files that are included.
//!
//! ```
//! use fio_jobs::{JobFile, Mode, Surroundings};
//! # fn main() -> Result<(), fio_jobs::Error> {
//! let text = "
//!     [global]
//!     size=256m        ; for both
//!     direct=1
//!     [point-reads]
//!     rw=randread
//!     iodepth=32
//!     [scan]
//!     stonewall
//!     bs=1m
//! ";
//! let file = JobFile::parse("example.fio", text, &Surroundings::isolated())?;
//! let [reads, scan] = [&file.groups[0].jobs[0], &file.groups[1].jobs[0]];
//! assert_eq!((reads.options.mode, reads.options.depth), (Mode::RandRead, 32));
//! assert_eq!(scan.options.block.read.max(), 1 << 20);
//! # Ok(())
//! # }
//! ```
//!
//! # What is understood
//!
//! The whole syntax: sections, `[global]` as often as one likes, `stonewall`, comments, `include`,
//! `${VARIABLES}`, `$ncpus` and its kin, arithmetic in parentheses, sizes and times with fio's
//! suffixes. Of the options those that a benchmark of reads and writes needs. Every other one of
//! fio's is either kept and warned of, because it can't matter to what is measured here, or refused
//! with a reason. An option that fio doesn't know either is an error that names the nearest one.
//!
//! Where the documentation of fio and the program disagree, the program is followed (a `filename`
//! in a job is added to those of `[global]`, `bs` does not undo an inherited `bsrange`). Where fio
//! reads something else than what is written, without a word (`size = 4k` is four bytes to it,
//! `runtime=5sec` five microseconds), this is an error that says so.
//!
//! A [`JobFile`] prints itself as a job file: every job on its own, with nothing left to inherit or
//! expand. What is printed is read as the same jobs again, by this module and by fio.
//!
//! # Limits
//!
//! [`MAX_TEXT_BYTES`], [`MAX_LINE_BYTES`], [`MAX_SECTIONS`], [`MAX_WORKERS`],
//! [`MAX_INCLUDE_DEPTH`]. More is an error, never a truncation; only of warnings none are kept
//! beyond [`MAX_WARNINGS`], the last of which says so.

mod arithmetic;
mod error;
mod expand;
mod job;
mod kinds;
mod layout;
mod lines;
mod nearest;
mod number;
mod options;
mod parse;
mod print;
pub mod random;
mod surroundings;
mod value;

#[cfg(test)]
mod parse_test;

pub use error::{Error, ErrorKind, Place, Warning};
pub use job::{Group, Job, JobFile, Options};
pub use kinds::{
    BlockSize, Distribution, FioOnly, IoEngine, Memory, Mode, PatternPart, PerDirection, Sequencer,
    Size, SplitPart, SyncMode, Verify,
};
pub use layout::{FileRegion, Found, LayoutError};
pub use surroundings::{Machine, Surroundings};

/// The bytes that a job file may have: with all that it includes, and again when it is written out
/// with nothing left to inherit.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// The bytes that one line may have, before and after its variables are expanded; fio's own limit.
pub const MAX_LINE_BYTES: usize = 8191;
/// The sections that a job file may have.
pub const MAX_SECTIONS: usize = 1024;
/// The workers that all jobs of a file may start together, `numjobs` counted; fio's own default
/// limit.
pub const MAX_WORKERS: u32 = 4096;
/// How deep files may include each other.
pub const MAX_INCLUDE_DEPTH: usize = 8;
/// The warnings that are kept of one file.
pub const MAX_WARNINGS: usize = 1000;
