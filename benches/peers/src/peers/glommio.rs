//! glommio: a task for each request in flight on its `DmaFile`, which always has O_DIRECT and whose
//! buffers are glommio's own.
//!
//! Reads take a new buffer of glommio's registered memory each time, as its API wants it. Writes
//! share one buffer a task.

use std::io;
use std::rc::Rc;

use glommio::io::{DmaFile, OpenOptions};
use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement};

use super::{Entry, Kind, Peer};
use crate::job::{Access, Job, Lane};

pub(super) const ENTRY: Entry = Entry {
    name: "glommio",
    kind: Kind::Runtime,
    about: "a task for each request in flight, DmaFile with its own registered buffers",
    start: |job| Ok(Box::new(Glommio::new(job)?)),
};

struct Glommio {
    file: Rc<DmaFile>,
    job: Job,
    executor: LocalExecutor,
}

impl Glommio {
    fn new(job: &Job) -> io::Result<Glommio> {
        // Room for every request in flight twice, so that none has to take other memory.
        let io_memory = (2 * job.depth * job.block).max(10 << 20);
        let builder = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(io_memory)
            .ring_depth(job.depth.next_power_of_two().max(8));
        let executor = builder.make().map_err(other)?;
        let mut options = OpenOptions::new();
        options.read(true).write(job.access == Access::Write);
        let file = executor.run(options.dma_open(&job.path)).map_err(other)?;
        Ok(Glommio {
            file: Rc::new(file),
            job: job.clone(),
            executor,
        })
    }
}

impl Peer for Glommio {
    fn run(&mut self, lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let job = &self.job;
        self.executor.run(async {
            let spawn = |lane| {
                let file = self.file.clone();
                match job.access {
                    Access::Read => glommio::spawn_local(read(file, lane, job.block)).detach(),
                    Access::Write => {
                        let mut buffer = file.alloc_dma_buffer(job.block);
                        job.mark(buffer.as_bytes_mut());
                        glommio::spawn_local(write(file, lane, Rc::new(buffer))).detach()
                    }
                }
            };
            let tasks: Vec<_> = lanes.into_iter().map(spawn).collect();
            let mut lanes = Vec::with_capacity(tasks.len());
            for task in tasks {
                lanes.push(
                    task.await
                        .ok_or_else(|| io::Error::other("a task ended early"))??,
                );
            }
            Ok(lanes)
        })
    }
}

async fn read(file: Rc<DmaFile>, mut lane: Lane, block: usize) -> io::Result<Lane> {
    while let Some(offset) = lane.next() {
        let read = file.read_at_aligned(offset, block).await.map_err(other)?;
        lane.done(Ok(read.len()), &read)?;
    }
    Ok(lane)
}

async fn write(
    file: Rc<DmaFile>,
    mut lane: Lane,
    buffer: Rc<glommio::io::DmaBuffer>,
) -> io::Result<Lane> {
    while let Some(offset) = lane.next() {
        let result = file
            .write_rc_at(buffer.clone(), offset)
            .await
            .map_err(other);
        lane.done(result, buffer.as_bytes())?;
    }
    Ok(lane)
}

fn other(error: GlommioError<()>) -> io::Error {
    io::Error::other(error.to_string())
}
