//! pread(2) and pwrite(2), with O_DIRECT or without. Several in flight are as many threads.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::super::io::{Direction, FileId, Io, Open, Request, Serve};
use super::super::stop::Stop;
use super::UNIT;

/// Files by number, opened the plain way. The ring uses it too.
pub(crate) struct Posix {
    direct: bool,
    files: Vec<Option<File>>,
}

impl Posix {
    pub(crate) fn new(direct: bool) -> Posix {
        Posix {
            direct,
            files: Vec::new(),
        }
    }

    /// EBADF for a file that was closed.
    pub(crate) fn get(&self, file: FileId) -> io::Result<&File> {
        self.files
            .get(file.0)
            .and_then(Option::as_ref)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    fn carry_out(&self, request: &Request<'_>) -> io::Result<usize> {
        let fd = self.get(request.file)?.as_raw_fd();
        let offset = request.offset as i64;
        let iovecs = request.iovecs();
        // SAFETY: the memory is that of mappings that the request borrows, and the kernel answers
        // with EFAULT for what is not usable.
        let result = unsafe {
            match (request.direction, &iovecs[..]) {
                (Direction::Read, [one]) => libc::pread64(fd, one.iov_base, one.iov_len, offset),
                (Direction::Write, [one]) => libc::pwrite64(fd, one.iov_base, one.iov_len, offset),
                (Direction::Read, _) => {
                    libc::preadv64(fd, iovecs.as_ptr(), iovecs.len() as i32, offset)
                }
                (Direction::Write, _) => {
                    libc::pwritev64(fd, iovecs.as_ptr(), iovecs.len() as i32, offset)
                }
            }
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }
}

impl Io for Posix {
    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        let flags = how.flags() | if self.direct { libc::O_DIRECT } else { 0 };
        // SAFETY: the name lives until the call returns.
        let fd = unsafe { libc::open64(name.as_ptr(), flags, 0o600) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and has no other owner.
        self.files.push(Some(unsafe { File::from_raw_fd(fd) }));
        Ok(FileId(self.files.len() - 1))
    }

    fn close(&mut self, file: FileId) {
        if let Some(file) = self.files.get_mut(file.0) {
            *file = None;
        }
    }

    fn unit(&self, _file: FileId) -> usize {
        if self.direct { UNIT } else { 1 }
    }

    fn run(
        &mut self,
        requests: &[Request<'_>],
        serve: Option<Serve<'_>>,
    ) -> Result<Vec<io::Result<usize>>, Stop> {
        if serve.is_some() {
            return Err(Stop::Skip(
                "a synchronous call cannot serve its own page faults".to_owned(),
            ));
        }
        let this = &*self;
        if let [one] = requests {
            return Ok(vec![this.carry_out(one)]);
        }
        Ok(std::thread::scope(|scope| {
            let threads: Vec<_> = requests
                .iter()
                .map(|request| scope.spawn(|| this.carry_out(request)))
                .collect();
            let lost = |_| Err(io::Error::other("the thread of the request panicked"));
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(lost))
                .collect()
        }))
    }

    fn run_closing(
        &mut self,
        _file: FileId,
        _requests: &[Request<'_>],
    ) -> Result<Vec<io::Result<usize>>, Stop> {
        Err(Stop::Skip(
            "a synchronous call holds its file until it ends".to_owned(),
        ))
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        self.get(file)?.sync_all()
    }

    fn set_len(&mut self, file: FileId, len: usize) -> io::Result<()> {
        self.get(file)?.set_len(len as u64)
    }

    fn allocate(&mut self, file: FileId, offset: usize, len: usize) -> io::Result<()> {
        // SAFETY: no pointers.
        match unsafe {
            libc::fallocate64(self.get(file)?.as_raw_fd(), 0, offset as i64, len as i64)
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
