//! io_uring with O_DIRECT as people write it: everything is submitted in one call, and each
//! completion is taken for the result.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use io_uring::{IoUring, opcode, squeue, types};

use super::super::io::{Direction, FileId, Io, Open, Request, Serve};
use super::super::stop::{Doing, Stop};
use super::posix::Posix;

const ENTRIES: u32 = 256;

pub(crate) struct Ring {
    ring: IoUring,
    files: Posix,
}

impl Ring {
    pub(crate) fn new() -> Result<Ring, Stop> {
        match IoUring::new(ENTRIES) {
            Ok(ring) => Ok(Ring {
                ring,
                files: Posix::new(true),
            }),
            Err(error) => Err(Stop::Skip(format!("no io_uring: {error}"))),
        }
    }

    fn entry(&self, request: &Request<'_>, iovecs: &[libc::iovec]) -> io::Result<squeue::Entry> {
        let fd = types::Fd(self.files.get(request.file)?.as_raw_fd());
        let offset = request.offset;
        Ok(match (request.direction, iovecs) {
            (Direction::Read, [one]) => {
                opcode::Read::new(fd, one.iov_base.cast(), one.iov_len as u32)
                    .offset(offset)
                    .build()
            }
            (Direction::Write, [one]) => {
                opcode::Write::new(fd, one.iov_base.cast(), one.iov_len as u32)
                    .offset(offset)
                    .build()
            }
            (Direction::Read, _) => opcode::Readv::new(fd, iovecs.as_ptr(), iovecs.len() as u32)
                .offset(offset)
                .build(),
            (Direction::Write, _) => opcode::Writev::new(fd, iovecs.as_ptr(), iovecs.len() as u32)
                .offset(offset)
                .build(),
        })
    }

    /// At most as many as the ring has entries. `closing` is closed once all are submitted.
    fn batch(
        &mut self,
        requests: &[Request<'_>],
        serve: &mut Option<Serve<'_>>,
        closing: Option<FileId>,
    ) -> Result<Vec<io::Result<usize>>, Stop> {
        let iovecs: Vec<_> = requests.iter().map(Request::iovecs).collect();
        for (index, request) in requests.iter().enumerate() {
            let entry = self.entry(request, &iovecs[index])?.user_data(index as u64);
            // SAFETY: the memory is borrowed by the requests, and the vectors live, until all
            // completions are here; where one can't be waited for, the process ends.
            unsafe { self.ring.submission().push(&entry) }
                .map_err(|_| Stop::Fail("the submission queue is full".to_owned()))?;
        }
        if let Some(file) = closing {
            // What it did not take would miss the file, and then say so.
            self.ring.submit().doing("io_uring_enter")?;
            self.files.close(file);
        }
        let mut results: Vec<Option<io::Result<usize>>> = requests.iter().map(|_| None).collect();
        let mut left = requests.len();
        while left > 0 {
            let wanted = if serve.is_some() { 0 } else { 1 };
            match self.ring.submit_and_wait(wanted) {
                Err(error)
                    if !matches!(
                        error.raw_os_error(),
                        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
                    ) =>
                {
                    return Err(error).doing("io_uring_enter");
                }
                _ => {}
            }
            for done in self.ring.completion() {
                let result = usize::try_from(done.result())
                    .map_err(|_| io::Error::from_raw_os_error(-done.result()));
                results[done.user_data() as usize] = Some(result);
                left -= 1;
            }
            if let Some(serve) = serve
                && left > 0
            {
                serve();
            }
        }
        Ok(results.into_iter().flatten().collect())
    }
}

impl Io for Ring {
    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        self.files.open(path, how)
    }

    fn close(&mut self, file: FileId) {
        self.files.close(file);
    }

    fn unit(&self, file: FileId) -> usize {
        self.files.unit(file)
    }

    fn run(
        &mut self,
        requests: &[Request<'_>],
        mut serve: Option<Serve<'_>>,
    ) -> Result<Vec<io::Result<usize>>, Stop> {
        let mut results = Vec::new();
        for batch in requests.chunks(ENTRIES as usize) {
            results.extend(self.batch(batch, &mut serve, None)?);
        }
        Ok(results)
    }

    fn run_closing(
        &mut self,
        file: FileId,
        requests: &[Request<'_>],
    ) -> Result<Vec<io::Result<usize>>, Stop> {
        self.batch(requests, &mut None, Some(file))
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        self.files.sync(file)
    }

    fn set_len(&mut self, file: FileId, len: usize) -> io::Result<()> {
        self.files.set_len(file, len)
    }

    fn allocate(&mut self, file: FileId, offset: usize, len: usize) -> io::Result<()> {
        self.files.allocate(file, offset, len)
    }
}
