//! Which of these do I take? A recipe for each use. No code, only documentation.
//!
//! | you have | take | |
//! |---|---|---|
//! | one thread that does I/O, or one for each core | [`Engine`], [`File`] | [below](#a-thread-of-its-own) |
//! | the same, and hundreds of requests in flight | [`Queue`] | [below](#many-requests-of-one-task) |
//! | threads or tasks that move, any runtime or none | [`Handle`], [`handle::File`] | [below](#any-thread-any-runtime) |
//! | a current-thread runtime of tokio, or tokio-uring | [`Engine`], `nofault::tokio::drive` | [below](#inside-a-current-thread-runtime) |
//! | an event loop of your own | [`Engine::turn`] | [below](#a-loop-of-your-own) |
//! | a file that is written at its end and must be durable | `write_all_at`, `sync_data` | [below](#a-log) |
//! | memory for buffers, to be chosen | [`Engine::pool`], [`Handle::pool`] | [below](#memory-that-needs-no-look) |
//! | a cache or an arena that exists | [`Engine::register`], [`Handle::register`] | [below](#memory-that-you-have) |
//! | addresses, or memory whose faults you resolve | `read_raw_at`, [`Policy`] | [below](#memory-that-is-only-an-address) |
//! | requests that may be given up | [`Io::cancel`], [`File::with_timeout`] | [below](#giving-up) |
//! | one buffer for several files | an `Arc` of it, see [`SharedIoBuf`] | |
//! | requests that matter less, or more | [`File::with_priority`] | |
//!
//! An engine's file and a handle's have the same methods with the same results. What differs is who
//! may hold them.
//!
//! And nothing of all that, for a program that lives on the page cache: direct I/O has no read-ahead
//! and keeps no copy. Small reads one after the other, each awaited before the next is made, take
//! the device's latency each: up to twenty times as long as from the cache. Such a program gets
//! faster by larger requests and by many in flight, or stays with `OpenOptions::direct(false)`.
//!
//! # A thread of its own
//!
//! One engine for each thread, and futures that stay on it. The fewest steps for a request.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! use nofault::{AlignedBuf, Engine, File};
//!
//! let engine = Engine::new()?;
//! let file = File::create(&engine, &path)?;
//! engine.block_on(async {
//!     // Both are in flight from here on; the buffers come back with the results.
//!     let first = file.write_all_at(AlignedBuf::new(4096)?, 0);
//!     let second = file.write_all_at(AlignedBuf::new(4096)?, 4096);
//!     first.await.0?;
//!     second.await.0
//! })
//! # }
//! ```
//!
//! # Many requests of one task
//!
//! A queue keeps them in flight without a future for each, and gives them back as they end.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! # std::fs::write(&path, vec![7; 64 << 12])?;
//! let engine = nofault::Engine::builder().depth(32).build()?;
//! let file = nofault::File::open(&engine, &path)?;
//! let pool = engine.pool(32, 4096)?;
//! let mut queue = nofault::Queue::new(&engine);
//! let mut blocks = 0..64u64;
//! engine.block_on(async {
//!     for (buffer, block) in std::iter::from_fn(|| pool.get()).zip(blocks.by_ref()) {
//!         queue.read_at(&file, buffer, block * 4096, block);
//!     }
//!     while let Some(done) = queue.next().await {
//!         assert_eq!((done.result?, done.buffer[0]), (4096, 7));
//!         if let Some(block) = blocks.next() {
//!             queue.read_at(&file, done.buffer, block * 4096, block);
//!         }
//!     }
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Any thread, any runtime
//!
//! A handle and its files are `Send`, `Sync` and `Clone`; futures are awaited in any runtime. I/O
//! threads carry the requests out. Without a runtime [`Handle::block_on`] waits for a future.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! use nofault::{Handle, handle::File};
//!
//! let handle = Handle::new()?;
//! let file = File::create(&handle, &path)?;
//! let writers: Vec<_> = (0..4u8)
//!     .map(|block| {
//!         let (handle, file) = (handle.clone(), file.clone());
//!         let offset = u64::from(block) * 4096;
//!         std::thread::spawn(move || handle.block_on(file.write_all_at(vec![block; 4096], offset)).0)
//!     })
//!     .collect();
//! for writer in writers {
//!     writer.join().expect("no panic")?;
//! }
//! handle.block_on(file.sync_all())
//! # }
//! ```
//!
//! # Inside a current-thread runtime
//!
//! With the feature `tokio` (or `tokio-uring`, which has its own page) the engine is one more
//! descriptor in the runtime's reactor. Beside `tokio_uring::start` it is the same with
//! `tokio_uring::spawn`.
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! tokio::task::LocalSet::new().block_on(&runtime, async {
//!     let engine = nofault::Engine::new()?;
//!     tokio::task::spawn_local(nofault::tokio::drive(&engine)?);
//!     let file = nofault::File::create(&engine, &path)?;
//!     file.write_all_at(vec![7; 4096], 0).await.0
//! })
//! # }
//! ```
//!
//! # A loop of your own
//!
//! [`Engine::turn`] starts what was made, takes in what has ended, and wakes the tasks; a queue can
//! be asked without a task. [`Engine::next_deadline`] says until when a loop may wait elsewhere.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! # std::fs::write(&path, [7; 4096])?;
//! let engine = nofault::Engine::new()?;
//! let file = nofault::File::open(&engine, &path)?;
//! let mut queue = nofault::Queue::new(&engine);
//! queue.read_at(&file, vec![0; 4096], 0, "the first block");
//! let done = loop {
//!     engine.turn(None)?;
//!     if let Some(done) = queue.try_next() {
//!         break done;
//!     }
//! };
//! assert_eq!((done.tag, done.result?), ("the first block", 4096));
//! # Ok(())
//! # }
//! ```
//!
//! # A log
//!
//! A record is durable when a sync is over that was made after the write was over. Whole blocks, at
//! offsets that you count yourself, go directly; a file opened with
//! [`OpenOptions::append`] goes through the page cache. `examples/log.rs` is a log with group
//! commit.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("log");
//! let engine = nofault::Engine::new()?;
//! let log = nofault::File::create(&engine, &path)?;
//! let mut block = engine.pool(1, 4096)?.get().expect("a buffer");
//! block[..6].copy_from_slice(b"record");
//! let end = engine.block_on(async {
//!     log.write_all_at(block, 0).await.0?;
//!     log.sync_data().await?;
//!     std::io::Result::Ok(4096)
//! })?;
//! assert_eq!(log.len()?, end);
//! # Ok(())
//! # }
//! ```
//!
//! # Memory that needs no look
//!
//! The buffers of a pool are pinned once: a read or write of one of them is submitted at once, with
//! no look and no fault. (One of several buffers, `readv_at`, is looked at all the same.) An
//! [`AlignedBuf`] is aligned and looked at; any other memory, a `Vec` above all, is mostly aligned
//! for no direct request and goes by a copy.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! # std::fs::write(&path, [7; 8192])?;
//! use nofault::{Engine, File, IoBufExt};
//!
//! let engine = Engine::new()?;
//! let file = File::open(&engine, &path)?;
//! let pool = engine.pool(16, 64 << 10)?;
//! let buffer = pool.get().expect("sixteen are free");
//! // All of the buffer would be 64 KiB; a part of it goes in its place.
//! let (count, part) = engine.block_on(file.read_at(buffer.into_slice(..8192), 0));
//! assert_eq!((count?, part.as_ref()[8191]), (8192, 7));
//! drop(part); // Back in the pool.
//! # Ok(())
//! # }
//! ```
//!
//! # Memory that you have
//!
//! A cache of pages in one piece is registered once. Its slices are buffers, and addresses inside
//! are known as pinned.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! # std::fs::write(&path, [7; 8192])?;
//! use nofault::{AlignedBuf, Handle, handle::File};
//!
//! let handle = Handle::new()?;
//! let file = File::open(&handle, &path)?;
//! let cache = handle.register(AlignedBuf::new(1 << 20)?);
//! let page = cache.slice(8192..12288).expect("no other slice is out there");
//! let (count, page) = handle.block_on(file.read_at(page, 4096));
//! assert_eq!((count?, page[0]), (4096, 7));
//! # Ok(())
//! # }
//! ```
//!
//! # Memory that is only an address
//!
//! Raw requests take any address, and bad memory ends them with a count or with EFAULT. For memory
//! whose faults this very thread resolves (userfaultfd, FUSE) take [`Policy::Offload`]: nothing of
//! the request runs on the thread that submits.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! # std::fs::write(&path, [7; 4096])?;
//! use nofault::{Engine, File, Policy};
//!
//! let engine = Engine::new()?;
//! let file = File::open(&engine, &path)?;
//! let mut page = [0u8; 4096];
//! // SAFETY: the page stays where it is and is not used until the future is ready.
//! let read = unsafe { file.read_raw_at(page.as_mut_ptr(), page.len(), 0, Policy::Offload) };
//! assert_eq!(engine.block_on(read)?, 4096);
//! assert_eq!(page[4095], 7);
//! # Ok(())
//! # }
//! ```
//!
//! # Giving up
//!
//! A future that is dropped cancels its request, and its buffer goes with it. [`Io::cancel`] asks
//! for the end and is awaited: the buffer comes back, with the count or the error. A file
//! [`with_timeout`](File::with_timeout) does that by itself, after a time.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("file");
//! # std::fs::write(&path, [7; 4096])?;
//! use std::time::Duration;
//!
//! let engine = nofault::Engine::new()?;
//! let file = nofault::File::open(&engine, &path)?;
//! let in_time = file.with_timeout(Duration::from_secs(1));
//! match engine.block_on(in_time.read_at(vec![0; 4096], 0)) {
//!     (Ok(count), buffer) => assert!(count == 4096 && buffer[0] == 7),
//!     (Err(error), _buffer) => assert_eq!(error.kind(), std::io::ErrorKind::TimedOut),
//! }
//! let (result, buffer) = engine.block_on(file.read_at(vec![0; 4096], 0).cancel());
//! assert!(result.is_ok() || buffer == [0; 4096]);
//! # Ok(())
//! # }
//! ```

#[cfg(doc)]
use crate::{
    AlignedBuf, Engine, File, Handle, Io, OpenOptions, Policy, Queue, SharedIoBuf, handle,
};
