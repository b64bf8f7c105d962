//! The file that users hold.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::face::file_face;
use super::start::Start;
use super::whole::Whole;
use super::{OpenOptions, Policy};
use crate::driver::{Kind, Options, Plain, Request};
use crate::engine::{Engine, Io, IoVec, RawIo, Simple, Submission};
use crate::memory::{IoBuf, IoBufMut, Pinned};
use crate::open_file::{Alignment, AlignmentSource, FileShared, IoPath, Opened, Priority};
use crate::transfer::{Direction, Segment, Segments};

/// An open file.
///
/// Reads and writes may have any offset, length and memory alignment. What
/// [`alignment`](File::alignment) allows goes by direct I/O. Of the rest, reads go through bounce
/// buffers; writes send their ragged edges, or all of it when short, through the page cache, in
/// whole pages. Both are coherent with direct I/O on the same file, as far as the kernel keeps it
/// so: overlapping requests in flight at the same time have no order, and a page that is written
/// directly must not be written through the page cache at the same time.
///
/// Each request is started by the call, if less than [`depth`](crate::EngineBuilder::depth) are in
/// flight, or else when its future is polled and there is room; awaiting it gives its one result:
/// what pread(2) or pwrite(2) on a buffered descriptor would return for the same file and memory,
/// be it the same count or the same errno. Bytes counted are bytes moved. After an error with
/// nothing counted, bytes of the range may have been changed: EIO, ENOSPC and EFAULT say nothing of
/// how far the device got.
///
/// Character devices, and files that the kernel makes up as they are read (procfs, sysfs), get the
/// plain call: one pread(2) or pwrite(2) for each request, however short its answer.
///
/// # Record locks
///
/// The file holds up to two descriptors of its inode. Dropping the file lets its requests end; the
/// descriptors are closed after the last, and not before. Closing *any* descriptor of an inode
/// releases all record locks (fcntl(2), F_SETLK) that the process holds on it, whichever
/// descriptor they were taken by. A process that holds such locks keeps the file until it gives
/// them up, or takes open file description locks (F_OFD_SETLK) by a descriptor of its own: those
/// are released with that descriptor only.
#[derive(Clone)]
pub struct File {
    engine: Engine,
    shared: Rc<FileShared>,
    options: Options,
}

impl File {
    /// Opens a file to read. See [`OpenOptions::open`].
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn open(engine: &Engine, path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(engine, path)
    }

    /// Makes a file, or empties the one that is there, to read and write. See
    /// [`OpenOptions::open`].
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub fn create(engine: &Engine, path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(engine, path)
    }

    /// Takes a file that is open already, with O_DIRECT or without. Direct I/O and the page cache
    /// need a descriptor each: the second is opened through /proc/self/fd.
    ///
    /// Neither the flags nor the position of the given open file change, which others may share, and
    /// nothing is closed before the file is dropped. A kernel that does not tell the alignment of
    /// direct I/O (before Linux 6.1, and of some filesystems) is found out about by up to five small
    /// reads.
    ///
    /// # Errors
    ///
    /// EBADF, or what fstat(2) and fcntl(2) answer. That there is no direct path is no error, see
    /// [`File::path`].
    pub fn from_std(engine: &Engine, file: std::fs::File) -> io::Result<File> {
        File::new(engine, file, true)
    }

    pub(super) fn new(engine: &Engine, file: std::fs::File, direct: bool) -> io::Result<File> {
        let (base, retired) = engine
            .inner
            .with(|driver| (driver.geometry(), driver.retired()));
        let shared = Rc::new(FileShared::new(
            Arc::new(Opened::new(file, direct)?),
            base,
            retired,
        ));
        engine.inner.with(|driver| driver.adopt(&shared));
        Ok(File {
            engine: engine.clone(),
            shared,
            options: Options::default(),
        })
    }

    fn opened(&self) -> &Opened {
        self.shared.opened()
    }

    pub(super) fn shared(&self) -> &Rc<FileShared> {
        &self.shared
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Start for File {
    type Request = Submission;

    unsafe fn start(&self, kind: Kind, options: Options) -> Submission {
        let request = Request::new(self.shared.clone(), kind, options);
        // SAFETY: the caller's contract.
        unsafe { Submission::new(&self.engine.inner, request) }
    }

    unsafe fn start_plain(&self, plain: Plain) -> Submission {
        // SAFETY: the caller's contract.
        unsafe { Submission::plain(&self.engine.inner, &self.shared, plain) }
    }

    fn options(&self) -> Options {
        self.options
    }

    fn find_pinned(&self, Segment { addr, len }: Segment) -> Option<Pinned> {
        self.engine
            .inner
            .with(|driver| driver.find_pinned(addr, len))
    }
}

file_face!(
    "",
    "The time is looked at in [`Engine::turn`] and [`Engine::block_on`].",
    "Before Linux 6.9 this call itself does it, and may block.",
    []
);

impl Drop for File {
    fn drop(&mut self) {
        // The ring keeps a file open for as long as it is in its table.
        if Rc::strong_count(&self.shared) == 1 {
            let shared = self.shared.clone();
            self.engine.inner.try_with(|driver| {
                shared.retire();
                driver.give_back_unused();
            });
        }
    }
}
