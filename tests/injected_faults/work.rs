//! Requests of all kinds on one file, and what must come of them.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use nofault::{AlignedBuf, Backend, Engine, Fallback, Handle, OpenOptions, Queue, handle};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// The file's size at first, and after the work.
const BYTES: u64 = 2 << 20;
const BYTES_AFTER: u64 = BYTES + 5000;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Ring,
    Threads,
    Handle,
}

/// How far the work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    NoEngine,
    NoFile,
    Through,
}

/// What was seen.
pub(crate) struct Notes {
    pub(crate) stage: Stage,
    /// What must never be.
    pub(crate) wrong: Vec<String>,
    /// Requests that ended with an error, or short.
    pub(crate) errors: Vec<String>,
    pub(crate) fallbacks: Vec<Fallback>,
    info: String,
    /// The writes that were tried, and how many bytes of each were acknowledged.
    written: Vec<(Range<u64>, Option<usize>)>,
    grown: bool,
}

fn old(offset: u64) -> u8 {
    (offset / 7 % 251) as u8
}

fn new(offset: u64) -> u8 {
    !old(offset)
}

fn new_bytes(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(new).collect()
}

/// Makes the file.
pub(crate) fn make(path: &Path) {
    let bytes: Vec<u8> = (0..BYTES).map(old).collect();
    std::fs::write(path, bytes).expect("a file");
}

impl Notes {
    fn new() -> Notes {
        Notes {
            stage: Stage::NoEngine,
            wrong: Vec::new(),
            errors: Vec::new(),
            fallbacks: Vec::new(),
            info: String::new(),
            written: Vec::new(),
            grown: false,
        }
    }

    fn error(&mut self, what: &str, error: &io::Error) {
        self.errors.push(format!("{what}: {error}"));
    }

    fn result(&mut self, what: &str, result: io::Result<()>) -> bool {
        if let Err(error) = &result {
            self.error(what, error);
        }
        result.is_ok()
    }

    fn read(
        &mut self,
        what: &str,
        result: io::Result<usize>,
        bytes: &[u8],
        offset: u64,
        want: usize,
    ) {
        match result {
            Err(error) => self.error(what, &error),
            Ok(count) => {
                if count < want {
                    self.errors.push(format!("{what}: {count} of {want} bytes"));
                }
                if count > want {
                    self.wrong.push(format!("{what}: {count} of {want} bytes"));
                }
                let good = |(index, &byte): (usize, &u8)| {
                    let at = offset + index as u64;
                    let written = self.written.iter().find(|(range, _)| range.contains(&at));
                    match written {
                        None => byte == old(at),
                        Some((range, Some(count))) if at < range.start + *count as u64 => {
                            byte == new(at)
                        }
                        Some((_, Some(_))) => byte == old(at),
                        Some((_, None)) => byte == old(at) || byte == new(at),
                    }
                };
                let bad = bytes[..count.min(bytes.len())]
                    .iter()
                    .enumerate()
                    .position(|byte| !good(byte));
                if let Some(bad) = bad {
                    self.wrong.push(format!("{what}: byte {bad} is wrong"));
                }
            }
        }
    }

    fn wrote(&mut self, what: &str, result: io::Result<usize>, offset: u64, len: usize) {
        let range = offset..offset + len as u64;
        match result {
            Err(error) => {
                self.error(what, &error);
                self.written.push((range, None));
            }
            Ok(count) => {
                if count < len {
                    self.errors.push(format!("{what}: {count} of {len} bytes"));
                }
                self.written.push((range, Some(count)));
            }
        }
    }

    /// Compares the file with what was acknowledged.
    pub(crate) fn check_file(&self, path: &Path) {
        let file = std::fs::File::open(path).expect("the file");
        let mut bytes = vec![0; BYTES as usize];
        file.read_exact_at(&mut bytes, 0).expect("all of the file");
        let mut seen = Notes {
            written: self.written.clone(),
            ..Notes::new()
        };
        seen.read("the file", Ok(bytes.len()), &bytes, 0, bytes.len());
        assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
        let len = file.metadata().expect("metadata").len();
        if self.grown {
            assert_eq!(len, BYTES_AFTER, "the length that was set");
        }
    }

    pub(crate) fn say(&self) {
        println!("{:?}, {}: {:?}", self.stage, self.info, self.fallbacks);
        println!("{:#?}", self.errors);
    }
}

/// What a file of an engine and a file of a handle both do.
macro_rules! requests {
    ($notes:ident, $file:ident, $pool:expr) => {{
        let notes: &mut Notes = $notes;
        let file = $file;
        // Cold and warm memory, aligned.
        if let Ok(cold) = AlignedBuf::new(256 * KIB) {
            let (result, cold) = file.read_at(cold, 0).await;
            notes.read("a cold read", result, &cold, 0, 256 * KIB);
            let (result, warm) = file.read_at(cold, 64 * KIB as u64).await;
            notes.read("a warm read", result, &warm, 64 * KIB as u64, 256 * KIB);
        }
        let (result, bytes) = file.read_at(Vec::with_capacity(5000), 77).await;
        notes.read("a ragged read", result, &bytes, 77, 5000);
        let (result, bytes) = file.read_at(vec![0; 300], 4090).await;
        notes.read("a small read", result, &bytes, 4090, 300);
        // Pinned memory.
        if let Some(pool) = $pool {
            if let Some(buffer) = pool.get() {
                let (result, buffer) = file.read_at(buffer, 128 * KIB as u64).await;
                notes.read("a pinned read", result, &buffer, 128 * KIB as u64, 64 * KIB);
            }
            if let Some(mut buffer) = pool.get() {
                let at = MIB as u64;
                buffer.copy_from_slice(&new_bytes(at, 64 * KIB));
                let (result, buffer) = file.write_at(buffer, at).await;
                notes.wrote("a pinned write", result, at, 64 * KIB);
                let (result, buffer) = file.read_at(buffer, at).await;
                notes.read("a pinned read back", result, &buffer, at, 64 * KIB);
            }
        }
        // Writes: aligned, ragged, small.
        for (what, at, len) in [
            ("an aligned write", MIB + 128 * KIB, 64 * KIB),
            ("a ragged write", MIB + 256 * KIB + 77, 150 * KIB),
            ("a small write", MIB + 512 * KIB + 3, 10),
        ] {
            let at = at as u64;
            let Ok(mut buffer) = AlignedBuf::new(len) else {
                continue;
            };
            buffer.copy_from_slice(&new_bytes(at, len));
            let (result, _) = file.write_at(buffer, at).await;
            notes.wrote(what, result, at, len);
            let (result, bytes) = file.read_at(vec![0; len], at).await;
            notes.read(what, result, &bytes, at, len);
        }
        // Vectors.
        let (result, pieces) = file
            .readv_at(vec![vec![0; 4096], vec![0; 100], vec![0; 9000]], 8192)
            .await;
        notes.read("a vectored read", result, &pieces.concat(), 8192, 13196);
        let at = (MIB + 640 * KIB) as u64;
        let pieces = vec![new_bytes(at, 4096), new_bytes(at + 4096, 5000)];
        let (result, _) = file.writev_at(pieces, at).await;
        notes.wrote("a vectored write", result, at, 9096);
        // Many at once, with a time limit that is not reached.
        let patient = file.with_timeout(Duration::from_secs(60));
        let mut reads: Vec<_> = (0..24u64)
            .map(|block| {
                (
                    block,
                    Box::pin(patient.read_at(vec![0; 4096], block * 4096)),
                )
            })
            .collect();
        while let Some((block, mut read)) = reads.pop() {
            let (result, bytes) = poll_fn(|context| read.as_mut().poll(context)).await;
            notes.read("one of many", result, &bytes, block * 4096, 4096);
        }
        // Too late, cancelled, and abandoned: any end will do.
        let (result, bytes) = file
            .with_timeout(Duration::from_micros(1))
            .read_at(vec![0; 4096], 0)
            .await;
        if let Ok(count) = result {
            notes.read("a read without time", result, &bytes, 0, count);
        }
        let (result, bytes) = file.read_at(vec![0; 64 * KIB], 0).cancel().await;
        // What was moved before the cancellation is told.
        if let Ok(count) = result {
            notes.read("a cancelled read", result, &bytes, 0, count);
        }
        for turn in 0..4u64 {
            let mut read = pin!(file.read_at(Vec::with_capacity(9000), turn * 100));
            poll_fn(|context| {
                let _ = read.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        }
        // What is no read or write.
        notes.result("sync_data", file.sync_data().await);
        match file.allocate(0, BYTES).await {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            allocated => drop(notes.result("allocate", allocated)),
        }
        notes.grown = notes.result("set_len", file.set_len(BYTES_AFTER).await);
        match file.len() {
            Err(error) => notes.error("len", &error),
            Ok(len) if notes.grown && len != BYTES_AFTER => {
                notes.wrong.push(format!("a length of {len}"));
            }
            Ok(_) => {}
        }
        notes.result("sync_all", file.sync_all().await);
    }};
}

impl Work {
    /// Does all of it.
    pub(crate) fn run(self, path: &Path) -> Notes {
        let mut notes = Notes::new();
        match self {
            Work::Ring => with_engine(Backend::Auto, path, &mut notes),
            Work::Threads => with_engine(Backend::Threads, path, &mut notes),
            Work::Handle => with_handle(path, &mut notes),
        }
        notes
    }
}

fn with_engine(backend: Backend, path: &Path, notes: &mut Notes) {
    let engine = Engine::builder()
        .backend(backend)
        .depth(16)
        .drain_timeout(Duration::from_secs(5))
        .build();
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => return notes.error("the engine", &error),
    };
    notes.stage = Stage::NoFile;
    notes.info = engine.info().to_string();
    let mut options = OpenOptions::new();
    let file = match options.read(true).write(true).open(&engine, path) {
        Ok(file) => file,
        Err(error) => return notes.error("the file", &error),
    };
    notes.stage = Stage::Through;
    let pool = engine.pool(4, 64 * KIB).ok();
    let region = engine.register(vec![0; 64 * KIB]);
    engine.block_on(async {
        let file = &file;
        requests!(notes, file, pool.as_ref());
        if let Some(slice) = region.slice(4096..8192) {
            let (result, slice) = file.read_at(slice, 4096).await;
            notes.read("a read to a region", result, &slice, 4096, 4096);
        }
    });
    let mut queue = Queue::new(&engine);
    (0..40u64).for_each(|block| queue.read_at(&file, vec![0; 4096], block * 4096, block));
    engine.block_on(async {
        while let Some(done) = queue.next().await {
            notes.read(
                "a read of the queue",
                done.result,
                &done.buffer,
                done.tag * 4096,
                4096,
            );
        }
    });
    // In flight when all goes.
    let last = [0, 77].map(|offset| file.read_at(Vec::with_capacity(64 * KIB), offset));
    let _ = engine.turn(Some(Duration::ZERO));
    notes.fallbacks = engine.stats().fallbacks;
    notes.info = engine.info().to_string();
    drop((last, queue, file, region, pool, engine));
}

fn with_handle(path: &Path, notes: &mut Notes) {
    let handle = match Handle::builder().threads(2).depth(16).build() {
        Ok(handle) => handle,
        Err(error) => return notes.error("the handle", &error),
    };
    notes.stage = Stage::NoFile;
    notes.info = handle.info().to_string();
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let file = match handle::File::open_with(&handle, &options, path) {
        Ok(file) => file,
        Err(error) => return notes.error("the file", &error),
    };
    notes.stage = Stage::Through;
    let pool = handle.pool(4, 64 * KIB).ok();
    handle.block_on(async {
        let file = &file;
        requests!(notes, file, pool.as_ref());
    });
    notes.fallbacks = handle.stats().fallbacks;
    let last = [0, 77].map(|offset| file.read_at(Vec::with_capacity(64 * KIB), offset));
    drop((last, file, pool));
    let gone = handle.shutdown();
    handle.block_on(gone);
}
