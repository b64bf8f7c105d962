//! nofault's `Handle` in the multi-threaded runtime: a task for each request in flight, as many
//! storage services are written.

use std::io;
use std::ops::Deref;

use ::nofault::handle::File;
use ::nofault::{Handle, IoBufMut, OpenOptions};
use tokio::runtime::Runtime;

use super::{Entry, Kind, Peer};
use crate::job::{Access, Job, Lane};

pub(super) const PINNED: Entry = Entry {
    name: "nofault-handle-pinned",
    kind: Kind::Nofault,
    about: "Handle with one I/O thread, multi-threaded tokio, a task for each request in flight, buffers of its pool",
    start: |job| {
        let handle = handle(job)?;
        let pool = handle.pool(job.depth, job.block)?;
        if !pool.is_pinned() {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "the pool is not pinned",
            ));
        }
        let mut buffers: Vec<_> = (0..job.depth).filter_map(|_| pool.get()).collect();
        buffers.iter_mut().for_each(|buffer| job.mark(buffer));
        Ok(Box::new(OverHandle::new(&handle, job, buffers)?))
    },
};

pub(super) const FOREIGN: Entry = Entry {
    name: "nofault-handle-foreign",
    kind: Kind::Nofault,
    about: "the same with ordinary memory, looked at before each request",
    start: |job| {
        Ok(Box::new(OverHandle::new(
            &handle(job)?,
            job,
            job.buffers()?,
        )?))
    },
};

fn handle(job: &Job) -> io::Result<Handle> {
    Handle::builder().depth(job.depth as u32).build()
}

struct OverHandle<B> {
    buffers: Vec<B>,
    file: File,
    access: Access,
    runtime: Runtime,
}

impl<B> OverHandle<B> {
    fn new(handle: &Handle, job: &Job, buffers: Vec<B>) -> io::Result<OverHandle<B>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
        let mut options = OpenOptions::new();
        options.read(true).write(job.access == Access::Write);
        Ok(OverHandle {
            buffers,
            file: File::open_with(handle, &options, &job.path)?,
            access: job.access,
            runtime,
        })
    }
}

impl<B: IoBufMut + Send + Deref<Target = [u8]>> Peer for OverHandle<B> {
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

async fn task<B: IoBufMut + Send + Deref<Target = [u8]>>(
    file: File,
    access: Access,
    mut lane: Lane,
    mut buffer: B,
) -> io::Result<(Lane, B)> {
    while let Some(offset) = lane.next_of_many_threads() {
        let (result, back) = match access {
            Access::Read => file.read_at(buffer, offset).await,
            Access::Write => file.write_at(buffer, offset).await,
        };
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}
