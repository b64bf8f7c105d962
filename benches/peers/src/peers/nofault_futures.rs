//! nofault's `Engine`, one task that holds the futures of all requests in flight and polls those
//! that were woken.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use ::nofault::{Engine, File, Io, IoBufMut};

use super::{Entry, Kind, Peer, nofault};
use crate::job::{Access, Job, Lane};

pub(super) const PINNED: Entry = Entry {
    name: "nofault-futures-pinned",
    kind: Kind::Nofault,
    about: "Engine, a future for each request in flight polled by one task, buffers of its pool",
    start: |job| {
        let engine = nofault::engine(job)?;
        let buffers = nofault::pool(&engine, job)?;
        Ok(Box::new(Futures::new(engine, job, buffers)?))
    },
};

pub(super) const FOREIGN: Entry = Entry {
    name: "nofault-futures-foreign",
    kind: Kind::Nofault,
    about: "the same with ordinary memory, looked at before each request",
    start: |job| {
        Ok(Box::new(Futures::new(
            nofault::engine(job)?,
            job,
            job.buffers()?,
        )?))
    },
};

/// Which futures were woken, one bit each.
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
        // The task is woken by the first bit of each word, and takes all of the word.
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

struct Futures<B: 'static> {
    // Dropped in this order; the engine goes last.
    idle: Vec<B>,
    flying: Vec<Option<Io<B>>>,
    wakers: Vec<Waker>,
    woken: Arc<Woken>,
    access: Access,
    file: File,
    engine: Engine,
}

impl<B: IoBufMut> Futures<B> {
    fn new(engine: Engine, job: &Job, buffers: Vec<B>) -> io::Result<Futures<B>> {
        let words = (0..job.depth.div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        let woken = Arc::new(Woken {
            words,
            task: Mutex::new(None),
        });
        Ok(Futures {
            idle: buffers,
            flying: (0..job.depth).map(|_| None).collect(),
            wakers: (0..job.depth)
                .map(|index| {
                    Waker::from(Arc::new(WakeOne {
                        woken: woken.clone(),
                        index,
                    }))
                })
                .collect(),
            woken,
            access: job.access,
            file: nofault::open(&engine, job)?,
            engine,
        })
    }

    fn request(&self, buffer: B, offset: u64) -> Io<B> {
        match self.access {
            Access::Read => self.file.read_at(buffer, offset),
            Access::Write => self.file.write_at(buffer, offset),
        }
    }
}

impl<B: IoBufMut + std::ops::Deref<Target = [u8]>> Futures<B> {
    /// Looks at one request, and starts another in its place. Says how many lanes have had enough:
    /// 0 or 1.
    fn carry_on(&mut self, index: usize, lane: &mut Lane) -> io::Result<usize> {
        let mut context = Context::from_waker(&self.wakers[index]);
        // A request that was just started is polled at once, so that it knows whom to wake.
        while let Some(request) = &mut self.flying[index] {
            let Poll::Ready((result, buffer)) = Pin::new(request).poll(&mut context) else {
                return Ok(0);
            };
            self.flying[index] = None;
            lane.done(result, &buffer)?;
            let Some(offset) = lane.next() else {
                self.idle.push(buffer);
                return Ok(1);
            };
            self.flying[index] = Some(self.request(buffer, offset));
        }
        Ok(0)
    }
}

impl<B: IoBufMut + std::ops::Deref<Target = [u8]>> Peer for Futures<B> {
    fn run(&mut self, mut lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let mut flying = 0;
        for (index, lane) in lanes.iter_mut().enumerate() {
            let Some(offset) = lane.next() else { break };
            let Some(buffer) = self.idle.pop() else { break };
            self.flying[index] = Some(self.request(buffer, offset));
            self.woken.set(index);
            flying += 1;
        }
        let engine = self.engine.clone();
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
                    match self.carry_on(index, &mut lanes[index]) {
                        Ok(over) => flying -= over,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
            if flying == 0 {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        }))?;
        Ok(lanes)
    }

    fn note(&self) -> Option<String> {
        nofault::note(&self.engine, &self.file)
    }
}
