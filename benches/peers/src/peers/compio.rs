//! compio: a task for each request in flight, with the ring's flags that its builder offers.

use std::io;

use compio::BufResult;
use compio::driver::ProactorBuilder;
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncReadAt, AsyncWriteAt};
use compio::runtime::Runtime;

use super::{Entry, Kind, Peer};
use crate::buffer::Buffer;
use crate::job::{Access, Job, Lane};

pub(super) const ENTRY: Entry = Entry {
    name: "compio",
    kind: Kind::Runtime,
    about: "a task for each request in flight, SINGLE_ISSUER and DEFER_TASKRUN",
    start: |job| Ok(Box::new(Compio::new(job)?)),
};

struct Compio {
    buffers: Vec<Buffer>,
    file: File,
    access: Access,
    runtime: Runtime,
}

impl Compio {
    fn new(job: &Job) -> io::Result<Compio> {
        let build = |defer: bool| {
            let mut proactor = ProactorBuilder::new();
            proactor
                .capacity(job.depth.next_power_of_two().max(8) as u32)
                .single_issuer(defer)
                .defer_taskrun(defer)
                .taskrun_flag(defer);
            Runtime::builder().with_proactor(proactor).build()
        };
        let runtime = match build(true) {
            // Before Linux 6.1.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => build(false)?,
            other => other?,
        };
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(job.access == Access::Write)
            .custom_flags(libc::O_DIRECT);
        let file = runtime.block_on(options.open(&job.path))?;
        Ok(Compio {
            buffers: job.buffers()?,
            file,
            access: job.access,
            runtime,
        })
    }
}

impl Peer for Compio {
    fn run(&mut self, lanes: Vec<Lane>) -> io::Result<Vec<Lane>> {
        let (file, access, buffers) = (&self.file, self.access, &mut self.buffers);
        self.runtime.block_on(async {
            let tasks: Vec<_> = lanes
                .into_iter()
                .zip(buffers.drain(..))
                .map(|(lane, buffer)| {
                    let file = file.clone();
                    compio::runtime::spawn(async move {
                        match access {
                            Access::Read => read(file, lane, buffer).await,
                            Access::Write => write(file, lane, buffer).await,
                        }
                    })
                })
                .collect();
            let mut lanes = Vec::with_capacity(tasks.len());
            for task in tasks {
                let (lane, buffer) = task.await.map_err(|error| {
                    io::Error::other(format!("a task ended early: {error:?}"))
                })??;
                lanes.push(lane);
                buffers.push(buffer);
            }
            Ok(lanes)
        })
    }
}

async fn read(file: File, mut lane: Lane, mut buffer: Buffer) -> io::Result<(Lane, Buffer)> {
    while let Some(offset) = lane.next() {
        let BufResult(result, back) = file.read_at(buffer, offset).await;
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}

async fn write(file: File, mut lane: Lane, mut buffer: Buffer) -> io::Result<(Lane, Buffer)> {
    while let Some(offset) = lane.next() {
        let BufResult(result, back) = (&file).write_at(buffer, offset).await;
        lane.done(result, &back)?;
        buffer = back;
    }
    Ok((lane, buffer))
}
