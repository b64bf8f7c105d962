//! What the peers that use nofault's `Engine` share.

use std::io;

use ::nofault::{Engine, File, IoPath, OpenOptions, PoolBuf};

use crate::job::{Access, Job};

pub(super) fn engine(job: &Job) -> io::Result<Engine> {
    Engine::builder().depth(job.depth as u32).build()
}

pub(super) fn open(engine: &Engine, job: &Job) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(job.access == Access::Write)
        .open(engine, &job.path)
}

/// A pinned buffer for each request in flight. Where memory can't be pinned that is an error: it
/// would be the foreign peer once more.
pub(super) fn pool(engine: &Engine, job: &Job) -> io::Result<Vec<PoolBuf>> {
    let pool = engine.pool(job.depth, job.block)?;
    if !pool.is_pinned() {
        let lost = engine.stats().fallbacks;
        let why: Vec<_> = lost.iter().map(ToString::to_string).collect();
        let why = why.join("; ");
        return Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("the pool is not pinned: {why}"),
        ));
    }
    let mut buffers: Vec<_> = (0..job.depth).filter_map(|_| pool.get()).collect();
    buffers.iter_mut().for_each(|buffer| job.mark(buffer));
    Ok(buffers)
}

/// Says so where the engine had to do without io_uring, or the file without its direct path.
pub(super) fn note(engine: &Engine, file: &File) -> Option<String> {
    let threads = engine
        .info()
        .reason
        .map(|reason| format!("worker threads: {reason}"));
    let path = (*file.path() != IoPath::Direct).then(|| file.path().to_string());
    threads
        .into_iter()
        .chain(path)
        .reduce(|all, more| format!("{all}; {more}"))
}
