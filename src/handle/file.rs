//! The file that users hold who have a [`Handle`].

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Handle;
use super::files::FileName;
use super::op::{Io, IoVec, RawIo, Simple, Submission};
use super::shared::{Mail, Owner, Shared};
use crate::driver::{Kind, Options, Plain};
use crate::file::{OpenOptions, Policy, Start, Whole, file_face};
use crate::memory::{IoBuf, IoBufMut, Pinned};
use crate::open_file::{Alignment, AlignmentSource, IoPath, Opened, Priority};
use crate::transfer::{Direction, Segment, Segments};

/// An open file whose requests are carried out by the I/O threads of a [`Handle`].
///
/// Has the methods of [`nofault::File`](crate::File), with the same results: reads and writes at
/// any offset, of any length, in any memory, by direct I/O where the [`alignment`](File::alignment)
/// allows it. What differs:
///
/// - It is `Send`, `Sync` and `Clone`; clones are one file. Its futures are `Send`, may be moved
///   between threads, and may be awaited in any runtime. Buffers have to be `Send`, because one
///   that is left behind is dropped by an I/O thread.
/// - A request starts when it is made, unless so much is in flight that it has to wait: then it
///   starts by itself as soon as those before it have left room. See
///   [`HandleBuilder::memory`](super::HandleBuilder::memory) and
///   [`HandleBuilder::queue`](super::HandleBuilder::queue).
/// - Memory that is pinned is so for the requests of its handle, wherever they are made.
/// - After [`Handle::shutdown`] a request ends at once with
///   [`BrokenPipe`](io::ErrorKind::BrokenPipe) and gives the buffer back.
/// - Dropping the file lets its requests end. The descriptors are closed when the last of them is
///   over and each I/O thread has heard of the drop: later, and on an I/O thread. When the future
///   of [`Handle::shutdown`] is ready, all files that were dropped before are closed.
///   Closing releases the record locks that the process holds on the inode, see
///   [`nofault::File`](crate::File).
#[derive(Clone)]
pub struct File {
    inner: Arc<FileInner>,
    options: Options,
}

pub(super) struct FileInner {
    name: FileName,
    opened: Arc<Opened>,
    owner: Arc<Owner>,
}

impl FileInner {
    pub(super) fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    pub(super) fn name(&self) -> FileName {
        self.name
    }
}

impl Drop for FileInner {
    fn drop(&mut self) {
        let shared = self.shared();
        if !shared.is_here() {
            return;
        }
        let users = shared.files.close(self.name);
        for thread in 0..shared.posts.len() as u8 {
            if users & (1 << thread) != 0 {
                shared.send(thread, Mail::Forget(self.name));
            }
        }
    }
}

impl File {
    /// Opens a file to read. See [`File::open_with`].
    ///
    /// # Errors
    ///
    /// As [`File::open_with`].
    pub fn open(handle: &Handle, path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(handle, OpenOptions::new().read(true), path)
    }

    /// Makes a file, or empties the one that is there, to read and write. See [`File::open_with`].
    ///
    /// # Errors
    ///
    /// As [`File::open_with`].
    pub fn create(handle: &Handle, path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(
            handle,
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true),
            path,
        )
    }

    /// Opens a file as the options say, and finds out what direct I/O on it needs. A blocking call:
    /// some system calls, and up to five small reads. All I/O threads share its descriptors.
    ///
    /// # Errors
    ///
    /// As open(2). That there is no direct path is no error, see [`File::path`].
    pub fn open_with(
        handle: &Handle,
        options: &OpenOptions,
        path: impl AsRef<Path>,
    ) -> io::Result<File> {
        Ok(File::new(handle, options.open_for_all(path.as_ref())?))
    }

    /// Takes a file that is open already, as [`nofault::File::from_std`](crate::File::from_std).
    ///
    /// # Errors
    ///
    /// EBADF, or what fstat(2) and fcntl(2) answer. That there is no direct path is no error, see
    /// [`File::path`].
    pub fn from_std(handle: &Handle, file: std::fs::File) -> io::Result<File> {
        Ok(File::new(handle, Opened::new(file, true)?))
    }

    fn new(handle: &Handle, opened: Opened) -> File {
        let opened = Arc::new(opened);
        let shared = &handle.owner.shared;
        // In a child of fork every request is refused, and a lock may be held for ever.
        let name = if shared.is_here() {
            shared.files.open(opened.clone())
        } else {
            FileName::default()
        };
        File {
            inner: Arc::new(FileInner {
                name,
                opened,
                owner: handle.owner.clone(),
            }),
            options: Options::default(),
        }
    }

    fn opened(&self) -> &Opened {
        &self.inner.opened
    }
}

impl Start for File {
    type Request = Submission;

    #[inline]
    unsafe fn start(&self, kind: Kind, options: Options) -> Submission {
        let bytes = match &kind {
            // What can't be summed up is refused by the I/O thread, and moves nothing until then.
            Kind::Transfer { segments, .. } => segments.total().unwrap_or(0),
            _ => 0,
        };
        // SAFETY: the caller's contract. What keeps the memory is `Send`, by the bounds of `File`'s
        // methods, and who answers for raw memory does so for all threads.
        unsafe { Submission::new(&self.inner, kind, options, bytes) }
    }

    #[inline]
    unsafe fn start_plain(&self, plain: Plain) -> Submission {
        let options = plain.options;
        // SAFETY: the caller's contract.
        unsafe { self.start(plain.kind(), options) }
    }

    fn options(&self) -> Options {
        self.options
    }

    fn find_pinned(&self, segment: Segment) -> Option<Pinned> {
        // The I/O threads alone know, and the one that gets the request will look.
        Some(Pinned {
            engine: self.inner.shared().id,
            base: segment.addr,
            index: 0,
        })
    }
}

file_face!(
    ", and [`BrokenPipe`](io::ErrorKind::BrokenPipe) after [`Handle::shutdown`]",
    "The I/O threads look at the time, and do so while the request waits to be admitted too.",
    "Before Linux 6.9 the I/O thread itself does it, and others' requests wait.",
    [+ Send]
);
