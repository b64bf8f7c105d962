//! What tokio does for files: each request is a blocking call on its pool of threads, awaited by a
//! task of the multi-threaded runtime.
//!
//! `tokio::fs::File` itself has no reads at an offset, and copies through a buffer of its own that
//! is not aligned for O_DIRECT; so this is `spawn_blocking` with pread and pwrite, which is one
//! trip to the pool a request, as a read of `tokio::fs::File` is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::{Entry, Kind, Peer};
use crate::buffer::Buffer;
use crate::job::{Access, Job, Lane};

pub(super) const ENTRY: Entry = Entry {
    name: "tokio-blocking",
    kind: Kind::Blocking,
    about: "multi-threaded tokio, a task for each request in flight, pread and pwrite by spawn_blocking",
    start: |job| Ok(Box::new(TokioBlocking::new(job)?)),
};

struct TokioBlocking {
    buffers: Vec<Buffer>,
    file: Arc<File>,
    access: Access,
    runtime: Runtime,
}

impl TokioBlocking {
    fn new(job: &Job) -> io::Result<TokioBlocking> {
        let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
        Ok(TokioBlocking {
            buffers: job.buffers()?,
            file: Arc::new(job.open()?),
            access: job.access,
            runtime,
        })
    }
}

impl Peer for TokioBlocking {
    fn run(&mut self, lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let buffers = &mut self.buffers;
        self.runtime.block_on(async {
            let tasks: Vec<_> = lanes
                .into_iter()
                .zip(buffers.drain(..))
                .map(|(lane, buffer)| {
                    tokio::spawn(task(self.file.clone(), self.access, lane, buffer))
                })
                .collect();
            let mut lanes = Vec::with_capacity(tasks.len());
            for task in tasks {
                let (lane, buffer) = task.await.map_err(io::Error::other)??;
                lanes.push(lane);
                buffers.push(buffer);
            }
            Ok(lanes)
        })
    }
}

async fn task(
    file: Arc<File>,
    access: Access,
    mut lane: Lane,
    mut buffer: Buffer,
) -> io::Result<(Lane, Buffer)> {
    while let Some(offset) = lane.next_of_many_threads() {
        let file = file.clone();
        let call = move || {
            let result = match access {
                Access::Read => file.read_at(&mut buffer, offset),
                Access::Write => file.write_at(&buffer, offset),
            };
            (result, buffer)
        };
        let (result, back) = tokio::task::spawn_blocking(call)
            .await
            .map_err(io::Error::other)?;
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}
