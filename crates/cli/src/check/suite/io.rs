//! What a way of doing I/O can do: positioned reads and writes of memory of any kind, several in
//! flight, and a few calls on files.
//!
//! Safe, because the memory is always that of a [`Map`](super::memory::Map), of which there are no
//! references: only the kernel and copies touch it.

use std::io;
use std::path::Path;

use super::memory::Piece;
use super::stop::{Doing, Stop};

/// A file of one [`Io`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(pub(crate) usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// To read only.
    Read,
    /// To read and write what is there.
    Write,
    /// To read and write, made if it is not there, emptied if it is.
    Create,
    /// To write at the end.
    Append,
}

impl Open {
    /// The flags of open(2), without O_DIRECT.
    pub(crate) fn flags(self) -> i32 {
        libc::O_CLOEXEC
            | match self {
                Open::Read => libc::O_RDONLY,
                Open::Write => libc::O_RDWR,
                Open::Create => libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC,
                Open::Append => libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND,
            }
    }
}

/// One read or write.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) file: FileId,
    pub(crate) direction: Direction,
    /// One: pread or pwrite; more: preadv or pwritev.
    pub(crate) pieces: Vec<Piece<'a>>,
    pub(crate) offset: u64,
}

impl<'a> Request<'a> {
    pub(crate) fn read(file: FileId, piece: Piece<'a>, offset: usize) -> Request<'a> {
        Request {
            file,
            direction: Direction::Read,
            pieces: vec![piece],
            offset: offset as u64,
        }
    }

    pub(crate) fn write(file: FileId, piece: Piece<'a>, offset: usize) -> Request<'a> {
        Request {
            file,
            direction: Direction::Write,
            pieces: vec![piece],
            offset: offset as u64,
        }
    }

    pub(crate) fn iovecs(&self) -> Vec<libc::iovec> {
        self.pieces
            .iter()
            .map(|piece| libc::iovec {
                iov_base: piece.addr as *mut libc::c_void,
                iov_len: piece.len,
            })
            .collect()
    }
}

/// A result in a few words: `4096`, `Bad address (os error 14)`.
pub(crate) fn told(result: &io::Result<usize>) -> String {
    match result {
        Ok(count) => count.to_string(),
        Err(error) => error.to_string(),
    }
}

/// What is done again and again on the submitting thread while it waits, such as serving the faults
/// of its own buffers. It should wait a little itself, some milliseconds at most, when there is
/// nothing to do.
pub(crate) type Serve<'a> = &'a mut dyn FnMut();

/// A way of doing I/O, for one thread.
pub(crate) trait Io {
    /// # Errors
    ///
    /// As open(2).
    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId>;

    fn close(&mut self, file: FileId);

    /// What offsets, lengths and memory must be multiples of, in bytes: 1 where the way takes
    /// anything.
    fn unit(&self, file: FileId) -> usize;

    /// Starts all the requests, then waits for all of them. The results are in the order of the
    /// requests.
    ///
    /// Skips where the way can't do it at all: a synchronous call can't serve anything meanwhile.
    fn run(
        &mut self,
        requests: &[Request<'_>],
        serve: Option<Serve<'_>>,
    ) -> Result<Vec<io::Result<usize>>, Stop>;

    /// As `run`, but the file is closed between the start and the wait, so that the requests hold
    /// the last reference.
    fn run_closing(
        &mut self,
        file: FileId,
        requests: &[Request<'_>],
    ) -> Result<Vec<io::Result<usize>>, Stop>;

    /// As fsync(2).
    fn sync(&mut self, file: FileId) -> io::Result<()>;

    /// As ftruncate(2).
    fn set_len(&mut self, file: FileId, len: usize) -> io::Result<()>;

    /// As fallocate(2) with mode 0.
    fn allocate(&mut self, file: FileId, offset: usize, len: usize) -> io::Result<()>;
}

impl dyn Io + '_ {
    /// One request by itself.
    pub(crate) fn one(&mut self, request: Request<'_>) -> Result<io::Result<usize>, Stop> {
        Ok(self.run(std::slice::from_ref(&request), None)?.remove(0))
    }

    /// A read that must not fail. Gives the count.
    pub(crate) fn read(
        &mut self,
        file: FileId,
        piece: Piece<'_>,
        offset: usize,
    ) -> Result<usize, Stop> {
        let len = piece.len;
        self.one(Request::read(file, piece, offset))?
            .doing(format_args!("read {len} bytes at {offset}"))
    }

    /// A write that must not fail. Gives the count.
    pub(crate) fn write(
        &mut self,
        file: FileId,
        piece: Piece<'_>,
        offset: usize,
    ) -> Result<usize, Stop> {
        let len = piece.len;
        self.one(Request::write(file, piece, offset))?
            .doing(format_args!("write {len} bytes at {offset}"))
    }

    /// A write of all of it.
    pub(crate) fn write_all(
        &mut self,
        file: FileId,
        piece: Piece<'_>,
        offset: usize,
    ) -> Result<(), Stop> {
        let len = piece.len;
        let count = self.write(file, piece, offset)?;
        super::stop::ensure!(
            count == len,
            "a write of {len} bytes at {offset} wrote {count}"
        );
        Ok(())
    }

    /// A file that must open. A filesystem without O_DIRECT makes a plain direct column a SKIP.
    pub(crate) fn file(&mut self, path: &Path, how: Open) -> Result<FileId, Stop> {
        self.open(path, how)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::EINVAL) => {
                    Stop::Skip("the filesystem refuses O_DIRECT (EINVAL)".to_owned())
                }
                _ => Stop::Fail(format!("open {}: {error}", path.display())),
            })
    }
}
