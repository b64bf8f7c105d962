//! tokio-uring: a task for each request in flight, on its own single-threaded runtime.
//!
//! Its ring is polled through epoll, so DEFER_TASKRUN is out of the question: nobody would enter
//! the kernel to get the completions.

use std::io;
use std::rc::Rc;

use tokio_uring::Runtime;
use tokio_uring::buf::fixed::{FixedBuf, FixedBufRegistry};
use tokio_uring::fs::File;

use super::{Entry, Kind, Peer};
use crate::buffer::Buffer;
use crate::job::{Access, Job, Lane};

pub(super) const PLAIN: Entry = Entry {
    name: "tokio-uring",
    kind: Kind::Runtime,
    about: "a task for each request in flight, read_at and write_at",
    start: |job| {
        Ok(Box::new(Plain {
            tasks: Tasks::new(job)?,
            buffers: job.buffers()?,
        }))
    },
};

pub(super) const FIXED: Entry = Entry {
    name: "tokio-uring-fixed",
    kind: Kind::Runtime,
    about: "the same with its registered buffers, read_fixed_at and write_fixed_at",
    start: |job| Ok(Box::new(Fixed::new(job)?)),
};

struct Tasks {
    file: Rc<File>,
    access: Access,
    runtime: Runtime,
}

impl Tasks {
    fn new(job: &Job) -> io::Result<Tasks> {
        let mut builder = tokio_uring::builder();
        builder.entries(job.depth.next_power_of_two().max(8) as u32);
        Ok(Tasks {
            runtime: Runtime::new(&builder)?,
            file: Rc::new(File::from_std(job.open()?)),
            access: job.access,
        })
    }

    /// One task for each lane and buffer.
    fn run<B: 'static, F>(
        &self,
        lanes: Vec<Lane>,
        buffers: Vec<B>,
        task: impl Fn(Rc<File>, Lane, B) -> F,
    ) -> io::Result<(Vec<Lane>, Vec<B>)>
    where
        F: Future<Output = io::Result<(Lane, B)>> + 'static,
    {
        self.runtime.block_on(async {
            let tasks: Vec<_> = lanes
                .into_iter()
                .zip(buffers)
                .map(|(lane, buffer)| tokio_uring::spawn(task(self.file.clone(), lane, buffer)))
                .collect();
            let mut all = (
                Vec::with_capacity(tasks.len()),
                Vec::with_capacity(tasks.len()),
            );
            for task in tasks {
                let (lane, buffer) = task.await.map_err(io::Error::other)??;
                all.0.push(lane);
                all.1.push(buffer);
            }
            Ok(all)
        })
    }
}

struct Plain {
    buffers: Vec<Buffer>,
    tasks: Tasks,
}

impl Peer for Plain {
    fn run(&mut self, lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let buffers = std::mem::take(&mut self.buffers);
        let (lanes, buffers) = match self.tasks.access {
            Access::Read => self.tasks.run(lanes, buffers, read)?,
            Access::Write => self.tasks.run(lanes, buffers, write)?,
        };
        self.buffers = buffers;
        Ok(lanes)
    }
}

async fn read(file: Rc<File>, mut lane: Lane, mut buffer: Buffer) -> io::Result<(Lane, Buffer)> {
    while let Some(offset) = lane.next() {
        let (result, back) = file.read_at(buffer, offset).await;
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}

async fn write(file: Rc<File>, mut lane: Lane, mut buffer: Buffer) -> io::Result<(Lane, Buffer)> {
    while let Some(offset) = lane.next() {
        let (result, back) = file.write_at(buffer, offset).submit().await;
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}

struct Fixed {
    // Given back before the runtime goes.
    buffers: Vec<FixedBuf>,
    tasks: Tasks,
}

impl Fixed {
    fn new(job: &Job) -> io::Result<Fixed> {
        let tasks = Tasks::new(job)?;
        let registry = FixedBufRegistry::new(job.buffers()?);
        tasks.runtime.block_on(async { registry.register() })?;
        let buffers = (0..job.depth)
            .filter_map(|index| registry.check_out(index))
            .collect();
        Ok(Fixed { buffers, tasks })
    }
}

impl Peer for Fixed {
    fn run(&mut self, lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let buffers = std::mem::take(&mut self.buffers);
        let (lanes, buffers) = match self.tasks.access {
            Access::Read => self.tasks.run(lanes, buffers, read_fixed)?,
            Access::Write => self.tasks.run(lanes, buffers, write_fixed)?,
        };
        self.buffers = buffers;
        Ok(lanes)
    }
}

async fn read_fixed(
    file: Rc<File>,
    mut lane: Lane,
    mut buffer: FixedBuf,
) -> io::Result<(Lane, FixedBuf)> {
    while let Some(offset) = lane.next() {
        let (result, back) = file.read_fixed_at(buffer, offset).await;
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}

async fn write_fixed(
    file: Rc<File>,
    mut lane: Lane,
    mut buffer: FixedBuf,
) -> io::Result<(Lane, FixedBuf)> {
    while let Some(offset) = lane.next() {
        let (result, back) = file.write_fixed_at(buffer, offset).await;
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}
