//! The file that users hold who have a [`Handle`].

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Handle;
use super::files::FileName;
use super::op::{Io, IoVec, Simple, Submission};
use super::shared::{Mail, Owner, Shared};
use crate::driver::Kind;
use crate::file::{OpenOptions, to_the_end};
use crate::memory::{IoBuf, IoBufExt, IoBufMut, Pinned};
use crate::open_file::{Alignment, AlignmentSource, IoPath, Opened};
use crate::transfer::{Direction, Segment, Segments, Trust};

/// An open file whose requests are carried out by the I/O threads of a [`Handle`].
///
/// Does what [`nofault::File`](crate::File) does, with the same results: reads and writes at any
/// offset, of any length, in any memory, by direct I/O where the [`alignment`](File::alignment)
/// allows it. What differs:
///
/// - It is `Send`, `Sync` and `Clone`; clones are one file. Its futures are `Send`, may be moved
///   between threads, and may be awaited in any runtime. Buffers have to be `Send`, because one
///   that is left behind is dropped by an I/O thread.
/// - A request starts when it is made, unless so much is in flight that it has to wait: then it
///   starts by itself as soon as those before it have left room. See
///   [`HandleBuilder::memory`](super::HandleBuilder::memory) and
///   [`HandleBuilder::queue`](super::HandleBuilder::queue).
/// - After [`Handle::shutdown`] a request ends at once with
///   [`BrokenPipe`](io::ErrorKind::BrokenPipe) and gives the buffer back.
///
/// Dropping the file lets its requests end; the descriptors are closed after the last, which releases
/// the record locks that the process holds on the inode, see [`nofault::File`](crate::File).
#[derive(Clone)]
pub struct File {
    inner: Arc<FileInner>,
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
        let users = self.shared().files.close(self.name);
        for (thread, post) in self.shared().posts.iter().enumerate() {
            if users & (1 << thread) != 0 {
                post.send(Mail::Forget(self.name));
            }
        }
    }
}

impl File {
    /// Opens a file to read. See [`File::open_with`].
    pub fn open(handle: &Handle, path: impl AsRef<Path>) -> io::Result<File> {
        File::open_with(handle, OpenOptions::new().read(true), path)
    }

    /// Makes a file, or empties the one that is there, to read and write. See [`File::open_with`].
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
        let name = handle.owner.shared.files.open(opened.clone());
        File {
            inner: Arc::new(FileInner {
                name,
                opened,
                owner: handle.owner.clone(),
            }),
        }
    }

    /// The way this file's bytes go.
    pub fn path(&self) -> &IoPath {
        &self.inner.opened.path
    }

    /// What a request must be a multiple of to go the direct way whole, in bytes; all 1 for a file
    /// without a direct path.
    pub fn alignment(&self) -> Alignment {
        self.inner.opened.alignment()
    }

    /// Where the alignment was learnt; `None` for a file without a direct path.
    pub fn alignment_source(&self) -> Option<AlignmentSource> {
        self.inner.opened.source
    }

    fn submit(&self, kind: Kind, bytes: usize) -> Submission {
        // SAFETY: the callers in this file keep the memory of a transfer in the future that holds
        // the submission, and it is `Send`.
        unsafe { Submission::new(&self.inner, kind, bytes) }
    }

    #[inline]
    fn transfer(
        &self,
        direction: Direction,
        segments: Segments,
        offset: u64,
        pinned: Option<Pinned>,
    ) -> Submission {
        // What can't be summed up is refused by the I/O thread, and moves nothing until then.
        let bytes = segments.total().unwrap_or(0);
        self.submit(
            Kind::Transfer {
                direction,
                segments,
                offset,
                trust: Trust::Look,
                pinned,
            },
            bytes,
        )
    }

    /// Reads into a buffer, from `offset` bytes on. Fills [`bytes_total`](IoBufMut::bytes_total)
    /// bytes, for a `Vec<u8>` its capacity.
    ///
    /// # Errors
    ///
    /// As pread(2), and `BrokenPipe` after [`Handle::shutdown`]. A count below what was asked for
    /// is the end of the file, or an error that the next read will meet.
    #[inline]
    pub fn read_at<B: IoBufMut + Send>(&self, mut buffer: B, offset: u64) -> Io<B> {
        let segment = Segment {
            addr: buffer.stable_mut_ptr().expose_provenance(),
            len: buffer.bytes_total(),
        };
        let submission = self.transfer(
            Direction::Read,
            Segments::One(segment),
            offset,
            buffer.pinned(),
        );
        // SAFETY: the segment is the buffer's own memory.
        unsafe { Io::read(submission, buffer) }
    }

    /// Writes a buffer's initialised bytes, from `offset` bytes on.
    ///
    /// # Errors
    ///
    /// As pwrite(2), and `BrokenPipe` after [`Handle::shutdown`]. A count below what was asked for
    /// means that the next write will meet an error.
    #[inline]
    pub fn write_at<B: IoBuf + Send>(&self, buffer: B, offset: u64) -> Io<B> {
        let segment = Segment {
            addr: buffer.stable_ptr().expose_provenance(),
            len: buffer.bytes_init(),
        };
        let submission = self.transfer(
            Direction::Write,
            Segments::One(segment),
            offset,
            buffer.pinned(),
        );
        // SAFETY: the segment is the buffer's own memory.
        unsafe { Io::write(submission, buffer) }
    }

    /// Reads into several buffers in order, as preadv(2). At most 1024 of them.
    pub fn readv_at<B: IoBufMut + Send>(&self, mut buffers: Vec<B>, offset: u64) -> IoVec<B> {
        let segment = |buffer: &mut B| Segment {
            addr: buffer.stable_mut_ptr().expose_provenance(),
            len: buffer.bytes_total(),
        };
        let segments = Segments::vector(buffers.iter_mut().map(segment));
        let submission = self.transfer(Direction::Read, segments, offset, None);
        // SAFETY: the segments are the buffers' own memory.
        unsafe { IoVec::read(submission, buffers) }
    }

    /// Writes several buffers in order, as pwritev(2). At most 1024 of them.
    pub fn writev_at<B: IoBuf + Send>(&self, buffers: Vec<B>, offset: u64) -> IoVec<B> {
        let segment = |buffer: &B| Segment {
            addr: buffer.stable_ptr().expose_provenance(),
            len: buffer.bytes_init(),
        };
        let segments = Segments::vector(buffers.iter().map(segment));
        let submission = self.transfer(Direction::Write, segments, offset, None);
        // SAFETY: the segments are the buffers' own memory.
        unsafe { IoVec::write(submission, buffers) }
    }

    /// Reads until the buffer is full: for a `Vec<u8>` up to its capacity, which may be more than
    /// you asked for; `vec.slice(..n)` says how much it is to be.
    ///
    /// # Errors
    ///
    /// As [`File::read_at`], and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the file
    /// ends before; what was read until then is in the buffer.
    pub fn read_exact_at<B: IoBufMut + Send>(
        &self,
        buffer: B,
        offset: u64,
    ) -> impl Future<Output = (io::Result<()>, B)> + Send + use<B> {
        let total = buffer.bytes_total();
        let (file, first) = (self.clone(), self.read_at(buffer, offset));
        to_the_end(
            first,
            total,
            io::ErrorKind::UnexpectedEof,
            move |buffer, done| file.read_at(buffer.slice(done..total), offset + done as u64),
        )
    }

    /// Writes all of the buffer's initialised bytes.
    ///
    /// # Errors
    ///
    /// As [`File::write_at`]; how much was written before is not told.
    pub fn write_all_at<B: IoBuf + Send>(
        &self,
        buffer: B,
        offset: u64,
    ) -> impl Future<Output = (io::Result<()>, B)> + Send + use<B> {
        let total = buffer.bytes_init();
        let (file, first) = (self.clone(), self.write_at(buffer, offset));
        to_the_end(
            first,
            total,
            io::ErrorKind::WriteZero,
            move |buffer, done| file.write_at(buffer.slice(done..total), offset + done as u64),
        )
    }

    /// Brings data and metadata of all writes that have ended to the device, as fsync(2). Writes in
    /// flight are not waited for.
    pub fn sync_all(&self) -> Simple {
        Simple(self.submit(Kind::Sync { data_only: false }, 0))
    }

    /// Brings the data of all writes that have ended to the device, and what is needed to find it,
    /// as fdatasync(2).
    pub fn sync_data(&self) -> Simple {
        Simple(self.submit(Kind::Sync { data_only: true }, 0))
    }

    /// Makes sure that `len` bytes from `offset` on have their place on the device, as fallocate(2)
    /// with mode 0. Grows the file.
    pub fn allocate(&self, offset: u64, len: u64) -> Simple {
        Simple(self.submit(Kind::Allocate { offset, len }, 0))
    }

    /// Cuts or extends the file to `len` bytes, as ftruncate(2). Before Linux 6.9 the I/O thread
    /// itself does it, and others' requests wait.
    pub fn set_len(&self, len: u64) -> Simple {
        Simple(self.submit(Kind::SetLen { len }, 0))
    }

    /// The size now, in bytes, as fstat(2) gives it; for a block device its capacity. A blocking
    /// call, though a short one.
    pub fn len(&self) -> io::Result<u64> {
        self.inner.opened.len()
    }

    /// Whether the size is zero.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", self.path())
            .field("alignment", &self.alignment())
            .finish_non_exhaustive()
    }
}
