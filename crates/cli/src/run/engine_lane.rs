//! The `nofault` columns: a queue on an engine, driven by hand.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fio_jobs::random::Request;
use hdrhistogram::Histogram;
use nofault::memory::Pinned;
use nofault::{Engine, File, IoBuf, OpenOptions, Queue, Region, Timing};

use super::files::Target;
use super::lane::{Ended, Lane};
use super::memory::{Buffers, Piece};
use super::record;
use crate::ground::engine;
use crate::ground::engine::BackendChoice;

/// An engine with its files.
pub(super) struct EngineLane {
    // In this order: what is in flight goes before the files, and those before the engine.
    queue: Queue<Piece, usize>,
    syncs: Vec<(usize, Pin<Box<nofault::Simple>>)>,
    files: Vec<File>,
    _region: Option<Region>,
    engine: Engine,
}

impl EngineLane {
    pub(super) fn new(
        backend: BackendChoice,
        depth: u32,
        targets: &[Target<'_>],
        direct: bool,
    ) -> Result<EngineLane, String> {
        let engine = engine::build(backend, depth, Timing::Sampled)?;
        let open = |target: &Target<'_>| {
            let mut options = OpenOptions::new();
            options
                .read(target.read)
                .write(target.write)
                .direct(direct)
                .custom_flags(target.flags());
            options
                .open(&engine, target.path)
                .map_err(|error| format!("cannot open {}: {error}", target.path.display()))
        };
        let files = targets.iter().map(open).collect::<Result<_, _>>()?;
        Ok(EngineLane {
            queue: Queue::new(&engine),
            syncs: Vec::new(),
            files,
            _region: None,
            engine,
        })
    }

    /// Registers the buffers; None where that is refused, which the engine counts as a fallback.
    pub(super) fn register(&mut self, buffers: &Buffers) -> Option<Pinned> {
        let region = self.engine.register(buffers.whole());
        // The registration is the whole region's, whichever slice is asked. The slice is gone
        // before any request is made.
        let pinned = region.slice(0..1).and_then(|slice| slice.pinned());
        self._region = Some(region);
        pinned
    }

    /// What is not as one would expect it: files that are not direct, abilities that were lost.
    pub(super) fn notes(&self, direct: bool) -> Vec<String> {
        let ways = self
            .files
            .iter()
            .map(|file| file.path())
            .filter(|path| direct && !matches!(path, nofault::IoPath::Direct));
        let mut notes: Vec<String> = ways
            .map(|path| format!("nofault direct: the file is {path}."))
            .collect();
        let info = self.engine.info();
        notes.extend(
            info.reason
                .map(|reason| (info.backend, engine::explain(&reason)))
                .map(|(backend, reason)| format!("nofault: back end {backend}, because {reason}.")),
        );
        notes.extend(
            self.engine
                .stats()
                .fallbacks
                .iter()
                .map(|fallback| format!("nofault: {fallback}.")),
        );
        notes
    }
}

impl Lane for EngineLane {
    fn request(&mut self, slot: usize, request: &Request, piece: Piece) -> io::Result<()> {
        let Some(file) = self.files.get(request.file) else {
            return Err(io::Error::other("no such file"));
        };
        if request.write {
            self.queue.write_at(file, piece, request.offset, slot);
        } else {
            self.queue.read_at(file, piece, request.offset, slot);
        }
        Ok(())
    }

    fn sync(&mut self, slot: usize, file: usize, data_only: bool) -> io::Result<()> {
        let Some(file) = self.files.get(file) else {
            return Err(io::Error::other("no such file"));
        };
        self.syncs.push((
            slot,
            Box::pin(if data_only {
                file.sync_data()
            } else {
                file.sync_all()
            }),
        ));
        Ok(())
    }

    fn turn(&mut self, most: Option<Duration>, ended: &mut Vec<Ended>) -> io::Result<()> {
        // What was started may have ended already: nothing waits then.
        let before = self.queue.try_next();
        let wait = if before.is_some() {
            Some(Duration::ZERO)
        } else {
            most
        };
        let turned = self.engine.turn(wait);
        let mut next = before;
        while let Some(done) = next.or_else(|| self.queue.try_next()) {
            ended.push(Ended {
                slot: done.tag,
                result: done.result,
                piece: Some(done.buffer),
            });
            next = None;
        }
        let mut context = Context::from_waker(Waker::noop());
        self.syncs
            .retain_mut(|(slot, sync)| match sync.as_mut().poll(&mut context) {
                Poll::Ready(result) => {
                    ended.push(Ended {
                        slot: *slot,
                        result: result.map(|()| 0),
                        piece: None,
                    });
                    false
                }
                Poll::Pending => true,
            });
        turned.map(|_| ())
    }

    fn submit_ns(&mut self, into: &mut Histogram<u64>) {
        // The engine's own histogram is coarser; its quantiles are taken over, in as many steps as
        // there are percentiles to show.
        let times = self.engine.stats().submit_time;
        let count = times.count().min(10_000);
        for step in 1..=count {
            record::record(into, times.quantile(step as f64 / count as f64));
        }
    }
}
