//! Asynchronous direct I/O for Linux whose submission path never takes a page fault, and whose
//! every request has one honest result.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! use nofault::{AlignedBuf, Engine, File};
//!
//! let engine = Engine::new()?;
//! let file = File::create(&engine, &path)?;
//! let (count, head) = engine.block_on(async {
//!     // A fresh megabyte of which no page is there: faulted in off this thread, window by window,
//!     // while it is being written.
//!     let (result, _buffer) = file.write_all_at(AlignedBuf::new(1 << 20)?, 0).await;
//!     result?;
//!     file.sync_data().await?;
//!     // Requests start when they are made: these two are in flight together.
//!     let first = file.read_at(Vec::with_capacity(4096), 0);
//!     let second = file.read_at(Vec::with_capacity(4096), (1 << 20) - 100);
//!     let (_, head) = first.await;
//!     let (count, _) = second.await;
//!     std::io::Result::Ok((count?, head))
//! })?;
//! assert_eq!((count, head), (100, vec![0; 4096]));
//! # Ok(())
//! # }
//! ```
//!
//! Start with [`Engine`] and [`File`]: one engine for each thread. A program whose tasks move
//! between threads, or that has no runtime at all, takes a [`Handle`] and its [`handle::File`]
//! instead. [`Engine::pool`] and [`Engine::register`] give memory that needs no look; [`Policy`]
//! says what is done with other memory; [`Stats`] counts everything that is not the fast path. The
//! [`guide`] has a recipe for each use, the README the limits and the kernel versions.
//!
//! # How it is built
//!
//! Layers, each of which knows only those above it in this list:
//!
//! 1. `sys`: the system calls that no crate offers.
//! 2. [`memory`]: what may be lent to the kernel, and what can be known of memory without touching
//!    it.
//! 3. `transfer`: what one request is, as a pure state machine. No system call, no clock; tested by
//!    enumerating its paths.
//! 4. `open_file`: the descriptors of a file, their alignment, and what one driver knows them by.
//! 5. `driver`: the table of requests in flight, over one of two back ends: `uring` and `threads`.
//!    No futures.
//! 6. `engine`: futures, and who owns a buffer; pools and regions.
//! 7. `file`: what users of an engine hold.
//! 8. [`handle`]: engines on threads of their own, and requests from any thread. With the features
//!    of these names, `tokio` and `tokio_uring`: an engine driven by their reactor.
//!
//! A test holds the order (`tests/layers.rs`); `docs/ARCHITECTURE.md` has the map of the code, what
//! each layer must not know, and a glossary.
//!
//! # The life of a request
//!
//! 1. It gets a slot, or waits for one. The arguments are checked in the order in which pread64 and
//!    pwrite64 check them.
//! 2. Pinned memory is submitted at once, as READ_FIXED or WRITE_FIXED.
//! 3. Other memory is looked at (`/proc/self/pagemap`). The prefix that is there is submitted, cut
//!    to the file's alignment.
//! 4. The rest is faulted in: a window of 1 MiB, by an operation that never runs on this thread,
//!    while the window before is with the device, up to 8 MiB ahead. A window that gets nowhere is
//!    halved, down to one page; progress makes it grow again.
//! 5. What no direct request may be given goes through a bounce buffer or the page cache: file
//!    mappings, memory that can be touched but not pinned, ragged edges. Copies from and to foreign
//!    memory are made off this thread too, and bad memory makes them short.
//! 6. The result counts the bytes of all passes. An error after progress gives the count; whoever
//!    asks for the rest meets the error again.
//!
//! Work that may be stuck in a fault (fault-ins, copies, offloaded requests) passes through two lanes
//! that are together narrower than the kernel's pool of workers, so that other requests always find
//! a worker. What can't be stuck, as far as can be known, has the second lane for itself.
//!
//! # What is chosen here, and was not obvious
//!
//! - A file mapping is never handed to a direct request. A direct read into a shared mapping of the
//!   very range it reads may never end in the kernel (gfs2): each pass writes the page back and so
//!   undoes the pin.
//! - EFAULT of a direct request means that the range is indeterminate, not that nothing happened.
//!   The same bytes are sent again in smaller windows, and what can't be helped is asked of the
//!   page cache, whose answer is the right one by definition.
//! - A bounce buffer is a mapping of a memfd. A copy from foreign memory is a write to that memfd
//!   by a kernel worker, so it may fault, be short, or be stuck without any harm to this thread.
//! - A file is two descriptors, one with O_DIRECT and one without, opened through `/proc/self/fd`.
//! - A call that has slept hands out the one completion that woke it (Linux 6.13 and later), and
//!   the others only when asked again. With sixteen requests in flight or more they are asked for
//!   at once, so that their followers go to the device in few submissions. And where most of what
//!   was in flight has ended together, the first followers are submitted as soon as there are some,
//!   from within the call that makes one more ([`Stats::early_starts`]): the device is not to wait
//!   until all answers are worked off.
//! - What an engine can't finish when it is dropped stays with its thread, not with a thread that
//!   reaps: a ring of one issuer can be driven by its own thread only, and buffers need not be
//!   `Send`. See [`left_behind`].
//!
//! # Invariants
//!
//! 1. On the submitting thread no request takes a page fault on pinned memory; on other memory only
//!    if it was reclaimed between look and submission, or with [`Policy::Trust`].
//! 2. A result is what the buffered path would return for the same file and memory. Bytes counted
//!    are bytes moved.
//! 3. Every request ends: a measure falls strictly with each step, and debug builds assert it.
//! 4. A buffer is not freed, moved or given back before the kernel is done with it.
//! 5. Everything is bounded: requests, fault-ins, bounce memory, retries.
//! 6. A lost ability is a fallback that can be asked for ([`EngineInfo`], [`IoPath`],
//!    [`Stats::fallbacks`]), never a panic.
//! 7. A request that must not be split (a file opened to append) goes to the kernel in one piece,
//!    by the page cache.
//! 8. Nothing spins while there is nothing to do.

mod driver;
mod engine;
mod file;
pub mod guide;
pub mod handle;
pub mod memory;
mod open_file;
mod sys;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "tokio-uring")]
pub mod tokio_uring;
mod transfer;

pub use driver::{BackendChoice as Backend, BackendKind, Fallback, Histogram, Stats, Timing};
pub use engine::{
    Engine, EngineBuilder, EngineInfo, Io, IoVec, LeftBehind, Pool, PoolBuf, RawIo, Region,
    RegionBuf, Simple, left_behind,
};
pub use file::{Done, File, IoAll, OpenOptions, Policy, Queue};
pub use handle::{Handle, HandleBuilder};
pub use memory::{
    Access, AlignedBuf, IoBuf, IoBufExt, IoBufMut, Pinned, SharedIoBuf, Slice, fault_in_readable,
    fault_in_writeable, resident_prefix,
};
pub use open_file::{Alignment, AlignmentSource, IoPath, Priority, Reason};

/// The README's program, compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
