//! Random reads with a number of them in flight, by nofault and by a bare ring: the loops that
//! `hot` measures.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use io_uring::{IoUring, opcode, squeue, types};
use nofault::{Engine, Io, IoBufMut, Queue};

use crate::common::{self, KIB, Memory, Random, TestFile};

pub(crate) const BLOCK: usize = 4 * KIB;

/// Which futures were woken, one bit each. One task polls them all; without this it would have to
/// poll those too that have not moved.
struct Woken {
    words: Vec<AtomicU64>,
    task: Mutex<Option<Waker>>,
}

struct WakeOne {
    woken: Arc<Woken>,
    index: usize,
}

impl Woken {
    fn set(&self, index: usize) {
        // The task is woken by the first of each word, and takes all of them.
        if self.words[index / 64].fetch_or(1 << (index % 64), Ordering::AcqRel) == 0
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

impl Wake for WakeOne {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.set(self.index);
    }
}

/// Reads through an engine, from one task with a future for each read.
pub(crate) struct Nofault<B: 'static> {
    // Fields are dropped in this order; the engine goes last.
    idle: Vec<B>,
    flying: Vec<Option<Io<B>>>,
    wakers: Vec<Waker>,
    woken: Arc<Woken>,
    random: Random,
    file: nofault::File,
    file_bytes: usize,
    engine: Engine,
}

impl<B: IoBufMut> Nofault<B> {
    /// As many reads are in flight as there are buffers.
    pub(crate) fn new(engine: Engine, file: &TestFile, buffers: Vec<B>) -> io::Result<Nofault<B>> {
        let depth = buffers.len();
        let words = (0..depth.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let woken = Arc::new(Woken {
            words,
            task: Mutex::new(None),
        });
        Ok(Nofault {
            idle: buffers,
            flying: (0..depth).map(|_| None).collect(),
            wakers: (0..depth)
                .map(|index| {
                    Waker::from(Arc::new(WakeOne {
                        woken: woken.clone(),
                        index,
                    }))
                })
                .collect(),
            woken,
            random: Random::new(),
            file: nofault::File::open(&engine, file.path())?,
            file_bytes: file.bytes,
            engine,
        })
    }

    /// `count` reads; none is in flight before or after. Says how often io_uring_enter was called.
    pub(crate) fn run(&mut self, count: u64) -> io::Result<u64> {
        let engine = self.engine.clone();
        let before = engine.stats().enters;
        let first = self.flying.len().min(count as usize);
        for index in 0..first {
            let Some(buffer) = self.idle.pop() else { break };
            self.flying[index] = Some(
                self.file
                    .read_at(buffer, self.random.offset(self.file_bytes, BLOCK)),
            );
            self.woken.set(index);
        }
        let mut to_start = count - first as u64;
        let mut to_end = count;
        engine.block_on(poll_fn(|context| {
            *self
                .woken
                .task
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
            for word in 0..self.woken.words.len() {
                let mut bits = self.woken.words[word].swap(0, Ordering::AcqRel);
                while bits != 0 {
                    let index = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    match self.carry_on(index, &mut to_start) {
                        Ok(ended) => to_end -= ended,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
            if to_end == 0 {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        }))?;
        Ok(engine.stats().enters - before)
    }

    /// Looks at one read, and starts another in its place. Says how many have ended.
    fn carry_on(&mut self, index: usize, to_start: &mut u64) -> io::Result<u64> {
        let mut context = Context::from_waker(&self.wakers[index]);
        let mut ended = 0;
        // A read that was just started is polled at once, so that it knows whom to wake.
        while let Some(read) = &mut self.flying[index] {
            let Poll::Ready((result, buffer)) = Pin::new(read).poll(&mut context) else {
                break;
            };
            ended += 1;
            self.flying[index] = None;
            if *to_start > 0 {
                *to_start -= 1;
                self.flying[index] = Some(
                    self.file
                        .read_at(buffer, self.random.offset(self.file_bytes, BLOCK)),
                );
            } else {
                self.idle.push(buffer);
            }
            if result? != BLOCK {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(ended)
    }
}

/// Reads through an engine's queue.
pub(crate) struct Queued<B: 'static> {
    queue: Queue<B>,
    idle: Vec<B>,
    random: Random,
    file: nofault::File,
    file_bytes: usize,
    engine: Engine,
}

impl<B: IoBufMut> Queued<B> {
    /// As many reads are in flight as there are buffers.
    pub(crate) fn new(engine: Engine, file: &TestFile, buffers: Vec<B>) -> io::Result<Queued<B>> {
        let opened = nofault::File::open(&engine, file.path())?;
        Ok(Queued::of(engine, opened, file.bytes, buffers))
    }

    /// The same through the page cache.
    pub(crate) fn buffered(
        engine: Engine,
        file: &TestFile,
        buffers: Vec<B>,
    ) -> io::Result<Queued<B>> {
        let opened = nofault::OpenOptions::new()
            .read(true)
            .direct(false)
            .open(&engine, file.path())?;
        Ok(Queued::of(engine, opened, file.bytes, buffers))
    }

    fn of(engine: Engine, file: nofault::File, file_bytes: usize, idle: Vec<B>) -> Queued<B> {
        Queued {
            queue: Queue::new(&engine),
            idle,
            random: Random::new(),
            file,
            file_bytes,
            engine,
        }
    }

    fn read(&mut self, buffer: B) {
        self.queue.read_at(
            &self.file,
            buffer,
            self.random.offset(self.file_bytes, BLOCK),
            (),
        );
    }

    /// `count` reads; none is in flight before or after. Says how often io_uring_enter was called.
    pub(crate) fn run(&mut self, count: u64) -> io::Result<u64> {
        let engine = self.engine.clone();
        let before = engine.stats().enters;
        let first = self.idle.len().min(count as usize);
        for _ in 0..first {
            let Some(buffer) = self.idle.pop() else { break };
            self.read(buffer);
        }
        let mut to_start = count - first as u64;
        engine.block_on(async {
            while let Some(done) = self.queue.next().await {
                if done.result? != BLOCK {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                if to_start > 0 {
                    to_start -= 1;
                    self.read(done.buffer);
                } else {
                    self.idle.push(done.buffer);
                }
            }
            Ok(())
        })?;
        Ok(engine.stats().enters - before)
    }
}

/// What a bare ring reads with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BareKind {
    /// O_DIRECT, registered buffers and file.
    Registered,
    /// O_DIRECT and nothing registered.
    Plain,
    /// A buffered descriptor of a file that is in the page cache.
    PageCache,
}

/// Reads through a ring by hand, one io_uring_enter for all that have ended.
pub(crate) struct Bare {
    // The ring is dropped before the memory.
    ring: IoUring,
    memory: Memory,
    file: File,
    kind: BareKind,
    depth: usize,
    random: Random,
    file_bytes: usize,
}

impl Bare {
    pub(crate) fn new(file: &TestFile, depth: usize, kind: BareKind) -> io::Result<Bare> {
        let ring = common::bare_ring(depth as u32)?;
        let memory = Memory::touched(depth * BLOCK)?;
        let descriptor = match kind {
            BareKind::PageCache => {
                file.cache()?;
                file.open_buffered()?
            }
            _ => file.open_direct()?,
        };
        if kind == BareKind::Registered {
            let all = libc::iovec {
                iov_base: memory.as_ptr().cast(),
                iov_len: memory.len(),
            };
            // SAFETY: the memory stays mapped until the ring is gone.
            unsafe { ring.submitter().register_buffers(&[all]) }?;
            ring.submitter().register_files(&[descriptor.as_raw_fd()])?;
        }
        Ok(Bare {
            ring,
            memory,
            file: descriptor,
            kind,
            depth,
            random: Random::new(),
            file_bytes: file.bytes,
        })
    }

    fn read(&mut self, index: u64) -> squeue::Entry {
        let offset = self.random.offset(self.file_bytes, BLOCK);
        // SAFETY: the memory has BLOCK bytes for each of the `depth` reads.
        let to = unsafe { self.memory.as_ptr().add(index as usize * BLOCK) };
        let entry = match self.kind {
            BareKind::Registered => opcode::ReadFixed::new(types::Fixed(0), to, BLOCK as u32, 0)
                .offset(offset)
                .build(),
            _ => opcode::Read::new(types::Fd(self.file.as_raw_fd()), to, BLOCK as u32)
                .offset(offset)
                .build(),
        };
        entry.user_data(index)
    }

    /// `count` reads; none is in flight before or after. Says how often io_uring_enter was called.
    pub(crate) fn run(&mut self, count: u64) -> io::Result<u64> {
        let first = (self.depth as u64).min(count);
        let mut entries: Vec<_> = (0..first).map(|index| self.read(index)).collect();
        let mut ended = Vec::with_capacity(self.depth);
        let (mut to_start, mut to_end, mut enters) = (count - first, count, 0);
        while to_end > 0 {
            // SAFETY: a read's part of the memory is its own until it has ended; memory and file
            // outlive the ring.
            unsafe { self.ring.submission().push_multiple(&entries) }.map_err(io::Error::other)?;
            self.ring.submit_and_wait(1)?;
            enters += 1;
            ended.extend(
                self.ring
                    .completion()
                    .map(|done| (done.result(), done.user_data())),
            );
            to_end -= ended.len() as u64;
            entries.clear();
            for (result, index) in ended.drain(..) {
                if common::moved(result)? != BLOCK {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if to_start > 0 {
                    to_start -= 1;
                    let entry = self.read(index);
                    entries.push(entry);
                }
            }
        }
        Ok(enters)
    }
}
