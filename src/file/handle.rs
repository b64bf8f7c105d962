//! The file that users hold.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::OpenOptions;
use crate::driver::{Kind, Options, Plain, Request};
use crate::engine::{Engine, Io, IoVec, RawIo, Simple, Submission};
use crate::memory::{IoBuf, IoBufExt, IoBufMut, Pinned, Slice};
use crate::open_file::{Alignment, AlignmentSource, FileShared, IoPath, Opened, Priority};
use crate::transfer::{Direction, Segment, Segments, Trust};

/// What the engine may assume of memory that it does not own.
///
/// What a look costs: one system call for up to 2 MiB, about a third of a microsecond for 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Look before each submission whether the pages are there. What is there is submitted at once,
    /// the rest is faulted in off this thread.
    #[default]
    Look,
    /// Never submit from this thread, even what looks resident: for memory whose faults this thread
    /// resolves itself (userfaultfd, FUSE).
    Offload,
    /// Submit at once. Faults are taken on this thread, as with a bare ring.
    Trust,
}

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
pub struct File {
    engine: Engine,
    shared: Rc<FileShared>,
    options: Options,
}

impl File {
    /// Opens a file to read. See [`OpenOptions::open`].
    pub fn open(engine: &Engine, path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(engine, path)
    }

    /// Makes a file, or empties the one that is there, to read and write. See
    /// [`OpenOptions::open`].
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

    /// The way this file's bytes go.
    pub fn path(&self) -> &IoPath {
        &self.shared.opened().path
    }

    /// What a request must be a multiple of to go the direct way whole, in bytes; all 1 for a file
    /// without a direct path.
    pub fn alignment(&self) -> Alignment {
        self.shared.opened().alignment()
    }

    /// Where the alignment was learnt; `None` for a file without a direct path.
    pub fn alignment_source(&self) -> Option<AlignmentSource> {
        self.shared.opened().source
    }

    pub(crate) fn shared(&self) -> &Rc<FileShared> {
        &self.shared
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn options(&self) -> Options {
        self.options
    }

    /// A second handle to the same file, whose requests have this priority. They and those of the
    /// first handle may be in flight together.
    ///
    /// What the priority does is up to the device's I/O scheduler (`none` takes no notice).
    ///
    /// # Errors
    ///
    /// EPERM: [`Priority::real_time`] needs CAP_SYS_ADMIN or CAP_SYS_NICE.
    pub fn with_priority(&self, priority: Priority) -> io::Result<File> {
        priority.check()?;
        let mut file = self.again();
        file.options.priority = priority.0;
        Ok(file)
    }

    /// A second handle to the same file, whose requests are cancelled after this time, counted from
    /// the call that makes them; never with zero.
    ///
    /// A request that its time ends has moved what its count says, or fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut) if that is nothing. What the device has already can't
    /// be called back: such a request ends late, with the device's answer. The time is looked at in
    /// [`Engine::turn`] and [`Engine::block_on`].
    pub fn with_timeout(&self, time: Duration) -> File {
        let mut file = self.again();
        file.options.timeout_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        file
    }

    fn submit(&self, kind: Kind) -> Submission {
        // SAFETY: the callers in this file keep the memory of a transfer in the future that holds
        // the submission, or got the promise of their own caller.
        unsafe {
            Submission::new(
                &self.engine.inner,
                Request::new(self.shared.clone(), kind, self.options),
            )
        }
    }

    fn transfer(
        &self,
        direction: Direction,
        segments: Segments,
        offset: u64,
        trust: Trust,
        pinned: Option<Pinned>,
    ) -> Submission {
        match segments {
            // SAFETY: as in `submit`.
            Segments::One(segment) => unsafe {
                Submission::plain(
                    &self.engine.inner,
                    &self.shared,
                    Plain {
                        direction,
                        trust,
                        segment,
                        offset,
                        pinned,
                        options: self.options,
                    },
                )
            },
            Segments::Many(_) => self.submit(Kind::Transfer {
                direction,
                segments,
                offset,
                trust,
                pinned,
            }),
        }
    }

    /// Reads into a buffer, from `offset` bytes on. Fills [`bytes_total`](IoBufMut::bytes_total)
    /// bytes, for a `Vec<u8>` its capacity.
    ///
    /// # Errors
    ///
    /// As pread(2). A count below what was asked for is the end of the file, or an error that the
    /// next read will meet.
    pub fn read_at<B: IoBufMut>(&self, mut buffer: B, offset: u64) -> Io<B> {
        let segment = Segment {
            addr: buffer.stable_mut_ptr().expose_provenance(),
            len: buffer.bytes_total(),
        };
        let submission = self.transfer(
            Direction::Read,
            Segments::One(segment),
            offset,
            Trust::Look,
            buffer.pinned(),
        );
        // SAFETY: the segment is the buffer's own memory.
        unsafe { Io::read(submission, buffer) }
    }

    /// Writes a buffer's initialised bytes, from `offset` bytes on.
    ///
    /// # Errors
    ///
    /// As pwrite(2). A count below what was asked for means that the next write will meet an error.
    pub fn write_at<B: IoBuf>(&self, buffer: B, offset: u64) -> Io<B> {
        let segment = Segment {
            addr: buffer.stable_ptr().expose_provenance(),
            len: buffer.bytes_init(),
        };
        let submission = self.transfer(
            Direction::Write,
            Segments::One(segment),
            offset,
            Trust::Look,
            buffer.pinned(),
        );
        // SAFETY: the segment is the buffer's own memory.
        unsafe { Io::write(submission, buffer) }
    }

    /// Reads into several buffers in order, as preadv(2). At most 1024 of them.
    pub fn readv_at<B: IoBufMut>(&self, mut buffers: Vec<B>, offset: u64) -> IoVec<B> {
        let segment = |buffer: &mut B| Segment {
            addr: buffer.stable_mut_ptr().expose_provenance(),
            len: buffer.bytes_total(),
        };
        let segments = Segments::vector(buffers.iter_mut().map(segment));
        let submission = self.transfer(Direction::Read, segments, offset, Trust::Look, None);
        // SAFETY: the segments are the buffers' own memory.
        unsafe { IoVec::read(submission, buffers) }
    }

    /// Writes several buffers in order, as pwritev(2). At most 1024 of them.
    pub fn writev_at<B: IoBuf>(&self, buffers: Vec<B>, offset: u64) -> IoVec<B> {
        let segment = |buffer: &B| Segment {
            addr: buffer.stable_ptr().expose_provenance(),
            len: buffer.bytes_init(),
        };
        let segments = Segments::vector(buffers.iter().map(segment));
        let submission = self.transfer(Direction::Write, segments, offset, Trust::Look, None);
        // SAFETY: the segments are the buffers' own memory.
        unsafe { IoVec::write(submission, buffers) }
    }

    /// A second handle, for a future that goes on by itself.
    fn again(&self) -> File {
        File {
            engine: self.engine.clone(),
            shared: self.shared.clone(),
            options: self.options,
        }
    }

    /// Reads until the buffer is full: for a `Vec<u8>` up to its capacity, which may be more than
    /// you asked for; `vec.slice(..n)` says how much it is to be.
    ///
    /// # Errors
    ///
    /// As [`File::read_at`], and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where the file
    /// ends before; what was read until then is in the buffer.
    pub fn read_exact_at<B: IoBufMut>(
        &self,
        buffer: B,
        offset: u64,
    ) -> impl Future<Output = (io::Result<()>, B)> + use<B> {
        let total = buffer.bytes_total();
        let (file, first) = (self.again(), self.read_at(buffer, offset));
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
    pub fn write_all_at<B: IoBuf>(
        &self,
        buffer: B,
        offset: u64,
    ) -> impl Future<Output = (io::Result<()>, B)> + use<B> {
        let total = buffer.bytes_init();
        let (file, first) = (self.again(), self.write_at(buffer, offset));
        to_the_end(
            first,
            total,
            io::ErrorKind::WriteZero,
            move |buffer, done| file.write_at(buffer.slice(done..total), offset + done as u64),
        )
    }

    fn trust(policy: Policy) -> Trust {
        match policy {
            Policy::Look => Trust::Look,
            Policy::Offload => Trust::Offload,
            Policy::Trust => Trust::Full,
        }
    }

    fn raw(&self, direction: Direction, segments: Segments, offset: u64, policy: Policy) -> RawIo {
        let pinned = match segments {
            Segments::One(one) => self
                .engine
                .inner
                .with(|driver| driver.find_pinned(one.addr, one.len)),
            Segments::Many(_) => None,
        };
        RawIo(self.transfer(direction, segments, offset, File::trust(policy), pinned))
    }

    /// Reads into memory that the caller answers for. The memory may be anything, also not there at
    /// all: what can't be written ends the request with a count or with EFAULT, as with pread(2).
    /// Inside a registered [`Region`](crate::Region) no look is needed.
    ///
    /// # Safety
    ///
    /// Until the future is ready nobody else uses the memory, and it is not given to anybody else;
    /// if the future is dropped before, see [`RawIo`]. Memory that holds a Rust value must be valid
    /// for any bytes.
    pub unsafe fn read_raw_at(
        &self,
        ptr: *mut u8,
        len: usize,
        offset: u64,
        policy: Policy,
    ) -> RawIo {
        self.raw(
            Direction::Read,
            Segments::One(Segment {
                addr: ptr.expose_provenance(),
                len,
            }),
            offset,
            policy,
        )
    }

    /// Writes memory that the caller answers for. See [`File::read_raw_at`].
    ///
    /// # Safety
    ///
    /// Until the future is ready nobody writes to the memory, and it is not given to anybody else;
    /// if the future is dropped before, see [`RawIo`].
    pub unsafe fn write_raw_at(
        &self,
        ptr: *const u8,
        len: usize,
        offset: u64,
        policy: Policy,
    ) -> RawIo {
        self.raw(
            Direction::Write,
            Segments::One(Segment {
                addr: ptr.expose_provenance(),
                len,
            }),
            offset,
            policy,
        )
    }

    /// Reads into several pieces of memory that the caller answers for, as preadv(2). At most 1024
    /// of them.
    ///
    /// # Safety
    ///
    /// As [`File::read_raw_at`], for each piece.
    pub unsafe fn readv_raw_at(
        &self,
        pieces: Vec<(*mut u8, usize)>,
        offset: u64,
        policy: Policy,
    ) -> RawIo {
        let segments = pieces.into_iter().map(|(ptr, len)| Segment {
            addr: ptr.expose_provenance(),
            len,
        });
        self.raw(Direction::Read, Segments::vector(segments), offset, policy)
    }

    /// Writes several pieces of memory that the caller answers for, as pwritev(2). At most 1024 of
    /// them.
    ///
    /// # Safety
    ///
    /// As [`File::write_raw_at`], for each piece.
    pub unsafe fn writev_raw_at(
        &self,
        pieces: Vec<(*const u8, usize)>,
        offset: u64,
        policy: Policy,
    ) -> RawIo {
        let segments = pieces.into_iter().map(|(ptr, len)| Segment {
            addr: ptr.expose_provenance(),
            len,
        });
        self.raw(Direction::Write, Segments::vector(segments), offset, policy)
    }

    /// Brings data and metadata of all writes that have ended to the device, as fsync(2). Writes in
    /// flight are not waited for.
    pub fn sync_all(&self) -> Simple {
        Simple(self.submit(Kind::Sync { data_only: false }))
    }

    /// Brings the data of all writes that have ended to the device, and what is needed to find it,
    /// as fdatasync(2).
    pub fn sync_data(&self) -> Simple {
        Simple(self.submit(Kind::Sync { data_only: true }))
    }

    /// Makes sure that `len` bytes from `offset` on have their place on the device, as fallocate(2)
    /// with mode 0. Grows the file.
    pub fn allocate(&self, offset: u64, len: u64) -> Simple {
        Simple(self.submit(Kind::Allocate { offset, len }))
    }

    /// Cuts or extends the file to `len` bytes, as ftruncate(2). Before Linux 6.9 this call itself
    /// does it, and may block.
    pub fn set_len(&self, len: u64) -> Simple {
        Simple(self.submit(Kind::SetLen { len }))
    }

    /// The size now, in bytes, as fstat(2) gives it; for a block device its capacity. A blocking
    /// call, though a short one.
    pub fn len(&self) -> io::Result<u64> {
        self.shared.opened().len()
    }

    /// Whether the size is zero.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Goes on until all of the buffer was moved. Each round moves a byte at least, or is the last.
pub(crate) async fn to_the_end<B: IoBuf, N: Future<Output = (io::Result<usize>, Slice<B>)>>(
    first: impl Future<Output = (io::Result<usize>, B)>,
    total: usize,
    ended: io::ErrorKind,
    next: impl Fn(B, usize) -> N,
) -> (io::Result<()>, B) {
    let (mut result, mut buffer) = first.await;
    let mut done = 0;
    loop {
        match result {
            Err(error) => return (Err(error), buffer),
            Ok(0) if done < total => return (Err(ended.into()), buffer),
            Ok(count) => done += count,
        }
        if done >= total {
            return (Ok(()), buffer);
        }
        let (moved, slice) = next(buffer, done).await;
        (result, buffer) = (moved, slice.into_inner());
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // The ring keeps a file open for as long as it is in its table.
        if Rc::strong_count(&self.shared) == 1 {
            let shared = self.shared.clone();
            self.engine.inner.try_with(|driver| {
                shared.retire();
                driver.tidy();
            });
        }
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
