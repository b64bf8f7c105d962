//! monoio: a task for each request in flight. The ring's flags are given by us; monoio takes a
//! builder for that.

use std::io;
use std::rc::Rc;

use monoio::fs::File;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

use super::{Entry, Kind, Peer};
use crate::buffer::Buffer;
use crate::job::{Access, Job, Lane};

pub(super) const ENTRY: Entry = Entry {
    name: "monoio",
    kind: Kind::Runtime,
    about: "a task for each request in flight, SINGLE_ISSUER and DEFER_TASKRUN",
    start: |job| Ok(Box::new(Monoio::new(job)?)),
};

struct Monoio {
    buffers: Vec<Buffer>,
    file: Rc<File>,
    access: Access,
    runtime: Runtime<IoUringDriver>,
}

impl Monoio {
    fn new(job: &Job) -> io::Result<Monoio> {
        let mut best = io_uring_06::IoUring::builder();
        best.setup_single_issuer().setup_defer_taskrun();
        let build = |ring| {
            RuntimeBuilder::<IoUringDriver>::new()
                .with_entries(job.depth as u32)
                .uring_builder(ring)
                .build()
        };
        let mut runtime = match build(best) {
            // Before Linux 6.1.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                build(io_uring_06::IoUring::builder())?
            }
            other => other?,
        };
        let file = job.open()?;
        let file = Rc::new(runtime.block_on(async { File::from_std(file) })?);
        Ok(Monoio {
            buffers: job.buffers()?,
            file,
            access: job.access,
            runtime,
        })
    }
}

impl Peer for Monoio {
    fn run(&mut self, lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let (file, access, buffers) = (&self.file, self.access, &mut self.buffers);
        self.runtime.block_on(async {
            let tasks: Vec<_> = lanes
                .into_iter()
                .zip(buffers.drain(..))
                .map(|(lane, buffer)| {
                    let file = file.clone();
                    monoio::spawn(async move {
                        match access {
                            Access::Read => read(file, lane, buffer).await,
                            Access::Write => write(file, lane, buffer).await,
                        }
                    })
                })
                .collect();
            let mut lanes = Vec::with_capacity(tasks.len());
            for task in tasks {
                let (lane, buffer) = task.await?;
                lanes.push(lane);
                buffers.push(buffer);
            }
            Ok(lanes)
        })
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
        let (result, back) = file.write_at(buffer, offset).await;
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}
