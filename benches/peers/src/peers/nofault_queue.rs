//! nofault's `Engine` with a `Queue`: one task waits for whichever request ends next.

use std::io;
use std::ops::Deref;

use ::nofault::{Engine, File, IoBufMut, Queue};

use super::{Entry, Kind, Peer, nofault};
use crate::job::{Access, Job, Lane};

pub(super) const PINNED: Entry = Entry {
    name: "nofault-queue-pinned",
    kind: Kind::Nofault,
    about: "Engine and Queue, one task, buffers of the engine's pool",
    start: |job| {
        let engine = nofault::engine(job)?;
        let buffers = nofault::pool(&engine, job)?;
        Ok(Box::new(Queued::new(engine, job, buffers)?))
    },
};

pub(super) const FOREIGN: Entry = Entry {
    name: "nofault-queue-foreign",
    kind: Kind::Nofault,
    about: "the same with ordinary memory, looked at before each request",
    start: |job| {
        Ok(Box::new(Queued::new(
            nofault::engine(job)?,
            job,
            job.buffers()?,
        )?))
    },
};

struct Queued<B: 'static> {
    // Dropped in this order; the engine goes last.
    idle: Vec<B>,
    /// Requests are known by the index of their lane.
    queue: Queue<B, usize>,
    access: Access,
    file: File,
    engine: Engine,
}

impl<B: IoBufMut> Queued<B> {
    fn new(engine: Engine, job: &Job, buffers: Vec<B>) -> io::Result<Queued<B>> {
        Ok(Queued {
            idle: buffers,
            queue: Queue::new(&engine),
            access: job.access,
            file: nofault::open(&engine, job)?,
            engine,
        })
    }

    #[inline]
    fn start(&mut self, buffer: B, offset: u64, lane: usize) {
        match self.access {
            Access::Read => self.queue.read_at(&self.file, buffer, offset, lane),
            Access::Write => self.queue.write_at(&self.file, buffer, offset, lane),
        }
    }
}

impl<B: IoBufMut + Deref<Target = [u8]>> Peer for Queued<B> {
    fn run(&mut self, mut lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let engine = self.engine.clone();
        engine.block_on(async {
            for (index, lane) in lanes.iter_mut().enumerate() {
                let Some(offset) = lane.next() else { break };
                let Some(buffer) = self.idle.pop() else { break };
                self.start(buffer, offset, index);
            }
            while let Some(done) = self.queue.next().await {
                let lane = &mut lanes[done.tag];
                lane.done(done.result, &done.buffer)?;
                match lane.next() {
                    Some(offset) => self.start(done.buffer, offset, done.tag),
                    None => self.idle.push(done.buffer),
                }
            }
            Ok(lanes)
        })
    }

    fn note(&self) -> Option<String> {
        nofault::note(&self.engine, &self.file)
    }
}
