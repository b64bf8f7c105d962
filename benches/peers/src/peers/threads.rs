//! As many threads as requests in flight, each with one pread or pwrite after the other. The
//! threads wait between turns.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{Entry, Kind, Peer};
use crate::buffer::Buffer;
use crate::job::{Access, Job, Lane};

pub(super) const ENTRY: Entry = Entry {
    name: "threads",
    kind: Kind::Blocking,
    about: "a thread for each request in flight, pread and pwrite",
    start: |job| Ok(Box::new(Threads::new(job)?)),
};

struct Threads {
    work: Vec<Sender<Lane>>,
    done: Receiver<io::Result<Lane>>,
}

impl Threads {
    fn new(job: &Job) -> io::Result<Threads> {
        let file = Arc::new(job.open()?);
        let (to_done, done) = channel();
        let access = job.access;
        let thread = |mut buffer: Buffer| {
            let (work, lanes) = channel::<Lane>();
            let (file, to_done) = (file.clone(), to_done.clone());
            std::thread::Builder::new().spawn(move || {
                for lane in lanes {
                    if to_done
                        .send(turn(&file, access, lane, &mut buffer))
                        .is_err()
                    {
                        return;
                    }
                }
            })?;
            Ok(work)
        };
        let work = job
            .buffers()?
            .into_iter()
            .map(thread)
            .collect::<io::Result<_>>()?;
        Ok(Threads { work, done })
    }
}

impl Peer for Threads {
    fn run(&mut self, lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let count = lanes.len();
        for (work, lane) in self.work.iter().zip(lanes) {
            work.send(lane)
                .map_err(|_| io::Error::other("a thread ended early"))?;
        }
        (0..count)
            .map(|_| self.done.recv().map_err(io::Error::other)?)
            .collect()
    }
}

fn turn(file: &File, access: Access, mut lane: Lane, buffer: &mut Buffer) -> io::Result<Lane> {
    while let Some(offset) = lane.next_of_many_threads() {
        let result = match access {
            Access::Read => file.read_at(buffer, offset),
            Access::Write => file.write_at(buffer, offset),
        };
        lane.done(result, buffer)?;
    }
    Ok(lane)
}
