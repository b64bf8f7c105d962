//! The library under test, through its raw-memory calls with the default policy.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nofault::{Backend, Engine, File, OpenOptions, Policy, RawIo};

use super::super::io::{Direction, FileId, Io, Open, Request, Serve};
use super::super::stop::{Doing, Stop};

pub(crate) struct Nofault {
    files: Vec<Option<File>>,
    engine: Engine,
}

impl Nofault {
    pub(crate) fn new(backend: Backend) -> Result<Nofault, Stop> {
        match Engine::builder().backend(backend).build() {
            Ok(engine) => Ok(Nofault {
                files: Vec::new(),
                engine,
            }),
            Err(error) => Err(Stop::Skip(format!("no engine: {error}"))),
        }
    }

    fn get(&self, file: FileId) -> io::Result<&File> {
        self.files
            .get(file.0)
            .and_then(Option::as_ref)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    fn start(&self, request: &Request<'_>) -> io::Result<RawIo> {
        let file = self.get(request.file)?;
        // SAFETY: the memory is borrowed by the request, there are no references to it, and `run`
        // waits for the end.
        Ok(unsafe {
            match (request.direction, &request.pieces[..]) {
                (Direction::Read, [one]) => {
                    file.read_raw_at(one.addr as *mut u8, one.len, request.offset, Policy::Look)
                }
                (Direction::Write, [one]) => {
                    file.write_raw_at(one.addr as *const u8, one.len, request.offset, Policy::Look)
                }
                (Direction::Read, many) => {
                    let pieces = many
                        .iter()
                        .map(|piece| (piece.addr as *mut u8, piece.len))
                        .collect();
                    file.readv_raw_at(pieces, request.offset, Policy::Look)
                }
                (Direction::Write, many) => {
                    let pieces = many
                        .iter()
                        .map(|piece| (piece.addr as *const u8, piece.len))
                        .collect();
                    file.writev_raw_at(pieces, request.offset, Policy::Look)
                }
            }
        })
    }
}

impl Nofault {
    fn start_all(&self, requests: &[Request<'_>]) -> io::Result<Vec<Flight>> {
        requests
            .iter()
            .map(|request| {
                Ok(Flight {
                    future: self.start(request)?,
                    result: None,
                })
            })
            .collect()
    }

    fn finish(
        &self,
        mut flights: Vec<Flight>,
        mut serve: Option<Serve<'_>>,
    ) -> Result<Vec<io::Result<usize>>, Stop> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            for flight in flights.iter_mut().filter(|flight| flight.result.is_none()) {
                if let Poll::Ready(result) = Pin::new(&mut flight.future).poll(&mut context) {
                    flight.result = Some(result);
                }
            }
            if flights.iter().all(|flight| flight.result.is_some()) {
                return Ok(flights
                    .into_iter()
                    .filter_map(|flight| flight.result)
                    .collect());
            }
            match &mut serve {
                None => self.engine.turn(None).map(drop).doing("turn the engine")?,
                Some(serve) => {
                    self.engine
                        .turn(Some(Duration::ZERO))
                        .doing("turn the engine")?;
                    serve();
                }
            }
        }
    }
}

/// A request and its result, once there is one.
struct Flight {
    future: RawIo,
    result: Option<io::Result<usize>>,
}

impl Io for Nofault {
    fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        let mut options = OpenOptions::new();
        let file = match how {
            Open::Read => options.read(true).open(&self.engine, path)?,
            Open::Write => options.read(true).write(true).open(&self.engine, path)?,
            Open::Create => options
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&self.engine, path)?,
            Open::Append => File::from_std(
                &self.engine,
                std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)?,
            )?,
        };
        self.files.push(Some(file));
        Ok(FileId(self.files.len() - 1))
    }

    fn close(&mut self, file: FileId) {
        if let Some(file) = self.files.get_mut(file.0) {
            *file = None;
        }
    }

    fn unit(&self, _file: FileId) -> usize {
        1
    }

    fn run(
        &mut self,
        requests: &[Request<'_>],
        serve: Option<Serve<'_>>,
    ) -> Result<Vec<io::Result<usize>>, Stop> {
        self.finish(self.start_all(requests)?, serve)
    }

    fn run_closing(
        &mut self,
        file: FileId,
        requests: &[Request<'_>],
    ) -> Result<Vec<io::Result<usize>>, Stop> {
        let flights = self.start_all(requests)?;
        self.close(file);
        self.finish(flights, None)
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        self.engine.block_on(self.get(file)?.sync_all())
    }

    fn set_len(&mut self, file: FileId, len: usize) -> io::Result<()> {
        self.engine.block_on(self.get(file)?.set_len(len as u64))
    }

    fn allocate(&mut self, file: FileId, offset: usize, len: usize) -> io::Result<()> {
        self.engine
            .block_on(self.get(file)?.allocate(offset as u64, len as u64))
    }
}
