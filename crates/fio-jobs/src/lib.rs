//! fio's job files: their language, read into types, and the requests that such a job asks for.
//!
//! This crate is for programs that carry out job files themselves. It has no I/O engine and no
//! clock, and opens nothing but the job file ([`JobFile::read`]), and with
//! [`Surroundings::system`] the files that it includes. The version of fio that decides what is
//! right is 3.33.
//!
//! # The way through the crate
//!
//! 1. [`JobFile::read`] or [`JobFile::parse`] reads a job file. [`Surroundings`] says where
//!    variables, included files and the machine's numbers come from; those of a test are
//!    [`isolated`](Surroundings::isolated). An [`Error`] prints as one line, with file, line and
//!    option.
//! 2. A [`JobFile`] has [`Group`]s of jobs that start together, and each [`Job`] its [`Options`],
//!    with everything that it inherits. Its [`warnings`](JobFile::warnings) tell what has no
//!    effect.
//! 3. A job has [`numjobs`](Options::numjobs) workers. [`Job::files`] names the files of one of
//!    them, and [`Job::regions`] tells which part of each it uses. What is [`Found`] under those
//!    names is for the caller to look at.
//! 4. A [`Course`](random::Course) gives the requests of one worker, in order. The caller adds what
//!    needs a clock: the runtime, rates, think time.
//!
//! ```
//! use fio_jobs::random::Course;
//! use fio_jobs::{Found, JobFile, Mode, Surroundings};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = "
//!     [global]
//!     filename=data
//!     direct=1
//!     [point-reads]
//!     rw=randread
//!     iodepth=32
//!     [scan]
//!     stonewall
//!     rw=read
//!     bs=1m
//!     size=50%         ; of the file that is there
//! ";
//! let file = JobFile::parse("example.fio", text, &Surroundings::isolated())?;
//! let [reads, scan] = [&file.groups[0].jobs[0], &file.groups[1].jobs[0]];
//! assert_eq!((reads.options.mode, reads.options.depth), (Mode::RandRead, 32));
//!
//! // The second job on a file of 10 MiB: five requests of 1 MiB.
//! let seed = scan.seed(0, 0);
//! let regions = scan.regions(0, &[Found::File(10 << 20)], seed)?;
//! let offsets: Vec<u64> = Course::new(scan, &regions, seed)?
//!     .map(|request| request.offset >> 20)
//!     .collect();
//! assert_eq!(offsets, [0, 1, 2, 3, 4]);
//! # Ok(())
//! # }
//! ```
//!
//! A mistake says where it is, and a misspelt name which one may have been meant:
//!
//! ```
//! use fio_jobs::{ErrorKind, JobFile, Surroundings};
//! let text = "[a]\nsize=1m\niodeth=4\n";
//! let error = JobFile::parse("a.fio", text, &Surroundings::isolated()).unwrap_err();
//! assert_eq!((error.kind, error.place.line), (ErrorKind::UnknownOption, 3));
//! assert_eq!(error.nearest, Some("iodepth"));
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
//! `runtime=5sec` five microseconds, `rwmixread=70%` all reads), this is an error that says so.
//! Words that fio ignores (`runtime=60 seconds`, `direct=1 yes`) are ignored with a warning, and a
//! comment may have any encoding.
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

/// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
