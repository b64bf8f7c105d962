//! The `nofault` column: the engine, used as a program would use it that keeps an array of requests
//! in flight from one task.
//!
//! Small warm requests take buffers of the engine's pool, all others the caller's memory with the
//! default policy, which looks before it submits. Each split round has an engine of its own, so
//! that the longest submission in its statistics is that round's.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use nofault::{Engine, File, OpenOptions, Policy, PoolBuf, Timing};

use super::meter::{Meter, Pass};
use super::runner::Runner;
use super::workload::{Access, DEPTH_MAX, Feed, Request};
use crate::ground::engine::BackendChoice;
use crate::ground::engine::{self, FileFacts, RingFacts};
use crate::ground::scratch::Scratch;

/// The engine's column.
pub(crate) struct Nofault<'a> {
    scratch: &'a Scratch,
    backend: BackendChoice,
    joined: Side,
    split: Option<Side>,
}

/// An engine and what it needs for a round.
struct Side {
    /// Buffers of the pool, one for each slot; before the engine, so that they are given back to
    /// one that is still there.
    buffers: Vec<Option<PoolBuf>>,
    file: File,
    engine: Engine,
}

impl<'a> Nofault<'a> {
    /// The error is the whole line for the user.
    pub(crate) fn new(scratch: &'a Scratch, backend: BackendChoice) -> Result<Nofault<'a>, String> {
        Ok(Nofault {
            scratch,
            backend,
            joined: Side::new(scratch, backend, Timing::Off)?,
            split: None,
        })
    }

    /// Makes what the next round needs and what is not to be measured.
    pub(crate) fn prepare(&mut self, pass: Pass) -> io::Result<()> {
        self.split = None;
        if pass == Pass::Split {
            self.split = Some(
                Side::new(self.scratch, self.backend, Timing::Every).map_err(io::Error::other)?,
            );
        }
        Ok(())
    }

    /// What the engine says of itself.
    pub(crate) fn ring(&self) -> RingFacts {
        RingFacts::of(&self.joined.engine)
    }

    /// What the engine says of the file.
    pub(crate) fn file(&self) -> FileFacts {
        FileFacts::of(&self.joined.file)
    }
}

impl Runner for Nofault<'_> {
    fn round(&mut self, feed: &mut Feed<'_>, pass: Pass, meter: &mut Meter) -> io::Result<()> {
        match (pass, &mut self.split) {
            (Pass::Split, Some(side)) => side.round(feed, pass, meter),
            _ => self.joined.round(feed, pass, meter),
        }
    }
}

impl Side {
    fn new(scratch: &Scratch, backend: BackendChoice, timing: Timing) -> Result<Side, String> {
        let engine = engine::build(backend, DEPTH_MAX as u32, timing)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&engine, scratch.path())
            .map_err(|e| format!("cannot open the file: {e}"))?;
        let pool = engine
            .pool(DEPTH_MAX, 4096)
            .map_err(|e| format!("cannot make a pool of buffers: {e}"))?;
        let mut buffers: Vec<Option<PoolBuf>> = (0..DEPTH_MAX).map(|_| pool.get()).collect();
        for buffer in buffers.iter_mut().flatten() {
            fastrand::Rng::with_seed(1).fill(buffer);
        }
        Ok(Side {
            buffers,
            file,
            engine,
        })
    }

    fn round(&mut self, feed: &mut Feed<'_>, pass: Pass, meter: &mut Meter) -> io::Result<()> {
        let row = *feed.row();
        let (file, engine) = (&self.file, &self.engine);
        match (row.registered(), row.access) {
            (true, Access::Read) => {
                drive(
                    engine,
                    feed,
                    meter,
                    &mut self.buffers,
                    |request, buffer| file.read_at(buffer, request.offset),
                    |done| done,
                )?;
            }
            (true, Access::Write) => {
                drive(
                    engine,
                    feed,
                    meter,
                    &mut self.buffers,
                    |request, buffer| file.write_at(buffer, request.offset),
                    |done| done,
                )?;
            }
            (false, Access::Read) => {
                // SAFETY: the bench's memory is never unmapped, and only this request uses its part
                // until it is done.
                let make = |r: Request, ()| unsafe {
                    file.read_raw_at(r.address, r.len, r.offset, Policy::Look)
                };
                drive(
                    engine,
                    feed,
                    meter,
                    &mut [Some(()); DEPTH_MAX],
                    make,
                    |done| (done, ()),
                )?;
            }
            (false, Access::Write) => {
                // SAFETY: as above.
                let make = |r: Request, ()| unsafe {
                    file.write_raw_at(r.address, r.len, r.offset, Policy::Look)
                };
                drive(
                    engine,
                    feed,
                    meter,
                    &mut [Some(()); DEPTH_MAX],
                    make,
                    |done| (done, ()),
                )?;
            }
        }
        if row.access == Access::Write && pass == Pass::Joined {
            engine.block_on(file.sync_data())?;
        }
        meter.end();
        if pass == Pass::Split {
            meter.submitted(engine.stats().submit_time.max());
        }
        Ok(())
    }
}

/// Keeps as many requests in flight as the row wants, until the feed ends. `make` makes a request,
/// `done` takes its output apart.
fn drive<B, F: Future>(
    engine: &Engine,
    feed: &mut Feed<'_>,
    meter: &mut Meter,
    buffers: &mut [Option<B>],
    make: impl FnMut(Request, B) -> F,
    done: impl Fn(F::Output) -> (io::Result<usize>, B),
) -> io::Result<()> {
    let mut slots: Vec<Pin<Box<Option<F>>>> =
        (0..feed.row().depth).map(|_| Box::pin(None)).collect();
    let now = Some(meter.begin());
    let mut turns = Turns {
        feed,
        meter,
        buffers,
        make,
        done,
        now,
        over: false,
        error: None,
    };
    engine.block_on(poll_fn(|context| turns.turn(&mut slots, context)));
    turns.error.map_or(Ok(()), Err)
}

/// The state of `drive` between two polls.
struct Turns<'a, 'f, B, M, D> {
    feed: &'a mut Feed<'f>,
    meter: &'a mut Meter,
    buffers: &'a mut [Option<B>],
    make: M,
    done: D,
    /// The time of this turn, if it was needed yet: the clock is read once a turn at most.
    now: Option<Instant>,
    over: bool,
    error: Option<io::Error>,
}

impl<B, M, D> Turns<'_, '_, B, M, D> {
    fn turn<F: Future>(
        &mut self,
        slots: &mut [Pin<Box<Option<F>>>],
        context: &mut Context<'_>,
    ) -> Poll<()>
    where
        M: FnMut(Request, B) -> F,
        D: Fn(F::Output) -> (io::Result<usize>, B),
    {
        let mut in_flight = false;
        for (index, slot) in slots.iter_mut().enumerate() {
            loop {
                if let Some(future) = slot.as_mut().as_pin_mut() {
                    let Poll::Ready(output) = future.poll(context) else {
                        in_flight = true;
                        break;
                    };
                    slot.set(None);
                    self.ended(index, (self.done)(output));
                }
                let Some(future) = self.next(index) else {
                    break;
                };
                slot.set(Some(future));
            }
        }
        self.now = None;
        if in_flight {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn ended(&mut self, index: usize, (result, buffer): (io::Result<usize>, B)) {
        self.buffers[index] = Some(buffer);
        let now = *self.now.get_or_insert_with(Instant::now);
        match result {
            Ok(bytes) => self.meter.ended(index, bytes, now),
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }

    fn next<F>(&mut self, index: usize) -> Option<F>
    where
        M: FnMut(Request, B) -> F,
    {
        if self.over || self.error.is_some() {
            return None;
        }
        let now = *self.now.get_or_insert_with(Instant::now);
        let Some(request) = self.feed.next(index, now) else {
            self.over = true;
            return None;
        };
        let buffer = self.buffers[index].take()?;
        self.meter.started(index, now);
        Some((self.make)(request, buffer))
    }
}
